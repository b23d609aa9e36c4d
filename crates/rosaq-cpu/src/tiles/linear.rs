//! A linear in tiles, and its products.

use std::ops::Range;

use faer::{MatMut, MatRef};
use rayon::prelude::*;
use rosaq_pack::{PackedLinear, Segment, SegmentKind};

use super::{BlockInput, F16Tiles, IntTiles, TOKENS, TileInput, TrellisTiles};
#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64::Neon;
use crate::arch::generic::{ByteSimd, add_f16_tiles, add_int_tiles, add_trellis_tiles};
use crate::arch::plain_bytes::PlainBytes;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::{avx2::Avx2, avx512_vnni::Avx512Vnni};
use crate::awake::threads_are_awake;
use crate::isa::Isa;

/// A linear whose segments are f16, integer codes or trellis codes into two added tables, laid out for products with activations of eight bits.
///
/// It holds the codes, scales and zero points of a [`PackedLinear`] unchanged, in another order (and filled up to whole vectors of
/// channels and whole tiles of rows). Activations are rounded to codes of eight bits, with a scale to each 32 channels of a group
/// where they meet integer codes, and to each 128 where they meet trellis codes; those that meet f16 values are not rounded.
#[derive(Debug, Clone)]
pub struct TiledLinear {
    /// Rows of the weight matrix.
    pub out_features: usize,
    /// Columns of the weight matrix.
    pub in_features: usize,
    isa: Isa,
    tiles: Tiles,
}

/// Rows of a tile depend on the instruction set.
#[derive(Debug, Clone)]
enum Tiles {
    Eight(Segments<8>),
    Sixteen(Segments<16>),
}

/// All segments, in tiles of `L` rows.
#[derive(Debug, Clone)]
struct Segments<const L: usize> {
    ints: Vec<IntTiles<L>>,
    f16: Vec<F16Tiles<L>>,
    trellis: Vec<TrellisTiles<L>>,
}

/// Rows that one task computes, of which tiles of any instruction set are whole parts. A row's result does not depend on the rows
/// beside it, so this affects speed alone.
const TASK_ROWS: usize = 96;

/// Multiplications below which waking other threads costs more than it saves (some 20 microseconds of work on one thread), and
/// those below which sharing with threads that are awake does.
const PARALLEL_PRODUCTS: usize = 1 << 20;
const PARALLEL_PRODUCTS_AWAKE: usize = 1 << 16;

impl TiledLinear {
    /// `linear` laid out for this processor; `None` if it has segments of codebooks or of other trellis codes.
    #[must_use]
    pub fn new(linear: &PackedLinear) -> Option<Self> {
        Self::new_with(Isa::detect(), linear)
    }

    /// As [`Self::new`], for a given instruction set.
    #[must_use]
    pub fn new_with(isa: Isa, linear: &PackedLinear) -> Option<Self> {
        let fits = |(idx, segment): (usize, &Segment)| match segment.kind {
            SegmentKind::F16 | SegmentKind::Int { .. } => true,
            SegmentKind::Trellis { .. } => TrellisTiles::<8>::fits(linear, idx),
            _ => false,
        };
        if !linear.segments.iter().enumerate().all(fits) {
            return None;
        }
        let tiles = match isa {
            Isa::Avx512Vnni => Tiles::Sixteen(Segments::of(linear)),
            _ => Tiles::Eight(Segments::of(linear)),
        };
        let (out_features, in_features) = (linear.out_features, linear.in_features);
        Some(Self { out_features, in_features, isa, tiles })
    }

