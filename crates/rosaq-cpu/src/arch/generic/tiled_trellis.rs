//! Tiles of trellis codes times activations of eight bits.

use std::ops::Range;

use super::bytes::{ByteSimd, TileKernel};
use super::tiled::unpack;
use crate::tiles::{
    BlockInput, CHUNK, CHUNKS, StateBytes, TILE_ROWS, TOKENS, TRELLIS_BLOCK, TrellisTiles,
};

/// Codes of `B` bits, `E` even and `O` odd ones.
struct TrellisKernel<const B: usize, const E: usize, const O: usize>;

/// Adds the product of some tiles of `L` rows with each token to `out`, `[tiles, tokens]`.
pub(crate) fn add_trellis_tiles<V: ByteSimd<L>, const L: usize>(
    isa: V,
    tiles: &TrellisTiles<L>,
    x: &BlockInput,
    range: Range<usize>,
    out: &mut [[f32; L]],
) {
    match tiles.bits.get() {
        1 => isa.enter::<TrellisKernel<1, 1, 0>>(tiles, x, range, out),
        2 => isa.enter::<TrellisKernel<2, 1, 1>>(tiles, x, range, out),
        3 => isa.enter::<TrellisKernel<3, 2, 1>>(tiles, x, range, out),
        4 => isa.enter::<TrellisKernel<4, 2, 2>>(tiles, x, range, out),
        5 => isa.enter::<TrellisKernel<5, 3, 2>>(tiles, x, range, out),
        _ => isa.enter::<TrellisKernel<6, 3, 3>>(tiles, x, range, out),
    }
}

/// Rows back that a state may reach beyond the tile before: a tile of one bit holds eight of twelve.
const TILES_BACK: usize = 2;
/// Vectors of a block at most: those of eight lanes.
const VECTORS: usize = TRELLIS_BLOCK / (CHUNK * 8);

impl<const L: usize, const B: usize, const E: usize, const O: usize> TileKernel<L>
    for TrellisKernel<B, E, O>
{
    type Tiles = TrellisTiles<L>;
    type Tokens<'a> = BlockInput;

    #[inline(always)]
    fn run<V: ByteSimd<L>>(
        isa: V,
        tiles: &TrellisTiles<L>,
        x: &BlockInput,
        range: Range<usize>,
        out: &mut [[f32; L]],
    ) {
        let n_tokens = x.n_tokens();
        // From tiles of as many rows as lanes to those of eight rows.
        let (first, end) = (range.start * L / TILE_ROWS, range.end * L / TILE_ROWS);
        let mut states = tiles.initial().to_vec();
        let from = first.saturating_sub(TILES_BACK);
        for tile in from..first {
            Self::pass(isa, tiles.codes_of(tile), &mut states);
        }
        let tables = [isa.table(&tiles.even), isa.table(&tiles.odd)];
        for tile in first..end.min(tiles.n_tiles()) {
            let mut totals = [[isa.splat(0.0); TILE_ROWS]; TOKENS];
            let codes = tiles.codes_of(tile);
            Self::tile(isa, &tables, codes, &mut states, x, &mut totals[..n_tokens]);
            let row = (tile - first) * TILE_ROWS;
            let out = &mut out[row / L * n_tokens..][..n_tokens];
            for (token, (out, totals)) in out.iter_mut().zip(&totals).enumerate() {
                let added = V::SIGNED_OFFSET * x.weighted_sum(token);
                let lanes = out[row % L..].iter_mut().zip(tiles.scales_of(tile)).zip(totals);
                for ((out, scale), &total) in lanes {
                    *out += scale.to_f32() * (isa.sum_lanes(total) - added);
                }
            }
        }
    }
}

impl<const B: usize, const E: usize, const O: usize> TrellisKernel<B, E, O> {
    /// Lets the states of all channels pass through a tile.
    #[inline(always)]
    fn pass<V: ByteSimd<L>, const L: usize>(
        isa: V,
        codes: &[[[u8; CHUNK]; L]],
        states: &mut [StateBytes<L>],
    ) {
        for (codes, [even_bytes, odd_bytes]) in codes.as_chunks::<B>().0.iter().zip(states) {
            let (even_bits, odd_bits) = halves::<V, L, E, O>(isa, codes);
            let mut state = [isa.load(even_bytes), isa.load(odd_bytes)];
            for row in 0..TILE_ROWS {
                state = shift_in::<V, L, B>(isa, state, even_bits[row], odd_bits[row]);
            }
            isa.store(even_bytes, state[0]);
            isa.store(odd_bytes, state[1]);
        }
    }

