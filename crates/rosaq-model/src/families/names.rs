//! Module names that the LLaMA-type families share.

use crate::{NameTable, Role};

/// Hugging Face names; the query and key norms exist in Qwen3 alone.
pub(super) const HF_NAMES: NameTable = NameTable {
    modules: &[
        (Role::Embedding, "model.embed_tokens"),
        (Role::AttentionNorm, "model.layers.{}.input_layernorm"),
        (Role::Query, "model.layers.{}.self_attn.q_proj"),
        (Role::Key, "model.layers.{}.self_attn.k_proj"),
        (Role::Value, "model.layers.{}.self_attn.v_proj"),
        (Role::Output, "model.layers.{}.self_attn.o_proj"),
        (Role::QueryNorm, "model.layers.{}.self_attn.q_norm"),
        (Role::KeyNorm, "model.layers.{}.self_attn.k_norm"),
        (Role::MlpNorm, "model.layers.{}.post_attention_layernorm"),
        (Role::Gate, "model.layers.{}.mlp.gate_proj"),
        (Role::Up, "model.layers.{}.mlp.up_proj"),
        (Role::Down, "model.layers.{}.mlp.down_proj"),
        (Role::FinalNorm, "model.norm"),
        (Role::Head, "lm_head"),
    ],
};

/// GGUF names.
pub(super) const GGUF_NAMES: NameTable = NameTable {
    modules: &[
        (Role::Embedding, "token_embd"),
        (Role::AttentionNorm, "blk.{}.attn_norm"),
        (Role::Query, "blk.{}.attn_q"),
        (Role::Key, "blk.{}.attn_k"),
        (Role::Value, "blk.{}.attn_v"),
        (Role::Output, "blk.{}.attn_output"),
        (Role::QueryNorm, "blk.{}.attn_q_norm"),
        (Role::KeyNorm, "blk.{}.attn_k_norm"),
        (Role::MlpNorm, "blk.{}.ffn_norm"),
        (Role::Gate, "blk.{}.ffn_gate"),
        (Role::Up, "blk.{}.ffn_up"),
        (Role::Down, "blk.{}.ffn_down"),
        (Role::FinalNorm, "output_norm"),
        (Role::Head, "output"),
    ],
};
