//! Activations arranged for a vector kernel, once a call.
//!
//! A kernel loads a *block* of packed codes as one vector of 32-bit lanes, each lane holding
//! `fields` consecutive codes: eight of them for 2, 3 and 4 bits, four for 5, 6 and 8 bits. It then
//! isolates field `j` of every lane with one AND and converts to f32, which leaves
//! `code * 2^(bits * j)`. So the activation that meets lane `l` and field `j` of a block is
//! `x[block + fields * l + j] * 2^(-bits * j)`, and both powers of two cancel exactly.

use rosaq_pack::Bits;

use crate::segment::{CodeSegment, RowReach, Values};

/// Zero-initialized vectors of `L` floats that start at a cache line, so that no load straddles two.
#[derive(Debug)]
struct AlignedVectors<const L: usize> {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl<const L: usize> AlignedVectors<L> {
    const CACHE_LINE: usize = 64;

    fn zeros(n_vectors: usize) -> Self {
        let len = n_vectors * L;
        let data = vec![0.0f32; len + Self::CACHE_LINE / size_of::<f32>()];
        // A vector never moves its elements unless it grows, and this one never does.
        let past = data.as_ptr().addr() % Self::CACHE_LINE;
        let start = (Self::CACHE_LINE - past) % Self::CACHE_LINE / size_of::<f32>();
        Self { data, start, len }
    }

    fn as_slice(&self) -> &[[f32; L]] {
        self.data[self.start..][..self.len].as_chunks().0
    }

    fn as_mut_slice(&mut self) -> &mut [[f32; L]] {
        self.data[self.start..][..self.len].as_chunks_mut().0
    }
}

/// The activations of one segment for a kernel with `L` lanes.
#[derive(Debug)]
pub(crate) struct Arranged<const L: usize> {
    /// Codes in a lane.
    pub(crate) n_fields: usize,
    /// Blocks in a row; the last one may be partial, its missing activations are zero.
    pub(crate) n_blocks: usize,
    /// `[tokens, blocks, fields]` vectors.
    fields: AlignedVectors<L>,
    /// `[tokens, groups rounded up to whole vectors]`: sums of activations, zero past the end.
    group_sums: AlignedVectors<L>,
    /// `[blocks]`: which groups the lanes lie in.
    pub(crate) lanes: Vec<LaneGroups<L>>,
    /// Vectors of group sums in a token.
    pub(crate) n_sums: usize,
}

/// The groups that the lanes of a block lie in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneGroups<const L: usize> {
    /// The group of lane 0.
    pub(crate) first: usize,
    /// Each lane's group relative to the first.
    pub(crate) offsets: [i32; L],
}

/// Codes that a 32-bit lane holds.
pub(crate) const fn n_fields(bits: Bits) -> usize {
    if bits.get() <= 4 { 8 } else { 4 }
}

impl<const L: usize> Arranged<L> {
    /// True when every lane lies in one group, as the vector kernels need.
    pub(crate) const fn fits(segment: &CodeSegment<'_>) -> bool {
        segment.group_size.is_multiple_of(n_fields(segment.bits))
            || segment.group_size >= segment.channels
    }

    /// Arranges the segment's part of each token: `x_rows` yields `segment.channels` activations a
    /// token.
    pub(crate) fn new<'x>(
        segment: &CodeSegment<'_>,
        x_rows: impl ExactSizeIterator<Item = &'x [f32]>,
    ) -> Self {
        let n_fields = n_fields(segment.bits);
        let n_blocks = segment.channels.div_ceil(n_fields * L);
        let n_sums = segment.n_groups.div_ceil(L);
        let scales = field_scales(segment);
        let n_tokens = x_rows.len();
        let mut fields = AlignedVectors::zeros(n_tokens * n_blocks * n_fields);
        let mut group_sums = AlignedVectors::zeros(n_tokens * n_sums);
        let field_rows = fields.as_mut_slice().chunks_exact_mut(n_blocks * n_fields);
        let sum_rows = group_sums.as_mut_slice().chunks_exact_mut(n_sums);
        for ((x, fields), sums) in x_rows.zip(field_rows).zip(sum_rows) {
            match n_fields {
                8 => arrange_row::<L, 8>(x, &scales, fields),
                _ => arrange_row::<L, 4>(x, &scales, fields),
            }
            for (x, sum) in x.chunks(segment.group_size).zip(sums.as_flattened_mut()) {
                *sum = sum_of(x);
            }
        }
        let lanes = (0..n_blocks).map(|block| lane_groups(segment, block)).collect();
        Self { n_fields, n_blocks, fields, group_sums, lanes, n_sums }
    }

    /// How far from the start of a row a kernel reads that loads a whole vector for every block.
    pub(crate) fn reach(&self, segment: &CodeSegment<'_>) -> RowReach {
        let block_bytes = L * self.n_fields * segment.bits.count() / 8;
        RowReach {
            code_bytes: (self.n_blocks - 1) * block_bytes + size_of::<[u32; L]>(),
            n_scales: segment.n_groups - 1 + L,
            // Zero points are loaded like the group sums, `L` bytes for `L` of them.
            zero_bytes: (self.n_sums - 1) * L / 8 * segment.bits.count() + L,
        }
    }

    /// Tokens that were arranged.
    pub(crate) const fn n_tokens(&self) -> usize {
        self.fields.len / (self.n_blocks * self.n_fields * L)
    }

    /// The arranged activations of one token, `[blocks, fields]`.
    pub(crate) fn fields_of(&self, token: usize) -> &[[f32; L]] {
        let n = self.n_blocks * self.n_fields;
        &self.fields.as_slice()[token * n..][..n]
    }

    /// The group sums of one token.
    pub(crate) fn sums_of(&self, token: usize) -> &[[f32; L]] {
        &self.group_sums.as_slice()[token * self.n_sums..][..self.n_sums]
    }
}

