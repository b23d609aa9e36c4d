//! The loss of a rotation on one linear, and its derivatives by the entries of the rotation.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use crate::products::{product, product_sum};
use crate::rounding::{GroupScale, Rounded, round};
use crate::{Problem, Side};

/// `tr(e h eᵀ) / tr(w gram wᵀ)`: the share of the linear's output energy that nearest rounding puts into error, with the
/// stored rotated weights' error `e` and the rotated gram `h`. Products in f32, sums in f64. The loss weight is left out.
///
/// # Panics
/// If `rotation` is not square of the problem's order.
#[must_use]
pub fn loss(problem: &Problem, rotation: MatRef<'_, f64>) -> f64 {
    let rotated = Rotated::new(problem, rotation);
    let rounded = round(rotated.w.as_ref(), problem.grid, problem.group_size);
    let pulled = product(rotated.gram(problem), rounded.error.as_ref());
    product_sum(rounded.error.as_ref(), pulled.as_ref()) / problem.energy
}

/// [`loss`] and its straight-through derivatives by the entries of the rotation (as if these were independent), f64.
///
/// Written channels x outputs, with `v` the rotated weights, `e = v - q(v)` and `h` the rotated gram, the loss is
/// `tr(eᵀ h e)`. A rounding error is `e = s u` with the group's scale `s` and a share `u` of a step between -1/2 and 1/2.
/// How `u` changes inside a rounding cell is noise; it is held fixed, together with codes, zero points and the channels that
/// are extreme. Then
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
pub fn loss_and_gradient(problem: &Problem, rotation: MatRef<'_, f64>) -> (f64, Mat<f64>) {
    let rotated = Rotated::new(problem, rotation);
    let rounded = round(rotated.w.as_ref(), problem.grid, problem.group_size);
    let error = rounded.error.as_ref();
    let pulled = product(rotated.gram(problem), error);
    let loss = product_sum(error, pulled.as_ref());
    let by_weight = through_scales(&rounded, pulled.as_ref(), problem.group_size);
    let (through_weight, through_gram) = match &rotated.turned_gram {
        Some(turned) => {
            let through_gram =
                product(turned.half.as_ref(), product(error, error.transpose()).as_ref());
            (product(problem.w(), by_weight.transpose()), Some(through_gram))
        }
        None => (product(problem.w().transpose(), by_weight.as_ref()), None),
    };
    let n = problem.rotation_order();
    let gradient = Mat::from_fn(n, n, |row, col| {
        let explicit = through_gram.as_ref().map_or(0.0, |g| 2.0 * f64::from(g[(row, col)]));
        (f64::from(through_weight[(row, col)]) + explicit) / problem.energy
    });
    (loss / problem.energy, gradient)
}

/// A problem in the rotated basis, channels x outputs.
struct Rotated {
    w: Mat<f32>,
    /// At the input only; an output rotation leaves the gram as it is.
    turned_gram: Option<TurnedGram>,
}

struct TurnedGram {
    /// `gram r`.
    half: Mat<f32>,
    /// `rᵀ gram r`.
    whole: Mat<f32>,
}

impl Rotated {
    fn new(problem: &Problem, rotation: MatRef<'_, f64>) -> Self {
        let n = problem.rotation_order();
        assert_eq!((rotation.nrows(), rotation.ncols()), (n, n), "rotation of {n} channels");
        let r = to_f32(rotation);
        match problem.side {
            Side::Output => Self { w: product(problem.w(), r.as_ref()), turned_gram: None },
            Side::Input => {
                let half = product(problem.gram.as_ref(), r.as_ref());
                let whole = product(r.transpose(), half.as_ref());
                let w = product(r.transpose(), problem.w());
                Self { w, turned_gram: Some(TurnedGram { half, whole }) }
            }
        }
    }

    fn gram<'a>(&'a self, problem: &'a Problem) -> MatRef<'a, f32> {
        self.turned_gram.as_ref().map_or(problem.gram.as_ref(), |turned| turned.whole.as_ref())
    }
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
