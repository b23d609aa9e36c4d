#![forbid(unsafe_code)]

mod code;
mod encoder;
mod error;
mod viterbi;

pub use code::{Table, TrellisCode};
pub use encoder::{Encoder, Sequence};
pub use error::TrellisError;
