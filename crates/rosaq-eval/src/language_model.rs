//! What the evaluation asks of a model.

use std::error::Error;

use crate::TokenTree;

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

    /// Hidden states as [`LanguageModel::final_hidden`] gives them, for every token of `trees`: row-major [tokens,
    /// `hidden_size`], tree after tree. A run stands behind its parent, which stands behind its own. Unless a model knows
    /// better, the whole path to every run is computed by itself.
    ///
    /// # Errors
    ///
    /// The model's own.
    fn tree_hidden(
        &self,
        trees: &[TokenTree],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, Self::Error> {
        hidden_by_paths(self, trees, progress)
    }

    /// Writes the logits, row-major [tokens, `vocab_size`], of `hidden`, row-major
    /// [tokens, `hidden_size`]. Called from many threads at once, so it had better run on one.
    ///
    /// # Errors
    ///
    /// The model's own.
    fn logits(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), Self::Error>;
}

/// [`LanguageModel::tree_hidden`] of any model: the whole path to every run is computed by itself.
///
/// # Errors
///
/// The model's own.
pub fn hidden_by_paths<M: LanguageModel + ?Sized>(
    model: &M,
    trees: &[TokenTree],
    progress: &dyn Fn(f64),
) -> Result<Vec<f32>, M::Error> {
    let paths: Vec<(Vec<u32>, usize)> = trees.iter().flat_map(TokenTree::paths).collect();
    let windows: Vec<&[u32]> = paths.iter().map(|(path, _)| &path[..]).collect();
    let hidden = model.final_hidden(&windows, progress)?;
    let mut rest = &hidden[..];
    let mut kept = Vec::new();
    for (path, n_own) in &paths {
        let (states, later) = rest.split_at(path.len() * model.hidden_size());
        kept.extend_from_slice(&states[(path.len() - n_own) * model.hidden_size()..]);
        rest = later;
    }
    Ok(kept)
}
