//! Gradient descent with momentum over rotations, by Cayley transforms.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::{lu_in_place, lu_in_place_scratch};
use faer::linalg::lu::partial_pivoting::solve::{solve_in_place, solve_in_place_scratch};
use faer::{Mat, MatRef, Par, Spec};
use rayon::prelude::*;

use crate::RotateError;
use crate::products::{TILE_COLUMNS, orthogonality_defect, orthogonality_error, product};

/// Steps between two looks at the drift. A step adds about 1e-15, so that the bound is far away at the next look.
const STEPS_A_CHECK: usize = 16;

/// Largest magnitude of `rᵀr - 1` that is left alone.
const DRIFT: f64 = 1e-8;

/// Frobenius norm of `rᵀr - 1` up to which a start is repaired: singular values stay inside `(0.7, 1.3)`, where the
/// iteration of [`polar`] converges. A rotation stored in f16 is about `0.001 sqrt(n)` off.
const REPAIRED: f64 = 0.5;

/// Cayley SGD with momentum for one rotation `r`.
///
/// A step moves `r` to `(1 - a/2 v)⁻¹ (1 + a/2 v) r`, where `v` is skew: the momentum, less the gradient's tangent. The
/// transform is exactly orthogonal, so only rounding makes `r` drift, and `r` never leaves its connected component.
///
/// Source: Li, Fuxin and Todorovic (arXiv 2002.01113), algorithm 1, for square matrices, where the momentum may be kept as
/// the skew matrix itself: it commutes with its own Cayley transform, so moving it along the path leaves it as it is (their
/// projection shrinks it in second order of the step). The linear system is solved, not iterated, so the step needs no bound.
#[derive(Debug, Clone)]
pub struct CayleySgd {
    rotation: Mat<f64>,
    velocity: Mat<f64>,
    momentum: f64,
    n_steps: usize,
}

impl CayleySgd {
    /// Starts at `start`, square, which is made orthogonal when it is only nearly so (such as one that was stored in f16).
    /// `momentum` is the share of the last direction that is kept, from 0 to below 1.
    ///
    /// # Errors
    /// [`RotateError::NotSquare`], [`RotateError::NotOrthogonal`].
    ///
    /// # Panics
    /// If `momentum` is not in `0..1`.
    pub fn new(start: Mat<f64>, momentum: f64) -> Result<Self, RotateError> {
        assert!((0.0..1.0).contains(&momentum), "momentum {momentum} is not in 0..1");
        let (rows, cols) = (start.nrows(), start.ncols());
        if rows != cols {
            return Err(RotateError::NotSquare { rows, cols });
        }
        let distance = orthogonality_defect(start.as_ref()).norm_l2();
        if distance.is_nan() || distance > REPAIRED {
            return Err(RotateError::NotOrthogonal { n: rows, distance, allowed: REPAIRED });
        }
        Ok(Self { rotation: polar(start), velocity: Mat::zeros(rows, rows), momentum, n_steps: 0 })
    }

