//! Perplexity of a model on token windows.

use crate::chunks::{Chunk, assert_hidden, check_windows, for_each_chunk};
use crate::softmax::log_sum_exp;
use crate::{EvalError, LanguageModel, Score};

/// The share of the time that goes to hidden states rather than logits, for progress only.
pub(crate) const HIDDEN_SHARE: f64 = 0.8;

/// Measures the perplexity of `model` on `windows`: in each, every token but the first is predicted
/// from those before it in the same window. This is the perplexity of the quantization literature
/// when the windows are consecutive runs of 2048 tokens of WikiText-2's test split.
///
/// Softmax takes f32 logits and sums in f64; means run over all scored tokens in order, in f64, so
/// the result does not depend on the number of threads. `progress` takes the share that is done,
/// from 0 to 1.
///
/// # Errors
///
/// [`EvalError::NothingToScore`], [`EvalError::UnknownToken`], [`EvalError::NonFiniteLogits`], or
/// [`EvalError::Model`] with the model's own.
///
/// # Panics
///
/// If the model's hidden states have another size than it says.
pub fn perplexity<M: LanguageModel>(
    model: &M,
    windows: &[&[u32]],
    progress: &dyn Fn(f64),
) -> Result<Score, EvalError<M::Error>> {
    check_windows(model, windows)?;
    let hidden = hidden_states(model, windows, progress)?;
    score_hidden(model, &hidden, windows, &|share| {
        progress(HIDDEN_SHARE + (1.0 - HIDDEN_SHARE) * share);
    })
}

/// As [`perplexity`], from hidden states that [`LanguageModel::final_hidden`] gave for the same
/// windows: row-major [sum of window lengths, hidden size].
///
/// # Errors
///
/// As [`perplexity`].
///
/// # Panics
///
/// If `hidden` has another size.
pub fn score_hidden<M: LanguageModel>(
    model: &M,
    hidden: &[f32],
    windows: &[&[u32]],
    progress: &dyn Fn(f64),
) -> Result<Score, EvalError<M::Error>> {
    check_windows(model, windows)?;
    assert_hidden(model, hidden, windows);
    let vocab_size = model.vocab_size();
    let score_chunk = |chunk: &Chunk<'_>| {
        let logits = chunk.logits(model, hidden)?;
        let rows = logits.chunks_exact(vocab_size).zip(chunk.targets).enumerate();
        rows.map(|(idx, (row, &target))| {
            let log_sum = log_sum_exp(row).ok_or_else(|| chunk.non_finite::<M>(idx))?;
            Ok(log_sum - f64::from(row[target as usize]))
        })
        .collect()
    };
    let nll: Vec<f64> = for_each_chunk(windows, vocab_size, progress, score_chunk)?;
    Ok(Score::from_nll(nll.iter().copied()))
}

/// Runs the model, with its progress as the first part of the whole.
pub(crate) fn hidden_states<M: LanguageModel>(
    model: &M,
    windows: &[&[u32]],
    progress: &dyn Fn(f64),
) -> Result<Vec<f32>, EvalError<M::Error>> {
    model
        .final_hidden(windows, &|share| progress(HIDDEN_SHARE * share))
        .map_err(|source| EvalError::Model { source })
}
