//! How far a basis is from being orthogonal and from reproducing its Gram matrix.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::Eigenbasis;

/// The largest magnitude in `rᵀr - 1`, for `r` of channels x components, accumulated in f64.
///
/// An eigenbasis computed in f64 stays below about `1e-14 * channels`.
#[must_use]
pub fn orthogonality_error(r: MatRef<'_, f64>) -> f64 {
    let product = product(r.transpose(), r);
    largest_difference(&product, |row, col| if row == col { 1.0 } else { 0.0 })
}

/// The largest magnitude in `r Λ rᵀ - gram`, relative to the largest magnitude in `gram`;
/// accumulated in f64. A zero `gram` gives the absolute error.
///
/// # Panics
///
/// If `gram` is not square with the basis' number of channels.
#[must_use]
pub fn reconstruction_error(gram: MatRef<'_, f64>, basis: &Eigenbasis) -> f64 {
    let dim = basis.dim();
    assert!(
        gram.nrows() == dim && gram.ncols() == dim,
        "gram matrix has shape [{}, {}], the eigenbasis [{dim}, {dim}]",
        gram.nrows(),
        gram.ncols(),
    );
    let vectors = basis.vectors.as_ref();
    let weighted = Mat::from_fn(dim, dim, |row, col| vectors[(row, col)] * basis.values[col]);
    let product = product(weighted.as_ref(), vectors.transpose());
    let largest = largest_difference(&Mat::zeros(dim, dim), |row, col| gram[(row, col)]);
    let error = largest_difference(&product, |row, col| gram[(row, col)]);
    if largest > 0.0 { error / largest } else { error }
}

fn product(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    matmul(out.as_mut(), Accum::Replace, left, right, 1.0, Par::Seq);
    out
}

/// NaN anywhere gives NaN, so that a broken matrix never looks exact.
fn largest_difference(found: &Mat<f64>, expected: impl Fn(usize, usize) -> f64) -> f64 {
    let mut largest = 0.0_f64;
    for col in 0..found.ncols() {
        for row in 0..found.nrows() {
            let difference = (found[(row, col)] - expected(row, col)).abs();
            if difference > largest || difference.is_nan() {
                largest = difference;
            }
        }
    }
    largest
}
