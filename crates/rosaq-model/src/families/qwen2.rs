//! Qwen2 and Qwen2.5: biases on query, key and value.

use super::names::{GGUF_NAMES, HF_NAMES};
use crate::Family;
use crate::Role;

/// Qwen2 and Qwen2.5: biases on query, key and value.
pub(super) const QWEN2: Family = Family {
    name: "qwen2",
    architecture: "Qwen2ForCausalLM",
    gguf_architecture: Some("qwen2"),
    hf_names: &HF_NAMES,
    gguf_names: &GGUF_NAMES,
    gguf_interleaved_rope: false,
    biased: &[Role::Query, Role::Key, Role::Value],
    reads_attention_bias: false,
    reads_mlp_bias: false,
    has_qk_norm: false,
    reads_sliding_window: false,
    tied_by_default: false,
};
