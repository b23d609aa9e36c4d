//! From rows of dense codes to tiles.

use half::f16;
use rayon::prelude::*;
use rosaq_pack::{Bits, PackedLinear, SegmentKind, code_at, unpack_into};

use super::mmap::Part;
use super::{BLOCK, CHUNK, Lanes};

/// Chunks of a block.
pub(crate) const CHUNKS: usize = BLOCK / CHUNK;

/// Channels of a segment that share a scale, of the weights and of the activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TileBlock {
    /// First channel, counted from the segment's first.
    pub(crate) start: usize,
    /// Channels, [`BLOCK`] at most; what is missing is filled up with codes and activations of zero.
    pub(crate) len: usize,
    /// Group of the weights.
    pub(crate) group: usize,
}

impl TileBlock {
    fn channels(self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

/// The blocks of a segment of `channels` in groups of `group_size`.
fn blocks_of(channels: usize, group_size: usize) -> Vec<TileBlock> {
    let mut blocks = Vec::new();
    for (group, start) in (0..channels).step_by(group_size.min(channels)).enumerate() {
        let end = start.saturating_add(group_size).min(channels);
        for start in (start..end).step_by(BLOCK) {
            blocks.push(TileBlock { start, len: BLOCK.min(end - start), group });
        }
    }
    blocks
}

/// A segment of integer codes in tiles of `L` rows.
#[derive(Debug, Clone)]
pub(crate) struct IntTiles<const L: usize> {
    pub(crate) bits: Bits,
    /// First channel of the segment, in stored order.
    pub(crate) channel_start: usize,
    pub(crate) blocks: Vec<TileBlock>,
    /// Blocks of each group.
    pub(crate) blocks_of_groups: Vec<usize>,
    /// `[tiles, blocks, bits]` vectors.
    pub(crate) codes: Lanes<L>,
    /// `[tiles, groups]`; of rows past the last one zero.
    pub(crate) scales: Vec<[f16; L]>,
    /// `[tiles, groups]`, or nothing where all are [`Self::zero`].
    pub(crate) zeros: Vec<[u8; L]>,
    /// The zero point of all groups that have none of their own.
    pub(crate) zero: u8,
    pub(crate) n_groups: usize,
}

impl<const L: usize> IntTiles<L> {
    /// Segment `idx` of `linear`; `None` for kinds of other codes.
    pub(crate) fn of(linear: &PackedLinear, idx: usize) -> Option<Self> {
        let segment = &linear.segments[idx];
        let SegmentKind::Int { bits, symmetric } = segment.kind else { return None };
        let blocks = blocks_of(segment.channels, segment.group_size);
        let tile_vectors = blocks.len() * bits.count();
        let of_groups = blocks.chunk_by(|a, b| a.group == b.group);
        let blocks_of_groups = of_groups.map(<[_]>::len).collect();
        let n_tiles = linear.out_features.div_ceil(L);
        let n_groups = segment.n_groups();
        let mut tiles = Self {
            bits,
            channel_start: linear.layout().segments[idx].channel_start,
            blocks,
            blocks_of_groups,
            codes: Lanes::zeros(n_tiles * tile_vectors),
            scales: vec![[f16::ZERO; L]; n_tiles * n_groups],
            zeros: vec![[0; L]; if symmetric { 0 } else { n_tiles * n_groups }],
            zero: if symmetric { bits.symmetric_zero() } else { 0 },
            n_groups,
        };
        let blocks = &tiles.blocks;
        tiles.codes.par_chunks_mut(tile_vectors).enumerate().for_each_init(
            || vec![0; segment.channels],
            |codes, (tile, vectors)| {
                for row in tile * L..linear.out_features.min((tile + 1) * L) {
                    unpack_into(linear.codes_of(idx, row), bits, codes);
                    place_row(bits, blocks, row % L, codes, vectors);
                }
            },
        );
        for row in 0..linear.out_features {
            for (group, &scale) in linear.scales_of(idx, row).iter().enumerate() {
                tiles.scales[row / L * n_groups + group][row % L] = scale;
                if !symmetric {
                    let zero = code_at(linear.zeros_of(idx, row), bits, group);
                    tiles.zeros[row / L * n_groups + group][row % L] = zero;
                }
            }
        }
        Some(tiles)
    }

    /// Vectors of one tile.
    pub(crate) fn codes_of(&self, tile: usize) -> &[[[u8; CHUNK]; L]] {
        let n = self.blocks.len() * self.bits.count();
        &self.codes[tile * n..][..n]
    }

    /// Scales of one tile's groups.
    pub(crate) fn scales_of(&self, tile: usize) -> &[[f16; L]] {
        &self.scales[tile * self.n_groups..][..self.n_groups]
    }

    /// Zero points of one tile's groups; nothing where all are the same.
    pub(crate) fn zeros_of(&self, tile: usize) -> &[[u8; L]] {
        if self.zeros.is_empty() {
            &[]
        } else {
            &self.zeros[tile * self.n_groups..][..self.n_groups]
        }
    }

    /// Writes the values of one row.
    pub(crate) fn row_into(&self, row: usize, out: &mut [f32]) {
        let (bits, tile, lane) = (self.bits.count(), row / L, row % L);
        let vectors = self.codes_of(tile);
        for (block, vectors) in self.blocks.iter().zip(vectors.chunks_exact(bits)) {
            let scale = self.scales_of(tile)[block.group][lane].to_f32();
            let zero = self.zeros_of(tile).get(block.group).map_or(self.zero, |zeros| zeros[lane]);
            for (i, out) in out[block.channels()].iter_mut().enumerate() {
                let code = take(vectors, (i / CHUNK, lane, i % CHUNK));
                *out = scale * (f32::from(code) - f32::from(zero));
            }
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.codes) + size_of_val(&*self.scales) + size_of_val(&*self.zeros)
    }
}

/// Where the bits of a code stand in the vectors of a block, for codes of as many bits as there are vectors: `(vector, shift)` of
/// each run of bits, lowest first, with the number of bits.
///
/// Three bits: six chunks fill the nibbles of three vectors but for one bit each, and those six bits hold the other two chunks. Five
/// and six: nibbles, and vectors of one or two upper bits for all chunks.
fn runs(bits: usize, chunk: usize) -> [(usize, usize, usize); 3] {
    let nibble = (chunk / 2, 4 * (chunk % 2));
    let none = (0, 0, 0);
    match bits {
        2 => [(chunk / 4, 2 * (chunk % 4), 2), none, none],
        3 if chunk < 6 => [(nibble.0, nibble.1, 3), none, none],
        3 => {
            let spare = 4 * (chunk - 6) + 3;
            [(0, spare, 1), (1, spare, 1), (2, spare, 1)]
        }
        4 => [(nibble.0, nibble.1, 4), none, none],
        // The bits of the first four chunks stand on top, so that all of them come to bit 4 by shifts of at most four.
        5 => [(nibble.0, nibble.1, 4), (4, (chunk + 4) % 8, 1), none],
        6 => [(nibble.0, nibble.1, 4), (4 + chunk / 4, 2 * (chunk % 4), 2), none],
        _ => [(chunk, 0, 8), none, none],
    }
}

/// Puts a row's codes into one lane of the vectors of its tile, `[blocks, bits]`.
fn place_row<const L: usize>(
    bits: Bits,
    blocks: &[TileBlock],
    lane: usize,
    codes: &[u8],
    vectors: &mut [[[u8; CHUNK]; L]],
) {
    let of_chunk: [_; CHUNKS] = std::array::from_fn(|chunk| {
        let mut at = 0;
        runs(bits.count(), chunk).map(|(vector, shift, n)| {
            at += n;
            // An empty run takes nothing.
            (at - n, vector, shift, u8::try_from((1_u16 << n) - 1).unwrap_or(u8::MAX))
        })
    });
    for (block, vectors) in blocks.iter().zip(vectors.chunks_exact_mut(bits.count())) {
        for (codes, runs) in codes[block.channels()].chunks(CHUNK).zip(&of_chunk) {
            for &(from, vector, shift, mask) in runs.iter().filter(|run| run.3 > 0) {
                for (byte, &code) in vectors[vector][lane].iter_mut().zip(codes) {
                    *byte |= (code >> from & mask) << shift;
                }
            }
        }
    }
}

fn take<const L: usize>(
    vectors: &[[[u8; CHUNK]; L]],
    (chunk, lane, byte): (usize, usize, usize),
) -> u8 {
    let (mut code, mut at) = (0_u16, 0);
    for (vector, shift, n) in runs(vectors.len(), chunk).into_iter().filter(|run| run.2 > 0) {
        let part = u16::from(vectors[vector][lane][byte]) >> shift & ((1 << n) - 1);
        code |= part << at;
        at += n;
    }
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// A segment of f16 values in tiles of `L` rows.
#[derive(Debug, Clone)]
pub(crate) struct F16Tiles<const L: usize> {
    /// First channel of the segment, in stored order.
    pub(crate) channel_start: usize,
    pub(crate) channels: usize,
    /// `[tiles, channels, L]`; of rows past the last one zero.
    values: Part<f16>,
}

impl<const L: usize> F16Tiles<L> {
    /// Segment `idx` of `linear`; `None` for other kinds.
    pub(crate) fn of(linear: &PackedLinear, idx: usize) -> Option<Self> {
        let segment = &linear.segments[idx];
        if segment.kind != SegmentKind::F16 {
            return None;
        }
        let channels = segment.channels;
        let mut values = Part::zeros(linear.out_features.div_ceil(L) * channels * L);
        let tiles = values.numbers_mut().as_chunks_mut::<L>().0;
        for row in 0..linear.out_features {
            let tile = &mut tiles[row / L * channels..][..channels];
            for (lanes, &value) in tile.iter_mut().zip(linear.f16_of(idx, row)) {
                lanes[row % L] = value;
            }
        }
        Some(Self { channel_start: linear.layout().segments[idx].channel_start, channels, values })
    }

    /// The values of one tile, `[channels]`.
    pub(crate) fn values_of(&self, tile: usize) -> &[[f16; L]] {
        &self.values.numbers().as_chunks().0[tile * self.channels..][..self.channels]
    }

    /// Writes the values of one row.
    pub(crate) fn row_into(&self, row: usize, out: &mut [f32]) {
        for (out, lanes) in out.iter_mut().zip(self.values_of(row / L)) {
            *out = lanes[row % L].to_f32();
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.numbers())
    }
}
