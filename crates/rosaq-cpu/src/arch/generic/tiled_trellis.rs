//! Tiles of trellis codes times activations of eight bits.

use std::ops::Range;

use half::f16;

use super::bytes::{ByteSimd, TileKernel, prefetch};
use super::tiled::unpack;
use crate::tiles::{BlockInput, CHUNK, CHUNKS, TILE_ROWS, TRELLIS_BLOCK, TrellisTiles};

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

/// Tiles that a state may reach back: it holds the codes of the last twelve rows at most.
const fn tiles_back(bits: usize) -> usize {
    12_usize.div_ceil(bits).div_ceil(TILE_ROWS)
}

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
        let mut states = tiles.initial().clone();
        let tables = [isa.table(&tiles.even, true), isa.table(&tiles.odd, false)];
        let mut values = vec![[isa.no_bytes(); TILE_ROWS]; states.len() / 2];
        for tile in first.saturating_sub(tiles_back(B))..first {
            Self::decode(isa, &tables, tiles.codes_of(tile), &mut states, &mut values);
        }
        let added: Vec<f32> =
            (0..n_tokens).map(|token| V::VALUE_OFFSET * x.weighted_sum(token)).collect();
        for tile in first..end.min(tiles.n_tiles()) {
            let (codes, scales) = (tiles.codes_of(tile), tiles.scales_of(tile));
            let row = (tile - first) * TILE_ROWS;
            let out = &mut out[row / L * n_tokens..][..n_tokens];
            if n_tokens == 1 {
                let totals = Self::one_token(isa, &tables, codes, &mut states, x);
                add_totals(isa, totals, scales, added[0], &mut out[0][row % L..]);
                continue;
            }
            Self::decode(isa, &tables, codes, &mut states, &mut values);
            for token in (0..n_tokens - n_tokens % PAIR).step_by(PAIR) {
                let totals = some_tokens::<V, L, PAIR>(isa, &values, x, token);
                for i in 0..PAIR {
                    let out = &mut out[token + i][row % L..];
                    add_totals(isa, totals[i], scales, added[token + i], out);
                }
            }
            if n_tokens % PAIR == 1 {
                let last = n_tokens - 1;
                let [totals] = some_tokens::<V, L, 1>(isa, &values, x, last);
                add_totals(isa, totals, scales, added[last], &mut out[last][row % L..]);
            }
        }
    }
}

/// Adds a tile's sums, scaled, to its rows.
// No closure: only what is inlined into the entered function has its instructions.
#[inline(always)]
fn add_totals<V: ByteSimd<L>, const L: usize>(
    isa: V,
    totals: [V::Floats; TILE_ROWS],
    scales: &[f16],
    added: f32,
    out: &mut [f32],
) {
    let sums = isa.sum_lanes(totals);
    for ((out, scale), sum) in out.iter_mut().zip(scales).zip(sums) {
        *out += scale.to_f32() * (sum - added);
    }
}

/// Vectors at most that are decoded side by side.
const ABREAST: usize = 2;

/// Vectors of `lanes` that are decoded side by side: as many as registers hold.
const fn abreast(lanes: usize) -> usize {
    if lanes == 16 { ABREAST } else { 1 }
}

/// Tokens that share values in registers.
const PAIR: usize = 2;

