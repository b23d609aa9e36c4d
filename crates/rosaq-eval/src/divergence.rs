//! How far a model's next-token distributions are from a reference's.

use crate::chunks::{Chunk, assert_hidden, check_windows, for_each_chunk};
use crate::perplexity::{HIDDEN_SHARE, hidden_states};
use crate::softmax::divergence;
use crate::{EvalError, LanguageModel, Score};

/// Measures the perplexity of `model` on `windows`, as [`perplexity`](crate::perplexity()) does,
/// and KL(`reference` || `model`) of the next-token distributions at the same tokens, natural
/// logarithm.
///
/// `reference_hidden` are the reference's hidden states for the same windows, row-major
/// [sum of window lengths, hidden size of the reference]; kept by the caller, they serve many
/// comparisons. Both models' logits are computed a few tokens at a time. Softmax takes f32 logits
/// and sums in f64; a model against itself gives exactly 0. The result does not depend on the
/// number of threads. `progress` takes the share that is done, from 0 to 1.
///
/// # Errors
///
/// [`EvalError::VocabularyMismatch`], and those of [`perplexity`](crate::perplexity()).
///
/// # Panics
///
/// If `reference_hidden`, or what the model gives, has another size than the windows ask for.
pub fn perplexity_and_kl<M, R>(
    model: &M,
    reference: &R,
    reference_hidden: &[f32],
    windows: &[&[u32]],
    progress: &dyn Fn(f64),
) -> Result<Score, EvalError<M::Error>>
where
    M: LanguageModel,
    R: LanguageModel<Error = M::Error>,
{
    let vocab_size = model.vocab_size();
    if reference.vocab_size() != vocab_size {
        let reference = reference.vocab_size();
        return Err(EvalError::VocabularyMismatch { reference, model: vocab_size });
    }
    check_windows(model, windows)?;
    assert_hidden(reference, reference_hidden, windows);
    let hidden = hidden_states(model, windows, progress)?;
    assert_hidden(model, &hidden, windows);
    let compare_chunk = |chunk: &Chunk<'_>| {
        let logits = chunk.logits(model, &hidden)?;
        let reference_logits = chunk.logits(reference, reference_hidden)?;
        let rows = logits.chunks_exact(vocab_size).zip(reference_logits.chunks_exact(vocab_size));
        rows.zip(chunk.targets)
            .enumerate()
            .map(|(idx, ((row, reference_row), &target))| {
                let (kl, log_sum) =
                    divergence(reference_row, row).ok_or_else(|| chunk.non_finite::<M>(idx))?;
                Ok((log_sum - f64::from(row[target as usize]), kl))
            })
            .collect()
    };
    let report = |share: f64| progress(HIDDEN_SHARE + (1.0 - HIDDEN_SHARE) * share);
    let scores: Vec<(f64, f64)> = for_each_chunk(windows, vocab_size, &report, compare_chunk)?;
    let nll = scores.iter().map(|&(nll, _)| nll);
    let kl = scores.iter().map(|&(_, kl)| kl);
    Ok(Score::from_nll(nll).with_kl(kl))
}
