#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "cuda"), forbid(unsafe_code))]

#[cfg(all(feature = "cuda", not(all(target_arch = "x86_64", target_os = "linux"))))]
compile_error!("the feature `cuda` of rosaq-cuda is for x86-64 Linux only, as rosaq-cuda-shim is");

mod error;
mod linear_plan;
mod signature;

#[cfg(feature = "cuda")]
mod attention;
#[cfg(feature = "cuda")]
mod buffer;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod elementwise;
#[cfg(feature = "cuda")]
mod linear;
#[cfg(feature = "cuda")]
mod module;
#[cfg(feature = "cuda")]
mod rows;

pub use error::CudaError;
pub use linear_plan::{LinearPlan, MAX_BATCH, THREADS, cut_batch, linear_plan, max_batch};
pub use signature::{Parameter, parameters};

#[cfg(feature = "cuda")]
pub use attention::{Angles, HeadShape, TokenPlace, TokenPlaces};
#[cfg(feature = "cuda")]
pub use buffer::{DeviceBuffer, Element};
#[cfg(feature = "cuda")]
pub use device::CudaDevice;
#[cfg(feature = "cuda")]
pub use elementwise::MAX_HADAMARD_POINTS;
#[cfg(feature = "cuda")]
pub use linear::{CudaLinear, Output, Rows, Workspace};
#[cfg(feature = "cuda")]
pub use rows::DeviceRows;

/// PTX of `kernels/decode.cu`: linears for batches up to 8.
pub const DECODE_PTX: &str = include_str!("../ptx/decode.ptx");
/// PTX of `kernels/gemm.cu`: linears for batches up to 128.
pub const GEMM_PTX: &str = include_str!("../ptx/gemm.ptx");
