//! Marks of single questions, and means over many.

use serde::Serialize;

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Whether the likeliest choice is the right one.
    pub acc: bool,
    /// The same with log-likelihoods divided by code points, where that is measured.
    pub acc_norm: Option<bool>,
}

/// A mean over questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measure {
    /// The mean, 0 to 1.
    pub value: f64,
    /// Its standard error, `s / sqrt(n)` with the sample standard deviation; 0 for a single question.
    pub stderr: f64,
}

/// Marks a question by the log-likelihoods of its choices. Of equal ones the first counts.
#[must_use]
pub fn mark(log_likelihoods: &[f32], gold: usize, lengths: Option<&[usize]>) -> Marks {
    let scores = || log_likelihoods.iter().map(|&ll| f64::from(ll));
    let acc_norm = lengths.map(|lengths| {
        largest(scores().zip(lengths).map(|(ll, &len)| ll / len as f64)) == Some(gold)
    });
    Marks { acc: largest(scores()) == Some(gold), acc_norm }
}

/// Index of the first of the largest values.
fn largest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (idx, value) in values.enumerate() {
        if best.is_none_or(|(_, best)| value > best) {
            best = Some((idx, value));
        }
    }
    best.map(|(idx, _)| idx)
}

impl Measure {
    /// Over `n` questions of which `right` were answered rightly.
    pub(crate) fn of(right: usize, n: usize) -> Self {
        let value = right as f64 / n as f64;
        // The squares of the differences from the mean add up to n p (1 - p).
        let variance = value * (1.0 - value) * n as f64 / n.saturating_sub(1).max(1) as f64;
        Self { value, stderr: (variance / n as f64).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lowest_index() {
        assert!(mark(&[-2.0, -1.0, -1.0], 1, None).acc);
        assert!(!mark(&[-2.0, -1.0, -1.0], 2, None).acc);
        let tied = mark(&[-6.0, -4.0, -2.0], 0, Some(&[3, 2, 1]));
        assert_eq!((tied.acc, tied.acc_norm), (false, Some(true)));
    }

    #[test]
    fn standard_error_is_that_of_the_marks() {
        // 3 of 5: mean 0.6, squares 3 * 0.16 + 2 * 0.36 = 1.2, 1.2 / 4 / 5.
        let found = Measure::of(3, 5);
        assert!((found.value - 0.6).abs() < 1e-15);
        assert!((found.stderr - (1.2_f64 / 20.0).sqrt()).abs() < 1e-15);
        assert_eq!(Measure::of(1, 1), Measure { value: 1.0, stderr: 0.0 });
        assert_eq!(Measure::of(0, 7), Measure { value: 0.0, stderr: 0.0 });
    }
}
