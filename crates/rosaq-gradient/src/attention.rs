//! Causal attention of one sequence with grouped heads and an optional sliding window, forth and back.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rosaq_model::ModelConfig;
use rosaq_tensor::Matrix;

use crate::products::{view, view_mut};

/// Queries handled at once. Their probabilities are computed anew on the way back, so that none are kept.
const QUERY_BLOCK: usize = 96;

/// What attention reads: `query` `[tokens, n_heads * head_dim]`, `key` and `value` `[tokens, n_kv_heads * head_dim]`; queries
/// and keys are rotated.
#[derive(Debug)]
pub(crate) struct AttentionInputs {
    pub(crate) query: Matrix,
    pub(crate) key: Matrix,
    pub(crate) value: Matrix,
}

/// The outputs of the heads, `[tokens, n_heads * head_dim]`.
pub(crate) fn attend(config: &ModelConfig, inputs: &AttentionInputs) -> Matrix {
    let mut out = Matrix::zeros(inputs.query.rows, inputs.query.cols);
    for_each_tile(config, inputs, &mut |tile, probabilities| {
        let value = tile.keys_of(&inputs.value);
        let p = tile.matrix(probabilities);
        matmul(tile.queries_of_mut(&mut out), Accum::Replace, p, value, 1.0, Par::Seq);
    });
    out
}

/// Gradients of what attention reads, given the outputs of the heads, `heads`, and their `gradient`.
///
/// With `p = softmax(s)` and `o = p v`: `dv = pᵀ do`, `ds = p (do vᵀ - sum(do o))`, the sum over the channels of a head.
pub(crate) fn attend_backward(
    config: &ModelConfig,
    inputs: &AttentionInputs,
    heads: &Matrix,
    gradient: &Matrix,
) -> AttentionInputs {
    let AttentionInputs { query, key, value } = inputs;
    let [mut d_query, mut d_key, mut d_value] =
        [query, key, value].map(|m| Matrix::zeros(m.rows, m.cols));
    let mut scores = Vec::new();
    for_each_tile(config, inputs, &mut |tile, probabilities| {
        let d_heads = tile.queries_of(gradient);
        let p = tile.matrix(probabilities);
        let dst = tile.keys_of_mut(&mut d_value);
        matmul(dst, Accum::Add, p.transpose(), d_heads, 1.0, Par::Seq);
        scores.resize(probabilities.len(), 0.0);
        let dst = MatMut::from_row_major_slice_mut(&mut scores, tile.rows, tile.span);
        matmul(dst, Accum::Replace, d_heads, tile.keys_of(value).transpose(), 1.0, Par::Seq);
        tile.score_gradients(&mut scores, probabilities, heads, gradient);
        let ds = tile.matrix(&scores);
        let dst = tile.queries_of_mut(&mut d_query);
        matmul(dst, Accum::Replace, ds, tile.keys_of(key), 1.0, Par::Seq);
        let dst = tile.keys_of_mut(&mut d_key);
        matmul(dst, Accum::Add, ds.transpose(), tile.queries_of(query), 1.0, Par::Seq);
    });
    AttentionInputs { query: d_query, key: d_key, value: d_value }
}

/// A block of queries of one head, and the keys they see.
#[derive(Debug, Clone, Copy)]
struct Tile {
    /// The first query.
    first: usize,
    /// Queries.
    rows: usize,
    /// The first channel of the head's queries and outputs.
    column: usize,
    /// The first key that any of the queries sees.
    start: usize,
    /// Keys, up to the last query's.
    span: usize,
    /// The first channel of the head's keys and values.
    kv_column: usize,
    /// Channels of a head.
    dim: usize,
}

impl Tile {
    fn matrix<'a>(&self, scores: &'a [f32]) -> MatRef<'a, f32> {
        MatRef::from_row_major_slice(scores, self.rows, self.span)
    }

    fn queries_of<'a>(&self, m: &'a Matrix) -> MatRef<'a, f32> {
        view(m).submatrix(self.first, self.column, self.rows, self.dim)
    }

    fn queries_of_mut<'a>(&self, m: &'a mut Matrix) -> MatMut<'a, f32> {
        view_mut(m).submatrix_mut(self.first, self.column, self.rows, self.dim)
    }

    fn keys_of<'a>(&self, m: &'a Matrix) -> MatRef<'a, f32> {
        view(m).submatrix(self.start, self.kv_column, self.span, self.dim)
    }

    fn keys_of_mut<'a>(&self, m: &'a mut Matrix) -> MatMut<'a, f32> {
        view_mut(m).submatrix_mut(self.start, self.kv_column, self.span, self.dim)
    }

    /// Turns the gradients of the probabilities into those of the products of queries and keys.
    fn score_gradients(
        &self,
        scores: &mut [f32],
        probabilities: &[f32],
        heads: &Matrix,
        gradient: &Matrix,
    ) {
        let scale = scale(self.dim);
        let rows = scores.chunks_exact_mut(self.span).zip(probabilities.chunks_exact(self.span));
        for (row_idx, (scores, probabilities)) in rows.enumerate() {
            let of_head = |m: &'_ Matrix| {
                let start = (self.first + row_idx) * m.cols + self.column;
                start..start + self.dim
            };
            let (o, d_o) = (&heads.data[of_head(heads)], &gradient.data[of_head(gradient)]);
            let sum: f32 = o.iter().zip(d_o).map(|(o, d)| o * d).sum();
            for (s, p) in scores.iter_mut().zip(probabilities) {
                *s = p * (*s - sum) * scale;
            }
        }
    }
}

/// Factor of the products of queries and keys.
fn scale(head_dim: usize) -> f32 {
    1.0 / (head_dim as f32).sqrt()
}

/// Calls `visit` for every tile, in a fixed order, with the probabilities `[rows, span]` of its keys.
fn for_each_tile(
    config: &ModelConfig,
    inputs: &AttentionInputs,
    visit: &mut dyn FnMut(Tile, &[f32]),
) {
    let (tokens, dim) = (inputs.query.rows, config.head_dim);
    let mut probabilities = Vec::new();
    for head in 0..config.n_heads {
        for first in (0..tokens).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(tokens - first);
            let start = first_key(config, first);
            let span = first + rows - start;
            let kv_column = head / config.heads_per_kv() * dim;
            let tile = Tile { first, rows, column: head * dim, start, span, kv_column, dim };
            probabilities.resize(rows * span, 0.0);
            fill_probabilities(config, inputs, tile, &mut probabilities);
            visit(tile, &probabilities);
        }
    }
}

/// The first position that the query at `position` sees.
fn first_key(config: &ModelConfig, position: usize) -> usize {
    config.sliding_window.map_or(0, |window| (position + 1).saturating_sub(window))
}

fn fill_probabilities(config: &ModelConfig, inputs: &AttentionInputs, tile: Tile, out: &mut [f32]) {
    let (queries, keys) = (tile.queries_of(&inputs.query), tile.keys_of(&inputs.key));
    let dst = MatMut::from_row_major_slice_mut(out, tile.rows, tile.span);
    matmul(dst, Accum::Replace, queries, keys.transpose(), scale(tile.dim), Par::Seq);
    for (row_idx, row) in out.chunks_exact_mut(tile.span).enumerate() {
        let position = tile.first + row_idx;
        let seen = first_key(config, position) - tile.start..position + 1 - tile.start;
        row[..seen.start].fill(0.0);
        row[seen.end..].fill(0.0);
        rosaq_cpu::softmax(&mut row[seen]);
    }
}
