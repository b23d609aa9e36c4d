//! Test matrices, and eigenvalues by a method that shares nothing with the crate's.
#![allow(dead_code, reason = "each test file uses a part")]

use faer::{Mat, MatRef};
use proptest::prelude::*;
use std::ops::Range;

/// Random activations, tokens x channels, with entries of very different sizes.
pub(crate) fn matrix(
    tokens: Range<usize>,
    channels: Range<usize>,
) -> impl Strategy<Value = Mat<f64>> {
    (tokens, channels).prop_flat_map(|(rows, cols)| {
        let entry = prop_oneof![3 => -1.0_f64..1.0, 1 => -100.0_f64..100.0, 1 => Just(0.0)];
        proptest::collection::vec(entry, rows * cols)
            .prop_map(move |entries| Mat::from_fn(rows, cols, |i, j| entries[i * cols + j]))
    })
}

/// `xᵀx` by plain sums.
pub(crate) fn gram_of(x: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(x.ncols(), x.ncols(), |i, j| {
        (0..x.nrows()).map(|t| x[(t, i)] * x[(t, j)]).sum::<f64>()
    })
}

/// An orthogonal matrix: a product of `n_reflections` Householder reflections.
pub(crate) fn rotation_from_householder(dim: usize, n_reflections: usize) -> Mat<f64> {
    let mut r = Mat::<f64>::identity(dim, dim);
    for k in 0..n_reflections {
        let v: Vec<f64> = (0..dim).map(|i| ((i * (2 * k + 7) + k) % 23) as f64 - 10.5).collect();
        let norm: f64 = v.iter().map(|x| x * x).sum();
        for row in 0..dim {
            let dot: f64 = (0..dim).map(|col| r[(row, col)] * v[col]).sum();
            for col in 0..dim {
                r[(row, col)] -= 2.0 * dot / norm * v[col];
            }
        }
    }
    r
}

/// Eigenvalues in descending order by cyclic Jacobi rotations (Golub and Van Loan, section 8.5).
pub(crate) fn jacobi_eigenvalues(gram: MatRef<'_, f64>) -> Vec<f64> {
    let dim = gram.nrows();
    let mut a = gram.to_owned();
    for _sweep in 0..60 {
        for p in 0..dim {
            for q in p + 1..dim {
                if a[(p, q)] != 0.0 {
                    annihilate(&mut a, p, q);
                }
            }
        }
    }
    let mut values: Vec<f64> = (0..dim).map(|i| a[(i, i)]).collect();
    values.sort_by(|x, y| y.total_cmp(x));
    values
}

fn annihilate(a: &mut Mat<f64>, p: usize, q: usize) {
    let tau = (a[(q, q)] - a[(p, p)]) / (2.0 * a[(p, q)]);
    let t = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for k in 0..a.nrows() {
        let (x, y) = (a[(k, p)], a[(k, q)]);
        a[(k, p)] = c * x - s * y;
        a[(k, q)] = s * x + c * y;
    }
    for k in 0..a.nrows() {
        let (x, y) = (a[(p, k)], a[(q, k)]);
        a[(p, k)] = c * x - s * y;
        a[(q, k)] = s * x + c * y;
    }
}
