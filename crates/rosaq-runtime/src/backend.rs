//! What runs a model: the processor, or a device.

use std::fmt::Debug;

use rosaq_model::ModelConfig;
use rosaq_tensor::Matrix;

use crate::{KvCache, Model, RuntimeError, TokenTree};

/// A model that is ready to run somewhere.
pub trait Backend: Debug + Send + Sync {
    /// The configuration.
    fn config(&self) -> &ModelConfig;

    /// Hidden states after the last block for every token of `windows`, row-major `[tokens, hidden_size]`. Windows are
    /// independent sequences. `progress` hears the share done, 0 to 1.
    ///
    /// # Errors
    /// Loading errors, ids outside the vocabulary, hidden states that overflow, failures of a device.
    fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError>;

    /// Hidden states as [`Self::final_hidden`] gives them, for every token of `trees`, tree after tree, where common beginnings
    /// are computed once; `None` from a backend that cannot.
    fn tree_hidden(
        &self,
        _trees: &[TokenTree<'_>],
        _progress: &dyn Fn(f64),
    ) -> Option<Result<Vec<f32>, RuntimeError>> {
        None
    }

    /// Logits, row-major `[tokens, vocab_size]`, of `hidden` as [`Self::final_hidden`] gives it.
    ///
    /// # Errors
    /// Failures of a device.
    fn logits_into(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), RuntimeError>;

    /// Logits of one sequence, `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// As [`Self::final_hidden`].
    fn logits(&self, tokens: &[u32]) -> Result<Matrix, RuntimeError> {
        let hidden = self.final_hidden(&[tokens], &|_| ())?;
        let mut logits = Matrix::zeros(tokens.len(), self.config().vocab_size);
        self.logits_into(&hidden, &mut logits.data)?;
        Ok(logits)
    }

    /// Bytes of keys and values of `n_sequences` of `tokens` each, where the model runs.
    fn cache_bytes(&self, n_sequences: usize, tokens: usize) -> u64;

    /// Bytes that are free where the model runs, if that is not the memory of this machine.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Empty sequences that are decoded together, with room for `tokens` of each.
    ///
    /// # Errors
    /// [`RuntimeError::NoMemory`] when there is no room.
    fn sequences(
        &self,
        n_sequences: usize,
        tokens: usize,
    ) -> Result<Box<dyn Sequences + '_>, RuntimeError>;
}

/// Sequences that are decoded together by a [`Backend`].
pub trait Sequences {
    /// Feeds the tokens of every sequence behind those that it has, and returns the logits of each one's last token,
    /// `[sequences, vocab_size]`.
    ///
    /// # Errors
    /// Sequences without a token, ids outside the vocabulary, failures of a device.
    ///
    /// # Panics
    /// If there are not as many sequences, or one grows beyond its room.
    fn feed(&mut self, tokens: &[&[u32]]) -> Result<Matrix, RuntimeError>;
}

impl Backend for Model {
    fn config(&self) -> &ModelConfig {
        self.config()
    }

    fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError> {
        self.final_hidden(windows, progress)
    }

    fn tree_hidden(
        &self,
        trees: &[TokenTree<'_>],
        progress: &dyn Fn(f64),
    ) -> Option<Result<Vec<f32>, RuntimeError>> {
        Some(self.tree_hidden(trees, progress))
    }

    fn logits_into(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), RuntimeError> {
        self.logits_into(hidden, out);
        Ok(())
    }

    fn cache_bytes(&self, n_sequences: usize, tokens: usize) -> u64 {
        KvCache::bytes(self.config(), n_sequences, tokens, self.cache_form())
    }

    fn sequences(
        &self,
        n_sequences: usize,
        tokens: usize,
    ) -> Result<Box<dyn Sequences + '_>, RuntimeError> {
        let mut cache = KvCache::of_form(self.config(), n_sequences, self.cache_form());
        cache.reserve(self.config(), tokens)?;
        Ok(Box::new(OnProcessor { model: self, cache }))
    }
}

/// Sequences of a [`Model`].
struct OnProcessor<'a> {
    model: &'a Model,
    cache: KvCache,
}

impl Sequences for OnProcessor<'_> {
    fn feed(&mut self, tokens: &[&[u32]]) -> Result<Matrix, RuntimeError> {
        self.model.next_logits(tokens, &mut self.cache)
    }
}
