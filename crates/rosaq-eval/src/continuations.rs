//! Log-likelihoods of continuations, as multiple-choice tasks ask for them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::softmax::log_sum_exp;
use crate::token_tree::TreeBuilder;
use crate::{EvalError, LanguageModel, Sharing, TokenTree};

/// A continuation to be scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The tokens before it, which are not scored.
    pub context: Vec<u32>,
    /// Its tokens; at least one.
    pub continuation: Vec<u32>,
}

/// How continuations are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreOptions {
    /// Tokens that the model takes at once; of longer requests the first ones are dropped.
    pub max_length: usize,
    /// Whether common beginnings are computed once.
    pub sharing: Sharing,
}

/// The share of the time that goes to hidden states rather than logits, for progress only.
const HIDDEN_SHARE: f64 = 0.8;

/// Tokens of a tree at most, unless one sequence alone is longer: bounds the activations held, and is large enough that
/// unpacking weights costs little beside the products.
const TREE_TOKENS: usize = 4096;

/// Logits computed at a time, by one thread: 64 rows of a vocabulary of 65,536, 16 MiB.
const LOGITS_PER_CHUNK: usize = 64 * 65_536;

/// Rows at a time at most: enough for a matrix product to run at full speed.
const MAX_ROWS_PER_CHUNK: usize = 64;

/// The sum of the natural-log probabilities of each request's continuation tokens, each given all tokens before it, in the
/// order of `requests`.
///
/// Consecutive requests that begin alike share the hidden states of what they have in common; only rows before a scored token
/// go through the head, each once. Softmax takes f32 logits and sums in f64, sums over tokens are f64, rounded once to f32.
/// Neither the number of threads nor, beyond the rounding of f32, what else is in `requests` changes a result. `progress`
/// takes the share that is done, from 0 to 1.
///
/// The order of tokens and what is dropped from long requests are those of lm-evaluation-harness 0.4.13,
/// `lm_eval/models/huggingface.py`: the input is the last `max_length + 1` tokens of context and continuation, without the
/// last one.
///
/// # Errors
/// [`EvalError::EmptyRequest`], [`EvalError::LongContinuation`], [`EvalError::UnknownToken`] and
/// [`EvalError::NonFiniteLogits`], whose window is the request's index, or the model's own.
pub fn log_likelihoods<M: LanguageModel>(
    model: &M,
    requests: &[Request],
    options: ScoreOptions,
    progress: &dyn Fn(f64),
) -> Result<Vec<f32>, EvalError<M::Error>> {
    let sequences = requests
        .iter()
        .enumerate()
        .map(|(idx, request)| Sequence::of(model, idx, request, options.max_length))
        .collect::<Result<Vec<_>, _>>()?;
    let (trees, rows) = grow(&sequences, options.sharing);
    let hidden = model
        .tree_hidden(&trees, &|share| progress(HIDDEN_SHARE * share))
        .map_err(|source| EvalError::Model { source })?;
    let n_tokens: usize = trees.iter().map(|tree| tree.tokens.len()).sum();
    assert_eq!(hidden.len(), n_tokens * model.hidden_size(), "hidden states of {n_tokens} tokens");
    let mut targets: BTreeMap<usize, Vec<Target>> = BTreeMap::new();
    for (request, (sequence, rows)) in sequences.iter().zip(&rows).enumerate() {
        let first = rows.len() - sequence.n_scored();
        for (position, &row) in rows.iter().enumerate().skip(first) {
            let token = sequence.tokens[position + 1];
            targets.entry(row).or_default().push(Target { request, position, token });
        }
    }
    let mut scores = score_rows(model, &hidden, &targets, progress)?;
    let mut sums = vec![0.0_f64; requests.len()];
    scores.sort_unstable_by_key(|token| (token.request, token.position));
    for token in scores {
        sums[token.request] += token.log_probability;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounded once, as said above")]
    Ok(sums.into_iter().map(|sum| sum as f32).collect())
}

/// The tokens of a request after what is too much has been dropped.
struct Sequence<'a> {
    tokens: Vec<u32>,
    request: &'a Request,
}

impl<'a> Sequence<'a> {
    fn of<M: LanguageModel>(
        model: &M,
        idx: usize,
        request: &'a Request,
        max_length: usize,
    ) -> Result<Self, EvalError<M::Error>> {
        let Request { context, continuation } = request;
        if context.is_empty() || continuation.is_empty() {
            return Err(EvalError::EmptyRequest { request: idx });
        }
        let found = continuation.len();
        if found > max_length {
            return Err(EvalError::LongContinuation { request: idx, found, max_length });
        }
        let mut tokens = [&context[..], continuation].concat();
        let vocab_size = model.vocab_size();
        if let Some(position) = tokens.iter().position(|&token| token as usize >= vocab_size) {
            let token = tokens[position];
            return Err(EvalError::UnknownToken { window: idx, position, token, vocab_size });
        }
        tokens.drain(..tokens.len().saturating_sub(max_length + 1));
        Ok(Self { tokens, request })
    }

