#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bases;
mod error;
mod execute;
mod fp16;
mod method;
mod mixed;
mod plan;
mod registry;
mod rosaq;
mod rtn;

pub use bases::{BlockBases, residual_basis};
pub use error::MethodError;
pub use execute::{BlockInput, quantize_block};
pub use method::{Method, MethodSettings, Preset};
pub use plan::{HeadRotation, LinearPlan, OrderPlan, QuantPlan, ResidualRotation};
pub use registry::{METHODS, find, known_methods};
