//! Causal attention with grouped heads and an optional sliding window.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use rosaq_cpu::AttentionShape;
use rosaq_model::ModelConfig;

use crate::kept::StatesView;

/// Sizes that attention needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
}

impl Heads {
    pub(crate) fn of(config: &ModelConfig) -> Self {
        Self {
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            window: config.sliding_window,
        }
    }
}

/// Queries handled at once: the scores of one head and block stay in the second-level cache, and a multiple of 24 fills the
/// tiles of the matrix product.
const QUERY_BLOCK: usize = 96;

/// Attention of one sequence: `queries` `[new, n_heads * head_dim]` against `keys` and `values`
/// `[seen + new, n_kv_heads * head_dim]`, all row-major; query `t` sees positions up to `seen + t`. Softmax in f32.
pub(crate) fn attend(
    heads: Heads,
    queries: &[f32],
    [keys, values]: [StatesView<'_>; 2],
    out: &mut [f32],
) {
    let width = heads.n_heads * heads.head_dim;
    let new = queries.len() / width;
    let seen = keys.len() / (heads.n_kv_heads * heads.head_dim) - new;
    if new == 1 {
        return attend_token(heads, queries, [keys, values], out);
    }
    let (keys, values) = (keys.wide(), values.wide());
    let (keys, values) = (&*keys, &*values);
    let block = QUERY_BLOCK * width;
    out.par_chunks_mut(block).zip(queries.par_chunks(block)).enumerate().for_each(
        |(block_idx, (out, queries))| {
            let first = seen + block_idx * QUERY_BLOCK;
            attend_block(heads, first, queries, keys, values, out);
        },
    );
}

/// [`attend`] for one query a head: each key and value is read once for all heads that share it.
fn attend_token(heads: Heads, query: &[f32], states: [StatesView<'_>; 2], out: &mut [f32]) {
    let Heads { n_heads, n_kv_heads, head_dim, window } = heads;
    let kv_width = n_kv_heads * head_dim;
    let seen = states[0].len() / kv_width;
    let start = window.map_or(0, |window| seen.saturating_sub(window)) * kv_width;
    let shape = AttentionShape { n_heads, n_kv_heads, head_dim };
    match states {
        [StatesView::F32(keys), StatesView::F32(values)] => {
            rosaq_cpu::attend_token(shape, query, &keys[start..], &values[start..], out);
        }
        [StatesView::F16(keys), StatesView::F16(values)] => {
            rosaq_cpu::attend_token_f16(shape, query, &keys[start..], &values[start..], out);
        }
        // A cache has one form.
        [keys, values] => {
            let (keys, values) = (&keys.wide()[start..], &values.wide()[start..]);
            rosaq_cpu::attend_token(shape, query, keys, values, out);
        }
    }
}

fn attend_block(
    heads: Heads,
    first: usize,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    let Heads { n_heads, n_kv_heads, head_dim, window } = heads;
    let (width, kv_width) = (n_heads * head_dim, n_kv_heads * head_dim);
    let rows = queries.len() / width;
    let start = window.map_or(0, |w| (first + 1).saturating_sub(w));
    let span = first + rows - start;
    let keys = MatRef::from_row_major_slice(keys, keys.len() / kv_width, kv_width);
    let values = MatRef::from_row_major_slice(values, values.len() / kv_width, kv_width);
    let queries = MatRef::from_row_major_slice(queries, rows, width);
    let mut out = MatMut::from_row_major_slice_mut(out, rows, width);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut scores = vec![0.0_f32; rows * span];
    for head in 0..n_heads {
        let kv = head / (n_heads / n_kv_heads) * head_dim;
        let q = queries.subcols(head * head_dim, head_dim);
        let k = keys.submatrix(start, kv, span, head_dim);
        let v = values.submatrix(start, kv, span, head_dim);
        let dst = MatMut::from_row_major_slice_mut(&mut scores, rows, span);
        matmul(dst, Accum::Replace, q, k.transpose(), scale, Par::Seq);
        for (row_idx, row) in scores.chunks_exact_mut(span).enumerate() {
            let last = first + row_idx;
            let from = window.map_or(0, |w| (last + 1).saturating_sub(w)).max(start) - start;
            masked_softmax(row, from, last + 1 - start);
        }
        let p = MatRef::from_row_major_slice(&scores, rows, span);
        let dst = out.as_mut().subcols_mut(head * head_dim, head_dim);
        matmul(dst, Accum::Replace, p, v, 1.0, Par::Seq);
    }
}

/// Softmax over `row[from..to]`, zero elsewhere.
fn masked_softmax(row: &mut [f32], from: usize, to: usize) {
    row[..from].fill(0.0);
    row[to..].fill(0.0);
    rosaq_cpu::softmax(&mut row[from..to]);
}
