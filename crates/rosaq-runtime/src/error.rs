//! What can go wrong while a model runs.

use rosaq_checkpoint::CheckpointError;
use rosaq_model::ModelError;

/// Why a forward pass could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Weights could not be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The packed checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An input is empty.
    #[error("the input holds no token")]
    NoTokens,
    /// The hidden states are no longer numbers.
    #[error(
        "hidden states after layer {layer} are not finite; the weights do not fit this architecture or overflow f32"
    )]
    NotFinite {
        /// The first layer after which a value is NaN or infinite.
        layer: usize,
    },
    /// Keys and values, or activations, do not fit the memory.
    #[error(
        "{} MB of keys, values or activations do not fit the memory where the model runs; take fewer sequences or fewer tokens",
        bytes / 1_000_000
    )]
    NoMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A device that the model was to run on, or runs on.
    #[error(transparent)]
    Device(Box<dyn std::error::Error + Send + Sync>),
    /// A visitor asked to stop.
    #[error("interrupted")]
    Interrupted,
}
