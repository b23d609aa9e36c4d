#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod collector;
mod error;
mod gram;
mod lower_product;
mod magnitude;
mod state_file;
mod stats;

pub use collector::{Collecting, Products, Requirements, StatsCollector, TokenWeighting};
pub use error::CalibError;
pub use gram::Gram;
pub use magnitude::ChannelMagnitude;
pub use state_file::{load_state, save_state};
pub use stats::{Fingerprint, LayerStats, SiteStats, load_layer, save_layer};
