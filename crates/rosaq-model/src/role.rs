//! What a tensor is for.

use std::fmt;

/// The part that a tensor plays in a decoder-only transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Token embedding table, `[vocab_size, hidden_size]`.
    Embedding,
    /// Gain of the `RMSNorm` before attention, `[hidden_size]`.
    AttentionNorm,
    /// Query projection, `[n_heads * head_dim, hidden_size]`.
    Query,
    /// Key projection, `[n_kv_heads * head_dim, hidden_size]`.
    Key,
    /// Value projection, `[n_kv_heads * head_dim, hidden_size]`.
    Value,
    /// Attention output projection, `[hidden_size, n_heads * head_dim]`.
    Output,
    /// Gain of the per-head norm of queries, `[head_dim]`.
    QueryNorm,
    /// Gain of the per-head norm of keys, `[head_dim]`.
    KeyNorm,
    /// Gain of the `RMSNorm` before the MLP, `[hidden_size]`.
    MlpNorm,
    /// Gate projection, `[intermediate_size, hidden_size]`.
    Gate,
    /// Up projection, `[intermediate_size, hidden_size]`.
    Up,
    /// Down projection, `[hidden_size, intermediate_size]`.
    Down,
    /// Gain of the last `RMSNorm`, `[hidden_size]`.
    FinalNorm,
    /// Language-model head, `[vocab_size, hidden_size]`; absent when tied to the embedding.
    Head,
}

/// The seven linears of a block, in the order in which the forward pass meets them.
pub const LINEAR_ROLES: [Role; 7] =
    [Role::Query, Role::Key, Role::Value, Role::Output, Role::Gate, Role::Up, Role::Down];

impl Role {
    /// The role's word in tables and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::AttentionNorm => "attention_norm",
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::Output => "output",
            Self::QueryNorm => "query_norm",
            Self::KeyNorm => "key_norm",
            Self::MlpNorm => "mlp_norm",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
            Self::FinalNorm => "final_norm",
            Self::Head => "head",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
