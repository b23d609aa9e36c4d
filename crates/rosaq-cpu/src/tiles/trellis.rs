//! Trellis codes laid out so that vectors of channels walk down the rows in registers.
//!
//! Eight rows form a tile. A vector holds `4 L` channels, a byte to each, and as many vectors as a code has bits hold the tile's:
//! as many bits as a file takes, in the order in which states want them, see [`super::schedule`].

use half::f16;
use rayon::prelude::*;
use rosaq_pack::{Bits, PackedLinear, unpack_into};

use super::layout::CHUNKS;
use super::schedule::{MAX_BITS, PLACES, Schedule, period, place_in_state, turned};
use super::{CHUNK, Lanes, TRELLIS_BLOCK};
use crate::segment::{SegmentRows, TrellisSegment};
use crate::trellis::{ENTRIES, SumTrellis};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = CHUNKS;
/// Tables of 64 entries, by even and by odd bits, for every place at which the newest bit may stand.
pub(crate) type TurnedTables = [[[i8; ENTRIES]; PLACES]; 2];

/// A segment of trellis codes into two added tables.
#[derive(Debug, Clone)]
pub(crate) struct TrellisTiles<const L: usize> {
    pub(crate) bits: Bits,
    /// First channel of the segment, in stored order.
    pub(crate) channel_start: usize,
    pub(crate) channels: usize,
    n_rows: usize,
    /// By the even and by the odd bits of the state.
    pub(crate) tables: TurnedTables,
    /// `[tiles, vectors, bits]`.
    codes: Lanes<L>,
    /// Of each row.
    scales: Vec<f16>,
    /// `[vectors, 2]`: both streams of the states before the first row.
    initial: Lanes<L>,
}

impl<const L: usize> TrellisTiles<L> {
    /// Channels of a vector.
    const WIDTH: usize = CHUNK * L;

    /// Segment `idx` of `linear`; `None` for other kinds and for tables of another form.
    pub(crate) fn of(linear: &PackedLinear, idx: usize) -> Option<Self> {
        let SegmentRows::Trellis(segment) = SegmentRows::of(linear, idx) else { return None };
        let found = SumTrellis::of(&segment)?;
        let SumTrellis { bits, channels, even, odd, .. } = found;
        let n_rows = linear.out_features;
        let n_vectors = channels.div_ceil(TRELLIS_BLOCK) * TRELLIS_BLOCK / Self::WIDTH;
        let n_tiles = n_rows.div_ceil(TILE_ROWS);
        let mut tiles = Self {
            bits,
            channel_start: linear.layout().segments[idx].channel_start,
            channels,
            n_rows,
            tables: [even, odd].map(|table| std::array::from_fn(|turn| turned(&table, turn))),
            codes: Lanes::zeros(n_tiles * n_vectors * bits.count()),
            scales: (0..n_rows).map(|row| linear.scales_of(idx, row)[0]).collect(),
            initial: Lanes::zeros(2 * n_vectors),
        };
        let tile_vectors = n_vectors * bits.count();
        let tasks = tiles.codes.par_chunks_mut(tile_vectors).enumerate();
        tasks.for_each_init(
            || vec![0; channels],
            |codes, (tile, vectors)| {
                let schedule = Schedule::of(bits.count(), tile % period(bits.count()));
                for row in tile * TILE_ROWS..n_rows.min((tile + 1) * TILE_ROWS) {
                    unpack_into(linear.codes_of(idx, row), bits, codes);
                    place_row(bits, &schedule.places[row % TILE_ROWS], codes, vectors);
                }
            },
        );
        let mut codes = vec![0; channels];
        let back = found.n_warm_up();
        for row in 0..back {
            let stored = (n_rows * back - back + row) % n_rows;
            unpack_into(linear.codes_of(idx, stored), bits, &mut codes);
            tiles.enter_initial(row.cast_signed() - back.cast_signed(), &codes);
        }
        Some(tiles)
    }

    /// Whether segment `idx` of `linear` can be laid out so.
    pub(crate) fn fits(linear: &PackedLinear, idx: usize) -> bool {
        SumTrellis::of(&TrellisSegment { linear, segment_idx: idx }).is_some()
    }

