//! Products of square f64 matrices whose bytes do not depend on the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// Columns of a tile. The tiling is fixed, and each tile is computed by one thread.
pub(crate) const TILE_COLUMNS: usize = 96;

/// `lhs rhs`, in f64.
pub(crate) fn product(lhs: MatRef<'_, f64>, rhs: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(lhs.nrows(), rhs.ncols());
    out.as_mut().par_col_chunks_mut(TILE_COLUMNS).enumerate().for_each(|(tile_idx, tile)| {
        let columns = rhs.subcols(tile_idx * TILE_COLUMNS, tile.ncols());
        matmul(tile, Accum::Replace, lhs, columns, 1.0, Par::Seq);
    });
    out
}

/// The largest magnitude in `rᵀr - 1`; NaN when `r` has one.
pub(crate) fn orthogonality_error(r: MatRef<'_, f64>) -> f64 {
    let defect = orthogonality_defect(r);
    let entries = defect.col_iter().flat_map(|column| column.iter());
    entries.fold(0.0, |largest: f64, e| if e.abs() <= largest { largest } else { e.abs() })
}

/// `rᵀr - 1`.
pub(crate) fn orthogonality_defect(r: MatRef<'_, f64>) -> Mat<f64> {
    let mut defect = product(r.transpose(), r);
    for i in 0..defect.ncols() {
        defect[(i, i)] -= 1.0;
    }
    defect
}