    /// `Y = X Wᵀ`: `x` row-major `[tokens, in]` with channels in the *stored* order, `y` row-major `[tokens, out]`.
    ///
    /// Sums within a block of activations are exact integers, those of blocks are f32. Tiles of rows are spread over the current
    /// rayon pool; the result does not depend on the number of threads, nor on the tokens beside a token.
    ///
    /// # Panics
    /// If the processor lacks the instruction set, or the lengths of `x` and `y` are not the same multiple of `in_features` and
    /// `out_features`.
    pub fn multiply(&self, x: &[f32], y: &mut [f32]) {
        assert!(self.isa.is_available(), "this processor has no {}", self.isa);
        let (n_out, n_in) = (self.out_features, self.in_features);
        let n_tokens = x.len() / n_in;
        assert_eq!(x.len(), n_tokens * n_in, "W is [{n_out}, {n_in}], x has {} elements", x.len());
        assert_eq!(y.len(), n_tokens * n_out, "{n_tokens} tokens, y has {} elements", y.len());
        if n_tokens == 0 {
            return;
        }
        match &self.tiles {
            #[cfg(target_arch = "x86_64")]
            Tiles::Eight(segments) if self.isa != Isa::Scalar => {
                let isa = Avx2::new().expect("the processor was looked at");
                segments.multiply(isa, n_tokens, x, y);
            }
            #[cfg(target_arch = "x86_64")]
            Tiles::Sixteen(segments) if self.isa != Isa::Scalar => {
                let isa = Avx512Vnni::new().expect("the processor was looked at");
                segments.multiply(isa, n_tokens, x, y);
            }
            #[cfg(target_arch = "aarch64")]
            Tiles::Eight(segments) if self.isa == Isa::NeonDot => {
                let isa = Neon::<true>::new().expect("the processor was looked at");
                segments.multiply(isa, n_tokens, x, y);
            }
            #[cfg(target_arch = "aarch64")]
            Tiles::Eight(segments) if self.isa == Isa::Neon => {
                let isa = Neon::<false>::new().expect("the processor was looked at");
                segments.multiply(isa, n_tokens, x, y);
            }
            Tiles::Eight(segments) => segments.multiply(PlainBytes, n_tokens, x, y),
            Tiles::Sixteen(segments) => segments.multiply(PlainBytes, n_tokens, x, y),
        }
    }

    /// Writes the values of one row, in stored order: those that the packed linear has.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold `in_features` values.
    pub fn row_into(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.out_features, "row {row} of {}", self.out_features);
        assert_eq!(out.len(), self.in_features, "W is [_, {}]", self.in_features);
        match &self.tiles {
            Tiles::Eight(segments) => segments.row_into(row, out),
            Tiles::Sixteen(segments) => segments.row_into(row, out),
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.tiles {
            Tiles::Eight(segments) => segments.bytes(),
            Tiles::Sixteen(segments) => segments.bytes(),
        }
    }
}

impl<const L: usize> Segments<L> {
    fn of(linear: &PackedLinear) -> Self {
        let idxs = 0..linear.segments.len();
        Self {
            ints: idxs.clone().filter_map(|idx| IntTiles::of(linear, idx)).collect(),
            f16: idxs.clone().filter_map(|idx| F16Tiles::of(linear, idx)).collect(),
            trellis: idxs.filter_map(|idx| TrellisTiles::of(linear, idx)).collect(),
        }
    }

    fn row_into(&self, row: usize, out: &mut [f32]) {
        for tiles in &self.ints {
            tiles.row_into(row, &mut out[tiles.channel_start..]);
        }
        for tiles in &self.f16 {
            tiles.row_into(row, &mut out[tiles.channel_start..][..tiles.channels]);
        }
        for tiles in &self.trellis {
            tiles.row_into(row, &mut out[tiles.channel_start..][..tiles.channels]);
        }
    }

    fn bytes(&self) -> usize {
        let ints: usize = self.ints.iter().map(IntTiles::bytes).sum();
        let trellis: usize = self.trellis.iter().map(TrellisTiles::bytes).sum();
        ints + trellis + self.f16.iter().map(F16Tiles::bytes).sum::<usize>()
    }

