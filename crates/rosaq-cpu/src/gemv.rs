//! One token times a packed linear, straight from the codes.

use rayon::prelude::*;
use rosaq_pack::PackedLinear;

use crate::dispatch::{add_rows, arrange};
use crate::isa::Isa;
use crate::prepare::Activations;
use crate::segment::SegmentRows;

/// Rows that one task computes. A row's result does not depend on the rows beside it, so this
/// affects speed alone.
const TASK_ROWS: usize = 64;

/// Weights below which waking other threads costs more than it saves (about 50 microseconds of
/// work on one thread).
const PARALLEL_WEIGHTS: usize = 1 << 20;

/// `y = W x` with the fastest kernels of this processor.
///
/// `x` holds `in_features` activations in the *stored* channel order, `y` receives `out_features`
/// sums. Codes are never expanded in memory. Accumulates in f32; a large matrix is spread over the
/// current rayon pool, with the same result for any number of threads.
///
/// # Panics
/// If the length of `x` is not `in_features` or that of `y` is not `out_features`.
pub fn gemv(linear: &PackedLinear, x: &[f32], y: &mut [f32]) {
    gemv_with(Isa::detect(), linear, x, y);
}

/// [`gemv`] with the kernels of a given instruction set.
///
/// # Panics
/// If the processor lacks `isa`, the length of `x` is not `in_features` or that of `y` is not
/// `out_features`.
pub fn gemv_with(isa: Isa, linear: &PackedLinear, x: &[f32], y: &mut [f32]) {
    assert!(isa.is_available(), "this processor has no {isa}");
    let (n_out, n_in) = (linear.out_features, linear.in_features);
    assert_eq!(x.len(), n_in, "W is [{n_out}, {n_in}], x has {} elements", x.len());
    assert_eq!(y.len(), n_out, "W is [{n_out}, {n_in}], y has {} elements", y.len());
    let product = Product::new(isa, linear, &[x]);
    if n_out * n_in < PARALLEL_WEIGHTS || rayon::current_num_threads() == 1 {
        product.rows_into(0, y);
    } else {
        y.par_chunks_mut(TASK_ROWS).enumerate().for_each(|(task, y)| {
            product.rows_into(task * TASK_ROWS, y);
        });
    }
}

/// A packed linear with the activations of a few tokens, ready for any range of rows.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    isa: Isa,
    n_tokens: usize,
    segments: Vec<(SegmentRows<'a>, Vec<&'a [f32]>, Activations)>,
}

impl<'a> Product<'a> {
    /// Arranges each token's activations, `in_features` of them in stored order.
    pub(crate) fn new(isa: Isa, linear: &'a PackedLinear, tokens: &[&'a [f32]]) -> Self {
        let arrange_segment = |idx: usize| {
            let start = linear.layout().segments[idx].channel_start;
            let channels = start..start + linear.segments[idx].channels;
            let x: Vec<&[f32]> = tokens.iter().map(|token| &token[channels.clone()]).collect();
            let rows = SegmentRows::of(linear, idx);
            let arranged = arrange(isa, &rows, &x);
            (rows, x, arranged)
        };
        let segments = (0..linear.segments.len()).map(arrange_segment).collect();
        Self { isa, n_tokens: tokens.len(), segments }
    }

    /// Computes the rows from `first_row` on into `out`, row-major `[rows, tokens]`.
    pub(crate) fn rows_into(&self, first_row: usize, out: &mut [f32]) {
        out.fill(0.0);
        let rows = first_row..first_row + out.len() / self.n_tokens;
        for (segment, x, arranged) in &self.segments {
            add_rows(self.isa, segment, (x, arranged), rows.clone(), out);
        }
    }
}
