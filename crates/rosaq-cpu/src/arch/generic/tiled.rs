//! Tiles of integer codes times activations of eight bits.

use std::ops::Range;

use super::bytes::{ByteSimd, TileKernel, prefetch, shifted};
use crate::tiles::{CHUNK, CHUNKS, IntTiles, TOKENS, TileInput};

/// Codes of `B` bits. A block's codes are taken apart once for all tokens; sums within a block are exact integers.
struct IntKernel<const B: usize>;

/// Adds the product of some tiles of codes with each token to `out`, `[tiles, tokens]`.
pub(crate) fn add_int_tiles<V: ByteSimd<L>, const L: usize>(
    isa: V,
    tiles: &IntTiles<L>,
    x: &TileInput,
    range: Range<usize>,
    out: &mut [[f32; L]],
) {
    match tiles.bits.get() {
        2 => isa.enter::<IntKernel<2>>(tiles, x, range, out),
        3 => isa.enter::<IntKernel<3>>(tiles, x, range, out),
        4 => isa.enter::<IntKernel<4>>(tiles, x, range, out),
        5 => isa.enter::<IntKernel<5>>(tiles, x, range, out),
        6 => isa.enter::<IntKernel<6>>(tiles, x, range, out),
        _ => isa.enter::<IntKernel<8>>(tiles, x, range, out),
    }
}

impl<const L: usize, const B: usize> TileKernel<L> for IntKernel<B> {
    type Tiles = IntTiles<L>;
    type Tokens<'a> = TileInput;

    #[inline(always)]
    fn run<V: ByteSimd<L>>(
        isa: V,
        tiles: &IntTiles<L>,
        x: &TileInput,
        range: Range<usize>,
        out: &mut [[f32; L]],
    ) {
        for (tile, out) in range.zip(out.chunks_exact_mut(x.n_tokens())) {
            match out {
                [out] => Self::one_token(isa, tiles, x, tile, out),
                out => Self::some_tokens(isa, tiles, x, tile, out),
            }
        }
    }
}

/// Widest codes that are asked for ahead for one token. Of wider ones the processor reads enough at once without that.
const BITS_ASKED_FOR: usize = 3;

impl<const B: usize> IntKernel<B> {
    #[inline(always)]
    fn one_token<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tiles: &IntTiles<L>,
        x: &TileInput,
        tile: usize,
        out: &mut [f32; L],
    ) {
        let mut units = tiles.codes_of(tile).as_chunks::<B>().0.iter().zip(x.blocks());
        let (scales, zeros) = (tiles.scales_of(tile), tiles.zeros_of(tile));
        let mut total = isa.load_f32(out);
        for (group, (&n_blocks, sums_of_x)) in
            tiles.blocks_of_groups.iter().zip(x.groups()).enumerate()
        {
            let mut part = isa.splat(0.0);
            for (codes, (x, scale, rest)) in units.by_ref().take(n_blocks) {
                if B <= BITS_ASKED_FOR {
                    prefetch(isa, codes);
                }
                let codes = unpack::<V, L, B>(isa, codes);
                let sums = isa.dot::<B>(&codes, &x[0]);
                part = isa.mul_add(isa.to_floats(sums), isa.splat(scale[0]), part);
                for rest in rest {
                    let sums = isa.dot::<B>(&codes, &rest.codes);
                    part = isa.mul_add(isa.to_floats(sums), isa.splat(rest.scale), part);
                }
            }
            let zero = zero_points::<V, L, B>(isa, zeros, tiles.zero, group);
            let exact = isa.neg_mul_add(zero, isa.splat(sums_of_x[0]), part);
            total = isa.mul_add(exact, isa.load_f16(&scales[group]), total);
        }
        isa.store_f32(out, total);
    }

    /// Sums are those of [`Self::one_token`], in the same order.
    #[inline(always)]
    fn some_tokens<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tiles: &IntTiles<L>,
        x: &TileInput,
        tile: usize,
        out: &mut [[f32; L]],
    ) {
        let mut units = tiles.codes_of(tile).as_chunks::<B>().0.iter().zip(x.blocks());
        let (scales, zeros) = (tiles.scales_of(tile), tiles.zeros_of(tile));
        for (group, (&n_blocks, sums_of_x)) in
            tiles.blocks_of_groups.iter().zip(x.groups()).enumerate()
        {
            let mut parts = [isa.splat(0.0); TOKENS];
            for (codes, (x, scales, rest)) in units.by_ref().take(n_blocks) {
                prefetch(isa, codes);
                let codes = unpack::<V, L, B>(isa, codes);
                for ((part, x), &scale) in parts.iter_mut().zip(x).zip(scales) {
                    let sums = isa.dot::<B>(&codes, x);
                    *part = isa.mul_add(isa.to_floats(sums), isa.splat(scale), *part);
                }
                for rest in rest {
                    let sums = isa.dot::<B>(&codes, &rest.codes);
                    let part = &mut parts[rest.token];
                    *part = isa.mul_add(isa.to_floats(sums), isa.splat(rest.scale), *part);
                }
            }
            let zero = zero_points::<V, L, B>(isa, zeros, tiles.zero, group);
            let scale = isa.load_f16(&scales[group]);
            for ((out, part), &sum_of_x) in out.iter_mut().zip(&parts).zip(sums_of_x) {
                let exact = isa.neg_mul_add(zero, isa.splat(sum_of_x), *part);
                isa.store_f32(out, isa.mul_add(exact, scale, isa.load_f32(out)));
            }
        }
    }
}

