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
            if let Some(factor) = unit_cholesky(damped) {
                return Ok(Self { factor });
            }
            if damping >= MOST_RAISED_DAMPING {
                return Err(QuantError::NotPositiveDefinite { damping });
            }
            damping = (10.0 * damping).clamp(LEAST_RAISED_DAMPING, MOST_RAISED_DAMPING);
        }
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

/// `L` of `L D Lᵀ`, or `None` when `matrix` is not positive definite within rounding: a pivot under `n` roundings of its own
/// diagonal entry is noise, and the column divided by its root would be too.
fn unit_cholesky(mut matrix: Mat<f64>) -> Option<Mat<f64>> {
    let n = matrix.nrows();
    let least: Vec<f64> = (0..n).map(|i| n as f64 * f64::EPSILON * matrix[(i, i)]).collect();
    let params = Spec::default();
    let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, params));
    let stack = MemStack::new(&mut buffer);
    cholesky_in_place(matrix.as_mut(), LltRegularization::default(), Par::Seq, stack, params)
        .ok()?;
    for (i, least) in least.into_iter().enumerate() {
        let pivot = matrix[(i, i)];
        // Written so that a NaN fails as well.
        if !(pivot.is_finite() && pivot * pivot > least) {
            return None;
        }
        for entry in matrix.col_mut(i).iter_mut().skip(i) {
            *entry /= pivot;
        }
    }
    Some(matrix)
}
