//! Rows of f16 values.

use std::ops::Range;

use half::f16;

use super::{Kernel, Simd};
use crate::segment::F16Segment;

/// [`crate::arch::all::add_rows`] for f16 values.
pub(crate) struct F16Rows;

impl<const L: usize> Kernel<L> for F16Rows {
    type Segment<'a> = F16Segment<'a>;
    type Tokens<'a> = [&'a [f32]];

    #[inline(always)]
    fn run<V: Simd<L>>(
        isa: V,
        segment: &F16Segment<'_>,
        x: &[&[f32]],
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        for (row, out) in rows.zip(out.chunks_exact_mut(x.len())) {
            let (blocks, tail) = segment.row(row).as_chunks::<L>();
            for (out, x) in out.iter_mut().zip(x) {
                let (x_blocks, x_tail) = x.as_chunks::<L>();
                let rest: f32 = tail.iter().zip(x_tail).map(|(value, x)| value.to_f32() * x).sum();
                *out += dot(isa, blocks, x_blocks) + rest;
            }
        }
    }
}

/// Dot product in four chains of sums, as many as hide the latency of an addition.
#[inline(always)]
fn dot<V: Simd<L>, const L: usize>(isa: V, values: &[[f16; L]], x: &[[f32; L]]) -> f32 {
    let mut sums = [isa.splat(0.0); 4];
    let ((by_four, rest), (x_by_four, x_rest)) = (values.as_chunks::<4>(), x.as_chunks::<4>());
    for (values, x) in by_four.iter().zip(x_by_four) {
        for ((sum, values), x) in sums.iter_mut().zip(values).zip(x) {
            *sum = isa.mul_add(isa.load_f16(values), isa.load(x), *sum);
        }
    }
    for (values, x) in rest.iter().zip(x_rest) {
        sums[0] = isa.mul_add(isa.load_f16(values), isa.load(x), sums[0]);
    }
    let [a, b, c, d] = sums;
    isa.sum_lanes(isa.add(isa.add(a, b), isa.add(c, d)))
}
