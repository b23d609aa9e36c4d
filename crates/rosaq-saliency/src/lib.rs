#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod order;
mod rule;
mod select;

pub use error::SaliencyError;
pub use order::ChannelOrder;
pub use rule::SaliencyRule;
pub use select::{SalientSet, default_salient, default_salient_per_head, select_channels};