    /// Puts a row's bits into the states, `row` counted from the first, before which it comes.
    fn enter_initial(&mut self, row: isize, codes: &[u8]) {
        let bits = self.bits.count();
        for (channel, &code) in codes.iter().enumerate() {
            let streams = &mut self.initial.as_chunks_mut::<2>().0[channel / Self::WIDTH];
            let (lane, byte) = (channel % Self::WIDTH / CHUNK, channel % CHUNK);
            for bit in 0..bits {
                let (stream, place) = place_in_state(bits, row, bit);
                let state = &mut streams[stream][lane][byte];
                *state = *state & !(1 << place) | (code >> bit & 1) << place;
            }
        }
    }

    /// The states before the first row, both streams of each vector of channels.
    pub(crate) const fn initial(&self) -> &Lanes<L> {
        &self.initial
    }

    fn n_vectors(&self) -> usize {
        self.initial.len() / 2
    }

    /// Vectors of one tile, `[vectors, bits]`.
    pub(crate) fn codes_of(&self, tile: usize) -> &[[[u8; CHUNK]; L]] {
        let n = self.n_vectors() * self.bits.count();
        &self.codes[tile * n..][..n]
    }

    /// Scales of a tile's rows; the last tile may have fewer than [`TILE_ROWS`].
    pub(crate) fn scales_of(&self, tile: usize) -> &[f16] {
        let start = tile * TILE_ROWS;
        &self.scales[start..self.n_rows.min(start + TILE_ROWS)]
    }

    /// Tiles that hold all rows.
    pub(crate) fn n_tiles(&self) -> usize {
        self.n_rows.div_ceil(TILE_ROWS)
    }

    /// Writes the values of one row.
    pub(crate) fn row_into(&self, row: usize, out: &mut [f32]) {
        let bits = self.bits.count();
        let rows_back = (2 * PLACES).div_ceil(bits);
        for (channel, out) in out.iter_mut().enumerate() {
            let mut halves = [0_usize; 2];
            for back in (0..rows_back).rev() {
                let row = (row + self.n_rows * rows_back - back) % self.n_rows;
                for bit in (0..bits).rev() {
                    // The bits of a state from the oldest on: they are even and odd by turns.
                    let position = back * bits + bit;
                    let set = usize::from(self.code(row, channel) >> bit & 1);
                    if position < 2 * PLACES {
                        halves[position % 2] |= set << (position / 2);
                    }
                }
            }
            let [even, odd] = [0, 1].map(|half| i16::from(self.entry(half, halves[half])));
            *out = self.scales[row].to_f32() * f32::from(even + odd);
        }
    }

    /// The entry of one table for six bits, the newest lowest.
    fn entry(&self, half: usize, bits: usize) -> i8 {
        self.tables[half][0][bits.reverse_bits() >> (usize::BITS as usize - PLACES)]
    }

    fn code(&self, row: usize, channel: usize) -> u8 {
        let bits = self.bits.count();
        let tile = row / TILE_ROWS;
        let vectors = &self.codes_of(tile)[channel / Self::WIDTH * bits..][..bits];
        let (lane, byte) = (channel % Self::WIDTH / CHUNK, channel % CHUNK);
        let places = Schedule::of(bits, tile % period(bits)).places[row % TILE_ROWS];
        let bit_of = |&(vector, at): &(usize, usize)| vectors[vector][lane][byte] >> at & 1;
        places[..bits].iter().enumerate().fold(0, |code, (bit, at)| code | bit_of(at) << bit)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.codes) + size_of_val(&*self.scales) + size_of_val(&*self.initial)
    }
}

/// Puts a row's codes into the vectors of its tile, `[vectors, bits]`, each bit of a code where `places` says.
fn place_row<const L: usize>(
    bits: Bits,
    places: &[(usize, usize); MAX_BITS],
    codes: &[u8],
    vectors: &mut [[[u8; CHUNK]; L]],
) {
    for (codes, vectors) in codes.chunks(CHUNK * L).zip(vectors.chunks_exact_mut(bits.count())) {
        for (bit, &(vector, at)) in places.iter().enumerate().take(bits.count()) {
            let bytes = vectors[vector].as_flattened_mut();
            for (byte, &code) in bytes.iter_mut().zip(codes) {
                *byte |= (code >> bit & 1) << at;
            }
        }
    }
}