impl<const B: usize, const E: usize, const O: usize> TrellisKernel<B, E, O> {
    /// The values of a tile's rows, `[vectors]`.
    #[inline(always)]
    fn decode<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tables: &[V::Table; 2],
        codes: &[[[u8; CHUNK]; L]],
        states: &mut [[[u8; CHUNK]; L]],
        values: &mut [[V::Bytes; TILE_ROWS]],
    ) {
        let vectors =
            codes.as_chunks::<B>().0.iter().zip(states.as_chunks_mut::<2>().0).zip(values);
        for ((codes, [even_bytes, odd_bytes]), values) in vectors {
            prefetch(isa, codes);
            let [even_bits, odd_bits] = halves::<V, L, E, O>(isa, codes);
            let mut state = [isa.load(even_bytes), isa.load(odd_bytes)];
            for row in 0..TILE_ROWS {
                state = shift_in::<V, L, B>(isa, state, even_bits[row], odd_bits[row]);
                let even = isa.look_up(&tables[0], state[0]);
                values[row] = isa.add_bytes(even, isa.look_up(&tables[1], state[1]));
            }
            isa.store(even_bytes, state[0]);
            isa.store(odd_bytes, state[1]);
        }
    }

    /// The products of a tile's rows, not yet scaled, with values that never leave registers.
    #[inline(always)]
    fn one_token<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tables: &[V::Table; 2],
        codes: &[[[u8; CHUNK]; L]],
        states: &mut [[[u8; CHUNK]; L]],
        x: &BlockInput,
    ) -> [V::Floats; TILE_ROWS] {
        let n_vectors = const { TRELLIS_BLOCK / (CHUNK * L) };
        let mut totals = [isa.splat(0.0); TILE_ROWS];
        let blocks = codes.chunks_exact(n_vectors * B).zip(states.chunks_exact_mut(n_vectors * 2));
        for ((codes, states), (x, of_x)) in blocks.zip(x.blocks()) {
            let (codes, states) = (codes.as_chunks::<B>().0, states.as_chunks_mut::<2>().0);
            let x = x[0].as_flattened().as_chunks::<L>().0;
            let mut sums = [isa.no_sums(); TILE_ROWS];
            for first in (0..n_vectors).step_by(const { abreast(L) }) {
                let range = first..first + const { abreast(L) };
                let (codes, x) = (&codes[range.clone()], &x[range.clone()]);
                Self::add_abreast(isa, tables, codes, &mut states[range], x, &mut sums);
            }
            let scale = isa.splat(of_x[0].scale);
            for row in 0..TILE_ROWS {
                totals[row] = isa.mul_add(isa.to_floats(sums[row]), scale, totals[row]);
            }
        }
        totals
    }

    /// Adds the products of some vectors of channels side by side: in each, a row's state waits for that of the row before.
    #[inline(always)]
    fn add_abreast<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tables: &[V::Table; 2],
        codes: &[[[[u8; CHUNK]; L]; B]],
        states: &mut [[[[u8; CHUNK]; L]; 2]],
        x: &[[[i8; CHUNK]; L]],
        sums: &mut [V::Sums; TILE_ROWS],
    ) {
        let mut bits = [[[isa.no_bytes(); CHUNKS]; 2]; ABREAST];
        let mut state = [[isa.no_bytes(); 2]; ABREAST];
        for v in 0..const { abreast(L) } {
            prefetch(isa, &codes[v]);
            bits[v] = halves::<V, L, E, O>(isa, &codes[v]);
            state[v] = [isa.load(&states[v][0]), isa.load(&states[v][1])];
        }
        for row in 0..TILE_ROWS {
            for v in 0..const { abreast(L) } {
                state[v] = shift_in::<V, L, B>(isa, state[v], bits[v][0][row], bits[v][1][row]);
                let even = isa.look_up(&tables[0], state[v][0]);
                let value = isa.add_bytes(even, isa.look_up(&tables[1], state[v][1]));
                sums[row] = isa.dot_values(sums[row], value, &x[v]);
            }
        }
        for v in 0..const { abreast(L) } {
            isa.store(&mut states[v][0], state[v][0]);
            isa.store(&mut states[v][1], state[v][1]);
        }
    }
}

/// The products of a tile's rows with tokens `first..first + T`, not yet scaled; those of [`TrellisKernel::one_token`].
#[inline(always)]
fn some_tokens<V: ByteSimd<L>, const L: usize, const T: usize>(
    isa: V,
    values: &[[V::Bytes; TILE_ROWS]],
    x: &BlockInput,
    first: usize,
) -> [[V::Floats; TILE_ROWS]; T] {
    let n_vectors = const { TRELLIS_BLOCK / (CHUNK * L) };
    let mut totals = [[isa.splat(0.0); TILE_ROWS]; T];
    for (values, (x, of_x)) in values.chunks_exact(n_vectors).zip(x.blocks()) {
        for token in 0..T {
            let x = x[first + token].as_flattened().as_chunks::<L>().0;
            let scale = isa.splat(of_x[first + token].scale);
            for row in 0..TILE_ROWS {
                let mut sums = isa.no_sums();
                for vector in 0..n_vectors {
                    sums = isa.dot_values(sums, values[vector][row], &x[vector]);
                }
                totals[token][row] = isa.mul_add(isa.to_floats(sums), scale, totals[token][row]);
            }
        }
    }
    totals
}

/// The even and the odd bits of the codes of a tile's rows.
#[inline(always)]
fn halves<V: ByteSimd<L>, const L: usize, const E: usize, const O: usize>(
    isa: V,
    codes: &[[[u8; CHUNK]; L]],
) -> [[V::Bytes; CHUNKS]; 2] {
    let (even, odd) = codes.split_at(E);
    let even = unpack::<V, L, E>(isa, even.first_chunk().expect("as many as even bits"));
    let odd = match odd.first_chunk::<O>() {
        Some(odd) if O > 0 => unpack::<V, L, O>(isa, odd),
        _ => [isa.no_bytes(); CHUNKS],
    };
    [even, odd]
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
    let [even, odd] = match B {
        1 => [isa.shift_idxs::<1>(from_even), from_odd],
        2 => [isa.shift_idxs::<1>(from_even), isa.shift_idxs::<1>(from_odd)],
        3 => [isa.shift_idxs::<2>(from_even), isa.shift_idxs::<1>(from_odd)],
        4 => [isa.shift_idxs::<2>(from_even), isa.shift_idxs::<2>(from_odd)],
        5 => [isa.shift_idxs::<3>(from_even), isa.shift_idxs::<2>(from_odd)],
        _ => [isa.shift_idxs::<3>(from_even), isa.shift_idxs::<3>(from_odd)],
    };
    [isa.or(even, even_bits), isa.or(odd, odd_bits)]
}
