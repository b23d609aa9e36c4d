//! LLaMA 1, 2, 3, 3.1 and 3.2, and everything built like them (`SmolLM2`, `TinyLlama`, Yi).

use super::names::{GGUF_NAMES, HF_NAMES};
use crate::Family;

/// LLaMA 1, 2, 3, 3.1 and 3.2, and everything built like them (`SmolLM2`, `TinyLlama`, Yi).
pub(super) const LLAMA: Family = Family {
    name: "llama",
    architecture: "LlamaForCausalLM",
    gguf_architecture: Some("llama"),
    hf_names: &HF_NAMES,
    gguf_names: &GGUF_NAMES,
    gguf_interleaved_rope: true,
    biased: &[],
    reads_attention_bias: true,
    reads_mlp_bias: true,
    has_qk_norm: false,
    reads_sliding_window: false,
    tied_by_default: false,
};
