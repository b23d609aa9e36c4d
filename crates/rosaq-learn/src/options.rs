//! How long, how fast and on what a rotation is learned.

use std::f64::consts::PI;

use crate::ErrorModel;

/// How the learning rate falls over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decay {
    /// In equal parts down to zero after the last step, as SpinQuant has it.
    Linear,
    /// Along half a cosine: slow at both ends.
    Cosine,
}

/// Settings of [`crate::learn`].
#[derive(Debug, Clone, PartialEq)]
pub struct LearnOptions {
    /// Steps of descent; none leaves the start as it is.
    pub n_steps: usize,
    /// Root mean square angle, in radians, by which a step of unchanging direction turns the channels. It does not depend on
    /// the size of the model, the bits, or the unit of the loss, since gradients are normalized. Gradients of different
    /// batches partly cancel in the momentum, so channels turn by far less than the sum of all rates. The default is the best
    /// of 0.02 to 0.2 on linears of SmolLM2-135M, 4 bits in groups of 128.
    pub learning_rate: f64,
    /// Share of the last direction that is kept, from 0 to below 1.
    pub momentum: f64,
    /// What the gradient takes rounding errors to be. Checks always see them as rounded.
    pub error_model: ErrorModel,
    /// Problems whose gradients make up a step; more than there are means all.
    pub batch: usize,
    /// Decides the batches.
    pub seed: u64,
    /// How the learning rate falls.
    pub decay: Decay,
    /// How often, at even distances, the loss over the checked problems is computed and the best rotation kept; the last step
    /// is always among them.
    pub n_checks: usize,
    /// Problems that a check looks at, spread evenly; more than there are means all.
    pub check_problems: usize,
}

impl Default for LearnOptions {
    fn default() -> Self {
        Self {
            n_steps: 100,
            learning_rate: 0.2,
            momentum: 0.9,
            error_model: ErrorModel::Independent,
            batch: 8,
            seed: 0,
            decay: Decay::Linear,
            n_checks: 5,
            check_problems: usize::MAX,
        }
    }
}

impl LearnOptions {
    /// The learning rate of a step, counted from 0.
    pub(crate) fn rate_of_step(&self, step_idx: usize) -> f64 {
        let done = ratio(step_idx, self.n_steps);
        self.learning_rate
            * match self.decay {
                Decay::Linear => 1.0 - done,
                Decay::Cosine => 0.5 * (1.0 + (PI * done).cos()),
            }
    }

    /// Whether a check follows after `n_done` steps.
    pub(crate) fn is_check(&self, n_done: usize) -> bool {
        let n_checks = self.n_checks.clamp(1, self.n_steps.max(1));
        n_done * n_checks / self.n_steps.max(1) > (n_done - 1) * n_checks / self.n_steps.max(1)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of steps are small")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_from_the_whole_to_nearly_none() {
        for decay in [Decay::Linear, Decay::Cosine] {
            let options =
                LearnOptions { decay, n_steps: 10, learning_rate: 2.0, ..Default::default() };
            let rates: Vec<f64> = (0..10).map(|i| options.rate_of_step(i)).collect();
            assert_eq!(rates[0], 2.0);
            assert!(rates.windows(2).all(|pair| pair[1] < pair[0]));
            assert!((options.rate_of_step(5) - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn checks_are_even_and_end_with_the_last_step() {
        let checks = |n_steps, n_checks| -> Vec<usize> {
            let options = LearnOptions { n_steps, n_checks, ..Default::default() };
            (1..=n_steps).filter(|&n| options.is_check(n)).collect()
        };
        assert_eq!(checks(10, 5), [2, 4, 6, 8, 10]);
        assert_eq!(checks(7, 3), [3, 5, 7]);
        assert_eq!(checks(3, 100), [1, 2, 3]);
        assert_eq!(checks(4, 0), [4]);
        assert_eq!(checks(0, 3), [0_usize; 0]);
    }
}
