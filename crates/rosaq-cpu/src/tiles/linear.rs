//! A linear in tiles.

use faer::MatMut;
use rosaq_pack::{PackedLinear, Segment, SegmentKind};

use super::product::multiply_segments;
use super::{F16Tiles, IntTiles, TrellisTiles};
#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64::Neon;
use crate::arch::plain_bytes::PlainBytes;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::{avx2::Avx2, avx512_vnni::Avx512Vnni};
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
pub(super) struct Segments<const L: usize> {
    pub(super) ints: Vec<IntTiles<L>>,
    pub(super) f16: Vec<F16Tiles<L>>,
    pub(super) trellis: Vec<TrellisTiles<L>>,
}

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
        Self::multiply_all(&[self], x, &mut [y]);
    }

    /// [`Self::multiply`] of several linears with the same `x`, bit for bit: activations are rounded once, and threads share the
    /// tiles of all.
    ///
    /// # Panics
    /// If there is not one output for each linear, they are not all of one instruction set and number of input channels, or as
    /// [`Self::multiply`] does.
    pub fn multiply_all(linears: &[&Self], x: &[f32], outputs: &mut [&mut [f32]]) {
        assert_eq!(linears.len(), outputs.len(), "one output for each linear");
        let Some(&Self { isa, in_features: n_in, .. }) = linears.first().copied() else { return };
        assert!(isa.is_available(), "this processor has no {isa}");
        let n_tokens = x.len() / n_in;
        let mut products = Vec::with_capacity(linears.len());
        for (linear, y) in linears.iter().zip(outputs) {
            let n_out = linear.out_features;
            assert!(linear.isa == isa && linear.in_features == n_in, "linears of another kind");
            assert_eq!(x.len(), n_tokens * n_in, "W is [{n_out}, {n_in}], x has {}", x.len());
            assert_eq!(y.len(), n_tokens * n_out, "{n_tokens} tokens, y has {} elements", y.len());
            products.push((*linear, MatMut::from_row_major_slice_mut(y, n_tokens, n_out)));
        }
        if n_tokens == 0 {
            return;
        }
        match &linears[0].tiles {
            Tiles::Eight(_) => multiply_eight(isa, x, products),
            Tiles::Sixteen(_) => multiply_sixteen(isa, x, products),
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

/// Linears, and where their products go.
type Products<'a, T> = Vec<(&'a T, MatMut<'a, f32>)>;

fn multiply_eight(isa: Isa, x: &[f32], products: Products<'_, TiledLinear>) {
    let segments = products.into_iter().filter_map(|(linear, y)| match &linear.tiles {
        Tiles::Eight(segments) => Some((segments, y)),
        Tiles::Sixteen(_) => None,
    });
    let products: Products<'_, Segments<8>> = segments.collect();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => {
            let isa = Avx2::new().expect("the processor was looked at");
            multiply_segments(isa, x, products);
        }
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => {
            let isa = Neon::<true>::new().expect("the processor was looked at");
            multiply_segments(isa, x, products);
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => {
            let isa = Neon::<false>::new().expect("the processor was looked at");
            multiply_segments(isa, x, products);
        }
        _ => multiply_segments(PlainBytes, x, products),
    }
}

fn multiply_sixteen(isa: Isa, x: &[f32], products: Products<'_, TiledLinear>) {
    let segments = products.into_iter().filter_map(|(linear, y)| match &linear.tiles {
        Tiles::Sixteen(segments) => Some((segments, y)),
        Tiles::Eight(_) => None,
    });
    let products: Products<'_, Segments<16>> = segments.collect();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => {
            let isa = Avx512Vnni::new().expect("the processor was looked at");
            multiply_segments(isa, x, products);
        }
        _ => multiply_segments(PlainBytes, x, products),
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
}
