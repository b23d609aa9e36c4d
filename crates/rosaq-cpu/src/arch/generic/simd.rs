//! What a kernel asks of an instruction set.

use std::ops::Range;

use half::f16;

/// The operations of an instruction set on vectors of `L` lanes of 32 bits, `L` a multiple of eight.
///
/// A value proves that the processor has the instructions: its type has no other constructor than
/// one that looks. Every method is `#[inline(always)]`, for it is fast only as part of a
/// [`Kernel`] that was entered.
pub(crate) trait Simd<const L: usize>: Copy {
    /// `L` times f32.
    type Floats: Copy;
    /// `L` times 32 bits.
    type Words: Copy;
    /// A table of sixteen f32.
    type Levels: Copy;

    /// [`Kernel::run`] as a function compiled with these instructions.
    fn enter<K: Kernel<L>>(
        self,
        segment: &K::Segment<'_>,
        x: &K::Tokens<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    );

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::Floats;

    /// `bits` in every lane.
    fn splat_bits(self, bits: i32) -> Self::Words;

    /// Unaligned.
    fn load(self, values: &[f32; L]) -> Self::Floats;

    /// Unaligned.
    fn store(self, to: &mut [f32; L], values: Self::Floats);

    /// Unaligned, converted to f32.
    fn load_f16(self, values: &[f16; L]) -> Self::Floats;

    /// `a + b`.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b`.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// `c - a * b`, rounded once.
    fn neg_mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// Lane `idxs[i]` of `values` in every lane `i`.
    fn permute(self, values: Self::Floats, idxs: &[i32; L]) -> Self::Floats;

    /// Asks for the cache line at any address, valid or not.
    fn prefetch(self, address: *const u8);

    /// Adds the upper half of the lanes to the lower one until a single lane is left.
    fn sum_lanes(self, values: Self::Floats) -> f32;

    /// One block of codes of `B` bits: the codes of lane 0, then of lane 1, ...
    ///
    /// A lane holds its eight codes of 2 to 4 bits, or four of 5 to 8, the first one lowest. Bits
    /// above the last code are not defined.
    fn load_codes<const B: usize>(self, bytes: &[[u8; 4]; L]) -> Self::Words;

    /// The bytes `idxs[i]` of `bytes` in lane `i`: zero for an index of 255, not defined for one just
    /// past the end.
    fn gather_bytes(self, bytes: &[u8; L], idxs: &[[u8; 4]; L]) -> Self::Words;

    /// Every lane shifted right by `n_bits`, zeros coming in.
    fn shift_right(self, words: Self::Words, n_bits: i32) -> Self::Words;

    /// Lane `i` shifted right by `n_bits[i]`, zeros coming in.
    fn shift_right_each(self, words: Self::Words, n_bits: &[i32; L]) -> Self::Words;

    /// `a & b`.
    fn and(self, a: Self::Words, b: Self::Words) -> Self::Words;

    /// Every lane, a signed number, as the nearest f32.
    fn to_floats(self, words: Self::Words) -> Self::Floats;

    /// The table for [`Simd::look_up`].
    fn levels(self, table: &[f32; 16]) -> Self::Levels;

    /// The level that the low `B` bits of each lane name, `B` being 2, 3 or 4, in a table that
    /// repeats its `2^B` levels.
    fn look_up<const B: usize>(self, levels: Self::Levels, idxs: Self::Words) -> Self::Floats;
}

/// A product over vectors of `L` lanes, to be compiled once for each instruction set.
///
/// Its arguments are references, not fields: so the compiler knows that they do not overlap.
pub(crate) trait Kernel<const L: usize> {
    /// Weights.
    type Segment<'a>;
    /// Activations of some tokens.
    type Tokens<'a>: ?Sized;

    /// Adds the product of rows `rows` of the segment with each token to `out` `[rows, tokens]`.
    ///
    /// An implementation is `#[inline(always)]`: it has the instructions of the function that it is
    /// inlined into.
    fn run<V: Simd<L>>(
        isa: V,
        segment: &Self::Segment<'_>,
        x: &Self::Tokens<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    );
}
