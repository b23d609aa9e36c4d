//! Packed linears laid out anew for products with activations of eight bits.
//!
//! A `PackedLinear` keeps codes as densely as a file; here the same bits stand in the order in which vectors want them. `L` output
//! rows form a *tile*. Of each row, the channels of a group are cut into *blocks* of at most 32, which share a scale of the
//! activations and lie in one *unit*: eight chunks of four channels. A vector holds one chunk of all `L` rows, a row to each lane of
//! four bytes, so sums of products never have to be added across lanes. Trellis codes, which depend on the rows before, are laid
//! out the other way round, see [`trellis`].

mod input;
mod layout;
mod linear;
mod trellis;

pub(crate) use input::{BlockInput, TileInput};
pub(crate) use layout::{CHUNKS, F16Tiles, IntTiles};
pub use linear::TiledLinear;
pub(crate) use trellis::{StateBytes, TILE_ROWS, TrellisTiles};

/// Channels of a unit.
pub(crate) const UNIT: usize = 32;
/// Channels that a lane of four bytes holds.
pub(crate) const CHUNK: usize = 4;
/// Channels at most that share a scale of the activations which meet integer codes: so few, since a channel far larger than the
/// others, as models have that are not rotated, costs its neighbours their precision.
pub(crate) const INT_BLOCK: usize = 32;
/// The same for trellis codes, which are of rotated models.
pub(crate) const TRELLIS_BLOCK: usize = 64;
/// Tokens at most that a kernel multiplies with one reading of the weights.
pub(crate) const TOKENS: usize = 16;
