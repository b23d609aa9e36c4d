#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod architecture;
mod budgets;
mod compile;
mod environment;
mod error;
mod findings;
mod kernels;
mod occupancy;
mod resources;
mod sass;
mod table;

pub use architecture::Architecture;
pub use budgets::{Budget, Budgets};
pub use environment::{ENV_VARIABLE, Toolchain, WHEELS};
pub use error::NvccError;
pub use findings::Finding;
pub use kernels::{Places, check, write};
pub use occupancy::{Occupancy, occupancy};
pub use resources::{Usage, parse_usage};
pub use sass::{Listing, Loop, parse_sass};