/// A segment's activations in the form that the chosen instruction set reads.
#[derive(Debug)]
pub(crate) enum Activations {
    /// As they are: f16 segments, the scalar reference, and group sizes that lanes do not fit.
    Plain,
    /// For AVX2 and NEON.
    Lanes8(Arranged<8>),
    /// For AVX-512.
    #[cfg(target_arch = "x86_64")]
    Lanes16(Arranged<16>),
}

impl Activations {
    /// Those for AVX2 and NEON, if that is what they are.
    pub(crate) const fn lanes8(&self) -> Option<&Arranged<8>> {
        if let Self::Lanes8(arranged) = self { Some(arranged) } else { None }
    }

    /// Those for AVX-512, if that is what they are.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn lanes16(&self) -> Option<&Arranged<16>> {
        if let Self::Lanes16(arranged) = self { Some(arranged) } else { None }
    }
}

/// What the activation of each field is multiplied by.
fn field_scales(segment: &CodeSegment<'_>) -> [f32; 8] {
    let bits = u32::from(segment.bits.get());
    let n_fields = u32::try_from(n_fields(segment.bits)).unwrap_or(0);
    let mut scales = [1.0; 8];
    if matches!(segment.values, Values::Levels(_)) {
        return scales; // Levels are looked up, not isolated in place.
    }
    for (scale, field) in scales.iter_mut().zip(0..n_fields) {
        // The topmost field of a full lane is shifted down instead: it would look negative.
        if (field + 1) * bits < 32 {
            *scale = 1.0 / (1u64 << (field * bits)) as f32;
        }
    }
    scales
}

fn arrange_row<const L: usize, const F: usize>(
    x: &[f32],
    scales: &[f32; 8],
    fields: &mut [[f32; L]],
) {
    for (x, fields) in x.chunks(L * F).zip(fields.as_chunks_mut::<F>().0) {
        let (lanes, rest) = x.as_chunks::<F>();
        if let Ok(lanes) = <&[[f32; F]; L]>::try_from(lanes) {
            for (j, field) in fields.iter_mut().enumerate() {
                for (value, x) in field.iter_mut().zip(lanes) {
                    *value = x[j] * scales[j];
                }
            }
            continue;
        }
        for (lane, x) in lanes.iter().map(<[f32; F]>::as_slice).chain([rest]).enumerate() {
            for ((field, x), scale) in fields.iter_mut().zip(x).zip(scales) {
                field[lane] = x * scale;
            }
        }
    }
}

/// The groups of the lanes of one block; lanes past the last channel count as the last group.
fn lane_groups<const L: usize>(segment: &CodeSegment<'_>, block: usize) -> LaneGroups<L> {
    let n_fields = n_fields(segment.bits);
    let group_of = |lane: usize| {
        ((block * L + lane) * n_fields).min(segment.channels - 1) / segment.group_size
    };
    let first = group_of(0);
    if group_of(L - 1) == first {
        return LaneGroups { first, offsets: [0; L] };
    }
    let offsets = std::array::from_fn(|lane| i32::try_from(group_of(lane) - first).unwrap_or(0));
    LaneGroups { first, offsets }
}

/// Sum in f64, rounded once: it multiplies zero points, where its error would be amplified.
pub(crate) fn sum_of(x: &[f32]) -> f32 {
    let mut sums = [0.0f64; 8];
    let (chunks, rest) = x.as_chunks::<8>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*x);
        }
    }
    let rest: f64 = rest.iter().map(|x| f64::from(*x)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 once, on purpose")]
    let sum = (sums.iter().sum::<f64>() + rest) as f32;
    sum
}
