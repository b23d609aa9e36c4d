//! How a channel's rounding error reaches the channels that are rounded later.

use std::cmp::Ordering;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
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
    /// The mean of `D`, of the Gram matrix as it was given.
    mean_pivot: f64,
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
            if let Some((factor, mean_pivot)) = unit_cholesky(damped) {
                return Ok(Self { factor, mean_pivot: mean_pivot * mean });
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
        self.mean_pivot
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

/// `L` of `L D Lᵀ` and the mean of `D`, or `None` when `matrix` is not positive definite within rounding: a pivot under `n` roundings of its own
/// diagonal entry is noise, and the column divided by its root would be too.
fn unit_cholesky(mut matrix: Mat<f64>) -> Option<(Mat<f64>, f64)> {
    let n = matrix.nrows();
    let least: Vec<f64> = (0..n).map(|i| n as f64 * f64::EPSILON * matrix[(i, i)]).collect();
    let params = Spec::default();
    let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, params));
    let stack = MemStack::new(&mut buffer);
    cholesky_in_place(matrix.as_mut(), LltRegularization::default(), Par::Seq, stack, params)
        .ok()?;
    let mut mean_pivot = 0.0;
    for (i, least) in least.into_iter().enumerate() {
        let pivot = matrix[(i, i)];
        // Written so that a NaN fails as well.
        if !(pivot.is_finite() && pivot * pivot > least) {
            return None;
        }
        mean_pivot += pivot * pivot / n as f64;
        for entry in matrix.col_mut(i).iter_mut().skip(i) {
            *entry /= pivot;
        }
    }
    Some((matrix, mean_pivot))
}

#[cfg(test)]
mod tests {
    use super::*;

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
