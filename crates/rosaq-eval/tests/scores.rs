//! Scores of small models whose logits are known in f64.

use std::cell::RefCell;
use std::fmt;

use proptest::prelude::*;
use rosaq_eval::{EvalError, LanguageModel, Score, perplexity, perplexity_and_kl, score_hidden};

/// Logits are a linear function of the last token's embedding, so only that token matters.
struct Bigram {
    vocab_size: usize,
    seed: u32,
    /// Logits after this token are NaN.
    broken_token: Option<u32>,
}

#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of order")
    }
}

impl std::error::Error for Failed {}

const HIDDEN_SIZE: usize = 2;

impl Bigram {
    fn new(vocab_size: usize, seed: u32) -> Self {
        Self { vocab_size, seed, broken_token: None }
    }

    fn logit(&self, hidden: &[f32], token: usize) -> f32 {
        let slope = ((token * 37 + self.seed as usize) % 23) as f32 / 7.0;
        slope * hidden[0] + hidden[1] * ((token % 5) as f32 - 2.0)
    }

    /// The token's hidden state: a uniform model (seed 0) has zeros.
    fn embedding(&self, token: u32) -> [f32; HIDDEN_SIZE] {
        let scale = if self.seed == 0 { 0.0 } else { 1.0 };
        let angle = (token * (self.seed + 1)) as f32;
        let first = if self.broken_token == Some(token) { f32::NAN } else { angle.sin() };
        [scale * first, scale * angle.cos()]
    }
}

impl LanguageModel for Bigram {
    type Error = Failed;