/// The zero points of a group of all rows, less what products leave out.
#[inline(always)]
fn zero_points<V: ByteSimd<L>, const L: usize, const B: usize>(
    isa: V,
    zeros: &[[u8; L]],
    zero: u8,
    group: usize,
) -> V::Floats {
    let offset = if B == 8 { V::OFFSET } else { 0.0 };
    match zeros.get(group) {
        Some(zeros) => isa.sub(isa.load_u8(zeros), isa.splat(offset)),
        None => isa.splat(f32::from(zero) - offset),
    }
}

/// The codes of a block, a chunk to each vector; where they stand is said in the layout of tiles.
#[inline(always)]
fn unpack<V: ByteSimd<L>, const L: usize, const B: usize>(
    isa: V,
    vectors: &[[[u8; CHUNK]; L]; B],
) -> [V::Bytes; CHUNKS] {
    // Loops, not closures: only what is inlined into the entered function has its instructions.
    let mut v = [isa.load(&vectors[0]); B];
    for i in 1..B {
        v[i] = isa.load(&vectors[i]);
    }
    let mut codes = [v[0]; CHUNKS];
    for chunk in 0..CHUNKS {
        codes[chunk] = match B {
            2 => {
                let pairs = v[chunk / 4 % B];
                let shifted = match chunk % 4 {
                    0 => pairs,
                    1 => isa.shift_right::<2>(pairs),
                    2 => isa.shift_right::<4>(pairs),
                    _ => isa.shift_right::<6>(pairs),
                };
                isa.and(shifted, 3)
            }
            3 => nibble(isa, v[chunk / 2 % B], chunk, 7),
            4 => nibble(isa, v[chunk / 2 % B], chunk, 15),
            5 => isa.or(nibble(isa, v[chunk / 2 % B], chunk, 15), fifth_bit(isa, v[4 % B], chunk)),
            6 => isa.or(
                nibble(isa, v[chunk / 2 % B], chunk, 15),
                upper_pair(isa, v[(4 + chunk / 4) % B], chunk),
            ),
            _ => isa.whole_bytes(v[chunk % B]),
        };
    }
    if B == 3 {
        let first = isa.and(isa.shift_right::<3>(v[0]), 0x11);
        let second = isa.and(isa.shift_right::<2>(v[1 % B]), 0x22);
        let third = isa.and(isa.shift_right::<1>(v[2 % B]), 0x44);
        let spare = isa.or(isa.or(first, second), third);
        codes[6] = isa.and(spare, 7);
        codes[7] = isa.and(isa.shift_right::<4>(spare), 7);
    }
    codes
}

/// The lower or upper nibbles, by whether `chunk` is even.
#[inline(always)]
fn nibble<V: ByteSimd<L>, const L: usize>(
    isa: V,
    bytes: V::Bytes,
    chunk: usize,
    mask: u8,
) -> V::Bytes {
    let shifted = if chunk.is_multiple_of(2) { bytes } else { isa.shift_right::<4>(bytes) };
    isa.and(shifted, mask)
}

/// The bit of `chunk` moved to bit 4.
#[inline(always)]
fn fifth_bit<V: ByteSimd<L>, const L: usize>(isa: V, bytes: V::Bytes, chunk: usize) -> V::Bytes {
    let by = if chunk < 4 { chunk.cast_signed() } else { chunk.cast_signed() - 8 };
    isa.and(shifted(isa, bytes, by), 0x10)
}

/// The two bits of `chunk` moved to bits 4 and 5.
#[inline(always)]
fn upper_pair<V: ByteSimd<L>, const L: usize>(isa: V, bytes: V::Bytes, chunk: usize) -> V::Bytes {
    isa.and(shifted(isa, bytes, 2 * (chunk % 4).cast_signed() - 4), 0x30)
}
