//! Products of activations with one linear in tiles, or with several that read the same.

use std::ops::Range;

use faer::{MatMut, MatRef};
use rayon::prelude::*;

use super::linear::Segments;
use super::{BlockInput, IntTiles, TOKENS, TileInput, TrellisTiles};
use crate::arch::generic::{ByteSimd, add_f16_tiles, add_int_tiles, add_trellis_tiles};
use crate::awake::threads_are_awake;

/// Rows that one task computes, of which tiles of any instruction set are whole parts. A row's result does not depend on the rows
/// beside it, so this affects speed alone.
const TASK_ROWS: usize = 96;

/// Multiplications below which waking other threads costs more than it saves (some 20 microseconds of work on one thread), and
/// those below which sharing with threads that are awake does.
const PARALLEL_PRODUCTS: usize = 1 << 20;
const PARALLEL_PRODUCTS_AWAKE: usize = 1 << 16;

/// Multiplies `x`, row-major `[tokens, in]`, with each linear, into its `[tokens, out]`.
pub(super) fn multiply_segments<V, const L: usize>(
    isa: V,
    x: &[f32],
    products: Vec<(&Segments<L>, MatMut<'_, f32>)>,
) where
    V: ByteSimd<L> + Sync,
{
    let Some(n_tokens) = products.first().map(|(_, y)| y.nrows()) else { return };
    let n_in = x.len() / n_tokens;
    let mut pool = Pool { ints: Vec::new(), trellis: Vec::new() };
    let places: Vec<Places> = products.iter().map(|(segments, _)| pool.places(segments)).collect();
    let inputs: Vec<Input<'_>> =
        x.chunks(TOKENS * n_in).map(|x| pool.round(isa, x.chunks_exact(n_in).collect())).collect();
    let rows: usize = products.iter().map(|(_, y)| y.ncols()).sum();
    let mut tasks = Vec::with_capacity(rows / TASK_ROWS + products.len());
    for ((segments, mut y), places) in products.into_iter().zip(&places) {
        for first in (0..y.ncols()).step_by(TASK_ROWS) {
            let these = TASK_ROWS.min(y.ncols());
            let (these, rest) = y.split_at_col_mut(these);
            tasks.push(Task { segments, places, first, y: these });
            y = rest;
        }
    }
    let least = if threads_are_awake() { PARALLEL_PRODUCTS_AWAKE } else { PARALLEL_PRODUCTS };
    if rows * x.len() < least || rayon::current_num_threads() == 1 {
        let mut scratch = Vec::new();
        tasks.into_iter().for_each(|task| task.run(isa, &inputs, &mut scratch));
    } else {
        // Few large shares: handing one over costs as much as the product of a small one.
        let shares = tasks.len().div_ceil(2 * rayon::current_num_threads());
        let tasks = tasks.into_par_iter().with_min_len(shares);
        tasks.for_each_init(Vec::new, |scratch, task| task.run(isa, &inputs, scratch));
    }
}

/// Some rows of one linear.
struct Task<'a, const L: usize> {
    segments: &'a Segments<L>,
    places: &'a Places,
    /// The first row.
    first: usize,
    /// `[tokens, rows]`.
    y: MatMut<'a, f32>,
}

impl<const L: usize> Task<'_, L> {
    fn run<V: ByteSimd<L>>(self, isa: V, inputs: &[Input<'_>], scratch: &mut Vec<[f32; L]>) {
        let Self { segments, places, first, mut y } = self;
        let first = first / L;
        let tiles = first..first + y.ncols().div_ceil(L);
        for (input, start) in inputs.iter().zip((0..y.nrows()).step_by(TOKENS)) {
            let n = input.tokens.len();
            scratch.clear();
            scratch.resize(tiles.len() * n, [0.0; L]);
            add_tiles(isa, (segments, places), input, &tiles, scratch);
            gather(scratch, y.as_mut().subrows_mut(start, n));
        }
    }
}

