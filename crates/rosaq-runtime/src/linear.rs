//! Products of activations with a linear's weights, dense or packed.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rosaq_cpu::Bf16Linear;
use rosaq_model::LinearWeights;
use rosaq_pack::PackedLinear;
use rosaq_tensor::Matrix;

use crate::workspace::sized;

/// Weights that can be multiplied with activations.
pub trait LinearOp: Sync {
    /// Output features.
    fn out_features(&self) -> usize;
    /// Input features.
    fn in_features(&self) -> usize;
    /// `out = x wᵀ` for stored weights `w` `[out, in]`: `x` row-major `[tokens, in]` in the model's channel order, `out`
    /// row-major `[tokens, out]`. Accumulates in f32. The result does not depend on the number of threads.
    fn apply(&self, tokens: usize, x: &[f32], out: &mut [f32]);

    /// [`Self::apply`] of several linears with the same `x`, with the same results.
    fn apply_all(linears: &[&Self], tokens: usize, x: &[f32], outs: &mut [&mut [f32]])
    where
        Self: Sized,
    {
        for (linear, out) in linears.iter().zip(outs) {
            linear.apply(tokens, x, out);
        }
    }
}

impl LinearOp for Matrix {
    fn out_features(&self) -> usize {
        self.rows
    }

    fn in_features(&self) -> usize {
        self.cols
    }

    fn apply(&self, tokens: usize, x: &[f32], out: &mut [f32]) {
        let x = MatRef::from_row_major_slice(x, tokens, self.cols);
        let w = MatRef::from_row_major_slice(&self.data, self.rows, self.cols);
        multiply_tiles(MatMut::from_row_major_slice_mut(out, tokens, self.rows), x, w.transpose());
    }
}

impl LinearOp for Bf16Linear {
    fn out_features(&self) -> usize {
        self.out_features
    }

    fn in_features(&self) -> usize {
        self.in_features
    }

    fn apply(&self, _tokens: usize, x: &[f32], out: &mut [f32]) {
        self.multiply(x, out);
    }
}

impl LinearOp for PackedLinear {
    fn out_features(&self) -> usize {
        self.out_features
    }

    fn in_features(&self) -> usize {
        self.in_features
    }

    fn apply(&self, tokens: usize, x: &[f32], out: &mut [f32]) {
        match self.order.permutation(self.in_features) {
            None => multiply_packed(self, tokens, x, out),
            Some(order) => {
                let ordered = gather(x, &order);
                multiply_packed(self, tokens, &ordered, out);
            }
        }
    }
}

fn multiply_packed(w: &PackedLinear, tokens: usize, x: &[f32], out: &mut [f32]) {
    match tokens {
        1 => rosaq_cpu::gemv(w, x, out),
        _ => rosaq_cpu::gemm(w, x, out),
    }
}

pub(crate) fn gather(x: &[f32], order: &[u32]) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(x.len());
    for row in x.chunks_exact(order.len()) {
        ordered.extend(order.iter().map(|&channel| row[channel as usize]));
    }
    ordered
}

/// Tile edges: large enough that packing is cheap, small enough to feed every core, and multiples of 24, which fill the
/// matrix product's own tiles. Fixed, so that bytes stay the same.
const TILE_TOKENS: usize = 528;
const TILE_OUT: usize = 768;

fn multiply_tiles(dst: MatMut<'_, f32>, x: MatRef<'_, f32>, w: MatRef<'_, f32>) {
    let (rows, cols) = (dst.nrows(), dst.ncols());
    if rows > TILE_TOKENS {
        let at = rows.div_ceil(2).next_multiple_of(TILE_TOKENS).min(rows - 1);
        let ((top, bottom), (x_top, x_bottom)) = (dst.split_at_row_mut(at), x.split_at_row(at));
        rayon::join(|| multiply_tiles(top, x_top, w), || multiply_tiles(bottom, x_bottom, w));
    } else if cols > TILE_OUT {
        let at = cols.div_ceil(2).next_multiple_of(TILE_OUT).min(cols - 1);
        let ((left, right), (w_left, w_right)) = (dst.split_at_col_mut(at), w.split_at_col(at));
        rayon::join(|| multiply_tiles(left, x, w_left), || multiply_tiles(right, x, w_right));
    } else {
        matmul(dst, Accum::Replace, x, w, 1.0, Par::Seq);
    }
}

/// Applies a linear with its bias to `tokens` rows of `x`; `out` becomes `[tokens, out]`.
pub(crate) fn forward<W: LinearOp>(
    linear: &LinearWeights<W>,
    tokens: usize,
    x: &[f32],
    out: &mut Vec<f32>,
) {
    forward_all([linear], tokens, x, [out]);
}

/// [`forward`] of several linears with the same `x`.
pub(crate) fn forward_all<W: LinearOp, const N: usize>(
    linears: [&LinearWeights<W>; N],
    tokens: usize,
    x: &[f32],
    outs: [&mut Vec<f32>; N],
) {
    let mut linear = linears.iter();
    let mut outs = outs.map(|out| {
        let features = linear.next().map_or(0, |linear| linear.weight.out_features());
        sized(out, tokens * features)
    });
    W::apply_all(&linears.map(|linear| &linear.weight), tokens, x, &mut outs);
    for (linear, out) in linears.iter().zip(outs) {
        let Some(bias) = &linear.bias else { continue };
        for row in out.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
}
