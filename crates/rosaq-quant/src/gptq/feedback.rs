//! How a channel's rounding error reaches the channels that are rounded later.

use std::cmp::Ordering;
use std::ops::Range;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::triangular_inverse::invert_unit_lower_triangular;
use faer::{Mat, MatRef, Par, Spec};

use crate::QuantError;

/// The first damping after one that failed is at least this: from 0, tenfold leads nowhere. Below it, f64 resolves little of
/// a matrix whose chunks were multiplied in f32.
const LEAST_RAISED_DAMPING: f64 = 1e-6;
/// The last damping tried. A Gram matrix is positive semidefinite but for rounding, so that its mean diagonal is ample.
const MOST_RAISED_DAMPING: f64 = 1.0;

/// The unit lower triangle `L` of `H = L D Lᵀ` for the damped Gram matrix in *reversed* rounding order: the channel that is
/// rounded first stands last, and `L[(j, i)]`, `j > i`, is the share of the error at `j` that `i` takes over.
#[derive(Debug)]
pub(super) struct Feedback {
    factor: Mat<f64>,
    /// `D`, of the Gram matrix as it was given.
    pivots: Vec<f64>,
}

/// The diagonal of `gram`, with 0 for every entry that is not positive.
pub(super) fn channel_energies(gram: MatRef<'_, f64>) -> Result<Vec<f64>, QuantError> {
    for channel in 0..gram.ncols() {
        if let Some(&found) = gram.col(channel).iter().find(|v| !v.is_finite()) {
            return Err(QuantError::GramNotFinite { channel, found });
        }
    }
    Ok((0..gram.ncols()).map(|i| gram[(i, i)].max(0.0)).collect())
}

impl Feedback {
    /// Factors `gram`, whose channel `channels[p]` stands at position `p`; `energies` is its diagonal.
    pub(super) fn new(
        gram: MatRef<'_, f64>,
        energies: &[f64],
        channels: &[usize],
        damping: f64,
    ) -> Result<Self, QuantError> {
        if !(damping.is_finite() && damping >= 0.0) {
            return Err(QuantError::Damping { found: damping });
        }
        let n = channels.len() as f64;
        let mean = energies.iter().map(|e| e / n).sum::<f64>();
        let mut damping = damping;
        loop {
            let damped = damped_gram(gram, energies, channels, mean, damping);
            if let Some((factor, mut pivots)) = unit_cholesky(damped) {
                pivots.iter_mut().for_each(|pivot| *pivot *= mean);
                return Ok(Self { factor, pivots });
            }
            if damping >= MOST_RAISED_DAMPING {
                return Err(QuantError::NotPositiveDefinite { damping });
            }
            damping = (10.0 * damping).clamp(LEAST_RAISED_DAMPING, MOST_RAISED_DAMPING);
        }
    }

    /// What an error of variance 1 in every channel, uncorrelated, adds to the output's squared error on average once later
    /// channels have taken over what they can.
    pub(super) fn mean_pivot(&self) -> f64 {
        self.pivots.iter().sum::<f64>() / self.pivots.len().max(1) as f64
    }

    /// What the square of a rounding error at each position adds to the output's squared error.
    pub(super) fn pivots(&self) -> &[f64] {
        &self.pivots
    }

    /// What errors of variance 1 in all of `positions` but the last-rounded add to the variance of what is rounded there, on
    /// average: `|L_gg⁻¹|² / n - 1`.
    ///
    /// The targets of rounding exceed the weights by `(1 - M⁻ᵀ) r`, with `r` the rounding errors themselves, so that
    /// the sum of squares of the rows of `M⁻ᵀ`, the diagonal apart, is what errors of variance 1 add.
    pub(super) fn growth(&self, positions: Range<usize>) -> f64 {
        let (start, n) = (positions.start, positions.len());
        let factor = self.factor.submatrix(start, start, n, n);
        let mut inverse = Mat::<f64>::zeros(n, n);
        invert_unit_lower_triangular(inverse.as_mut(), factor, Par::Seq);
        let below = |col: usize| inverse.col(col).iter().skip(col + 1).map(|v| v * v).sum::<f64>();
        (0..n).map(below).sum::<f64>() / n.max(1) as f64
    }