    /// The rotation as it stands.
    #[must_use]
    pub fn rotation(&self) -> MatRef<'_, f64> {
        self.rotation.as_ref()
    }

    /// The rotation, made orthogonal to rounding.
    #[must_use]
    pub fn into_rotation(self) -> Mat<f64> {
        polar(self.rotation)
    }

    /// The part of a gradient that turns `r`: `(g rᵀ - r gᵀ) / 2`, skew. To first order a step along `w` changes the loss
    /// by the sum of the products of the entries of both, and each channel's direction by an angle whose mean square over
    /// channels is `|w|² / n`.
    ///
    /// # Panics
    /// If `gradient` has not the shape of the rotation.
    #[must_use]
    pub fn tangent(&self, gradient: MatRef<'_, f64>) -> Mat<f64> {
        let n = self.rotation.nrows();
        assert_eq!((gradient.nrows(), gradient.ncols()), (n, n), "gradient of a rotation of {n}");
        let ambient = product(gradient, self.rotation.transpose());
        Mat::from_fn(n, n, |row, col| 0.5 * (ambient[(row, col)] - ambient[(col, row)]))
    }

    /// One step of descent against `gradient`, the derivatives of the loss by the entries of `r`.
    ///
    /// # Errors
    /// [`RotateError::NotFinite`]; the rotation stays as it was.
    ///
    /// # Panics
    /// If `gradient` has not the shape of the rotation.
    pub fn step(
        &mut self,
        gradient: MatRef<'_, f64>,
        learning_rate: f64,
    ) -> Result<(), RotateError> {
        let tangent = self.tangent(gradient);
        self.step_against(tangent.as_ref(), learning_rate)
    }

    /// One step of descent against a tangent, such as one of [`Self::tangent`] that was normalized.
    ///
    /// # Errors
    /// [`RotateError::NotFinite`]; the rotation stays as it was.
    ///
    /// # Panics
    /// If `tangent` has not the shape of the rotation.
    pub fn step_against(
        &mut self,
        tangent: MatRef<'_, f64>,
        learning_rate: f64,
    ) -> Result<(), RotateError> {
        let n = self.rotation.nrows();
        assert_eq!((tangent.nrows(), tangent.ncols()), (n, n), "tangent of a rotation of {n}");
        let velocity = Mat::from_fn(n, n, |row, col| {
            self.momentum * self.velocity[(row, col)] - tangent[(row, col)]
        });
        if !velocity.is_all_finite() || !learning_rate.is_finite() {
            return Err(RotateError::NotFinite { n });
        }
        self.rotation = cayley(velocity.as_ref(), 0.5 * learning_rate, self.rotation.as_ref());
        self.velocity = velocity;
        self.n_steps += 1;
        if self.n_steps.is_multiple_of(STEPS_A_CHECK)
            && orthogonality_error(self.rotation.as_ref()) > DRIFT
        {
            self.rotation = polar(std::mem::replace(&mut self.rotation, Mat::new()));
        }
        Ok(())
    }
}

/// `(1 - h v)⁻¹ (1 + h v) r = 2 (1 - h v)⁻¹ r - r` for a skew `v`; the system is never singular. The factorization runs on
/// one thread and the solution in tiles of columns, so that the result does not depend on the number of threads.
fn cayley(v: MatRef<'_, f64>, half_step: f64, r: MatRef<'_, f64>) -> Mat<f64> {
    let n = r.nrows();
    let mut lu =
        Mat::from_fn(n, n, |row, col| f64::from(u8::from(row == col)) - half_step * v[(row, col)]);
    let (mut forward, mut backward) = (vec![0_usize; n], vec![0_usize; n]);
    let scratch = lu_in_place_scratch::<usize, f64>(n, n, Par::Seq, Spec::default());
    let (_, permutation) = lu_in_place(
        lu.as_mut(),
        &mut forward,
        &mut backward,
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Spec::default(),
    );
    let mut turned = r.to_owned();
    turned.as_mut().par_col_chunks_mut(TILE_COLUMNS).for_each(|mut tile| {
        let scratch = solve_in_place_scratch::<usize, f64>(n, tile.ncols(), Par::Seq);
        let mut memory = MemBuffer::new(scratch);
        let stack = MemStack::new(&mut memory);
        solve_in_place(lu.as_ref(), lu.as_ref(), permutation, tile.as_mut(), Par::Seq, stack);
    });
    turned * 2.0 - r
}

