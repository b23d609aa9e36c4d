//! Which original channel stands at which stored position.

use serde::{Deserialize, Serialize};

use crate::PackError;

/// The order of a linear's input channels in storage.
///
/// A permutation `p` of `n` channels means: stored position `i` holds original channel `p[i]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Channels are stored as they come.
    #[default]
    Identity,
    /// First the `salient` leading dimensions of every head, head after head, then the remaining
    /// dimensions of every head, head after head. Nothing is stored for it.
    PerHead {
        /// Number of heads.
        n_heads: usize,
        /// Channels of one head.
        head_dim: usize,
        /// Leading channels of each head that go first.
        salient: usize,
    },
    /// Any permutation, stored with the linear.
    Explicit(Vec<u32>),
}

impl ChannelOrder {
    /// The permutation of `n` channels, `None` where it is the identity by definition.
    ///
    /// # Panics
    /// If the order does not pass [`ChannelOrder::validate`] for `n`.
    #[must_use]
    pub fn permutation(&self, n: usize) -> Option<Vec<u32>> {
        if let Err(error) = self.validate(n) {
            panic!("{error}");
        }
        match self {
            Self::Identity => None,
            Self::PerHead { n_heads, head_dim, salient } => {
                Some(per_head_permutation(*n_heads, *head_dim, *salient))
            }
            Self::Explicit(order) => Some(order.clone()),
        }
    }

    /// Checks that the order is a permutation of `n` channels, without allocating more than `n`
    /// bytes.
    ///
    /// # Errors
    /// [`PackError::Order`] with what is wrong.
    pub fn validate(&self, n: usize) -> Result<(), PackError> {
        match self {
            Self::Identity => Ok(()),
            Self::PerHead { n_heads, head_dim, salient } => {
                validate_per_head(n, *n_heads, *head_dim, *salient)
            }
            Self::Explicit(order) => validate_explicit(n, order),
        }
    }

    /// Bytes of the stored permutation: four a channel for an explicit order, else none.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        match self {
            Self::Explicit(order) => size_of_val(order.as_slice()),
            Self::Identity | Self::PerHead { .. } => 0,
        }
    }
}

fn per_head_permutation(n_heads: usize, head_dim: usize, salient: usize) -> Vec<u32> {
    let heads = || (0..n_heads).map(move |head_idx| head_idx * head_dim);
    let first = heads().flat_map(|start| start..start + salient);
    let rest = heads().flat_map(|start| start + salient..start + head_dim);
    first
        .chain(rest)
        .map(|channel| u32::try_from(channel).expect("a validated order fits u32"))
        .collect()
}

fn validate_per_head(
    n: usize,
    n_heads: usize,
    head_dim: usize,
    salient: usize,
) -> Result<(), PackError> {
    let fail = |reason| Err(PackError::Order { n_channels: n, reason });
    if n_heads.checked_mul(head_dim) != Some(n) {
        return fail(format!("{n_heads} heads of {head_dim} dimensions"));
    }
    if salient > head_dim {
        return fail(format!("{salient} salient of {head_dim} dimensions"));
    }
    if u32::try_from(n).is_err() {
        return fail("more channels than 32 bits can number".to_owned());
    }
    Ok(())
}

fn validate_explicit(n: usize, order: &[u32]) -> Result<(), PackError> {
    let fail = |reason| Err(PackError::Order { n_channels: n, reason });
    if order.len() != n {
        return fail(format!("{} entries", order.len()));
    }
    let mut seen = vec![false; n];
    for &channel in order {
        match usize::try_from(channel).ok().and_then(|channel| seen.get_mut(channel)) {
            None => return fail(format!("channel {channel} is out of range")),
            Some(true) => return fail(format!("channel {channel} appears twice")),
            Some(slot) => *slot = true,
        }
    }
    Ok(())
}
