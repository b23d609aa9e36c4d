//! Runs over all scored tokens: a few at a time, on all threads, with results in the order of the
//! text.

use rayon::prelude::*;

use crate::{EvalError, LanguageModel};

/// Logits computed at a time, by one thread: 128 tokens of a vocabulary of 65,536, 32 MiB.
const LOGITS_PER_CHUNK: usize = 128 * 65_536;

/// Tokens at a time at most: enough for a matrix product to run at full speed.
const MAX_TOKENS_PER_CHUNK: usize = 128;

/// Chunks between two reports of progress, for each thread.
const CHUNKS_PER_REPORT: usize = 4;

/// Consecutive positions of one window whose next token is scored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    /// Index of the window.
    pub(crate) window: usize,
    /// First position.
    pub(crate) first: usize,
    /// The token that follows each position.
    pub(crate) targets: &'a [u32],
    /// Row of the first position among all hidden states.
    row: usize,
}

impl Chunk<'_> {
    /// The hidden states of the chunk's positions.
    pub(crate) fn hidden<'h>(&self, hidden: &'h [f32], hidden_size: usize) -> &'h [f32] {
        &hidden[self.row * hidden_size..(self.row + self.targets.len()) * hidden_size]
    }

    /// The logits that follow the chunk's positions.
    pub(crate) fn logits<M: LanguageModel>(
        &self,
        model: &M,
        hidden: &[f32],
    ) -> Result<Vec<f32>, EvalError<M::Error>> {
        let mut logits = vec![0.0; self.targets.len() * model.vocab_size()];
        model
            .logits(self.hidden(hidden, model.hidden_size()), &mut logits)
            .map_err(|source| EvalError::Model { source })?;
        Ok(logits)
    }

    /// The error for logits after the `idx`-th position of the chunk.
    pub(crate) fn non_finite<M: LanguageModel>(&self, idx: usize) -> EvalError<M::Error> {
        EvalError::NonFiniteLogits { window: self.window, position: self.first + idx }
    }
}

/// Checks that there is something to score and that `model` knows every token.
pub(crate) fn check_windows<M: LanguageModel>(
    model: &M,
    windows: &[&[u32]],
) -> Result<(), EvalError<M::Error>> {
    let vocab_size = model.vocab_size();
    for (window, tokens) in windows.iter().enumerate() {
        if let Some(position) = tokens.iter().position(|&token| token as usize >= vocab_size) {
            let token = tokens[position];
            return Err(EvalError::UnknownToken { window, position, token, vocab_size });
        }
    }
    if windows.iter().all(|tokens| tokens.len() < 2) {
        return Err(EvalError::NothingToScore { n_windows: windows.len() });
    }
    Ok(())
}

/// Panics unless `hidden` has one row for every token of `windows`.
#[track_caller]
pub(crate) fn assert_hidden<M: LanguageModel>(model: &M, hidden: &[f32], windows: &[&[u32]]) {
    let n_tokens: usize = windows.iter().map(|tokens| tokens.len()).sum();
    let hidden_size = model.hidden_size();
    assert!(
        n_tokens.checked_mul(hidden_size) == Some(hidden.len()),
        "hidden states have {} values, the windows [{n_tokens}, {hidden_size}]",
        hidden.len(),
    );
}

/// Calls `score` for every chunk, on all threads, and joins the results in the order of the text:
/// they do not depend on the number of threads, and neither does which error is returned.
pub(crate) fn for_each_chunk<T: Send, E: Send>(
    windows: &[&[u32]],
    vocab_size: usize,
    progress: &dyn Fn(f64),
    score: impl Fn(&Chunk<'_>) -> Result<Vec<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let chunks = chunks(windows, vocab_size);
    let mut scores = Vec::new();
    let mut n_done = 0;
    for batch in chunks.chunks(CHUNKS_PER_REPORT * rayon::current_num_threads()) {
        let results: Vec<Result<Vec<T>, E>> = batch.par_iter().map(&score).collect();
        for result in results {
            scores.append(&mut result?);
        }
        n_done += batch.len();
        progress(n_done as f64 / chunks.len() as f64);
    }
    Ok(scores)
}

fn chunks<'a>(windows: &[&'a [u32]], vocab_size: usize) -> Vec<Chunk<'a>> {
    let n_positions = (LOGITS_PER_CHUNK / vocab_size.max(1)).clamp(1, MAX_TOKENS_PER_CHUNK);
    let mut chunks = Vec::new();
    let mut window_row = 0;
    for (window, tokens) in windows.iter().enumerate() {
        for (idx, targets) in tokens.get(1..).unwrap_or_default().chunks(n_positions).enumerate() {
            let first = idx * n_positions;
            chunks.push(Chunk { window, first, targets, row: window_row + first });
        }
        window_row += tokens.len();
    }
    chunks
}
