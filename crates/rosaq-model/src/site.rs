//! Places where the input of a linear is observed.

use crate::Role;

/// A place where activations enter one or more linears.
///
/// Norm sites are observed *before* the norm's gain: `x / rms(x)`. A method that keeps the gain multiplies the statistics
/// by it (`H -> diag(g) H diag(g)`), which is exact even where a gain is zero; the way back would not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActivationSite {
    /// Input of query, key and value, without the norm's gain; `hidden_size` channels.
    AttentionInput,
    /// Concatenated outputs of the heads, input of the output projection; `n_heads * head_dim` channels.
    HeadsOutput,
    /// Input of gate and up, without the norm's gain; `hidden_size` channels.
    MlpInput,
    /// Input of the down projection; `intermediate_size` channels.
    DownInput,
}

/// All sites of a block, in forward order.
pub const SITES: [ActivationSite; 4] = [
    ActivationSite::AttentionInput,
    ActivationSite::HeadsOutput,
    ActivationSite::MlpInput,
    ActivationSite::DownInput,
];

impl ActivationSite {
    /// The site that feeds the linear `role`, or `None` for roles that are no linear of a block.
    #[must_use]
    pub fn of(role: Role) -> Option<Self> {
        match role {
            Role::Query | Role::Key | Role::Value => Some(Self::AttentionInput),
            Role::Output => Some(Self::HeadsOutput),
            Role::Gate | Role::Up => Some(Self::MlpInput),
            Role::Down => Some(Self::DownInput),
            _ => None,
        }
    }

    /// Position in [`SITES`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The site's word in tables and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AttentionInput => "attention input",
            Self::HeadsOutput => "heads' output",
            Self::MlpInput => "MLP input",
            Self::DownInput => "down input",
        }
    }
}
