#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod absorb;
mod cayley;
mod error;
mod finite_field;
mod fuse_norm;
mod hadamard;
mod paley;
mod placement;
mod products;
mod random;
mod scale;
#[cfg(test)]
mod tests;

pub use absorb::{rotate_input, rotate_output, rotate_value_heads};
pub use cayley::CayleySgd;
pub use error::RotateError;
pub use fuse_norm::{fuse_final_norm, fuse_norms};
pub use hadamard::{hadamard_rotation, randomized_hadamard};
pub use placement::{
    Placement, ResidualBases, UnknownPlacement, rotate_block, rotate_down_input, rotate_ends,
    rotate_heads_output, tied_head_input,
};
pub use random::{random_orthogonal, randomized_basis};
pub use scale::{scale_attention_input, scale_down_input, scale_heads_output, scale_mlp_input};