    /// Adds the products of one tile's rows to `totals` `[tokens]`, a vector to each row, not yet scaled.
    #[inline(always)]
    fn tile<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tables: &[V::Table; 2],
        codes: &[[[u8; CHUNK]; L]],
        states: &mut [StateBytes<L>],
        x: &BlockInput,
        totals: &mut [[V::Floats; TILE_ROWS]],
    ) {
        let n_vectors = TRELLIS_BLOCK / (CHUNK * L);
        let blocks = codes.chunks_exact(n_vectors * B).zip(states.chunks_exact_mut(n_vectors));
        for ((codes, states), (x, of_x)) in blocks.zip(x.blocks()) {
            let mut values = [[isa.no_bytes(); TILE_ROWS]; VECTORS];
            let vectors = codes.as_chunks::<B>().0.iter().zip(states).zip(&mut values);
            for ((codes, [even_bytes, odd_bytes]), values) in vectors {
                let (even_bits, odd_bits) = halves::<V, L, E, O>(isa, codes);
                let mut state = [isa.load(even_bytes), isa.load(odd_bytes)];
                for row in 0..TILE_ROWS {
                    state = shift_in::<V, L, B>(isa, state, even_bits[row], odd_bits[row]);
                    let even = isa.look_up(&tables[0], state[0]);
                    values[row] = isa.add_bytes(even, isa.look_up(&tables[1], state[1]));
                }
                isa.store(even_bytes, state[0]);
                isa.store(odd_bytes, state[1]);
            }
            for ((totals, x), of_x) in totals.iter_mut().zip(x).zip(of_x) {
                let scale = isa.splat(of_x.scale);
                let x = x.as_flattened().as_chunks::<L>().0;
                for row in 0..TILE_ROWS {
                    let mut sums = isa.no_sums();
                    for (values, x) in values[..n_vectors].iter().zip(x) {
                        sums = isa.dot_signed(sums, values[row], x);
                    }
                    totals[row] = isa.mul_add(isa.to_floats(sums), scale, totals[row]);
                }
            }
        }
    }
}

/// The even and the odd bits of the codes of a tile's rows.
#[inline(always)]
fn halves<V: ByteSimd<L>, const L: usize, const E: usize, const O: usize>(
    isa: V,
    codes: &[[[u8; CHUNK]; L]],
) -> ([V::Bytes; CHUNKS], [V::Bytes; CHUNKS]) {
    let (even, odd) = codes.split_at(E);
    let even = unpack::<V, L, E>(isa, even.first_chunk().expect("as many as even bits"));
    let odd = match odd.first_chunk::<O>() {
        Some(odd) if O > 0 => unpack::<V, L, O>(isa, odd),
        _ => [isa.no_bytes(); CHUNKS],
    };
    (even, odd)
}

/// States after the bits of one more code. A shift by an odd number of places makes odd bits of even ones.
#[inline(always)]
fn shift_in<V: ByteSimd<L>, const L: usize, const B: usize>(
    isa: V,
    [even, odd]: [V::Bytes; 2],
    even_bits: V::Bytes,
    odd_bits: V::Bytes,
) -> [V::Bytes; 2] {
    let (from_even, from_odd) = if B.is_multiple_of(2) { (even, odd) } else { (odd, even) };
    let even = shift_left::<V, L>(isa, from_even, B.div_ceil(2));
    let odd = shift_left::<V, L>(isa, from_odd, B / 2);
    [isa.or(even, even_bits), isa.or(odd, odd_bits)]
}

/// Six-bit halves shifted left by up to three places; what leaves them is gone, and nothing comes in.
#[inline(always)]
fn shift_left<V: ByteSimd<L>, const L: usize>(isa: V, bytes: V::Bytes, places: usize) -> V::Bytes {
    match places {
        0 => bytes,
        1 => isa.and(isa.shift_left::<1>(bytes), 0x3E),
        2 => isa.and(isa.shift_left::<2>(bytes), 0x3C),
        _ => isa.and(isa.shift_left::<3>(bytes), 0x38),
    }
}
