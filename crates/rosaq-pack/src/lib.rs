#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bits;
mod builder;
mod codebook;
mod codes;
mod dequantize;
pub mod device;
mod error;
mod layout;
mod order;
mod packed;
mod segment;
mod trellis;

pub use bits::Bits;
pub use builder::{PackedLinearBuilder, SegmentValues};
pub use codes::{code_at, pack, packed_len, unpack_into};
pub use error::PackError;
pub use layout::{Layout, SegmentLayout};
pub use order::ChannelOrder;
pub use packed::{LinearSpec, PackedLinear, PackedParts};
pub use segment::{Segment, SegmentKind};
pub use trellis::TrellisRows;

#[cfg(test)]
mod tests;
