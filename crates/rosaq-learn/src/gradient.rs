//! The loss of a rotation on one linear, and its derivatives by the entries of the rotation.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use crate::products::{product, product_sum};
use crate::rounding::{GroupScale, Rounded, round};
use crate::{Problem, Side};

/// What a gradient takes the rounding errors of different channels to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorModel {
    /// Independent, with their squares as found: the loss then is the sum of these, weighted by the diagonal of the rotated
    /// gram. Products of errors of different channels average to zero, but not over the outputs of one linear; the next step
    /// rounds otherwise, so that descent along them is wasted. It is also the cheaper model, by half of the products.
    Independent,
    /// Just as they were rounded, products of different channels included: the loss itself.
    AsRounded,
}

/// `tr(e h eᵀ) / tr(w gram wᵀ)`: the share of the linear's output energy that nearest rounding puts into error, with the
/// stored rotated weights' error `e` and the rotated gram `h`. Products in f32, sums in f64. The loss weight is left out.
///
/// # Panics
/// If `rotation` is not square of the problem's order.
#[must_use]
pub fn loss(problem: &Problem, rotation: MatRef<'_, f64>) -> f64 {
    let rotated = Rotated::new(problem, rotation);
    let rounded = round(rotated.w.as_ref(), problem.grid, problem.group_size);
    let error = rounded.error.as_ref();
    let pulled = rotated.gram_times(error, ErrorModel::AsRounded);
    product_sum(error, pulled.as_ref()) / problem.energy
}

/// The [`loss`] under an error model and its straight-through derivatives by the entries of the rotation (as if these were
/// independent), f64.
///
/// Written channels x outputs, with `v` the rotated weights, `e = v - q(v)` and `h` the rotated gram, the loss is
/// `tr(eᵀ h e)`; under [`ErrorModel::Independent`] only the diagonals of `h` and `e eᵀ` remain. A rounding error is `e = s u`
/// with the group's scale `s` and a share `u` of a step between -1/2 and 1/2. How `u` changes inside a rounding cell is noise;
/// it is held fixed, together with codes, zero points and the channels that are extreme. Then
///
/// - `∂loss/∂s = 2 Σ (h e) u` over the group, which passes to the largest and the smallest weight by the slopes of the scale
///   (`±1 / (2^b - 1)`, asymmetric); all other weights have none;
/// - `Input`: `v = rᵀ w` and `h = rᵀ gram r` give `w (∂loss/∂v)ᵀ + 2 gram r e eᵀ`;
/// - `Output`: `v = w r` gives `wᵀ (∂loss/∂v)`.
///
/// No code is clamped, since a group's range includes all of its weights: clamping has no case of its own. Source: Bengio et
/// al. (arXiv 1308.3432) for the straight-through estimator, LSQ (arXiv 1902.08153) for the way through the scale.
///
/// # Panics
/// If `rotation` is not square of the problem's order.
#[must_use]
pub fn loss_and_gradient(
    problem: &Problem,
    rotation: MatRef<'_, f64>,
    model: ErrorModel,
) -> (f64, Mat<f64>) {
    let rotated = Rotated::new(problem, rotation);
    let rounded = round(rotated.w.as_ref(), problem.grid, problem.group_size);
    let error = rounded.error.as_ref();
    let pulled = rotated.gram_times(error, model);
    let loss = product_sum(error, pulled.as_ref());
    let by_weight = through_scales(&rounded, pulled.as_ref(), problem.group_size);
    let through_weight = match problem.side {
        Side::Input => product(problem.w(), by_weight.transpose()),
        Side::Output => product(problem.w().transpose(), by_weight.as_ref()),
    };
    let through_gram = rotated.through_gram(error, model);
    let n = problem.rotation_order();
    let gradient = Mat::from_fn(n, n, |row, col| {
        let explicit = through_gram.as_ref().map_or(0.0, |g| 2.0 * f64::from(g[(row, col)]));
        (f64::from(through_weight[(row, col)]) + explicit) / problem.energy
    });
    (loss / problem.energy, gradient)
}

/// A problem in the rotated basis, channels x outputs.
struct Rotated<'a> {
    problem: &'a Problem,
    w: Mat<f32>,
    /// At the input only: an output rotation leaves the gram as it is.
    input: Option<RotatedInput>,
}

struct RotatedInput {
    r: Mat<f32>,
    /// `gram r`.
    half_gram: Mat<f32>,
}

