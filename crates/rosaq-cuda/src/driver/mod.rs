//! All that touches `cust`, and all of this crate's unsafe code. Nothing of cust's shows outside.
#![allow(unsafe_code, reason = "the driver's functions are foreign to Rust")]

mod context;
mod launch;
mod memory;
mod module;

pub(crate) use context::Context;
pub(crate) use launch::{Argument, Launch, launch};
pub use memory::Element;
pub(crate) use memory::{Memory, free_bytes};
pub(crate) use module::Module;

use std::fmt::Write as _;

use crate::CudaError;

// Defines the driver's functions.
extern crate rosaq_cuda_shim as _;

/// The driver's words for an error, with cust's name for it.
fn words(error: cust::error::CudaError) -> String {
    let mut said = String::new();
    // A driver that does not know its own error makes this fail; the name is left then.
    let _ = write!(said, "{error}");
    let said = said.trim_matches('"');
    if said.is_empty() { format!("{error:?}") } else { format!("{said} ({error:?})") }
}

fn failed(what: &'static str) -> impl FnOnce(cust::error::CudaError) -> CudaError {
    move |error| CudaError::Driver { what, cause: words(error) }
}
