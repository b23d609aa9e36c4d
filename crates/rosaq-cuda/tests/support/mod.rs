//! Launches of the committed PTX on the emulator.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "every test uses a part")]

mod cases;
mod emulator;
pub mod patch;

pub use cases::{Case, Random, codebook, trellis};
pub use emulator::{Outcome, run, run_seeded, run_text};
