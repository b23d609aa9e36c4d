#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod check;
mod eigenbasis;
mod error;
mod headwise;

pub use check::{orthogonality_error, reconstruction_error};
pub use eigenbasis::{Eigenbasis, eigenbasis};
pub use error::PcaError;
/// The matrix library whose types this crate takes and returns.
pub use faer;
pub use headwise::headwise_eigenbases;
