//! Multiplies rotations into weights. Products in f64, one cast back to f32.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;
use rosaq_model::{BlockWeights, LinearWeights, ModelConfig};
use rosaq_tensor::Matrix;

/// Rows or columns that are turned at a time: whole tables in f64 would be the largest thing in memory. Slices are fixed, so
/// that the result does not depend on the number of threads.
const SLICE: usize = 256;

/// Rotates what a linear reads: stored `w` `[out, in]` becomes `w R` (the paper's `Rᵀ W`), for inputs that arrive as `x R`.
///
/// # Panics
/// If `r` is not square of the linear's input width.
pub fn rotate_input(w: &mut Matrix, r: MatRef<'_, f64>) {
    let n = w.cols;
    assert_eq!((r.nrows(), r.ncols()), (n, n), "rotation of {n} input channels");
    w.data.par_chunks_mut((SLICE * n).max(1)).for_each(|rows| {
        turn_columns(MatMut::from_row_major_slice_mut(rows, rows.len() / n, n), r);
    });
}

/// As [`rotate_input`], with every `r.nrows()` consecutive channels rotated by themselves.
pub(crate) fn rotate_input_blocks(w: &mut Matrix, r: MatRef<'_, f64>) {
    let (rows, n) = (w.rows, r.nrows());
    for first in (0..w.cols).step_by(n) {
        turn_columns(view_mut(w).submatrix_mut(0, first, rows, n), r);
    }
}

/// Rotates what a linear writes: stored `w` becomes `Rᵀ w`, the bias `b` becomes `b R`, for outputs wanted as `y R`.
///
/// # Panics
/// If `r` is not square of the linear's output width.
pub fn rotate_output(linear: &mut LinearWeights, r: MatRef<'_, f64>) {
    let w = &mut linear.weight;
    assert_eq!((r.nrows(), r.ncols()), (w.rows, w.rows), "rotation of {} outputs", w.rows);
    view_mut(w).par_col_chunks_mut(SLICE).for_each(|slice| turn_rows(slice, r));
    if let Some(bias) = &mut linear.bias {
        rotate_vector(bias, r);
    }
}

/// Rotates every value head by its own basis: the value projection writes `v R_h`, and the columns of the output projection
/// that belong to the heads reading value head `h` are multiplied with `R_h`. Source: ROSAQ section 3.1 (head-wise PCA),
/// with heads pooled under grouped-query attention.
///
/// # Panics
/// If there is not one `head_dim x head_dim` basis a value head.
pub fn rotate_value_heads(block: &mut BlockWeights, config: &ModelConfig, bases: &[Mat<f64>]) {
    let d = config.head_dim;
    assert_eq!(bases.len(), config.n_kv_heads, "one basis a value head");
    for (kv, basis) in bases.iter().enumerate() {
        let rows =
            view_mut(&mut block.value.weight).submatrix_mut(kv * d, 0, d, config.hidden_size);
        turn_rows(rows, basis.as_ref());
        if let Some(bias) = &mut block.value.bias {
            rotate_vector(&mut bias[kv * d..(kv + 1) * d], basis.as_ref());
        }
    }
    let out = config.hidden_size;
    for head in 0..config.n_heads {
        let basis = &bases[head / config.heads_per_kv()];
        let columns = view_mut(&mut block.output.weight).submatrix_mut(0, head * d, out, d);
        turn_columns(columns, basis.as_ref());
    }
}

/// `w <- Rᵀ w`.
fn turn_rows(w: MatMut<'_, f32>, r: MatRef<'_, f64>) {
    let stored = to_f64(w.as_ref());
    let mut turned = Mat::<f64>::zeros(w.nrows(), w.ncols());
    matmul(turned.as_mut(), Accum::Replace, r.transpose(), stored.as_ref(), 1.0, Par::Seq);
    from_f64(turned.as_ref(), w);
}

/// `w <- w R`.
fn turn_columns(w: MatMut<'_, f32>, r: MatRef<'_, f64>) {
    let stored = to_f64(w.as_ref());
    let mut turned = Mat::<f64>::zeros(w.nrows(), w.ncols());
    matmul(turned.as_mut(), Accum::Replace, stored.as_ref(), r, 1.0, Par::Seq);
    from_f64(turned.as_ref(), w);
}

#[expect(clippy::cast_possible_truncation, reason = "weights are kept in f32")]
fn rotate_vector(b: &mut [f32], r: MatRef<'_, f64>) {
    let rotated: Vec<f64> = (0..b.len())
        .map(|j| b.iter().enumerate().map(|(i, &v)| f64::from(v) * r[(i, j)]).sum())
        .collect();
    for (value, turned) in b.iter_mut().zip(rotated) {
        *value = turned as f32;
    }
}

fn to_f64(w: MatRef<'_, f32>) -> Mat<f64> {
    Mat::from_fn(w.nrows(), w.ncols(), |i, j| f64::from(w[(i, j)]))
}

fn view_mut(w: &mut Matrix) -> MatMut<'_, f32> {
    MatMut::from_row_major_slice_mut(&mut w.data, w.rows, w.cols)
}

#[expect(clippy::cast_possible_truncation, reason = "the one cast from f64 to the weights' f32")]
fn from_f64(from: MatRef<'_, f64>, mut to: MatMut<'_, f32>) {
    for i in 0..to.nrows() {
        for j in 0..to.ncols() {
            to[(i, j)] = from[(i, j)] as f32;
        }
    }
}
