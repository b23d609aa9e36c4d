//! The reference that every other kernel is compared with: scalar, straight from the definition.

use std::ops::Range;

use rosaq_pack::{TrellisRows, code_at, unpack_into};

use crate::segment::{CodeSegment, F16Segment, SegmentRows, TrellisSegment, Values};

/// Adds the product of rows `rows` of a segment with each token to `out` `[rows, tokens]`.
///
/// `x` holds one slice of the segment's channels a token. Accumulates in f32.
pub(crate) fn add_rows(
    segment: &SegmentRows<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    match segment {
        SegmentRows::F16(segment) => f16_rows(segment, x, rows, out),
        SegmentRows::Codes(segment) => code_rows(segment, x, rows, out),
        SegmentRows::Trellis(segment) => trellis_rows(segment, x, rows, out),
    }
}

/// Adds the product of rows `rows` of a segment of trellis codes with each token to `out`
/// `[rows, tokens]`. The states of all channels go from row to row. Accumulates in f32.
pub(crate) fn trellis_rows(
    segment: &TrellisSegment<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    let TrellisSegment { linear, segment_idx } = *segment;
    let Some(mut decoded) = TrellisRows::new(linear, segment_idx, rows.start) else { return };
    let mut values = vec![0.0; linear.segments[segment_idx].channels];
    for out in out.chunks_exact_mut(x.len()).take(rows.len()) {
        decoded.next_into(&mut values);
        for (out, x) in out.iter_mut().zip(x) {
            *out += dot(&values, x);
        }
    }
}

/// In eight sums, so that the compiler can use vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Adds the product of rows `rows` of an f16 segment with each token to `out` `[rows, tokens]`.
///
/// `x` holds one slice of `segment.channels` activations a token. Accumulates in f32.
fn f16_rows(segment: &F16Segment<'_>, x: &[&[f32]], rows: Range<usize>, out: &mut [f32]) {
    for (row, out) in rows.zip(out.chunks_exact_mut(x.len())) {
        let values = segment.row(row);
        for (out, x) in out.iter_mut().zip(x) {
            *out += values.iter().zip(*x).map(|(value, x)| value.to_f32() * x).sum::<f32>();
        }
    }
}

/// Adds the product of rows `rows` of a segment of codes with each token to `out`
/// `[rows, tokens]`: for every group, `scale * sum((code - zero_point) * x)`, or
/// `scale * sum(level[code] * x)` for a codebook. Accumulates in f32.
fn code_rows(segment: &CodeSegment<'_>, x: &[&[f32]], rows: Range<usize>, out: &mut [f32]) {
    let mut codes = vec![0; segment.channels];
    for (row, out) in rows.zip(out.chunks_exact_mut(x.len())) {
        unpack_into(segment.codes_of(row), segment.bits, &mut codes);
        for (group, scale) in segment.scales_of(row).iter().enumerate() {
            let channels = segment.group_range(group);
            let codes = &codes[channels.clone()];
            for (out, x) in out.iter_mut().zip(x) {
                let x = &x[channels.clone()];
                let sum = match segment.values {
                    Values::Symmetric(zero) => group_sum(codes, x, zero),
                    Values::Asymmetric { zeros, stride } => {
                        let zeros = &zeros[row * stride..][..stride];
                        group_sum(codes, x, code_at(zeros, segment.bits, group))
                    }
                    Values::Levels(levels) => codes
                        .iter()
                        .zip(x)
                        .map(|(code, x)| levels[usize::from(*code)].to_f32() * x)
                        .sum(),
                };
                *out += scale.to_f32() * sum;
            }
        }
    }
}

fn group_sum(codes: &[u8], x: &[f32], zero: u8) -> f32 {
    codes.iter().zip(x).map(|(code, x)| (f32::from(*code) - f32::from(zero)) * x).sum()
}
