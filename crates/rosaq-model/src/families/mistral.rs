//! Mistral 7B: LLaMA with sliding-window attention. Its GGUF files call themselves `llama`.

use super::names::{GGUF_NAMES, HF_NAMES};
use crate::Family;

/// Mistral 7B: LLaMA with sliding-window attention. Its GGUF files call themselves `llama`.
pub(super) const MISTRAL: Family = Family {
    name: "mistral",
    architecture: "MistralForCausalLM",
    gguf_architecture: None,
    hf_names: &HF_NAMES,
    gguf_names: &GGUF_NAMES,
    gguf_interleaved_rope: true,
    biased: &[],
    reads_attention_bias: false,
    reads_mlp_bias: false,
    has_qk_norm: false,
    reads_sliding_window: true,
    tied_by_default: false,
};