/// The nearest orthogonal matrix, by Newton-Schulz: each pass squares the distance, so three make rounding of [`REPAIRED`]'s
/// usual cases and eight of all.
fn polar(mut r: Mat<f64>) -> Mat<f64> {
    const PASSES: usize = 8;
    for _ in 0..PASSES {
        let defect = orthogonality_defect(r.as_ref());
        // Below, another pass would only add its own rounding.
        if defect.norm_max() < 1e-13 {
            break;
        }
        r -= product(r.as_ref(), defect.as_ref()) * 0.5;
    }
    r
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hadamard_rotation, random_orthogonal};

    /// A full square matrix of numbers between -1 and 1.
    fn noise(n: usize, seed: u64) -> Mat<f64> {
        let (u, v) = (random_orthogonal(n, seed), random_orthogonal(n, seed + 1));
        Mat::from_fn(n, n, |i, j| u[(i, j)] + 0.5 * v[(j, i)])
    }

    #[test]
    fn a_thousand_steps_stay_orthogonal() {
        let n = 24;
        let mut sgd = CayleySgd::new(hadamard_rotation(n).unwrap(), 0.9).unwrap();
        for seed in 0..1000 {
            // Steps of up to a right angle, far beyond any that descent takes.
            sgd.step(noise(n, seed).as_ref(), 0.3).unwrap();
        }
        // Rounding of 1,000 solutions; it would be repaired at 1e-8.
        assert!(orthogonality_error(sgd.rotation()) < 1e-11);
        assert!(orthogonality_error(sgd.into_rotation().as_ref()) < 1e-13);
    }

    #[test]
    fn a_start_in_f16_is_repaired_and_another_refused() {
        let n = 36;
        let r = random_orthogonal(n, 4);
        let rounded = Mat::from_fn(n, n, |i, j| (r[(i, j)] * 2048.0).round() / 2048.0);
        let repaired = CayleySgd::new(rounded, 0.0).unwrap().into_rotation();
        assert!(orthogonality_error(repaired.as_ref()) < 1e-13);
        assert!((&repaired - &r).norm_max() < 1e-3); // as far as the rounding moved it
        let doubled = CayleySgd::new(r * 2.0, 0.0).unwrap_err();
        assert!(matches!(doubled, RotateError::NotOrthogonal { n: 36, .. }), "{doubled}");
        let wide = CayleySgd::new(Mat::zeros(2, 3), 0.0).unwrap_err();
        assert_eq!(wide, RotateError::NotSquare { rows: 2, cols: 3 });
    }

    #[test]
    fn a_gradient_of_nan_changes_nothing() {
        let mut sgd = CayleySgd::new(Mat::identity(3, 3), 0.5).unwrap();
        let broken = Mat::from_fn(3, 3, |i, _| if i == 1 { f64::NAN } else { 1.0 });
        assert_eq!(sgd.step(broken.as_ref(), 0.1), Err(RotateError::NotFinite { n: 3 }));
        assert_eq!(sgd.rotation(), Mat::<f64>::identity(3, 3).as_ref());
    }

    /// The rotation that maximizes the trace of `rᵀ a` is `u vᵀ` of the singular value decomposition of `a`, with the last
    /// column of `u` negated when that has the wrong determinant: descent cannot change it.
    #[track_caller]
    fn check_procrustes(n: usize, seed: u64) {
        let a = noise(n, seed);
        let svd = a.svd().unwrap();
        let (mut u, v) = (svd.U().to_owned(), svd.V().to_owned());
        let start = Mat::<f64>::identity(n, n);
        if (&u * v.transpose()).determinant() < 0.0 {
            u.col_mut(n - 1).iter_mut().for_each(|value| *value = -*value);
        }
        let best = &u * v.transpose();
        let trace = |r: MatRef<'_, f64>| (r.transpose() * &a).diagonal().column_vector().sum();
        let mut sgd = CayleySgd::new(start, 0.8).unwrap();
        for _ in 0..3000 {
            sgd.step((&a * -1.0).as_ref(), 0.05).unwrap();
        }
        let (found, expected) = (trace(sgd.rotation()), trace(best.as_ref()));
        assert!((found - expected).abs() < 1e-9 * expected.abs(), "{found} of {expected}");
    }

    #[test]
    fn it_solves_the_orthogonal_procrustes_problem() {
        for (n, seed) in [(2, 1), (3, 2), (5, 3), (8, 4), (12, 5)] {
            check_procrustes(n, seed);
        }
    }

    #[test]
    fn a_step_is_the_cayley_transform() {
        // In the plane a rotation by 2 atan(h) has the transform of [[0, h], [-h, 0]].
        let mut sgd = CayleySgd::new(Mat::identity(2, 2), 0.0).unwrap();
        let gradient = Mat::from_fn(2, 2, |i, j| f64::from(u8::from(i < j)));
        sgd.step(gradient.as_ref(), 0.4).unwrap();
        // The tangent is half of the gradient's skew part.
        let angle = 2.0 * (0.5_f64 * 0.4 * 0.5).atan();
        assert!((sgd.rotation()[(1, 0)] - angle.sin()).abs() < 1e-15);
        assert!((sgd.rotation()[(0, 0)] - angle.cos()).abs() < 1e-15);
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut sgd = CayleySgd::new(hadamard_rotation(144).unwrap(), 0.9).unwrap();
                for seed in 0..3 {
                    sgd.step(noise(144, seed).as_ref(), 0.1).unwrap();
                }
                sgd.into_rotation()
            })
        };
        assert_eq!(run(1), run(3));
    }
}
