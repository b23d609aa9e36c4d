//! Scores of continuations against sums in f64, with and without sharing.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rosaq_eval::{
    EvalError, LanguageModel, Request, ScoreOptions, Sharing, TokenTree, log_likelihoods,
};

const VOCAB: usize = 11;
const HIDDEN: usize = 3;

/// A model that remembers: each state is half the one before plus something of the token and its position.
#[derive(Default)]
struct Remembering {
    /// Whether trees are run as trees.
    knows_trees: bool,
    head_rows: AtomicUsize,
    tokens: AtomicUsize,
}

#[expect(clippy::cast_possible_truncation, reason = "states are f32")]
fn next(state: [f32; HIDDEN], position: usize, token: u32) -> [f32; HIDDEN] {
    std::array::from_fn(|i| {
        let seen = f64::from(token * 7 + 1) * (i as f64 + 1.3) + position as f64 * 0.37;
        0.5 * state[i] + (3.0 * seen.sin()) as f32
    })
}

#[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
fn logit(state: &[f32], token: usize) -> f32 {
    let weight = |i: usize| ((token * 5 + i * 3) as f64).cos() as f32;
    state.iter().enumerate().map(|(i, x)| x * weight(i)).sum()
}

impl LanguageModel for Remembering {
    type Error = Infallible;

