//! What can be wrong with a request for salient channels.

/// Why no salient channels could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaliencyError {
    /// A score is NaN and has no place in any order.
    #[error("score of channel {channel} of {n_channels}: expected a number, found NaN")]
    NotANumber {
        /// The first channel with such a score.
        channel: usize,
        /// Number of channels.
        n_channels: usize,
    },
    /// More channels are asked for than there are.
    #[error(
        "salient channels: expected at most the {n_channels} channels of the layer, found {k}; \
         ask for fewer"
    )]
    TooMany {
        /// Number of channels asked for.
        k: usize,
        /// Number of channels.
        n_channels: usize,
    },
    /// No rule has this name.
    #[error(
        "saliency rule `{name}`: expected `top`, `bottom`, `random`, `top-bottom` or `magnitude`"
    )]
    UnknownRule {
        /// The name found.
        name: String,
    },
}
