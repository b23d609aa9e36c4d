//! Trellis codes laid out so that vectors of channels walk down the rows in registers.
//!
//! Eight rows form a tile. A vector holds `4 L` channels, a byte to each, and its bits are those of the eight rows: the even bits of
//! each row's code in one set of vectors, the odd ones in another, laid out like the chunks of a block of integer codes. As many bits
//! as a file takes, and a row's part of a state comes out by a shift and a mask.

use half::f16;
use rayon::prelude::*;
use rosaq_pack::{Bits, PackedLinear, unpack_into};

use super::layout::{CHUNKS, runs, take};
use super::{CHUNK, Lanes, TRELLIS_BLOCK};
use crate::segment::{SegmentRows, TrellisSegment};
use crate::trellis::{ENTRIES, SumTrellis};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = CHUNKS;
/// Bits of a state's even or odd half.
const HALF: u32 = 6;

/// A segment of trellis codes into two added tables.
#[derive(Debug, Clone)]
pub(crate) struct TrellisTiles<const L: usize> {
    pub(crate) bits: Bits,
    /// First channel of the segment, in stored order.
    pub(crate) channel_start: usize,
    pub(crate) channels: usize,
    n_rows: usize,
    /// By the even bits of the state.
    pub(crate) even: [i8; ENTRIES],
    /// By the odd bits.
    pub(crate) odd: [i8; ENTRIES],
    /// `[tiles, vectors, bits]`: the vectors of even bits, then those of odd ones.
    codes: Lanes<L>,
    /// Of each row.
    scales: Vec<f16>,
    /// `[vectors, 2]`: the even and odd bits of the states before the first row.
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
            even,
            odd,
            codes: Lanes::zeros(n_tiles * n_vectors * bits.count()),
            scales: (0..n_rows).map(|row| linear.scales_of(idx, row)[0]).collect(),
            initial: Lanes::zeros(2 * n_vectors),
        };
        let tile_vectors = n_vectors * bits.count();
        let tasks = tiles.codes.par_chunks_mut(tile_vectors).enumerate();
        tasks.for_each_init(
            || vec![0; channels],
            |codes, (tile, vectors)| {
                for row in tile * TILE_ROWS..n_rows.min((tile + 1) * TILE_ROWS) {
                    unpack_into(linear.codes_of(idx, row), bits, codes);
                    place_row(bits, row % TILE_ROWS, codes, vectors);
                }
            },
        );
        let mut codes = vec![0; channels];
        let back = found.n_warm_up();
        for row in (n_rows * back - back)..n_rows * back {
            unpack_into(linear.codes_of(idx, row % n_rows), bits, &mut codes);
            tiles.shift_initial(&codes);
        }
        Some(tiles)
    }

    /// Whether segment `idx` of `linear` can be laid out so.
    pub(crate) fn fits(linear: &PackedLinear, idx: usize) -> bool {
        SumTrellis::of(&TrellisSegment { linear, segment_idx: idx }).is_some()
    }

    fn shift_initial(&mut self, codes: &[u8]) {
        let bits = self.bits.count();
        for (channel, &code) in codes.iter().enumerate() {
            let vectors = &mut self.initial.as_chunks_mut::<2>().0;
            let [even, odd] = &mut vectors[channel / Self::WIDTH];
            let (lane, byte) = (channel % Self::WIDTH / CHUNK, channel % CHUNK);
            let (even, odd) = (&mut even[lane][byte], &mut odd[lane][byte]);
            let [low, high] = apart(code);
            // What was even becomes odd where the shift is odd.
            let (from_even, from_odd) =
                if bits.is_multiple_of(2) { (*even, *odd) } else { (*odd, *even) };
            let mask = (1 << HALF) - 1;
            *even = (from_even << bits.div_ceil(2) | low) & mask;
            *odd = (from_odd << (bits / 2) | high) & mask;
        }
    }

    /// The states before the first row, even and odd bits of each vector of channels.
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
        let rows_back = (2 * HALF as usize).div_ceil(bits);
        for (channel, out) in out.iter_mut().enumerate() {
            let mut halves = [0_usize; 2];
            for back in (0..rows_back).rev() {
                let row = (row + self.n_rows * rows_back - back) % self.n_rows;
                for bit in (0..bits).rev() {
                    // The bits of a state from the oldest on: they are even and odd by turns.
                    let position = back * bits + bit;
                    let set = usize::from(self.code(row, channel) >> bit & 1);
                    if position < 2 * HALF as usize {
                        halves[position % 2] |= set << (position / 2);
                    }
                }
            }
            let sum = i16::from(self.even[halves[0]]) + i16::from(self.odd[halves[1]]);
            *out = self.scales[row].to_f32() * f32::from(sum);
        }
    }

    fn code(&self, row: usize, channel: usize) -> u8 {
        let bits = self.bits.count();
        let vectors = &self.codes_of(row / TILE_ROWS)[channel / Self::WIDTH * bits..][..bits];
        let (even, odd) = vectors.split_at(bits.div_ceil(2));
        let at = (row % TILE_ROWS, channel % Self::WIDTH / CHUNK, channel % CHUNK);
        let halves = [take(even, at), take(odd, at)];
        (0..bits).fold(0, |code, bit| code | (halves[bit % 2] >> (bit / 2) & 1) << bit)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.codes) + size_of_val(&*self.scales) + size_of_val(&*self.initial)
    }
}

/// Puts a row's codes into the vectors of its tile, `[vectors, bits]`.
fn place_row<const L: usize>(
    bits: Bits,
    row_of_tile: usize,
    codes: &[u8],
    vectors: &mut [[[u8; CHUNK]; L]],
) {
    let n_even = bits.count().div_ceil(2);
    // Where each half's bits go: from which on, into which vector, how far up, and how many.
    let halves = [(0, n_even), (n_even, bits.count() / 2)].map(|(first, n)| {
        let mut at = 0;
        runs(n, row_of_tile).map(|(vector, shift, n)| {
            at += n;
            (at - n, first + vector, shift, (1_u8 << n) - 1)
        })
    });
    let apart: [[u8; 2]; 64] = std::array::from_fn(|code| apart(code.to_le_bytes()[0]));
    for (codes, vectors) in codes.chunks(CHUNK * L).zip(vectors.chunks_exact_mut(bits.count())) {
        for (half, runs) in halves.iter().enumerate() {
            for &(from, vector, shift, mask) in runs.iter().filter(|run| run.3 > 0) {
                let bytes = vectors[vector].as_flattened_mut();
                for (byte, &code) in bytes.iter_mut().zip(codes) {
                    *byte |= (apart[usize::from(code & 63)][half] >> from & mask) << shift;
                }
            }
        }
    }
}

/// The even bits of a code moved together, and the odd ones.
fn apart(code: u8) -> [u8; 2] {
    [0, 1].map(|first| (0..4).fold(0, |half, i| half | (code >> (2 * i + first) & 1) << i))
}
