//! Keys and values of the tokens seen so far.

use rosaq_model::ModelConfig;

use crate::RuntimeError;
use crate::kept::{CacheForm, States};
use crate::rope::RopeTable;
use crate::workspace::Workspace;

/// Keys and values of one layer and sequence, row-major `[tokens, n_kv_heads * head_dim]`, rotary embedding applied.
#[derive(Debug, Clone)]
pub struct LayerCache {
    pub(crate) keys: States,
    pub(crate) values: States,
}

impl LayerCache {
    /// Tokens held, for keys of `kv_width` channels.
    pub(crate) fn tokens(&self, kv_width: usize) -> usize {
        self.keys.len() / kv_width
    }
}

/// The cache of one or more sequences that are decoded together, and what else is used again from step to step.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// `[layers, sequences]`.
    pub(crate) layers: Vec<Vec<LayerCache>>,
    form: CacheForm,
    /// Tokens of each sequence.
    pub(crate) lengths: Vec<usize>,
    pub(crate) rope: RopeTable,
    pub(crate) workspace: Workspace,
}

impl KvCache {
    /// An empty cache of one sequence for a model.
    #[must_use]
    pub fn new(config: &ModelConfig) -> Self {
        Self::of_sequences(config, 1)
    }

    /// An empty cache of some sequences for a model.
    #[must_use]
    pub fn of_sequences(config: &ModelConfig, n_sequences: usize) -> Self {
        Self::of_form(config, n_sequences, CacheForm::F32)
    }

    /// The same with keys and values of some form.
    #[must_use]
    pub fn of_form(config: &ModelConfig, n_sequences: usize, form: CacheForm) -> Self {
        let empty = LayerCache { keys: form.empty(), values: form.empty() };
        Self {
            layers: vec![vec![empty; n_sequences]; config.n_layers],
            form,
            lengths: vec![0; n_sequences],
            rope: RopeTable::new(config, 0),
            workspace: Workspace::default(),
        }
    }

    /// Makes room for `tokens` of each sequence, so that none of it is looked for later.
    ///
    /// # Errors
    /// [`RuntimeError::NoMemory`] when the system has not as much, before anything of it is used.
    pub fn reserve(&mut self, config: &ModelConfig, tokens: usize) -> Result<(), RuntimeError> {
        let no_memory = RuntimeError::NoMemory {
            bytes: Self::bytes(config, self.lengths.len(), tokens, self.form),
        };
        let values = tokens.checked_mul(config.n_kv_heads * config.head_dim);
        let Some(values) = values else { return Err(no_memory) };
        for cache in self.layers.iter_mut().flatten() {
            for states in [&mut cache.keys, &mut cache.values] {
                if !states.reserve(values) {
                    return Err(no_memory);
                }
            }
        }
        Ok(())
    }

    /// Bytes of the keys and values of `n_sequences` of `tokens` each.
    #[must_use]
    pub fn bytes(config: &ModelConfig, n_sequences: usize, tokens: usize, form: CacheForm) -> u64 {
        let width = 2 * config.n_layers * config.n_kv_heads * config.head_dim * form.bytes();
        (width as u64).saturating_mul(n_sequences as u64).saturating_mul(tokens as u64)
    }

    /// Sequences held.
    #[must_use]
    pub fn n_sequences(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens held of each sequence.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }
}
