//! What the evaluation asks of a model.

use std::error::Error;

/// A model that gives next-token logits, in two steps: hidden states, which are worth keeping, and
/// logits, which are too many to keep.
pub trait LanguageModel: Sync {
    /// The model's own error.
    type Error: Error + Send + Sync + 'static;

    /// Channels of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Number of logits, which is the number of token ids.
    fn vocab_size(&self) -> usize;

    /// Hidden states after the last block, before the head, as [`LanguageModel::logits`] takes them:
    /// row-major [sum of window lengths, `hidden_size`], window after window. Each window starts
    /// from an empty context. `progress` takes the share that is done, from 0 to 1.
    ///
    /// # Errors
    ///
    /// The model's own.
    fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, Self::Error>;

    /// Writes the logits, row-major [tokens, `vocab_size`], of `hidden`, row-major
    /// [tokens, `hidden_size`]. Called from many threads at once, so it had better run on one.
    ///
    /// # Errors
    ///
    /// The model's own.
    fn logits(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), Self::Error>;
}