    /// What the model is given: all but the last token, which is only scored.
    fn input(&self) -> &[u32] {
        &self.tokens[..self.tokens.len() - 1]
    }

    fn n_scored(&self) -> usize {
        self.request.continuation.len()
    }
}

/// A token to be scored after some row.
struct Target {
    request: usize,
    position: usize,
    token: u32,
}

/// The score of one token of a request.
struct TokenScore {
    request: usize,
    position: usize,
    log_probability: f64,
}

/// Trees of bounded size that hold all inputs, and the rows of each input's tokens among the rows of all trees.
fn grow(sequences: &[Sequence<'_>], sharing: Sharing) -> (Vec<TokenTree>, Vec<Vec<usize>>) {
    let (mut trees, mut rows) = (Vec::new(), Vec::new());
    let mut first_row = 0;
    let mut rest = sequences;
    while !rest.is_empty() {
        let mut builder = TreeBuilder::default();
        let mut placed: Vec<(usize, &[u32])> = Vec::new();
        for sequence in rest {
            let input = sequence.input();
            let shared = match sharing {
                Sharing::Shared => builder.n_shared(input),
                Sharing::Apart => 0,
            };
            if !placed.is_empty() && builder.n_tokens() + input.len() - shared > TREE_TOKENS {
                break;
            }
            placed.push((builder.insert(input, sharing), input));
        }
        rest = &rest[placed.len()..];
        let (tree, rows_in_tree) = builder.finish(&placed);
        let moved = |rows: Vec<usize>| rows.into_iter().map(|row| first_row + row).collect();
        rows.extend(rows_in_tree.into_iter().map(moved));
        first_row += tree.tokens.len();
        trees.push(tree);
    }
    (trees, rows)
}

/// The log-probability of every target.
fn score_rows<M: LanguageModel>(
    model: &M,
    hidden: &[f32],
    targets: &BTreeMap<usize, Vec<Target>>,
    progress: &dyn Fn(f64),
) -> Result<Vec<TokenScore>, EvalError<M::Error>> {
    let n_rows = (LOGITS_PER_CHUNK / model.vocab_size().max(1)).clamp(1, MAX_ROWS_PER_CHUNK);
    let rows: Vec<(&usize, &Vec<Target>)> = targets.iter().collect();
    let chunks: Vec<_> = rows.chunks(n_rows).collect();
    let mut scores = Vec::new();
    let mut n_done = 0;
    // A few chunks for each thread between two reports of progress.
    for batch in chunks.chunks(4 * rayon::current_num_threads()) {
        let found: Vec<_> =
            batch.par_iter().map(|chunk| score_chunk(model, hidden, chunk)).collect();
        for part in found {
            scores.append(&mut part?);
        }
        n_done += batch.len();
        let share = n_done as f64 / chunks.len() as f64;
        progress(HIDDEN_SHARE + (1.0 - HIDDEN_SHARE) * share);
    }
    Ok(scores)
}

fn score_chunk<M: LanguageModel>(
    model: &M,
    hidden: &[f32],
    chunk: &[(&usize, &Vec<Target>)],
) -> Result<Vec<TokenScore>, EvalError<M::Error>> {
    let (hidden_size, vocab_size) = (model.hidden_size(), model.vocab_size());
    let mut states = Vec::with_capacity(chunk.len() * hidden_size);
    for &(&row, _) in chunk {
        states.extend_from_slice(&hidden[row * hidden_size..][..hidden_size]);
    }
    let mut logits = vec![0.0; chunk.len() * vocab_size];
    model.logits(&states, &mut logits).map_err(|source| EvalError::Model { source })?;
    let mut scores = Vec::new();
    for (&(_, targets), row) in chunk.iter().zip(logits.chunks_exact(vocab_size)) {
        let Target { request: window, position, .. } = targets[0];
        let log_sum = log_sum_exp(row).ok_or(EvalError::NonFiniteLogits { window, position })?;
        for &Target { request, position, token } in targets.iter() {
            let log_probability = f64::from(row[token as usize]) - log_sum;
            scores.push(TokenScore { request, position, log_probability });
        }
    }
    Ok(scores)
}
