//! f32 products whose bytes do not depend on the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// Columns of a tile. The tiling is fixed, and each tile is computed by one thread.
const TILE_COLUMNS: usize = 96;

/// `lhs rhs`, in f32.
pub(crate) fn product(lhs: MatRef<'_, f32>, rhs: MatRef<'_, f32>) -> Mat<f32> {
    let mut out = Mat::zeros(lhs.nrows(), rhs.ncols());
    out.as_mut().par_col_chunks_mut(TILE_COLUMNS).enumerate().for_each(|(tile_idx, tile)| {
        let columns = rhs.subcols(tile_idx * TILE_COLUMNS, tile.ncols());
        matmul(tile, Accum::Replace, lhs, columns, 1.0, Par::Seq);
    });
    out
}

/// The sum of the products of entries, accumulated in f64, column after column.
pub(crate) fn product_sum(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> f64 {
    let dot = |col: usize| -> f64 {
        a.col(col).iter().zip(b.col(col).iter()).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let columns: Vec<f64> = (0..a.ncols()).into_par_iter().map(dot).collect();
    columns.iter().sum()
}
