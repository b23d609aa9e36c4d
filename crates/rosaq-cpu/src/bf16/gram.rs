//! Gram matrices of activations in bf16.

use rayon::prelude::*;

use super::{Bf16Panels, for_each_row};

/// Columns of the matrix that one task computes. Fixed, so that the result does not depend on the number of threads.
const TASK_COLUMNS: usize = 96;

/// Adds `XᵀX` to the lower triangle of `gram`, `dim x dim`, column-major; what stands above the diagonal becomes arbitrary.
///
/// `x` is row-major `[tokens, dim]`, rounded to bf16; `panels` is a buffer. The products of all its tokens are added in f32
/// before they are added to `gram`: give it some hundreds at a time.
///
/// # Panics
/// If `gram` is not `dim * dim` long, or `x` no multiple of `dim`.
pub fn add_gram_bf16(dim: usize, x: &[f32], panels: &mut Bf16Panels, gram: &mut [f64]) {
    assert_eq!(gram.len(), dim * dim, "{dim} channels");
    panels.set_columns(dim, x);
    let panels = &*panels;
    gram.par_chunks_mut(TASK_COLUMNS * dim).enumerate().for_each(|(task, columns)| {
        let first = task * TASK_COLUMNS;
        let own = first..first + columns.len() / dim;
        for_each_row((panels, own), (panels, first..dim), |column, row, sums| {
            let to = &mut columns[(column - first) * dim + row..][..sums.len()];
            for (to, sum) in to.iter_mut().zip(sums) {
                *to += f64::from(*sum);
            }
        });
    });
}
