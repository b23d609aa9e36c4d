//! What a kernel over tiles asks of an instruction set.

use std::ops::Range;

use half::f16;

use crate::tiles::{CHUNK, CHUNKS, InputBlock, Rounding, TILE_ROWS};

/// Operations on vectors of `L` lanes of four bytes.
///
/// As with [`super::Simd`], a value proves that the processor has the instructions, and every method is `#[inline(always)]`.
pub(crate) trait ByteSimd<const L: usize>: Copy {
    /// `4 L` bytes.
    type Bytes: Copy;
    /// `L` sums, exact integers.
    type Sums: Copy;
    /// `L` times f32.
    type Floats: Copy;

    /// A table of 64 bytes.
    type Table: Copy;

    /// What [`Self::table`] adds to each entry where asked to, so that sums of entries suit [`Self::dot_values`].
    const VALUE_OFFSET: f32;

    /// What [`Self::dot`] subtracts from codes of eight bits, all others are taken as they are.
    const OFFSET: f32;

    /// [`TileKernel::run`] as a function compiled with these instructions.
    fn enter<K: TileKernel<L>>(
        self,
        tiles: &K::Tiles,
        x: &K::Tokens<'_>,
        range: Range<usize>,
        out: &mut [[f32; L]],
    );

    /// [`Rounding::run`] as a function compiled with these instructions.
    fn round(self, task: Rounding<'_>) -> InputBlock;

    /// Unaligned.
    fn store(self, to: &mut [[u8; CHUNK]; L], bytes: Self::Bytes);

    /// Unaligned.
    fn load(self, bytes: &[[u8; CHUNK]; L]) -> Self::Bytes;

    /// `mask` in every byte, and with `bytes`.
    fn and(self, bytes: Self::Bytes, mask: u8) -> Self::Bytes;

    /// `a | b`.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Every byte shifted right by less than eight; bits of the next byte come in from above.
    fn shift_right<const N: i32>(self, bytes: Self::Bytes) -> Self::Bytes;

    /// Every byte shifted left by less than eight; bits of the byte before come in from below.
    fn shift_left<const N: i32>(self, bytes: Self::Bytes) -> Self::Bytes;

    /// Codes of eight bits as [`Self::dot`] wants them.
    fn whole_bytes(self, bytes: Self::Bytes) -> Self::Bytes;

    /// Zeros.
    fn no_sums(self) -> Self::Sums;

    /// Sums of the products of every lane's codes, of `B` bits, with the chunks of `x`, which all lanes share. Exact.
    fn dot<const B: usize>(
        self,
        codes: &[Self::Bytes; CHUNKS],
        x: &[[i8; CHUNK]; CHUNKS],
    ) -> Self::Sums;

    /// Zeros.
    fn no_bytes(self) -> Self::Bytes;

    /// Asks the second-level cache for memory that will be read; any address may be named.
    fn prefetch(self, address: *const u8);

    /// `a + b` of every byte, wrapping.
    fn add_bytes(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// The table for [`Self::look_up`], of entries that are moved by [`Self::VALUE_OFFSET`] where `offset` says so.
    fn table(self, entries: &[i8; 64], offset: bool) -> Self::Table;

    /// Of every byte those bits of `from` that `mask` has, and the others of `into`.
    fn merge(self, into: Self::Bytes, from: Self::Bytes, mask: u8) -> Self::Bytes;

    /// The entry that the lower six bits of each byte name.
    fn look_up(self, table: &Self::Table, idxs: Self::Bytes) -> Self::Bytes;

    /// Adds the products of values, which are moved by [`Self::VALUE_OFFSET`], with those of `x`, four neighbours to each lane. Exact.
    /// `x` is never -128.
    fn dot_values(self, sums: Self::Sums, values: Self::Bytes, x: &[[i8; CHUNK]; L]) -> Self::Sums;

    /// Adds all lanes of each, the upper half to the lower one until a single lane is left.
    fn sum_lanes(self, floats: [Self::Floats; TILE_ROWS]) -> [f32; TILE_ROWS];

    /// As f32.
    fn to_floats(self, sums: Self::Sums) -> Self::Floats;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::Floats;

    /// Unaligned.
    fn load_f32(self, values: &[f32; L]) -> Self::Floats;

    /// Unaligned.
    fn store_f32(self, values: &mut [f32; L], floats: Self::Floats);

    /// Unaligned, converted to f32.
    fn load_f16(self, values: &[f16; L]) -> Self::Floats;

    /// Unaligned, converted to f32.
    fn load_u8(self, values: &[u8; L]) -> Self::Floats;

    /// `a + b`.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a - b`.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// `c - a * b`, rounded once.
    fn neg_mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// A product over tiles of `L` rows, to be compiled once for each instruction set.
pub(crate) trait TileKernel<const L: usize> {
    /// Weights.
    type Tiles;
    /// Activations of some tokens.
    type Tokens<'a>: ?Sized;

    /// Adds the product of the tiles of `range` with each token to `out`, `[tiles, tokens]`.
    fn run<V: ByteSimd<L>>(
        isa: V,
        tiles: &Self::Tiles,
        x: &Self::Tokens<'_>,
        range: Range<usize>,
        out: &mut [[f32; L]],
    );
}

/// Bytes ahead of which codes are asked for, where so much is computed between loads that the processor's own prefetching stops short.
/// Into the first-level cache they could not be: more requests would be under way than it takes.
const AHEAD: usize = 8192;

/// Asks for what comes some vectors after these.
#[inline(always)]
pub(super) fn prefetch<V: ByteSimd<L>, const L: usize>(isa: V, vectors: &[[[u8; CHUNK]; L]]) {
    for vector in vectors {
        isa.prefetch(vector.as_ptr().cast::<u8>().wrapping_add(AHEAD));
    }
}

/// Every byte shifted right, or left where `by` is negative; what comes in from the next byte is not defined.
#[inline(always)]
pub(super) fn shifted<V: ByteSimd<L>, const L: usize>(
    isa: V,
    bytes: V::Bytes,
    by: isize,
) -> V::Bytes {
    match by {
        0 => bytes,
        1 => isa.shift_right::<1>(bytes),
        2 => isa.shift_right::<2>(bytes),
        3 => isa.shift_right::<3>(bytes),
        4 => isa.shift_right::<4>(bytes),
        5 => isa.shift_right::<5>(bytes),
        6 => isa.shift_right::<6>(bytes),
        7 => isa.shift_right::<7>(bytes),
        -1 => isa.shift_left::<1>(bytes),
        -2 => isa.shift_left::<2>(bytes),
        -3 => isa.shift_left::<3>(bytes),
        -4 => isa.shift_left::<4>(bytes),
        _ => isa.shift_left::<5>(bytes),
    }
}
