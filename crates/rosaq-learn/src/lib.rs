#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batches;
mod descent;
mod error;
mod gradient;
mod options;
mod problem;
mod products;
mod rounding;
#[cfg(test)]
mod tests;

pub use faer;

pub use descent::{Check, Learned, learn};
pub use error::LearnError;
pub use gradient::{ErrorModel, loss, loss_and_gradient};
pub use options::{Decay, LearnOptions};
pub use problem::{Problem, ProblemSource, Side};
