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
    /// Nearest rounding does not serve this kind of segment.
    #[error("segment kind {kind} cannot be filled by nearest rounding")]
    UnsupportedSegment {
        /// The kind, as text.
        kind: String,
    },
}
