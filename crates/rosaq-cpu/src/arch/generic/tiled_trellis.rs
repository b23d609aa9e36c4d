//! Tiles of trellis codes times activations of eight bits.

use std::ops::Range;

use half::f16;

use super::bytes::{ByteSimd, TileKernel, prefetch, shifted};
use crate::tiles::{
    BlockInput, CHUNK, PLACES, RowPlan, Schedule, Step, TILE_ROWS, TRELLIS_BLOCK, TrellisTiles,
    period,
};

/// Codes of `B` bits.
struct TrellisKernel<const B: usize>;

/// Adds the product of some tiles of `L` rows with each token to `out`, `[tiles, tokens]`.
pub(crate) fn add_trellis_tiles<V: ByteSimd<L>, const L: usize>(
    isa: V,
    tiles: &TrellisTiles<L>,
    x: &BlockInput,
    range: Range<usize>,
    out: &mut [[f32; L]],
) {
    match tiles.bits.get() {
        1 => isa.enter::<TrellisKernel<1>>(tiles, x, range, out),
        2 => isa.enter::<TrellisKernel<2>>(tiles, x, range, out),
        3 => isa.enter::<TrellisKernel<3>>(tiles, x, range, out),
        4 => isa.enter::<TrellisKernel<4>>(tiles, x, range, out),
        5 => isa.enter::<TrellisKernel<5>>(tiles, x, range, out),
        _ => isa.enter::<TrellisKernel<6>>(tiles, x, range, out),
    }
}

/// Tiles that a state may reach back: it holds the codes of the last twelve rows at most.
const fn tiles_back(bits: usize) -> usize {
    12_usize.div_ceil(bits).div_ceil(TILE_ROWS)
}

/// Tables by even and by odd bits, for every place at which the newest bit may stand.
type Tables<T> = [[T; PLACES]; 2];

impl<const L: usize, const B: usize> TileKernel<L> for TrellisKernel<B> {
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
        let mut states = tiles.initial().short_lived();
        let mut tables = [[isa.table(&tiles.tables[0][0], true); PLACES]; 2];
        for (half, (tables, entries)) in tables.iter_mut().zip(&tiles.tables).enumerate() {
            for (table, entries) in tables.iter_mut().zip(entries) {
                *table = isa.table(entries, half == 0);
            }
        }
        let mut values = vec![[isa.no_bytes(); TILE_ROWS]; states.len() / 2];
        for tile in first.saturating_sub(tiles_back(B))..first {
            Self::decode(isa, &tables, tile, tiles.codes_of(tile), &mut states, &mut values);
        }
        let added: Vec<f32> =
            (0..n_tokens).map(|token| V::VALUE_OFFSET * x.weighted_sum(token)).collect();
        for tile in first..end.min(tiles.n_tiles()) {
            let (codes, scales) = (tiles.codes_of(tile), tiles.scales_of(tile));
            let row = (tile - first) * TILE_ROWS;
            let out = &mut out[row / L * n_tokens..][..n_tokens];
            if n_tokens == 1 {
                let totals = match tile % period(B) {
                    0 => Self::one_token::<V, L, 0>(isa, &tables, codes, &mut states, x),
                    1 => Self::one_token::<V, L, 1>(isa, &tables, codes, &mut states, x),
                    _ => Self::one_token::<V, L, 2>(isa, &tables, codes, &mut states, x),
                };
                add_totals(isa, totals, scales, added[0], &mut out[0][row % L..]);
                continue;
            }
            Self::decode(isa, &tables, tile, codes, &mut states, &mut values);
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

/// Tokens that share values in registers.
const PAIR: usize = 2;

impl<const B: usize> TrellisKernel<B> {
    /// The values of a tile's rows, `[vectors]`.
    #[inline(always)]
    fn decode<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tables: &Tables<V::Table>,
        tile: usize,
        codes: &[[[u8; CHUNK]; L]],
        states: &mut [[[u8; CHUNK]; L]],
        values: &mut [[V::Bytes; TILE_ROWS]],
    ) {
        let states = states.as_chunks_mut::<2>().0.iter_mut();
        for ((codes, states), values) in codes.as_chunks::<B>().0.iter().zip(states).zip(values) {
            prefetch(isa, codes);
            *values = match tile % period(B) {
                0 => Walk::<B, 0>::values(isa, tables, codes, states),
                1 => Walk::<B, 1>::values(isa, tables, codes, states),
                _ => Walk::<B, 2>::values(isa, tables, codes, states),
            };
        }
    }

    /// The products of a tile's rows, not yet scaled, with values that never leave registers.
    #[inline(always)]
    fn one_token<V: ByteSimd<L>, const L: usize, const TILE: usize>(
        isa: V,
        tables: &Tables<V::Table>,
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
            for vector in 0..n_vectors {
                prefetch(isa, &codes[vector]);
                let values =
                    Walk::<B, TILE>::values(isa, tables, &codes[vector], &mut states[vector]);
                for row in 0..TILE_ROWS {
                    sums[row] = isa.dot_values(sums[row], values[row], &x[vector]);
                }
            }
            let scale = isa.splat(of_x[0].scale);
            for row in 0..TILE_ROWS {
                totals[row] = isa.mul_add(isa.to_floats(sums[row]), scale, totals[row]);
            }
        }
        totals
    }
}

/// The way of states down a tile whose number modulo [`period`] is `TILE`.
struct Walk<const B: usize, const TILE: usize>;

impl<const B: usize, const TILE: usize> Walk<B, TILE> {
    /// The values of a vector of channels, row by row.
    #[inline(always)]
    fn values<V: ByteSimd<L>, const L: usize>(
        isa: V,
        tables: &Tables<V::Table>,
        codes: &[[[u8; CHUNK]; L]; B],
        [first, second]: &mut [[[u8; CHUNK]; L]; 2],
    ) -> [V::Bytes; TILE_ROWS] {
        // Loops, not closures: only what is inlined into the entered function has its instructions.
        let mut vectors = [isa.load(&codes[0]); B];
        for i in 1..B {
            vectors[i] = isa.load(&codes[i]);
        }
        let mut streams = [isa.load(first), isa.load(second)];
        let mut values = [isa.no_bytes(); TILE_ROWS];
        for row in 0..TILE_ROWS {
            let plan = const { &Schedule::of(B, TILE % period(B)).rows };
            values[row] = look_up_row(isa, tables, &plan[row], &vectors, &mut streams);
        }
        isa.store(first, streams[0]);
        isa.store(second, streams[1]);
        values
    }
}

/// Takes the streams one row further, and looks its values up.
#[inline(always)]
fn look_up_row<V: ByteSimd<L>, const L: usize, const B: usize>(
    isa: V,
    tables: &Tables<V::Table>,
    plan: &RowPlan,
    codes: &[V::Bytes; B],
    streams: &mut [V::Bytes; 2],
) -> V::Bytes {
    for (stream, (whole, steps)) in streams.iter_mut().zip(plan.whole.iter().zip(&plan.steps)) {
        if let Some(vector) = *whole {
            *stream = codes[vector];
            continue;
        }
        for step in steps {
            if let Some(Step { vector, shift, mask }) = *step {
                let bits = shifted(isa, codes[vector], shift);
                *stream = isa.merge(*stream, bits, mask);
            }
        }
    }
    let even = isa.look_up(&tables[0][plan.turn[0]], streams[plan.stream[0]]);
    isa.add_bytes(even, isa.look_up(&tables[1][plan.turn[1]], streams[plan.stream[1]]))
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
