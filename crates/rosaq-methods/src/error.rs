//! What can go wrong while a method plans or is carried out.

use rosaq_calib::CalibError;
use rosaq_learn::LearnError;
use rosaq_model::Role;
use rosaq_pca::PcaError;
use rosaq_quant::QuantError;
use rosaq_saliency::SaliencyError;

/// Why a model could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// A rotation that the model's sizes do not allow.
    #[error("layer {layer}: {source}")]
    Rotation {
        /// Index of the layer.
        layer: usize,
        /// What is wrong.
        source: rosaq_rotate::RotateError,
    },
    /// A code that there is no table for.
    #[error(transparent)]
    TrellisCode(#[from] rosaq_trellis::TrellisError),
    /// No method has this name.
    #[error("unknown method `{name}`; known: {known}")]
    UnknownMethod {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// A setting that the method or the model cannot follow.
    #[error("`--{flag} {value}`: {reason}")]
    Setting {
        /// The flag's name without dashes.
        flag: &'static str,
        /// What was asked for.
        value: String,
        /// Why it cannot be, and what can.
        reason: String,
    },
    /// A setting that means nothing to the method.
    #[error("`--{flag}` means nothing to `{method}`; leave it out, or take one of: {heeding}")]
    Unheeded {
        /// The flag's name without dashes.
        flag: &'static str,
        /// The method.
        method: &'static str,
        /// The methods that it means something to.
        heeding: String,
    },
    /// The plan needs statistics that were not collected.
    #[error("layer {layer}: the method needs calibration statistics and none were given")]
    NoStatistics {
        /// The layer.
        layer: usize,
    },
    /// Statistics are incomplete.
    #[error("layer {layer}")]
    Statistics {
        /// The layer.
        layer: usize,
        /// The cause.
        #[source]
        source: CalibError,
    },
    /// A Gram matrix has no eigenbasis.
    #[error("layer {layer}, {site}: no eigenbasis")]
    Basis {
        /// The layer.
        layer: usize,
        /// The activation site's word.
        site: &'static str,
        /// The cause.
        #[source]
        source: PcaError,
    },
    /// Salient channels could not be chosen.
    #[error("layer {layer}: salient channels")]
    Saliency {
        /// The layer.
        layer: usize,
        /// The cause.
        #[source]
        source: SaliencyError,
    },
    /// Nothing can be learned from a block.
    #[error("layer {layer}: no rotation can be learned")]
    Learning {
        /// The layer.
        layer: usize,
        /// The cause.
        #[source]
        source: LearnError,
    },
    /// A linear could not be rounded.
    #[error("layer {layer}, linear `{role}`")]
    Linear {
        /// The layer.
        layer: usize,
        /// The linear.
        role: Role,
        /// The cause.
        #[source]
        source: QuantError,
    },
}
