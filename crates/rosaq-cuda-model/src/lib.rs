#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "cuda")]
mod activations;
#[cfg(feature = "cuda")]
mod block;
#[cfg(feature = "cuda")]
mod ends;
#[cfg(feature = "cuda")]
mod error;
#[cfg(feature = "cuda")]
mod linear;
#[cfg(feature = "cuda")]
mod model;
#[cfg(feature = "cuda")]
mod sequences;

#[cfg(feature = "cuda")]
pub use error::CudaModelError;
#[cfg(feature = "cuda")]
pub use model::CudaModel;
#[cfg(feature = "cuda")]
pub use rosaq_cuda::{CudaDevice, CudaError};
