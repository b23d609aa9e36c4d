#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod error;
mod finish;
mod header;
mod inventory;
mod reader;
mod shard;
mod sizes;
mod text_file;
mod verify;
mod writer;

pub use config::QuantizationConfig;
pub use error::CheckpointError;
pub use finish::finish;
pub use reader::Checkpoint;
pub use sizes::CheckpointSizes;
pub use verify::{VerifyReport, block_shard_is_complete};
pub use writer::{write_block_shard, write_ends_shard};

#[cfg(test)]
mod tests;
