#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "registers are bits, and instructions take the low ones of them or change their meaning"
)]

mod counters;
mod error;
mod execute;
mod fault;
mod launch;
mod lower;
mod memory;
mod module;
mod number;
mod program;
mod syntax;
mod types;

pub use counters::{Counters, OpClass, Traffic};
pub use error::PtxError;
pub use fault::{Fault, FaultKind};
pub use launch::{Launch, Params};
pub use memory::{Memory, MemoryError};
pub use module::{Kernel, Module};
pub use program::ParamSlot;
