//! Qwen3 (dense): per-head norms of queries and keys, explicit `head_dim`.

use super::names::{GGUF_NAMES, HF_NAMES};
use crate::Family;

/// Qwen3 (dense): per-head norms of queries and keys, explicit `head_dim`.
pub(super) const QWEN3: Family = Family {
    name: "qwen3",
    architecture: "Qwen3ForCausalLM",
    gguf_architecture: Some("qwen3"),
    hf_names: &HF_NAMES,
    gguf_names: &GGUF_NAMES,
    gguf_interleaved_rope: false,
    biased: &[],
    reads_attention_bias: true,
    reads_mlp_bias: false,
    has_qk_norm: true,
    reads_sliding_window: false,
    tied_by_default: false,
};
