#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod linear_plan;

pub use linear_plan::{LinearPlan, MAX_BATCH, THREADS, cut_batch, linear_plan, max_batch};

/// PTX of `kernels/decode.cu`: linears for batches up to 8.
pub const DECODE_PTX: &str = include_str!("../ptx/decode.ptx");
/// PTX of `kernels/gemm.cu`: linears for batches up to 128.
pub const GEMM_PTX: &str = include_str!("../ptx/gemm.ptx");
