//! Plain loops that the compiler turns into vector code where they are entered.
//!
//! They serve group sizes that no lane structure fits, such as 62.

use std::ops::Range;

use half::f16;
use rosaq_pack::{code_at, unpack_into};

use super::{Kernel, Simd};
use crate::segment::{CodeSegment, Values};

/// Partial sums of a dot product: enough independent chains for 512-bit vectors.
const CHAINS: usize = 32;

/// [`crate::arch::all::add_rows`] for codes in groups of any size, through one row of unpacked codes.
pub(crate) struct AnyGroupRows;

impl<const L: usize> Kernel<L> for AnyGroupRows {
    type Segment<'a> = CodeSegment<'a>;
    type Tokens<'a> = [&'a [f32]];

    #[inline(always)]
    fn run<V: Simd<L>>(
        _isa: V,
        segment: &CodeSegment<'_>,
        x: &[&[f32]],
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let mut unpacked = vec![0u8; segment.channels];
        let mut values = vec![0.0f32; segment.channels];
        for (row, out) in rows.zip(out.chunks_exact_mut(x.len())) {
            unpack_into(segment.codes_of(row), segment.bits, &mut unpacked);
            for (group, scale) in segment.scales_of(row).iter().enumerate() {
                let channels = segment.group_range(group);
                let codes = &unpacked[channels.clone()];
                dequantize_group(segment, (row, group), *scale, codes, &mut values[channels]);
            }
            for (out, x) in out.iter_mut().zip(x) {
                *out += dot(&values, x);
            }
        }
    }
}

#[inline(always)]
fn dequantize_group(
    segment: &CodeSegment<'_>,
    (row, group): (usize, usize),
    scale: f16,
    codes: &[u8],
    values: &mut [f32],
) {
    let scale = scale.to_f32();
    let zero = match segment.values {
        Values::Symmetric(zero) => zero,
        Values::Asymmetric { zeros, stride } => {
            code_at(&zeros[row * stride..][..stride], segment.bits, group)
        }
        Values::Levels(levels) => {
            for (value, code) in values.iter_mut().zip(codes) {
                *value = scale * levels[usize::from(*code)].to_f32();
            }
            return;
        }
    };
    let zero = f32::from(zero);
    for (value, code) in values.iter_mut().zip(codes) {
        *value = scale * (f32::from(*code) - zero);
    }
}

/// Dot product with `CHAINS` partial sums.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; CHAINS];
    let (a_chunks, a_rest) = a.as_chunks::<CHAINS>();
    let (b_chunks, b_rest) = b.as_chunks::<CHAINS>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
