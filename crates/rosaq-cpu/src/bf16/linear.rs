//! A dense linear in bf16.

use std::cell::RefCell;

use rayon::prelude::*;

use super::{Bf16Panels, for_each_row};

/// Tokens that one task multiplies with all weights. Fixed, so that the result does not depend on the number of threads.
const TASK_TOKENS: usize = 128;

/// Dense weights `[out, in]`, rounded to bf16.
#[derive(Debug, Clone)]
pub struct Bf16Linear {
    /// Input features.
    pub in_features: usize,
    /// Output features.
    pub out_features: usize,
    weights: Bf16Panels,
}

impl Bf16Linear {
    /// Rounds `weights`, row-major `[out, in]`.
    ///
    /// # Panics
    /// If `weights` does not consist of whole rows.
    #[must_use]
    pub fn new(in_features: usize, weights: &[f32]) -> Self {
        let mut panels = Bf16Panels::default();
        panels.set_rows(in_features, weights);
        Self { in_features, out_features: panels.rows(), weights: panels }
    }

    /// `Y = X Wᵀ`: `x` row-major `[tokens, in]`, `y` row-major `[tokens, out]`. Inputs are rounded to bf16, products are added
    /// in f32. The result does not depend on the number of threads.
    ///
    /// # Panics
    /// If the lengths of `x` and `y` are not the same multiple of `in_features` and `out_features`.
    pub fn multiply(&self, x: &[f32], y: &mut [f32]) {
        let (n_in, n_out) = (self.in_features, self.out_features);
        let tokens = x.len() / n_in;
        assert!(
            x.len() == tokens * n_in && y.len() == tokens * n_out,
            "W is [{n_out}, {n_in}], x has {} values, y {}",
            x.len(),
            y.len()
        );
        let tasks = y.par_chunks_mut(TASK_TOKENS * n_out).zip(x.par_chunks(TASK_TOKENS * n_in));
        tasks.for_each(|(y, x)| {
            INPUT.with_borrow_mut(|input| {
                input.set_rows(n_in, x);
                let rows = 0..input.rows();
                for_each_row((input, rows), (&self.weights, 0..n_out), |row, column, sums| {
                    y[row * n_out + column..][..sums.len()].copy_from_slice(sums);
                });
            });
        });
    }
}

thread_local! {
    /// The tokens of a task.
    static INPUT: RefCell<Bf16Panels> = RefCell::default();
}
