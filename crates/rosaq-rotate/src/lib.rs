#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod absorb;
mod fuse_norm;
mod placement;
mod scale;
#[cfg(test)]
mod tests;

pub use absorb::{rotate_input, rotate_output, rotate_value_heads};
pub use fuse_norm::{fuse_final_norm, fuse_norms};
pub use placement::{Placement, ResidualBases, UnknownPlacement, rotate_block, rotate_ends};
pub use scale::scale_down_input;
