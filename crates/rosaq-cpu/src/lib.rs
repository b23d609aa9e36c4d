#![doc = include_str!("../README.md")]

mod arch;
mod awake;
pub mod bench;
mod bf16;
mod dispatch;
mod gemm;
mod gemv;
mod isa;
mod prepare;
mod segment;
mod tiles;
mod trellis;

pub use arch::attention::AttentionShape;
pub use awake::keep_awake;
pub use bf16::{Bf16Linear, Bf16Panels, add_gram_bf16, bf16_is_fast};
pub use dispatch::{
    attend_token, attend_token_f16, silu_mul, silu_mul_backward, softmax, walsh_hadamard,
};
pub use gemm::{gemm, gemm_with};
pub use gemv::{gemv, gemv_with};
pub use isa::Isa;
pub use tiles::TiledLinear;

#[cfg(test)]
mod tests;