    fn hidden_size(&self) -> usize {
        HIDDEN_SIZE
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn final_hidden(&self, windows: &[&[u32]], progress: &dyn Fn(f64)) -> Result<Vec<f32>, Failed> {
        progress(1.0);
        Ok(windows.iter().copied().flatten().flat_map(|&token| self.embedding(token)).collect())
    }

    fn logits(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), Failed> {
        for (hidden, row) in hidden.chunks(HIDDEN_SIZE).zip(out.chunks_mut(self.vocab_size)) {
            for (token, logit) in row.iter_mut().enumerate() {
                *logit = self.logit(hidden, token);
            }
        }
        Ok(())
    }
}

fn score(model: &Bigram, windows: &[&[u32]]) -> Score {
    perplexity(model, windows, &|_| {}).expect("a score")
}

fn compare(model: &Bigram, reference: &Bigram, windows: &[&[u32]]) -> Score {
    let hidden = reference.final_hidden(windows, &|_| {}).expect("hidden states");
    perplexity_and_kl(model, reference, &hidden, windows, &|_| {}).expect("a score")
}

/// Log-probabilities after a token, in f64 from the f32 logits.
fn exact_log_probabilities(model: &Bigram, token: u32) -> Vec<f64> {
    let hidden = model.embedding(token);
    let logits: Vec<f64> =
        (0..model.vocab_size).map(|next| f64::from(model.logit(&hidden, next))).collect();
    let log_sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    logits.iter().map(|logit| logit - log_sum).collect()
}

fn tokens(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(0_u32..50, length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_uniform_model_has_the_perplexity_of_its_vocabulary(
        text in tokens(2..300),
        vocab_size in 50_usize..400,
    ) {
        let found = score(&Bigram::new(vocab_size, 0), &[&text]);
        // exp and ln of f64 sums of equal terms.
        prop_assert!((found.perplexity / vocab_size as f64 - 1.0).abs() < 1e-13);
        prop_assert!(found.nll_stderr < 1e-13);
        prop_assert_eq!(found.n_tokens, text.len() - 1);
    }

    #[test]
    fn splitting_windows_does_not_change_the_sum(text in tokens(3..400), part in 0.0..1.0_f64) {
        #[expect(clippy::cast_possible_truncation, reason = "a part of a length fits")]
        let at = 1 + (part * (text.len() - 2) as f64) as usize;
        let model = Bigram::new(50, 3);
        let whole = score(&model, &[&text]);
        // The token at the border is the last target of one window and the first context of the
        // other. A window of one token is legal and scores nothing.
        let split = score(&model, &[&text[..=at], &text[..1], &text[at..]]);
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn agrees_with_f64(text in tokens(2..200), seed in 1_u32..100) {
        let (model, reference) = (Bigram::new(50, seed), Bigram::new(50, seed + 1));
        let found = compare(&model, &reference, &[&text]);
        let mut nll = Vec::new();
        let mut kl = Vec::new();
        for pair in text.windows(2) {
            let q = exact_log_probabilities(&model, pair[0]);
            let p = exact_log_probabilities(&reference, pair[0]);
            nll.push(-q[pair[1] as usize]);
            kl.push(p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>());
        }
        // Each exponential is good to 1e-7 of itself, and so are their sums.
        let n = nll.len() as f64;
        let mean = nll.iter().sum::<f64>() / n;
        prop_assert!((found.mean_nll - mean).abs() < 1.1e-7);
        prop_assert!((found.perplexity.ln() - found.mean_nll).abs() < 1e-14);
        let mean_kl = kl.iter().sum::<f64>() / n;
        prop_assert!((found.kl.expect("compared") - mean_kl).abs() < 1e-6);
        if n > 1.0 {
            let squares: f64 = kl.iter().map(|kl| (kl - mean_kl).powi(2)).sum();
            let stderr = (squares / (n - 1.0) / n).sqrt();
            prop_assert!((found.kl_stderr.expect("compared") - stderr).abs() < 1e-6);
        }
        let alone = score(&model, &[&text]);
        prop_assert_eq!(Score { kl: None, kl_stderr: None, ..found }, alone);
    }

    #[test]
    fn a_model_does_not_differ_from_itself(text in tokens(2..300), seed in 0_u32..100) {
        let model = Bigram::new(50, seed);
        let found = compare(&model, &model, &[&text]);
        prop_assert_eq!((found.kl, found.kl_stderr), (Some(0.0), Some(0.0)));
    }
}

/// Long enough for several chunks in several batches.
fn long_text() -> Vec<u32> {
    (0..5000_u32).map(|i| (i * i + 7 * i) % 50).collect()
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let text = long_text();
    let windows: Vec<&[u32]> = text.chunks(700).collect();
    let [one, three] = [1, 3].map(|n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build();
        pool.expect("a pool")
            .install(|| compare(&Bigram::new(50, 5), &Bigram::new(50, 6), &windows))
    });
    assert_eq!(one, three);
    assert_eq!(one.n_tokens, 5000 - windows.len());
}

#[test]
fn kept_hidden_states_give_the_same_score() {
    let text = long_text();
    let model = Bigram::new(50, 9);
    let hidden = model.final_hidden(&[&text], &|_| {}).expect("hidden states");
    let found = score_hidden(&model, &hidden, &[&text], &|_| {}).expect("a score");
    assert_eq!(found, score(&model, &[&text]));
}

#[test]
fn progress_rises_to_one() {
    let text = long_text();
    let windows: Vec<&[u32]> = text.chunks(900).collect();
    let shares = RefCell::new(vec![0.0]);
    let note = |share| shares.borrow_mut().push(share);
    perplexity(&Bigram::new(50, 1), &windows, &note).expect("a score");
    let shares = shares.into_inner();
    assert!(shares.is_sorted(), "{shares:?}");
    assert!(shares.last().is_some_and(|last| (last - 1.0).abs() < 1e-12), "{shares:?}");
}

#[track_caller]
fn check_refused(model: &Bigram, windows: &[&[u32]], expected: &str) {
    let error = perplexity(model, windows, &|_| {}).expect_err("refused").to_string();
    assert!(error.contains(expected), "`{error}` does not say `{expected}`");
}

#[test]
fn what_cannot_be_scored_is_named() {
    let broken = Bigram { broken_token: Some(7), ..Bigram::new(50, 1) };
    check_refused(&broken, &[&[1, 2], &[3, 4, 7, 8, 7, 9]], "window 1, token 2: expected finite");
    // Nothing follows the last token, so its logits are not asked for.
    assert!(perplexity(&broken, &[&[1, 7]], &|_| {}).is_ok());
    check_refused(&broken, &[&[1, 2], &[3, 50]], "window 1, token 1: expected an id below");
    check_refused(&broken, &[], "found 0 windows without one");
    check_refused(&broken, &[&[3], &[]], "found 2 windows without one");
}

#[test]
fn a_broken_reference_and_another_vocabulary_are_refused() {
    let (model, text) = (Bigram::new(50, 1), [1, 7, 3]);
    let broken = Bigram { broken_token: Some(7), ..Bigram::new(50, 2) };
    let hidden = broken.final_hidden(&[&text], &|_| {}).expect("hidden states");
    let error = perplexity_and_kl(&model, &broken, &hidden, &[&text], &|_| {});
    assert!(matches!(error, Err(EvalError::NonFiniteLogits { window: 0, position: 1 })));
    let error = perplexity_and_kl(&model, &Bigram::new(51, 1), &hidden, &[&text], &|_| {});
    assert!(matches!(error, Err(EvalError::VocabularyMismatch { reference: 51, model: 50 })));
}

#[test]
#[should_panic(expected = "hidden states have 4 values, the windows [3, 2]")]
fn hidden_states_of_other_windows_are_a_mistake() {
    let _ = score_hidden(&Bigram::new(50, 1), &[0.0; 4], &[&[1, 2, 3]], &|_| {});
}
