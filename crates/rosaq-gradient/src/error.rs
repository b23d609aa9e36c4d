//! What can go wrong on the way forth and back.

use rosaq_model::ModelError;
use rosaq_runtime::RuntimeError;

/// Why there is no Fisher information.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GradientError {
    /// Weights or embeddings could not be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The forward pass failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// There is nothing to learn from.
    #[error("expected at least one token window, found none; give a longer calibration text")]
    NoWindows,
    /// Logits are no longer numbers.
    #[error(
        "logits of token {token} after the last layer, {layer}, are not finite; the head's weights do not fit this \
         architecture or overflow f32"
    )]
    LogitsNotFinite {
        /// Index of the token among all tokens of all windows.
        token: usize,
        /// The last layer.
        layer: usize,
    },
    /// Gradients are no longer numbers.
    #[error(
        "gradients at layer {layer} are not finite, while those behind it are; its weights overflow f32 on the way back"
    )]
    GradientNotFinite {
        /// The last layer whose gradients are NaN or infinite, the first on the way back.
        layer: usize,
    },
}
