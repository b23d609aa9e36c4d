//! The figures of a measurement.

/// Perplexity of a model on a text and, where there is a reference, its divergence from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// `exp(mean_nll)`.
    pub perplexity: f64,
    /// Mean negative log-likelihood of the scored tokens, natural logarithm.
    pub mean_nll: f64,
    /// Standard error of `mean_nll` over the scored tokens (as if they were independent).
    pub nll_stderr: f64,
    /// Number of scored tokens: all but the first of every window.
    pub n_tokens: usize,
    /// Mean over the scored tokens of KL(reference || model), natural logarithm.
    pub kl: Option<f64>,
    /// Standard error of `kl` over the scored tokens (as if they were independent).
    pub kl_stderr: Option<f64>,
}

impl Score {
    /// From the negative log-likelihood of every scored token; there is at least one.
    pub(crate) fn from_nll(nll: impl Iterator<Item = f64> + Clone) -> Self {
        let (n_tokens, mean_nll, nll_stderr) = mean_and_stderr(nll);
        let perplexity = mean_nll.exp();
        Self { perplexity, mean_nll, nll_stderr, n_tokens, kl: None, kl_stderr: None }
    }

    /// Adds the divergence of every scored token.
    pub(crate) fn with_kl(self, kl: impl Iterator<Item = f64> + Clone) -> Self {
        let (_, kl, kl_stderr) = mean_and_stderr(kl);
        Self { kl: Some(kl), kl_stderr: Some(kl_stderr), ..self }
    }
}

/// Number, mean and standard error `s / sqrt(n)` with the sample standard deviation `s`; the error
/// of a single value is 0. Sums run in order, in f64.
#[must_use]
pub fn mean_and_stderr(values: impl Iterator<Item = f64> + Clone) -> (usize, f64, f64) {
    let n = values.clone().count();
    let mean = values.clone().sum::<f64>() / n as f64;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    let variance = squares / n.saturating_sub(1).max(1) as f64;
    (n, mean, (variance / n as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_of_four_values() {
        // Squares of the differences from 4 add to 20; 20 / 3 / 4 under the root.
        let (n, mean, stderr) = mean_and_stderr([1.0, 3.0, 5.0, 7.0].into_iter());
        assert_eq!((n, mean), (4, 4.0));
        assert!((stderr - (20.0_f64 / 12.0).sqrt()).abs() < 1e-15);
        assert_eq!(mean_and_stderr([2.5].into_iter()), (1, 2.5, 0.0));
    }
}
