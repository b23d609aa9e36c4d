#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod allocation;
mod awq;
mod bases;
mod error;
mod execute;
mod fp16;
mod gptq;
mod inputs;
mod learning;
mod method;
mod mixed;
mod orders;
mod output_weights;
mod parts;
mod plan;
mod registry;
mod rosaq;
mod rtn;
mod scaling;
mod sensitivity;
mod settings;
mod spectral;
mod spinquant;

pub use bases::{BlockBases, head_bases, residual_basis};
pub use error::MethodError;
pub use execute::{BlockInput, QuantizedBlock, RotatedSite, quantize_block};
pub use learning::{PROBLEMS_PER_BLOCK, learn_heads, residual_problems};
pub use method::Method;
pub use parts::{Part, UnknownPart};
pub use plan::{
    Basis, HeadRotation, HeadScope, LinearPlan, OrderPlan, QuantPlan, ResidualRotation, Rounding,
    SalientFirst,
};
pub use registry::{METHODS, find, heeding, known_methods, plan, unheeded};
pub use sensitivity::{Sensitivity, block_sensitivity};
pub use settings::{MethodSettings, OutputRotation, Preset, Setting};
