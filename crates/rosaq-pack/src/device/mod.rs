//! Packed linears as the CUDA kernels read them.
//!
//! [`DeviceLinear`] is one run of bytes: a table of [`DeviceSegment`]s, then what they point to.
//! Weights stand in units, which one warp multiplies at a time; `kernels/README.md` holds the layout
//! as a table, and `kernels/segment.cuh` is its twin.

mod error;
mod fields;
mod linear;
mod read;
mod segment;
mod table;
mod write;

pub use error::DeviceError;
pub use linear::DeviceLinear;
pub use segment::{DeviceKind, DeviceSegment};

/// Output rows of a block: what one warp multiplies.
pub const BLOCK_ROWS: usize = 32;
/// Input channels of a unit of codes.
pub const UNIT_CHANNELS: usize = 128;
/// Input channels of a unit of f16 values.
pub const F16_UNIT_CHANNELS: usize = 32;
/// Lanes of a warp.
const LANES: usize = 32;
/// Bytes that a lane loads at once.
const PIECE: usize = 16;

#[cfg(test)]
mod tests;
