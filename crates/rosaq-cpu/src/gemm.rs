//! Many tokens times a packed linear.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use rosaq_pack::PackedLinear;

use crate::gemv::Product;
use crate::isa::Isa;

/// Output rows in a tile. Fixed, so that the result does not depend on the number of threads.
const TILE_ROWS: usize = 96;

/// Up to this many tokens the kernels that read codes win over dequantizing a tile first.
const MAX_DIRECT_TOKENS: usize = 16;

/// `Y = X Wᵀ` with the fastest kernels of this processor.
///
/// `x` is row-major `[tokens, in]` with channels in the *stored* order, `y` row-major
/// `[tokens, out]`. Few tokens are multiplied straight from the codes; for more, tiles of 96 output
/// rows are dequantized to f32 and multiplied by faer. Accumulates in f32. Tiles are spread over the
/// current rayon pool, with the same result for any number of threads.
///
/// # Panics
/// If the lengths of `x` and `y` are not the same multiple of `in_features` and `out_features`.
pub fn gemm(linear: &PackedLinear, x: &[f32], y: &mut [f32]) {
    gemm_with(Isa::detect(), linear, x, y);
}

/// [`gemm`] with the kernels of a given instruction set for few tokens (faer chooses its own).
///
/// # Panics
/// If the processor lacks `isa`, or the lengths of `x` and `y` are not the same multiple of
/// `in_features` and `out_features`.
pub fn gemm_with(isa: Isa, linear: &PackedLinear, x: &[f32], y: &mut [f32]) {
    assert!(isa.is_available(), "this processor has no {isa}");
    let (n_out, n_in) = (linear.out_features, linear.in_features);
    let n_tokens = x.len() / n_in;
    assert_eq!(x.len(), n_tokens * n_in, "W is [{n_out}, {n_in}], x has {} elements", x.len());
    assert_eq!(
        y.len(),
        n_tokens * n_out,
        "W is [{n_out}, {n_in}], x has {n_tokens} tokens, y has {} elements",
        y.len()
    );
    if n_tokens == 0 {
        return;
    }
    let y = MatMut::from_row_major_slice_mut(y, n_tokens, n_out);
    let tiles = y.par_col_chunks_mut(TILE_ROWS).enumerate();
    let rows_of = |tile: usize, y: &MatMut<'_, f32>| tile * TILE_ROWS..tile * TILE_ROWS + y.ncols();
    if n_tokens <= MAX_DIRECT_TOKENS && isa != Isa::Scalar {
        let tokens: Vec<&[f32]> = x.chunks_exact(n_in).collect();
        let product = Product::new(isa, linear, &tokens);
        tiles.for_each_init(Vec::new, |scratch, (tile, y)| {
            let rows = rows_of(tile, &y);
            direct_tile(&product, rows, scratch, y);
        });
    } else {
        let x = MatRef::from_row_major_slice(x, n_tokens, n_in);
        tiles.for_each_init(Vec::new, |scratch, (tile, y)| {
            let rows = rows_of(tile, &y);
            dequantized_tile(linear, x, rows, scratch, y);
        });
    }
}

fn direct_tile(
    product: &Product<'_>,
    rows: Range<usize>,
    scratch: &mut Vec<f32>,
    mut y: MatMut<'_, f32>,
) {
    scratch.resize(rows.len() * y.nrows(), 0.0);
    product.rows_into(rows.start, scratch);
    y.copy_from(MatRef::from_column_major_slice(scratch, y.nrows(), rows.len()));
}

fn dequantized_tile(
    linear: &PackedLinear,
    x: MatRef<'_, f32>,
    rows: Range<usize>,
    scratch: &mut Vec<f32>,
    y: MatMut<'_, f32>,
) {
    let n_in = linear.in_features;
    scratch.resize(rows.len() * n_in, 0.0);
    linear.dequantize_rows_into(rows.clone(), scratch);
    let w = MatRef::from_column_major_slice(scratch, n_in, rows.len());
    matmul(y, Accum::Replace, x, w, 1.0, Par::Seq);
}
