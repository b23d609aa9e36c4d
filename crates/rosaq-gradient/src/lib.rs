#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attention;
mod block;
mod error;
mod fisher;
mod head;
mod products;
mod rms_norm;
#[cfg(test)]
mod tests;

pub use error::GradientError;
pub use fisher::{OutputFisher, output_fisher};
