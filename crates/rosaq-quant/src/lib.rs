#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod channel_scale;
mod clip;
mod error;
mod gptq;
mod grid;
mod group;
mod matrix;
mod nearest;
mod output_error;
mod refit;
mod trellis_codes;

pub use channel_scale::{ChannelScale, search_channel_scale};
pub use clip::{Clip, clip_groups};
pub use error::QuantError;
pub use gptq::{GptqOptions, TrellisOptions, mean_pivot, pack_gptq};
pub use grid::Grid;
pub use group::{GroupParams, fit_group, fit_group_shrunk, search_group};
pub use matrix::{pack_nearest, reorder_columns, round_to_f16};
pub use nearest::{QuantizedMatrix, quantize_nearest};
pub use output_error::{OutputError, output_error};
pub use refit::refit_scales;
pub use trellis_codes::TrellisCodes;
