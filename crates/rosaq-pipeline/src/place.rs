//! Where a model runs.

#[cfg(feature = "cuda")]
use std::sync::Arc;

#[cfg(feature = "cuda")]
use rosaq_cuda_model::{CudaDevice, CudaModelError};
use rosaq_runtime::Activations;
#[cfg(feature = "cuda")]
use rosaq_runtime::RuntimeError;

use crate::PipelineError;

/// Where a model runs, and how its activations meet packed weights there.
#[derive(Debug, Clone)]
pub enum Place {
    /// The processor. With activations of eight bits, generated sequences keep keys and values in f16.
    Cpu(Activations),
    /// A CUDA device; activations are f16.
    #[cfg(feature = "cuda")]
    Cuda(Arc<CudaDevice>),
}

impl Place {
    /// A CUDA device, counted from 0 in the driver's order.
    ///
    /// # Errors
    /// [`PipelineError::NoCuda`] in programs built without the feature `cuda`; no driver, no such device, or one that is too old.
    pub fn cuda(index: usize) -> Result<Self, PipelineError> {
        #[cfg(feature = "cuda")]
        {
            let device = CudaDevice::open(index).map_err(CudaModelError::from);
            Ok(Self::Cuda(Arc::new(device.map_err(RuntimeError::from)?)))
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = index;
            Err(PipelineError::NoCuda)
        }
    }

    /// The form of activations, for reports.
    #[must_use]
    pub const fn activations(&self) -> &'static str {
        match self {
            Self::Cpu(activations) => activations.name(),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => "f16",
        }
    }

    /// `cpu`, or the device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu(_) => "cpu",
            #[cfg(feature = "cuda")]
            Self::Cuda(device) => device.name(),
        }
    }
}
