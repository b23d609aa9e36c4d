//! Eigenbases against their defining properties and against Jacobi's method.

mod reference;

use faer::{Mat, MatRef, Par, mat};
use proptest::prelude::*;
use reference::{gram_of, jacobi_eigenvalues, matrix, rotation_from_householder};
use rosaq_pca::{Eigenbasis, PcaError, eigenbasis, orthogonality_error, reconstruction_error};

/// Orthogonality, reconstruction, order, signs and trace of the basis of `gram`.
#[track_caller]
fn check(gram: MatRef<'_, f64>) -> Eigenbasis {
    let basis = eigenbasis(gram).expect("a Gram matrix has an eigenbasis");
    let dim = basis.dim();
    // f64 backward stable algorithms err by a small multiple of dim * 2^-53.
    let tolerance = 4e-15 * (dim + 8) as f64;
    let orthogonality = orthogonality_error(basis.vectors.as_ref());
    assert!(orthogonality <= tolerance, "rᵀr - 1 is {orthogonality:e} for {dim} channels");
    let reconstruction = reconstruction_error(gram, &basis);
    assert!(reconstruction <= tolerance * dim as f64, "r Λ rᵀ - gram is {reconstruction:e}");
    assert!(basis.values.is_sorted_by(|a, b| a >= b), "eigenvalues ascend: {:?}", basis.values);
    assert!(basis.values.iter().all(|&value| value >= 0.0), "negative: {:?}", basis.values);
    let trace: f64 = (0..dim).map(|i| gram[(i, i)]).sum();
    let sum: f64 = basis.values.iter().sum();
    assert!((sum - trace).abs() <= tolerance * dim as f64 * trace, "sum {sum}, trace {trace}");
    for col in 0..dim {
        let entries: Vec<f64> = (0..dim).map(|row| basis.vectors[(row, col)]).collect();
        let (low, high) =
            entries.iter().fold((0.0_f64, 0.0_f64), |(l, h), &v| (l.min(v), h.max(v)));
        assert!(high >= -low, "vector {col} has its largest entry negative: {entries:?}");
    }
    basis
}

/// The eigenvalues of `gram` agree with those of Jacobi's method.
#[track_caller]
fn check_against_jacobi(gram: MatRef<'_, f64>) {
    let found = check(gram).values;
    let expected = jacobi_eigenvalues(gram);
    // Weyl: eigenvalues move by at most the norm of the rounding errors, which the trace bounds.
    let trace: f64 = (0..gram.nrows()).map(|i| gram[(i, i)]).sum();
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-13 * trace, "{found} against {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_grams(x in matrix(1..24, 1..16)) {
        check_against_jacobi(gram_of(&x).as_ref());
    }

    #[test]
    fn scaling_the_gram_scales_the_values_only(x in matrix(4..12, 2..9), exponent in -300_i32..300) {
        let gram = gram_of(&x);
        let factor = 2.0_f64.powi(exponent);
        let scaled = Mat::from_fn(gram.nrows(), gram.ncols(), |i, j| gram[(i, j)] * factor);
        let (plain, scaled) = (check(gram.as_ref()), check(scaled.as_ref()));
        prop_assert_eq!(plain.vectors, scaled.vectors);
        let expected: Vec<f64> = plain.values.iter().map(|value| value * factor).collect();
        prop_assert_eq!(scaled.values, expected);
    }

    #[test]
    fn rounding_asymmetry_is_averaged(x in matrix(4..12, 2..9), noise in -1.0_f64..1.0) {
        let gram = gram_of(&x);
        let largest = (0..gram.nrows()).map(|i| gram[(i, i)]).fold(0.0, f64::max);
        let mut upper = gram.clone();
        upper[(0, 1)] += 4e-6 * noise * largest;
        let mut lower = gram;
        lower[(1, 0)] += 4e-6 * noise * largest;
        match (eigenbasis(upper.as_ref()), eigenbasis(lower.as_ref())) {
            (Ok(upper), Ok(lower)) => {
                for (a, b) in upper.values.iter().zip(&lower.values) {
                    prop_assert!((a - b).abs() <= 1e-12 * largest);
                }
            }
            other => prop_assert!(false, "refused: {other:?}"),
        }
    }
}

#[test]
fn one_channel() {
    let basis = check(mat![[3.0]].as_ref());
    assert_eq!(basis.vectors, mat![[1.0]]);
    assert!((basis.values[0] - 3.0).abs() < 1e-15);
}

#[test]
fn zero_gives_the_identity() {
    for dim in [1, 2, 200] {
        let basis = check(Mat::zeros(dim, dim).as_ref());
        assert_eq!(basis.vectors, Mat::<f64>::identity(dim, dim));
        assert!(basis.values.iter().all(|&value| value == 0.0));
        assert!((basis.energy_share(1) - 1.0).abs() < f64::EPSILON);
    }
}

