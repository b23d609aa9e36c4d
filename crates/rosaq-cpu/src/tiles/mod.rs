//! Packed linears laid out anew for products with activations of eight bits.
//!
//! A `PackedLinear` keeps codes as densely as a file; here the same bits stand in the order in which vectors want them. `L` output
//! rows form a *tile*. Of each row, the channels of a group are cut into *blocks* of at most 32, eight chunks of four, which share a
//! scale of the activations. A vector holds one chunk of all `L` rows, a row to each lane of
//! four bytes, so sums of products never have to be added across lanes. Trellis codes, which depend on the rows before, are laid
//! out the other way round, see [`trellis`].

mod input;
mod lanes;
mod layout;
mod linear;
mod mmap;

mod product;
mod schedule;
mod trellis;

pub(crate) use input::{BlockInput, InputBlock, Rounding, TileInput};
pub(crate) use lanes::Lanes;
pub(crate) use layout::{CHUNKS, F16Tiles, IntTiles};
pub use linear::TiledLinear;
pub(crate) use schedule::{PLACES, RowPlan, Schedule, Step, period};
pub(crate) use trellis::{TILE_ROWS, TrellisTiles};

/// Channels that a lane of four bytes holds.
pub(crate) const CHUNK: usize = 4;
/// Channels at most that share a scale of the activations which meet integer codes: so few, since a channel far larger than the
/// others, as models have that are not rotated, costs its neighbours their precision.
pub(crate) const BLOCK: usize = 32;
/// The same for trellis codes, which are of rotated models.
pub(crate) const TRELLIS_BLOCK: usize = 128;
/// Tokens at most that a kernel multiplies with one reading of the weights.
pub(crate) const TOKENS: usize = 32;
