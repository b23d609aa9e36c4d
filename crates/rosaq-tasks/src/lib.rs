#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bundled;
mod data;
mod encode;
mod error;
mod filters;
mod locate;
mod mapped;
mod metrics;
#[cfg(feature = "parquet")]
mod parquet_rows;
mod read;
mod render;
mod spec;
mod summary;

pub use bundled::{COMMON_SENSE, select};
pub use data::{LoadOptions, Part, TaskData, load};
pub use encode::{EncodedRequest, encode};
pub use error::TaskError;
pub use metrics::{Marks, Measure, mark};
pub use render::Question;
pub use spec::{Group, Metric, Task};
pub use summary::{GroupScore, ScoredQuestion, TaskScore, common_sense_average, summarize};