#[test]
fn a_diagonal_is_sorted() {
    let gram = Mat::from_fn(5, 5, |i, j| if i == j { [2.0, 9.0, 0.0, 4.0, 7.0][i] } else { 0.0 });
    let basis = check(gram.as_ref());
    for (col, row) in [1, 4, 3, 0, 2].into_iter().enumerate() {
        assert!((basis.vectors[(row, col)] - 1.0).abs() < 1e-14, "vector {col}");
    }
    assert!((basis.energy_share(2) - 16.0 / 22.0).abs() < 1e-14);
}

#[test]
fn rank_one_has_one_value() {
    for dim in [2, 64, 300] {
        let x = Mat::from_fn(1, dim, |_, j| ((j * j + 3 * j + 1) % 17) as f64 - 8.0);
        let basis = check(gram_of(&x).as_ref());
        let energy: f64 = (0..dim).map(|j| x[(0, j)] * x[(0, j)]).sum();
        assert!((basis.values[0] - energy).abs() <= 1e-13 * energy);
        assert!(basis.values[1] <= 1e-13 * energy, "second value {}", basis.values[1]);
    }
}

#[test]
fn near_degenerate_values_keep_an_orthogonal_basis() {
    // 160 channels take the divide-and-conquer path; 159 values within 1e-13 of each other.
    for dim in [12, 160] {
        let r = rotation_from_householder(dim, 5);
        let values: Vec<f64> =
            (0..dim).map(|i| if i == 0 { 50.0 } else { 1.0 + 1e-15 * i as f64 }).collect();
        let gram = Mat::from_fn(dim, dim, |i, j| {
            (0..dim).map(|k| r[(i.max(j), k)] * values[k] * r[(i.min(j), k)]).sum::<f64>()
        });
        let basis = check(gram.as_ref());
        assert!((basis.values[0] - 50.0).abs() < 1e-11);
        assert!((basis.values[dim - 1] - 1.0).abs() < 1e-11);
    }
}

#[test]
fn a_spectrum_over_twelve_decades_agrees_with_jacobi() {
    let dim = 40;
    let r = rotation_from_householder(dim, 3);
    let gram = Mat::from_fn(dim, dim, |i, j| {
        let term = |k: usize| 10.0_f64.powf(-0.3 * k as f64);
        (0..dim).map(|k| r[(i.max(j), k)] * term(k) * r[(i.min(j), k)]).sum::<f64>()
    });
    check_against_jacobi(gram.as_ref());
}

#[test]
fn the_same_bits_whatever_the_threads_of_faer() {
    let x = Mat::from_fn(400, 200, |i, j| ((i * 31 + j * 17 + i * j) % 101) as f64 - 50.0);
    let gram = gram_of(&x);
    let before = faer::get_global_parallelism();
    let [sequential, parallel] = [Par::Seq, Par::rayon(3)].map(|par| {
        faer::set_global_parallelism(par);
        check(gram.as_ref())
    });
    faer::set_global_parallelism(before);
    assert_eq!(sequential, parallel);
}

#[test]
fn negative_rounding_becomes_zero() {
    let basis = eigenbasis(mat![[1.0, 0.0], [0.0, -1e-7]].as_ref()).expect("within rounding");
    assert_eq!(basis.values, [1.0, 0.0]);
}

#[track_caller]
fn check_refused(gram: MatRef<'_, f64>, expected: &str) {
    let error = eigenbasis(gram).expect_err("no Gram matrix");
    assert!(error.to_string().contains(expected), "`{error}` does not say `{expected}`");
}

#[test]
fn refuses_what_is_no_gram_matrix() {
    check_refused(Mat::zeros(0, 0).as_ref(), "empty");
    check_refused(Mat::zeros(2, 3).as_ref(), "found [2, 3]");
    check_refused(mat![[1.0, f64::NAN], [0.0, 1.0]].as_ref(), "row 0, column 1");
    check_refused(mat![[1.0, 0.0], [0.0, f64::INFINITY]].as_ref(), "found inf");
    check_refused(mat![[1.7e308, 0.0], [0.0, 1.7e308]].as_ref(), "overflows");
    check_refused(mat![[1.0, 0.5], [0.0, 1.0]].as_ref(), "found 0.5 at [0, 1] and 0 at [1, 0]");
    check_refused(mat![[1.0, 2.0], [2.0, 1.0]].as_ref(), "negative eigenvalue");
    check_refused(mat![[-3.0]].as_ref(), "found -3");
    assert_eq!(
        eigenbasis(Mat::zeros(3, 1).as_ref()),
        Err(PcaError::NotSquare { rows: 3, cols: 1 })
    );
}