impl<'a> Rotated<'a> {
    fn new(problem: &'a Problem, rotation: MatRef<'_, f64>) -> Self {
        let n = problem.rotation_order();
        assert_eq!((rotation.nrows(), rotation.ncols()), (n, n), "rotation of {n} channels");
        let r = to_f32(rotation);
        match problem.side {
            Side::Output => Self { problem, w: product(problem.w(), r.as_ref()), input: None },
            Side::Input => {
                let w = product(r.transpose(), problem.w());
                let half_gram = product(problem.gram.as_ref(), r.as_ref());
                Self { problem, w, input: Some(RotatedInput { r, half_gram }) }
            }
        }
    }

    /// `h e`, or only the diagonal of `h` times `e`.
    fn gram_times(&self, error: MatRef<'_, f32>, model: ErrorModel) -> Mat<f32> {
        match (model, &self.input) {
            (ErrorModel::AsRounded, None) => product(self.problem.gram.as_ref(), error),
            (ErrorModel::AsRounded, Some(input)) => {
                let gram = product(input.r.transpose(), input.half_gram.as_ref());
                product(gram.as_ref(), error)
            }
            (ErrorModel::Independent, _) => {
                let diagonal = self.gram_diagonal();
                Mat::from_fn(error.nrows(), error.ncols(), |i, j| diagonal[i] * error[(i, j)])
            }
        }
    }

    fn gram_diagonal(&self) -> Vec<f32> {
        let channels = 0..self.problem.weight.cols;
        match &self.input {
            None => channels.map(|i| self.problem.gram[(i, i)]).collect(),
            Some(RotatedInput { r, half_gram }) => {
                channels.map(|i| r.col(i).transpose() * half_gram.col(i)).collect()
            }
        }
    }

    /// `gram r e eᵀ`, or only the diagonal of `e eᵀ`; nothing at the output.
    fn through_gram(&self, error: MatRef<'_, f32>, model: ErrorModel) -> Option<Mat<f32>> {
        let half_gram = self.input.as_ref()?.half_gram.as_ref();
        Some(match model {
            ErrorModel::AsRounded => product(half_gram, product(error, error.transpose()).as_ref()),
            ErrorModel::Independent => {
                let squares = row_squares(error);
                Mat::from_fn(half_gram.nrows(), half_gram.ncols(), |i, j| {
                    half_gram[(i, j)] * squares[j]
                })
            }
        })
    }
}

/// The sum of squares of each row, output after output.
fn row_squares(error: MatRef<'_, f32>) -> Vec<f32> {
    let mut squares = vec![0.0; error.nrows()];
    for column in error.col_iter() {
        for (square, e) in squares.iter_mut().zip(column.iter()) {
            *square += e * e;
        }
    }
    squares
}

/// Derivatives by the rotated weights: of each group only the extremes have one.
fn through_scales(rounded: &Rounded, pulled: MatRef<'_, f32>, group_size: usize) -> Mat<f32> {
    let error = rounded.error.as_ref();
    let n_groups = error.nrows().div_ceil(group_size);
    let mut by_weight = Mat::zeros(error.nrows(), error.ncols());
    let columns = by_weight.as_mut().par_col_chunks_mut(1).enumerate();
    columns.for_each(|(output, column)| {
        let mut column = column.col_mut(0);
        let scales = &rounded.scales[output * n_groups..(output + 1) * n_groups];
        for (group_idx, group) in scales.iter().enumerate() {
            let first = group_idx * group_size;
            let channels = first..(first + group_size).min(error.nrows());
            let sum: f64 = channels
                .map(|i| f64::from(pulled[(i, output)]) * f64::from(error[(i, output)]))
                .sum();
            pass_to_extremes(group, 2.0 * sum / f64::from(group.scale), |channel, derivative| {
                column[first + channel] += derivative;
            });
        }
    });
    by_weight
}

#[expect(clippy::cast_possible_truncation, reason = "products run in f32")]
fn pass_to_extremes(group: &GroupScale, by_scale: f64, mut add: impl FnMut(usize, f32)) {
    for (channel, slope) in group.extremes {
        add(channel, (by_scale * f64::from(slope)) as f32);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "products run in f32")]
fn to_f32(r: MatRef<'_, f64>) -> Mat<f32> {
    Mat::from_fn(r.nrows(), r.ncols(), |row, col| r[(row, col)] as f32)
}
