#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod block;
mod config;
mod error;
mod families;
mod family;
mod gguf_config;
mod observer;
mod role;
mod rope;
mod site;
mod source;

pub use block::{BlockRotations, BlockWeights, HeadBasis, LinearWeights, ModelEnds};
pub use config::ModelConfig;
pub use error::ModelError;
pub use families::FAMILIES;
pub use family::{Family, NameTable, find_architecture, find_gguf_architecture, known_families};
pub use observer::{ActivationObserver, IgnoreActivations};
pub use role::{LINEAR_ROLES, Role};
pub use rope::{RopeScaling, inverse_frequencies};
pub use site::{ActivationSite, SITES};
pub use source::SourceModel;
