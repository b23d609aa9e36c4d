#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod case;
mod counts;
mod emulated;
mod roofline;
#[cfg(feature = "cuda")]
mod timed;

pub use case::{Case, Random, codebook, trellis};
pub use counts::{Counts, MetricsError};
pub use emulated::{Outcome, run, run_seeded, run_text};
pub use roofline::{Bound, DEVICES, Device, Prediction, predict};
#[cfg(feature = "cuda")]
pub use timed::Timed;