/// Adds the products of some tiles with the tokens of `input` to `out`, `[tiles, tokens]`.
fn add_tiles<V: ByteSimd<L>, const L: usize>(
    isa: V,
    (segments, places): (&Segments<L>, &Places),
    input: &Input<'_>,
    range: &Range<usize>,
    out: &mut [[f32; L]],
) {
    for (tiles, &place) in segments.ints.iter().zip(&places.ints) {
        add_int_tiles(isa, tiles, &input.ints[place], range.clone(), out);
    }
    for (tiles, &place) in segments.trellis.iter().zip(&places.trellis) {
        add_trellis_tiles(isa, tiles, &input.trellis[place], range.clone(), out);
    }
    for tiles in &segments.f16 {
        let channels = tiles.channel_start..tiles.channel_start + tiles.channels;
        let x: Vec<&[f32]> = input.tokens.iter().map(|token| &token[channels.clone()]).collect();
        add_f16_tiles(isa, tiles, &x, range.clone(), out);
    }
}

/// Segments of which no two read activations rounded alike.
struct Pool<'a, const L: usize> {
    ints: Vec<&'a IntTiles<L>>,
    trellis: Vec<&'a TrellisTiles<L>>,
}

/// Where the activations that a linear's segments read stand in a pool.
struct Places {
    ints: Vec<usize>,
    trellis: Vec<usize>,
}

/// The activations of up to [`TOKENS`] tokens, as every segment of a pool wants them.
struct Input<'a> {
    tokens: Vec<&'a [f32]>,
    ints: Vec<TileInput>,
    trellis: Vec<BlockInput>,
}

impl<'a, const L: usize> Pool<'a, L> {
    /// Finds those that the segments of a linear read, or adds them.
    fn places(&mut self, segments: &'a Segments<L>) -> Places {
        let alike = |a: &IntTiles<L>, b: &IntTiles<L>| {
            a.channel_start == b.channel_start && a.blocks == b.blocks
        };
        let ints = segments.ints.iter().map(|tiles| place(&mut self.ints, tiles, alike)).collect();
        let alike = |a: &TrellisTiles<L>, b: &TrellisTiles<L>| {
            a.channel_start == b.channel_start && a.channels == b.channels
        };
        let trellis = segments.trellis.iter();
        let trellis = trellis.map(|tiles| place(&mut self.trellis, tiles, alike)).collect();
        Places { ints, trellis }
    }

    fn round<'x, V: ByteSimd<L>>(&self, isa: V, tokens: Vec<&'x [f32]>) -> Input<'x> {
        let mut ints = vec![TileInput::default(); self.ints.len()];
        for (input, tiles) in ints.iter_mut().zip(&self.ints) {
            input.set(isa, (&tiles.blocks, tiles.channel_start), &tokens);
        }
        let mut trellis = vec![BlockInput::default(); self.trellis.len()];
        for (input, tiles) in trellis.iter_mut().zip(&self.trellis) {
            input.set(isa, tiles.channel_start..tiles.channel_start + tiles.channels, &tokens);
        }
        Input { tokens, ints, trellis }
    }
}

/// The index of what is like `item`, which is added where nothing is.
fn place<'a, T>(pool: &mut Vec<&'a T>, item: &'a T, alike: impl Fn(&T, &T) -> bool) -> usize {
    pool.iter().position(|other| alike(other, item)).unwrap_or_else(|| {
        pool.push(item);
        pool.len() - 1
    })
}

/// What `[tiles, tokens]` of `L` rows each hold, as `[tokens, rows]`.
fn gather<const L: usize>(tiles: &[[f32; L]], mut y: MatMut<'_, f32>) {
    let n_tokens = y.nrows();
    for (tile, lanes) in tiles.chunks_exact(n_tokens).enumerate() {
        let rows = L.min(y.ncols() - tile * L);
        let lanes = MatRef::from_row_major_slice(lanes.as_flattened(), n_tokens, L);
        y.as_mut().subcols_mut(tile * L, rows).copy_from(lanes.subcols(0, rows));
    }
}