    fn multiply<V>(&self, isa: V, n_tokens: usize, x: &[f32], y: &mut [f32])
    where
        V: ByteSimd<L> + Sync,
    {
        let (n_in, n_out) = (x.len() / n_tokens, y.len() / n_tokens);
        let inputs: Vec<Input<'_>> =
            x.chunks(TOKENS * n_in).map(|x| Input::new(isa, self, n_in, x)).collect();
        let mut y = MatMut::from_row_major_slice_mut(y, n_tokens, n_out);
        let task = |scratch: &mut Vec<[f32; L]>, (idx, mut y): (usize, MatMut<'_, f32>)| {
            let first = idx * TASK_ROWS / L;
            let tiles = first..first + y.ncols().div_ceil(L);
            for (input, start) in inputs.iter().zip((0..n_tokens).step_by(TOKENS)) {
                let n = input.tokens.len();
                scratch.clear();
                scratch.resize(tiles.len() * n, [0.0; L]);
                self.add_tiles(isa, input, &tiles, scratch);
                gather(scratch, y.as_mut().subrows_mut(start, n));
            }
        };
        let least = if threads_are_awake() { PARALLEL_PRODUCTS_AWAKE } else { PARALLEL_PRODUCTS };
        if n_out * n_in * n_tokens < least || rayon::current_num_threads() == 1 {
            let mut scratch = Vec::new();
            for (idx, start) in (0..n_out).step_by(TASK_ROWS).enumerate() {
                let n = TASK_ROWS.min(n_out - start);
                task(&mut scratch, (idx, y.as_mut().subcols_mut(start, n)));
            }
        } else {
            // Few large shares: handing one over costs as much as the product of a small one.
            let shares = n_out.div_ceil(TASK_ROWS).div_ceil(2 * rayon::current_num_threads());
            let tasks = y.par_col_chunks_mut(TASK_ROWS).enumerate();
            tasks.with_min_len(shares).for_each_init(Vec::new, task);
        }
    }

    /// Adds the products of some tiles with the tokens of `input` to `out`, `[tiles, tokens]`.
    fn add_tiles<V: ByteSimd<L>>(
        &self,
        isa: V,
        input: &Input<'_>,
        range: &Range<usize>,
        out: &mut [[f32; L]],
    ) {
        for (tiles, x) in self.ints.iter().zip(&input.ints) {
            add_int_tiles(isa, tiles, x, range.clone(), out);
        }
        for (tiles, x) in self.trellis.iter().zip(&input.trellis) {
            add_trellis_tiles(isa, tiles, x, range.clone(), out);
        }
        for tiles in &self.f16 {
            let channels = tiles.channel_start..tiles.channel_start + tiles.channels;
            let x: Vec<&[f32]> =
                input.tokens.iter().map(|token| &token[channels.clone()]).collect();
            add_f16_tiles(isa, tiles, &x, range.clone(), out);
        }
    }
}

/// The activations of up to [`TOKENS`] tokens, as every segment wants them.
#[derive(Debug)]
struct Input<'a> {
    tokens: Vec<&'a [f32]>,
    ints: Vec<TileInput>,
    trellis: Vec<BlockInput>,
}

impl<'a> Input<'a> {
    fn new<V: ByteSimd<L>, const L: usize>(
        isa: V,
        segments: &Segments<L>,
        n_in: usize,
        x: &'a [f32],
    ) -> Self {
        let tokens: Vec<&[f32]> = x.chunks_exact(n_in).collect();
        let mut ints: Vec<TileInput> = Vec::with_capacity(segments.ints.len());
        for tiles in &segments.ints {
            let mut input = TileInput::default();
            input.set(isa, (&tiles.blocks, tiles.channel_start), &tokens);
            ints.push(input);
        }
        let mut trellis: Vec<BlockInput> = Vec::with_capacity(segments.trellis.len());
        for tiles in &segments.trellis {
            let mut input = BlockInput::default();
            input.set(isa, tiles.channel_start..tiles.channel_start + tiles.channels, &tokens);
            trellis.push(input);
        }
        Self { tokens, ints, trellis }
    }
}

/// What `[tiles, tokens]` of `L` rows each hold, as `[tokens, rows]`.
fn gather<const L: usize>(tiles: &[[f32; L]], mut y: MatMut<'_, f32>) {
    let n_tokens = y.nrows();
    for (tile, lanes) in tiles.chunks_exact(n_tokens).enumerate() {
        let rows = L.min(y.ncols() - tile * L);
        let lanes = MatRef::from_row_major_slice(lanes.as_flattened(), n_tokens, L);
        y.as_mut().subcols_mut(tile * L, rows).copy_from(lanes.subcols(0, rows));
    }
}
