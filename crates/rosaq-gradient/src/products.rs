//! f32 products of activations and gradients with a linear's weights, each on the calling thread.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rosaq_model::LinearWeights;
use rosaq_tensor::Matrix;

/// The linear's outputs `[tokens, out]` for inputs `x` `[tokens, in]`, bias included.
pub(crate) fn outputs(linear: &LinearWeights, x: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(x.rows, linear.weight.rows);
    multiply(&mut out, Accum::Replace, view(x), view(&linear.weight).transpose());
    if let Some(bias) = &linear.bias {
        for row in out.data.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
    out
}

/// The gradient `[tokens, in]` of the input that the `linears` share, given those of their outputs, `[tokens, out]` each.
///
/// # Panics
/// If there is no linear.
pub(crate) fn input_gradient(linears: &[(&LinearWeights, &Matrix)]) -> Matrix {
    let (first, gradient) = linears[0];
    let mut out = Matrix::zeros(gradient.rows, first.weight.cols);
    for (linear, gradient) in linears {
        multiply(&mut out, Accum::Add, view(gradient), view(&linear.weight));
    }
    out
}

pub(crate) fn view(matrix: &Matrix) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(&matrix.data, matrix.rows, matrix.cols)
}

pub(crate) fn view_mut(matrix: &mut Matrix) -> MatMut<'_, f32> {
    MatMut::from_row_major_slice_mut(&mut matrix.data, matrix.rows, matrix.cols)
}

fn multiply(out: &mut Matrix, accum: Accum, lhs: MatRef<'_, f32>, rhs: MatRef<'_, f32>) {
    matmul(view_mut(out), accum, lhs, rhs, 1.0, Par::Seq);
}
