//! Which token comes next.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::GenerateError;

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the most probable token always.
    pub temperature: f32,
    /// Only so many of the most probable tokens can come; 0 for all.
    pub top_k: usize,
    /// Only the fewest of the most probable tokens that make up this share can come; 1 for all.
    pub top_p: f32,
    /// Only tokens of at least this share of the most probable one's probability can come; 0 for all.
    pub min_p: f32,
    /// Of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 }
    }
}

impl Sampling {
    fn check(&self) -> Result<(), GenerateError> {
        let fail = |name, found: f32, expected| {
            Err(GenerateError::Setting { name, found: f64::from(found), expected })
        };
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return fail("temperature", self.temperature, "a number of at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return fail("top-p", self.top_p, "a share above 0, at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return fail("min-p", self.min_p, "a share from 0 to 1");
        }
        Ok(())
    }
}

/// Draws tokens; the same seed and logits give the same ones.
#[derive(Debug, Clone)]
pub struct Sampler {
    settings: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    /// A sampler at the beginning of its draws.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] for one that is out of range.
    pub fn new(settings: Sampling) -> Result<Self, GenerateError> {
        settings.check()?;
        Ok(Self { settings, random: ChaCha8Rng::seed_from_u64(settings.seed) })
    }

    /// Draws one of the tokens. Temperature comes first, then `top_k`, `top_p` and `min_p`, each on what the one before left;
    /// of equals the first token is the more probable.
    ///
    /// # Errors
    /// [`GenerateError::NotFinite`] for logits that are NaN or infinite, or none.
    pub fn draw(&mut self, logits: &[f32]) -> Result<u32, GenerateError> {
        if logits.is_empty() || !logits.iter().all(|l| l.is_finite()) {
            return Err(GenerateError::NotFinite);
        }
        if self.settings.temperature == 0.0 {
            let first_best =
                |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
            return Ok(id((0..logits.len()).fold(0, first_best)));
        }
        let kept = self.candidates(logits);
        let total: f64 = kept.iter().map(|(_, p)| p).sum();
        // 53 random bits make a number from 0 to just below 1.
        let uniform = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut left = uniform * total;
        for &(token, p) in &kept {
            left -= p;
            if left < 0.0 {
                return Ok(token);
            }
        }
        Ok(kept.last().map_or(0, |&(token, _)| token)) // where roundings ate the last share
    }

    /// The tokens that can come with their probabilities, not normalized, the most probable first.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.settings;
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| (f64::from(logit - most) / f64::from(temperature)).exp();
        let mut all: Vec<(u32, f64)> =
            logits.iter().enumerate().map(|(at, &logit)| (id(at), weight(logit))).collect();
        all.sort_by(|(a, p), (b, q)| q.total_cmp(p).then(a.cmp(b)));
        if top_k > 0 {
            all.truncate(top_k);
        }
        if top_p < 1.0 {
            let enough = f64::from(top_p) * all.iter().map(|(_, p)| p).sum::<f64>();
            let mut sum = 0.0;
            let before = all.iter().take_while(|(_, p)| {
                let goes_on = sum < enough;
                sum += p;
                goes_on
            });
            let n = before.count().max(1);
            all.truncate(n);
        }
        let least = f64::from(min_p) * all[0].1;
        all.retain(|&(_, p)| p >= least);
        all
    }
}

fn id(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampler(settings: Sampling) -> Sampler {
        Sampler::new(settings).unwrap()
    }

    fn warm() -> Sampling {
        Sampling { temperature: 1.0, ..Sampling::default() }
    }

    /// How often each of the tokens comes in 20,000 draws.
    fn frequencies(settings: Sampling, logits: &[f32]) -> Vec<f64> {
        let (mut sampler, mut counts) = (sampler(settings), vec![0.0; logits.len()]);
        for _ in 0..20_000 {
            counts[sampler.draw(logits).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn without_temperature_the_first_of_the_best_comes() {
        assert_eq!(sampler(Sampling::default()).draw(&[0.0, 3.0, 3.0, -1.0]).unwrap(), 1);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits: Vec<f32> = [0.5_f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        // Four standard errors of a share in 20,000 draws are below 0.015.
        let close = |found: Vec<f64>, expected: [f64; 4]| {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.015, "{found} for {expected}");
            }
        };
        close(frequencies(warm(), &logits), [0.5, 0.3, 0.15, 0.05]);
        close(frequencies(Sampling { top_k: 2, ..warm() }, &logits), [0.625, 0.375, 0.0, 0.0]);
        let top_p = Sampling { top_p: 0.81, ..warm() };
        close(frequencies(top_p, &logits), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0.0]);
        close(frequencies(Sampling { min_p: 0.5, ..warm() }, &logits), [0.625, 0.375, 0.0, 0.0]);
        // Halving the temperature squares probabilities.
        let sum = 0.25 + 0.09 + 0.0225 + 0.0025;
        let cold = Sampling { temperature: 0.5, ..warm() };
        close(frequencies(cold, &logits), [0.25 / sum, 0.09 / sum, 0.0225 / sum, 0.0025 / sum]);
    }

    #[test]
    fn settings_out_of_range_and_logits_of_no_use_are_refused() {
        for bad in [
            Sampling { temperature: -1.0, ..warm() },
            Sampling { temperature: f32::NAN, ..warm() },
            Sampling { top_p: 0.0, ..warm() },
            Sampling { min_p: 1.5, ..warm() },
        ] {
            assert!(matches!(Sampler::new(bad), Err(GenerateError::Setting { .. })), "{bad:?}");
        }
        for bad in [&[][..], &[f32::NAN, 0.0], &[f32::INFINITY]] {
            assert!(matches!(sampler(warm()).draw(bad), Err(GenerateError::NotFinite)));
        }
    }

    proptest! {
        #[test]
        fn some_token_always_comes(
            logits in prop::collection::vec(-50.0_f32..50.0, 1..40),
            temperature in 0.01_f32..5.0,
            (top_k, top_p, min_p) in (0_usize..50, 0.001_f32..=1.0, 0.0_f32..=1.0),
            seed: u64,
        ) {
            let settings = Sampling { temperature, top_k, top_p, min_p, seed };
            let token = sampler(settings).draw(&logits).unwrap();
            prop_assert!((token as usize) < logits.len());
            prop_assert_eq!(sampler(settings).draw(&logits).unwrap(), token);
        }
    }
}
