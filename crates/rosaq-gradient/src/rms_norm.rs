//! Root-mean-square normalization, forth and back.

/// Rows divided by their root mean square, with what the way back needs.
#[derive(Debug)]
pub(crate) struct Normalized {
    channels: usize,
    /// The normalized rows, before the gain.
    values: Vec<f32>,
    /// What each row was multiplied with.
    factors: Vec<f32>,
}

impl Normalized {
    /// Divides each row of `x`, row-major `[rows, channels]`, by `sqrt(mean(x²) + eps)`; sums in f64.
    ///
    /// Source: `RMSNorm` (arXiv 1910.07467), eq. 4.
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    pub(crate) fn of(x: &[f32], channels: usize, eps: f32) -> Self {
        let mut values = x.to_vec();
        let mut factors = Vec::with_capacity(x.len() / channels);
        for row in values.chunks_exact_mut(channels) {
            let mean_square = dot(row, row) / channels as f64;
            let factor = (1.0 / (mean_square + f64::from(eps)).sqrt()) as f32;
            row.iter_mut().for_each(|value| *value *= factor);
            factors.push(factor);
        }
        Self { channels, values, factors }
    }

    /// The normalized rows times `gain`, `[channels]`.
    pub(crate) fn with_gain(&self, gain: &[f32]) -> Vec<f32> {
        let rows = self.values.chunks_exact(self.channels);
        rows.flat_map(|row| row.iter().zip(gain).map(|(value, g)| value * g)).collect()
    }

    /// Turns `gradient`, row-major `[rows, channels]`, from that of the normalized rows times `gain` into that of the rows
    /// before: with `n = x f` and `f = 1 / sqrt(mean(x²) + eps)`, `dx = f (dn - n mean(dn n))`.
    #[expect(clippy::cast_possible_truncation, reason = "gradients are f32")]
    pub(crate) fn backward(&self, gain: &[f32], gradient: &mut [f32]) {
        let rows = gradient.chunks_exact_mut(self.channels);
        let normalized = self.values.chunks_exact(self.channels);
        for ((gradient, normalized), factor) in rows.zip(normalized).zip(&self.factors) {
            for (value, g) in gradient.iter_mut().zip(gain) {
                *value *= g;
            }
            let mean = (dot(gradient, normalized) / self.channels as f64) as f32;
            for (value, n) in gradient.iter_mut().zip(normalized) {
                *value = factor * (*value - n * mean);
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}
