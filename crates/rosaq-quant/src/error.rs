//! What can be wrong with weights to be quantized.

use rosaq_pack::PackError;

/// Why weights could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A weight is beyond what f16 scales can express.
    #[error("weights up to {magnitude:e} are beyond the f16 range; is the checkpoint damaged?")]
    OutOfRange {
        /// The largest magnitude met, NaN if there is one.
        magnitude: f32,
    },
    /// The parts do not make a packed linear.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Rounding to an integer grid does not serve this kind of segment.
    #[error(
        "segment kind {kind} cannot be filled by rounding to an integer grid, and names no trellis code"
    )]
    UnsupportedSegment {
        /// The kind, as text.
        kind: String,
    },
    /// A Gram matrix with NaN or infinite entries.
    #[error("the gram matrix of the inputs is not finite at channel {channel}, found {found}")]
    GramNotFinite {
        /// Input channel, in the model's order, of the first such entry.
        channel: usize,
        /// The entry.
        found: f64,
    },
    /// A damping that is negative, NaN or infinite.
    #[error("gptq damping must be a finite number of at least 0 (usually 0.01), found {found}")]
    Damping {
        /// What was asked for.
        found: f64,
    },
    /// A Gram matrix that no damping within reason makes positive definite: no Gram matrix at all.
    #[error(
        "the gram matrix of the inputs is not positive definite, even with {damping} times its mean \
         diagonal added; were its statistics damaged?"
    )]
    NotPositiveDefinite {
        /// The last damping tried, relative to the mean diagonal.
        damping: f64,
    },
    /// Numbers that a trellis cannot encode.
    #[error(transparent)]
    Trellis(#[from] rosaq_trellis::TrellisError),
    /// Weights that grew beyond f16 by taking over the errors of earlier channels.
    #[error(
        "weights compensated by gptq reach {magnitude:e}, beyond the f16 range; raise the damping of \
         {damping}"
    )]
    Compensation {
        /// The largest magnitude met.
        magnitude: f64,
        /// The damping asked for.
        damping: f64,
    },
}