    fn hidden_size(&self) -> usize {
        HIDDEN
    }

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn final_hidden(&self, windows: &[&[u32]], _: &dyn Fn(f64)) -> Result<Vec<f32>, Infallible> {
        let mut out = Vec::new();
        for window in windows {
            let mut state = [0.0; HIDDEN];
            for (position, &token) in window.iter().enumerate() {
                state = next(state, position, token);
                out.extend(state);
                self.tokens.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(out)
    }

    fn tree_hidden(
        &self,
        trees: &[TokenTree],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, Infallible> {
        if !self.knows_trees {
            // What the trait does by itself.
            return Plain(self).tree_hidden(trees, progress);
        }
        let mut out = Vec::new();
        for tree in trees {
            let mut ends: Vec<([f32; HIDDEN], usize)> = Vec::new();
            let mut rest = &tree.tokens[..];
            for (&len, parent) in tree.lengths.iter().zip(&tree.parents) {
                let (mut state, mut position) = parent.map_or(([0.0; HIDDEN], 0), |p| ends[p]);
                let (own, later) = rest.split_at(len);
                rest = later;
                for &token in own {
                    state = next(state, position, token);
                    position += 1;
                    out.extend(state);
                    self.tokens.fetch_add(1, Ordering::Relaxed);
                }
                ends.push((state, position));
            }
        }
        Ok(out)
    }

    fn logits(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), Infallible> {
        for (state, row) in hidden.chunks_exact(HIDDEN).zip(out.chunks_exact_mut(VOCAB)) {
            self.head_rows.fetch_add(1, Ordering::Relaxed);
            for (token, value) in row.iter_mut().enumerate() {
                *value = logit(state, token);
            }
        }
        Ok(())
    }
}

/// The same model without a tree pass of its own.
struct Plain<'a>(&'a Remembering);

impl LanguageModel for Plain<'_> {
    type Error = Infallible;

    fn hidden_size(&self) -> usize {
        HIDDEN
    }

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, Infallible> {
        self.0.final_hidden(windows, progress)
    }

    fn logits(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), Infallible> {
        self.0.logits(hidden, out)
    }
}

fn exact(request: &Request, max_length: usize) -> f64 {
    let all = [&request.context[..], &request.continuation].concat();
    let kept = &all[all.len().saturating_sub(max_length + 1)..];
    let first = kept.len() - request.continuation.len();
    let (mut state, mut sum) = ([0.0; HIDDEN], 0.0);
    for (position, pair) in kept.windows(2).enumerate() {
        state = next(state, position, pair[0]);
        if position + 1 >= first {
            let logits: Vec<f64> = (0..VOCAB).map(|t| f64::from(logit(&state, t))).collect();
            let log_sum = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
            sum += logits[pair[1] as usize] - log_sum;
        }
    }
    sum
}

fn request(context: &[u32], continuation: &[u32]) -> Request {
    Request { context: context.to_vec(), continuation: continuation.to_vec() }
}

fn score(
    model: &Remembering,
    requests: &[Request],
    max_length: usize,
    sharing: Sharing,
) -> Vec<f32> {
    log_likelihoods(model, requests, ScoreOptions { max_length, sharing }, &|_| {}).unwrap()
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let tokens = |length| proptest::collection::vec(0_u32..3, length);
    let one = (tokens(1..7), tokens(1..5))
        .prop_map(|(context, continuation)| Request { context, continuation });
    proptest::collection::vec(one, 1..12)
}

proptest! {
    #[test]
    fn sharing_and_its_absence_agree_with_f64(requests in requests(), max_length in 4_usize..14) {
        for knows_trees in [false, true] {
            for sharing in [Sharing::Shared, Sharing::Apart] {
                let model = Remembering { knows_trees, ..Remembering::default() };
                let found = score(&model, &requests, max_length, sharing);
                for (found, request) in found.iter().zip(&requests) {
                    // Exponentials good to 1e-7 of themselves, and one rounding to f32.
                    let exact = exact(request, max_length);
                    prop_assert!((f64::from(*found) - exact).abs() < 1e-6 * (1.0 + exact.abs()));
                }
            }
        }
    }
}

#[test]
fn what_else_is_scored_does_not_matter_even_past_the_size_of_a_tree() {
    let model = Remembering { knows_trees: true, ..Remembering::default() };
    // 60 questions of about 200 tokens, which fill several trees.
    let questions: Vec<Request> = (0..60_u32)
        .flat_map(|q| {
            let context: Vec<u32> = (0..200).map(|i| (q * 31 + i * i) % 11).collect();
            (0..4).map(move |choice| request(&context, &[choice, q % 11, 3]))
        })
        .collect();
    let together = score(&model, &questions, 512, Sharing::Shared);
    for (found, question) in together.iter().zip(&questions) {
        let alone = score(&model, std::slice::from_ref(question), 512, Sharing::Shared);
        assert_eq!(*found, alone[0]);
    }
    assert_eq!(together, score(&model, &questions, 512, Sharing::Apart));
}

#[test]
fn choices_of_one_token_cost_one_context_and_one_row_of_logits() {
    let model = Remembering { knows_trees: true, ..Remembering::default() };
    let context: Vec<u32> = (0..9).collect();
    let requests: Vec<Request> = (0..4).map(|letter| request(&context, &[letter])).collect();
    score(&model, &requests, 100, Sharing::Shared);
    assert_eq!(model.tokens.load(Ordering::Relaxed), 9);
    assert_eq!(model.head_rows.load(Ordering::Relaxed), 1);
}

#[test]
fn the_first_choice_token_of_all_comes_from_one_row() {
    let model = Remembering { knows_trees: true, ..Remembering::default() };
    let choices: [&[u32]; 3] = [&[1, 2, 3], &[1, 5], &[4, 4, 4, 4]];
    let requests: Vec<Request> = choices.iter().map(|c| request(&[7, 8], c)).collect();
    score(&model, &requests, 100, Sharing::Shared);
    // 7 8, then 1 2 (of which 1 serves two choices) and 4 4 4; last tokens are only scored.
    assert_eq!(model.tokens.load(Ordering::Relaxed), 2 + 2 + 3);
    assert_eq!(model.head_rows.load(Ordering::Relaxed), 1 + 2 + 3);
}

#[test]
fn too_long_requests_lose_their_first_tokens() {
    let model = Remembering::default();
    let long = request(&[1, 2, 3, 4, 5, 6], &[7, 8]);
    // Four tokens of input and the last one scored: five are kept.
    let kept = request(&[4, 5, 6], &[7, 8]);
    assert_eq!(
        score(&model, &[long], 4, Sharing::Shared),
        score(&model, &[kept], 100, Sharing::Shared)
    );
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let requests: Vec<Request> = (0..300_u32)
        .map(|i| request(&[i % 11, i % 7, 3], &[i % 5, i % 3, i % 10, i % 4]))
        .collect();
    let [one, three] = [1, 3].map(|n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| score(&Remembering::default(), &requests, 100, Sharing::Shared))
    });
    assert_eq!(one, three);
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let refused = |bad: Request| {
        let options = ScoreOptions { max_length: 4, sharing: Sharing::Shared };
        let requests = [request(&[1], &[2]), bad];
        log_likelihoods(&Remembering::default(), &requests, options, &|_| {}).unwrap_err()
    };
    assert!(matches!(refused(request(&[], &[1])), EvalError::EmptyRequest { request: 1 }));
    assert!(matches!(refused(request(&[1], &[])), EvalError::EmptyRequest { request: 1 }));
    let long = refused(request(&[1], &[1; 5]));
    assert!(matches!(long, EvalError::LongContinuation { request: 1, found: 5, max_length: 4 }));
    let unknown = refused(request(&[1, 11], &[1]));
    assert!(matches!(unknown, EvalError::UnknownToken { window: 1, position: 1, token: 11, .. }));
}
