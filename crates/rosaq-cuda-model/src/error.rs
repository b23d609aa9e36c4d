//! Why a model does not run on a device.

use rosaq_cuda::CudaError;
use rosaq_pack::PackError;
use rosaq_pack::device::DeviceError;
use rosaq_runtime::RuntimeError;

/// What is wrong with a model that is to run on a device, or with the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaModelError {
    /// The device.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A linear that no kernel reads.
    #[error("`{tensor}`: {source}; or run with --backend cpu")]
    Linear {
        /// The weight's name.
        tensor: String,
        /// What is wrong with it.
        source: DeviceError,
    },
    /// A rotation that cannot be had in f16.
    #[error("an online rotation of block {layer}: {source}")]
    Rotation {
        /// The block.
        layer: usize,
        /// What is wrong with it.
        source: PackError,
    },
    /// Heads without a kernel.
    #[error(
        "no CUDA kernel for {n_heads} heads over {n_kv_heads} of {head_dim} channels: expected a multiple of 8, at most 256; \
         run with --backend cpu"
    )]
    Heads {
        /// Heads of queries.
        n_heads: usize,
        /// Heads of keys and values.
        n_kv_heads: usize,
        /// Channels of a head.
        head_dim: usize,
    },
    /// Walsh-Hadamard transforms that a block of threads cannot hold.
    #[error(
        "no CUDA kernel for Walsh-Hadamard transforms of {points} channels, expected at most {most}; run with --backend cpu"
    )]
    Hadamard {
        /// Channels of a transform.
        points: usize,
        /// Those that a kernel takes.
        most: usize,
    },
    /// Hidden states overflowed.
    #[error(
        "hidden states on the device are not finite; an activation of this model may be beyond f16: run with --backend cpu"
    )]
    NotFinite,
}

impl From<CudaModelError> for RuntimeError {
    fn from(error: CudaModelError) -> Self {
        Self::Device(Box::new(error))
    }
}

/// A device's error while a model runs, when all that still takes memory grows with sequences and tokens.
pub(crate) fn on_device(error: CudaError) -> RuntimeError {
    match error {
        CudaError::OutOfMemory { wanted, .. } => RuntimeError::NoMemory { bytes: wanted as u64 },
        error => CudaModelError::from(error).into(),
    }
}
