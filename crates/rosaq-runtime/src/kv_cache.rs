//! Keys and values of the tokens seen so far.

use rosaq_model::ModelConfig;

/// Keys and values of one layer, row-major `[tokens, n_kv_heads * head_dim]`, rotary embedding applied.
#[derive(Debug, Clone, Default)]
pub struct LayerCache {
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
}

/// The cache of one sequence.
#[derive(Debug, Clone)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    pub(crate) tokens: usize,
}

impl KvCache {
    /// An empty cache for a model.
    #[must_use]
    pub fn new(config: &ModelConfig) -> Self {
        Self { layers: vec![LayerCache::default(); config.n_layers], tokens: 0 }
    }

    /// Tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens
    }

    /// Whether nothing is held yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }
}
