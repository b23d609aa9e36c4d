//! The parts of a report that are drawn: errors, eigenvalues, magnitudes.

use serde::{Deserialize, Serialize};

/// How far the output of one quantized linear is from the original's on the calibration set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinearError {
    /// Position of the block, from 0.
    pub layer: usize,
    /// The role's word.
    pub role: String,
    /// `|x ŵ - x w| / |x w|`, Frobenius norms; 0.05 is an error of 5 %.
    pub relative: f64,
}

/// Eigenvalues of one Gram matrix.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spectrum {
    /// Position of the block, from 0.
    pub layer: usize,
    /// The activation site's word.
    pub site: String,
    /// Eigenvalues of `xᵀx`, descending, not divided by the number of tokens.
    pub eigenvalues: Vec<f64>,
    /// K: how many of the first ones are salient.
    pub salient: usize,
    /// N: tokens that were summed over; 0 if unknown.
    pub tokens: u64,
}

impl Spectrum {
    /// Share of the first `salient` eigenvalues in the sum of all; `None` if the sum is not positive and finite.
    /// Negative ones, which only rounding makes, count as 0.
    pub(crate) fn share_kept(&self) -> Option<f64> {
        let sum = |values: &[f64]| values.iter().map(|v| v.max(0.0)).sum::<f64>();
        let whole = sum(&self.eigenvalues);
        let n_kept = self.salient.min(self.eigenvalues.len());
        let share = sum(&self.eigenvalues[..n_kept]) / whole;
        (whole > 0.0 && share.is_finite()).then_some(share)
    }
}

/// How large each channel's activations are at one site, before and after its rotation.
///
/// [`Magnitudes::measure`] says by which mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Magnitudes {
    /// Position of the block, from 0.
    pub layer: usize,
    /// The activation site's word.
    pub site: String,
    /// What the figures are, such as `mean |x|` or `rms x`.
    pub measure: String,
    /// In original channels, in their own order.
    pub before: Vec<f32>,
    /// In the eigenbasis, salient channels first.
    pub after: Vec<f32>,
    /// K: how many of the first channels of `after` are salient.
    pub salient: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(eigenvalues: &[f64], salient: usize, expected: Option<f64>) {
        let spectrum =
            Spectrum { eigenvalues: eigenvalues.to_vec(), salient, ..Spectrum::default() };
        assert_eq!(spectrum.share_kept(), expected);
    }

    #[test]
    fn share_of_energy() {
        check(&[6.0, 1.0, 1.0], 1, Some(0.75));
        check(&[6.0, 2.0, -1e-9], 9, Some(1.0));
        check(&[6.0, 2.0], 0, Some(0.0));
        check(&[], 3, None);
        check(&[0.0, 0.0], 1, None);
        check(&[f64::INFINITY, 1.0], 1, None);
        check(&[f64::NAN, 1.0, 1.0], 2, Some(0.5));
    }
}
