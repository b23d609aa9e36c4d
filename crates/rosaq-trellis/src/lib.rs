#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod code;
mod encoder;
mod entries;
mod error;
mod gaussian;
mod normal;
mod train;
mod viterbi;

pub use code::{Table, TrellisCode};
pub use encoder::{Encoder, Sequence};
pub use error::TrellisError;
pub use gaussian::GaussianTable;
pub use normal::normal_samples;
pub use train::{TableKind, Training, train};

#[cfg(test)]
mod tests;