    /// Column `i` below row `i` is what position `i` takes over; entries above the diagonal mean nothing.
    pub(super) fn factor(&self) -> MatRef<'_, f64> {
        self.factor.as_ref()
    }
}

/// The lower triangle of the permuted, symmetrized and damped Gram matrix over its mean diagonal. Channels without energy are
/// decoupled from the others.
fn damped_gram(
    gram: MatRef<'_, f64>,
    energies: &[f64],
    channels: &[usize],
    mean: f64,
    damping: f64,
) -> Mat<f64> {
    let dead = |channel: usize| energies[channel] / mean == 0.0 || mean == 0.0;
    Mat::from_fn(channels.len(), channels.len(), |i, j| {
        let (a, b) = (channels[i], channels[j]);
        match i.cmp(&j) {
            Ordering::Less => 0.0,
            Ordering::Equal if dead(a) => 1.0,
            Ordering::Equal => energies[a] / mean + damping,
            Ordering::Greater if dead(a) || dead(b) => 0.0,
            Ordering::Greater => (0.5 * gram[(a, b)] + 0.5 * gram[(b, a)]) / mean,
        }
    })
}

/// `L` of `L D Lᵀ` and `D`, or `None` when `matrix` is not positive definite within rounding: a pivot under `n` roundings of its own
/// diagonal entry is noise, and the column divided by its root would be too.
fn unit_cholesky(mut matrix: Mat<f64>) -> Option<(Mat<f64>, Vec<f64>)> {
    let n = matrix.nrows();
    let least: Vec<f64> = (0..n).map(|i| n as f64 * f64::EPSILON * matrix[(i, i)]).collect();
    let params = Spec::default();
    let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, params));
    let stack = MemStack::new(&mut buffer);
    cholesky_in_place(matrix.as_mut(), LltRegularization::default(), Par::Seq, stack, params)
        .ok()?;
    let mut pivots = Vec::with_capacity(n);
    for (i, least) in least.into_iter().enumerate() {
        let pivot = matrix[(i, i)];
        // Written so that a NaN fails as well.
        if !(pivot.is_finite() && pivot * pivot > least) {
            return None;
        }
        pivots.push(pivot * pivot);
        for entry in matrix.col_mut(i).iter_mut().skip(i) {
            *entry /= pivot;
        }
    }
    Some((matrix, pivots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_errors_of_variance_1_do_to_later_targets() {
        let gram = faer::mat![[4.0, 2.0, 1.0], [2.0, 9.0, 3.0], [1.0, 3.0, 6.0]];
        let energies = channel_energies(gram.as_ref()).unwrap();
        let feedback = Feedback::new(gram.as_ref(), &energies, &[2, 1, 0], 0.0).unwrap();
        // By the definition: the error at a position is what its rounding leaves less what it took over from those before.
        let factor = feedback.factor();
        let (mut sum, n) = (0.0, 3);
        for source in 0..n {
            let mut errors = [0.0; 3];
            errors[source] = 1.0;
            for position in (0..source).rev() {
                let taken: f64 = (position + 1..n).map(|j| factor[(j, position)] * errors[j]).sum();
                errors[position] = -taken;
                sum += taken * taken;
            }
        }
        assert!((feedback.growth(0..3) - sum / 3.0).abs() < 1e-12);
        assert!(feedback.growth(1..2).abs() < 1e-12, "one channel has none before it");
    }

    #[test]
    fn the_mean_pivot_is_that_of_the_order_of_rounding() {
        let gram = faer::mat![[8.0, 6.0], [6.0, 12.0]];
        let of = |channels: &[usize], damping: f64| {
            let energies = channel_energies(gram.as_ref()).unwrap();
            Feedback::new(gram.as_ref(), &energies, channels, damping).unwrap().mean_pivot()
        };
        // The first to be rounded stands last: of its energy the other takes over what they share.
        assert!((of(&[1, 0], 0.0) - (8.0 - 36.0 / 12.0 + 12.0) / 2.0).abs() < 1e-12);
        assert!((of(&[0, 1], 0.0) - (12.0 - 36.0 / 8.0 + 8.0) / 2.0).abs() < 1e-12);
        // A tenth of the mean diagonal, which is 10.
        assert!((of(&[1, 0], 0.1) - (9.0 - 36.0 / 13.0 + 13.0) / 2.0).abs() < 1e-12);
    }
}
