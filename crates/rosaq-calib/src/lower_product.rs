//! `XᵀX` of a chunk of tokens, of which the lower triangle is computed.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par, unzip, zip};
use rayon::prelude::*;

/// Tokens of a chunk: multiplied in f32 before they are added in f64. Long enough that the additions are cheap, short enough
/// that the f32 sums lose under 1e-5 relative.
pub(crate) const TRANSPOSED_TOKENS: usize = 2048;

/// Tokens of one product: a tile's operands stay in the second-level cache.
const PIECE_TOKENS: usize = 512;

/// Largest edge of a tile below the diagonal.
const TILE: usize = 384;

/// Edge up to which a tile on the diagonal is computed whole: what is wasted above the diagonal costs less than smaller
/// products would. A multiple of 24 fills the matrix product's own tiles.
const DIAGONAL_TILE: usize = 96;

/// A chunk of activations, channel after channel.
///
/// The Gram matrix needs the products of channels. Read from row-major tokens, neighbours lie a whole row apart, which
/// costs the matrix product a third of its rate.
#[derive(Debug, Default)]
pub(crate) struct Transposed {
    /// Row-major `[dim, tokens]` for each piece of [`PIECE_TOKENS`], one piece after another.
    values: Vec<f32>,
    dim: usize,
}

/// Edge of the squares that are transposed at once.
const SQUARE: usize = 16;

impl Transposed {
    /// Takes `x`, row-major `[tokens, dim]`.
    pub(crate) fn set(&mut self, dim: usize, x: &[f32]) {
        self.dim = dim;
        self.values.resize(x.len(), 0.0);
        for (dst, src) in
            self.values.chunks_mut(PIECE_TOKENS * dim).zip(x.chunks(PIECE_TOKENS * dim))
        {
            let tokens = src.len() / dim;
            dst.par_chunks_mut(SQUARE * tokens).enumerate().for_each(|(band, dst)| {
                transpose_band(dst, src, dim, band * SQUARE);
            });
        }
    }

    /// Every piece, `[dim, tokens]`.
    fn pieces(&self) -> impl Iterator<Item = MatRef<'_, f32>> {
        let dim = self.dim;
        self.values
            .chunks(PIECE_TOKENS * dim)
            .map(move |piece| MatRef::from_row_major_slice(piece, dim, piece.len() / dim))
    }
}

/// Channels `first..` of `src`, row-major `[tokens, dim]`, as rows of `dst`.
fn transpose_band(dst: &mut [f32], src: &[f32], dim: usize, first: usize) {
    let tokens = src.len() / dim;
    for start in (0..tokens).step_by(SQUARE) {
        let end = (start + SQUARE).min(tokens);
        for (channel, row) in dst.chunks_exact_mut(tokens).enumerate() {
            let column = src[start * dim + first + channel..].iter().step_by(dim);
            for (to, from) in row[start..end].iter_mut().zip(column) {
                *to = *from;
            }
        }
    }
}

/// Adds the products of channels `first..first + n` to the lower triangle of `lower`, `n x n`. What stands above the
/// diagonal is arbitrary. The order of additions does not depend on the number of threads.
pub(crate) fn add_lower_product(lower: MatMut<'_, f64>, x: &Transposed, first: usize) {
    let n = lower.nrows();
    if n <= DIAGONAL_TILE {
        add_product(lower, x, first, first);
        return;
    }
    let half = (n / 2).next_multiple_of(DIAGONAL_TILE);
    let (top, _, below, bottom) = lower.split_at_mut(half, half);
    rayon::join(
        || add_rectangle(below, x, first + half, first),
        || {
            rayon::join(
                || add_lower_product(top, x, first),
                || add_lower_product(bottom, x, first + half),
            )
        },
    );
}

/// Adds the products of channels `row..` with channels `col..`.
fn add_rectangle(dst: MatMut<'_, f64>, x: &Transposed, row: usize, col: usize) {
    let (rows, cols) = (dst.nrows(), dst.ncols());
    if rows > TILE {
        let half = (rows / 2).next_multiple_of(DIAGONAL_TILE);
        let (top, bottom) = dst.split_at_row_mut(half);
        rayon::join(
            || add_rectangle(top, x, row, col),
            || add_rectangle(bottom, x, row + half, col),
        );
    } else if cols > TILE {
        let half = (cols / 2).next_multiple_of(DIAGONAL_TILE);
        let (left, right) = dst.split_at_col_mut(half);
        rayon::join(
            || add_rectangle(left, x, row, col),
            || add_rectangle(right, x, row, col + half),
        );
    } else {
        add_product(dst, x, row, col);
    }
}

fn add_product(dst: MatMut<'_, f64>, x: &Transposed, row: usize, col: usize) {
    let (rows, cols) = (dst.nrows(), dst.ncols());
    let mut product = vec![0.0_f32; rows * cols];
    let mut product = MatMut::from_column_major_slice_mut(&mut product, rows, cols);
    for piece in x.pieces() {
        let (left, right) = (piece.subrows(row, rows), piece.subrows(col, cols).transpose());
        matmul(product.as_mut(), Accum::Add, left, right, 1.0, Par::Seq);
    }
    zip!(dst, product).for_each(|unzip!(sum, added)| *sum += f64::from(*added));
}
