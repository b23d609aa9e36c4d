//! AVX2, FMA and F16C: eight lanes.

mod vector;

use std::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use self::vector::{load, load_codes, load_f16, load_i32, load_zeros, sum_lanes};
use super::first_chunk;
use crate::arch::generic;
use crate::prepare::{Arranged, LaneGroups};
use crate::segment::{CodeSegment, F16Segment, Values};

/// Lanes of a vector.
pub(crate) const LANES: usize = 8;

/// Bytes that the loads of one block may touch.
pub(crate) const SPAN: usize = 32;

/// [`crate::arch::all::f16_rows`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn f16_rows(
    segment: &F16Segment<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    for (row, out) in rows.zip(out.chunks_exact_mut(x.len())) {
        let (blocks, tail) = segment.row(row).as_chunks::<LANES>();
        for (out, x) in out.iter_mut().zip(x) {
            let (x_blocks, x_tail) = x.as_chunks::<LANES>();
            let mut sums = [_mm256_setzero_ps(); 4];
            let by_four = blocks.as_chunks::<4>().0.iter().zip(x_blocks.as_chunks::<4>().0);
            for (values, x) in by_four {
                for chain in 0..4 {
                    let values = load_f16(&values[chain]);
                    sums[chain] = _mm256_fmadd_ps(values, load(&x[chain]), sums[chain]);
                }
            }
            let done = blocks.len() - blocks.len() % 4;
            for (values, x) in blocks[done..].iter().zip(&x_blocks[done..]) {
                sums[0] = _mm256_fmadd_ps(load_f16(values), load(x), sums[0]);
            }
            let rest: f32 = tail.iter().zip(x_tail).map(|(value, x)| value.to_f32() * x).sum();
            let [a, b, c, d] = sums;
            let sum = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
            *out += sum_lanes(sum) + rest;
        }
    }
}

/// [`crate::arch::all::code_rows`] for group sizes that lanes do not fit.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn any_group_rows(
    segment: &CodeSegment<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    generic::code_rows(segment, x, rows, out);
}

/// [`crate::arch::all::code_rows`] over arranged activations of `n_tokens` tokens.
///
/// # Panics
/// Unless every row in `rows` has what [`Arranged::reach`] says of [`SPAN`] and [`LANES`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn code_rows(
    segment: &CodeSegment<'_>,
    x: &Arranged<LANES>,
    n_tokens: usize,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let call = Call { segment, x, n_tokens, levels: Levels::of(segment) };
    match (segment.values, segment.bits.get()) {
        (Values::Levels(_), 2) => all_rows::<2, 8, true>(&call, rows, out),
        (Values::Levels(_), 3) => all_rows::<3, 8, true>(&call, rows, out),
        (Values::Levels(_), _) => all_rows::<4, 8, true>(&call, rows, out),
        (_, 2) => all_rows::<2, 8, false>(&call, rows, out),
        (_, 3) => all_rows::<3, 8, false>(&call, rows, out),
        (_, 4) => all_rows::<4, 8, false>(&call, rows, out),
        (_, 5) => all_rows::<5, 4, false>(&call, rows, out),
        (_, 6) => all_rows::<6, 4, false>(&call, rows, out),
        _ => all_rows::<8, 4, false>(&call, rows, out),
    }
}

/// What every row of a call shares.
struct Call<'a> {
    segment: &'a CodeSegment<'a>,
    x: &'a Arranged<LANES>,
    n_tokens: usize,
    levels: Levels,
}

/// Splits rows and tokens into register tiles. `B` bits, `F` fields a lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn all_rows<const B: usize, const F: usize, const LUT: bool>(
    call: &Call<'_>,
    rows: Range<usize>,
    out: &mut [f32],
) {
    for token in (0..call.n_tokens - call.n_tokens % 4).step_by(4) {
        let mut row = rows.start;
        while row + 2 <= rows.end {
            let out = &mut out[(row - rows.start) * call.n_tokens..];
            tile::<B, F, LUT, 2, 4>(call, (row, token), out);
            row += 2;
        }
        if row < rows.end {
            let out = &mut out[(row - rows.start) * call.n_tokens..];
            tile::<B, F, LUT, 1, 4>(call, (row, token), out);
        }
    }
    for token in call.n_tokens - call.n_tokens % 4..call.n_tokens {
        let mut row = rows.start;
        while row + 4 <= rows.end {
            let out = &mut out[(row - rows.start) * call.n_tokens..];
            tile::<B, F, LUT, 4, 1>(call, (row, token), out);
            row += 4;
        }
        while row < rows.end {
            let out = &mut out[(row - rows.start) * call.n_tokens..];
            tile::<B, F, LUT, 1, 1>(call, (row, token), out);
            row += 1;
        }
    }
}

/// `R` rows times `T` tokens, added to `out` `[R.., n_tokens]`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const B: usize, const F: usize, const LUT: bool, const R: usize, const T: usize>(
    call: &Call<'_>,
    (first_row, first_token): (usize, usize),
    out: &mut [f32],
) {
    let Call { segment, x, .. } = call;
    let mut codes: [&[u8]; R] = [&[]; R];
    let mut scales: [&[f16]; R] = [&[]; R];
    for r in 0..R {
        codes[r] = &segment.codes[(first_row + r) * segment.code_stride..];
        scales[r] = &segment.scales[(first_row + r) * segment.scale_stride..];
        assert!(codes[r].len() >= (x.n_blocks - 1) * F * B + SPAN, "the last rows are padded");
    }
    let mut fields: [&[[[f32; LANES]; F]]; T] = [&[]; T];
    for t in 0..T {
        fields[t] = &x.fields_of(first_token + t).as_chunks().0[..x.n_blocks];
    }
    let lanes = &x.lanes[..x.n_blocks];
    let mut totals = [[_mm256_setzero_ps(); T]; R];
    for block in 0..x.n_blocks {
        let mut sums = [[_mm256_setzero_ps(); T]; R];
        let mut words = [_mm256_setzero_si256(); R];
        for r in 0..R {
            // SAFETY: `block < n_blocks`, so these `SPAN` bytes lie within the length asserted above.
            let bytes = unsafe { &*codes[r].as_ptr().add(block * F * B).cast::<[u8; SPAN]>() };
            words[r] = load_codes::<B>(bytes);
            // The same place in the next rows: streams are too short for the hardware to foresee.
            let ahead = bytes.as_ptr().wrapping_add(R * segment.code_stride);
            // SAFETY: a prefetch may name any address.
            #[allow(unused_unsafe, reason = "safe to call in newer releases of Rust only")]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            }
        }
        for j in 0..F {
            for r in 0..R {
                let value = field::<B, LUT>(words[r], j, &call.levels);
                for t in 0..T {
                    sums[r][t] = _mm256_fmadd_ps(value, load(&fields[t][block][j]), sums[r][t]);
                }
            }
        }
        let LaneGroups { first, offsets } = &lanes[block];
        let offsets = load_i32(offsets);
        for r in 0..R {
            let groups = load_f16(first_chunk(&scales[r][*first..]));
            let scale = _mm256_permutevar8x32_ps(groups, offsets);
            for t in 0..T {
                totals[r][t] = _mm256_fmadd_ps(sums[r][t], scale, totals[r][t]);
            }
        }
    }
    for r in 0..R {
        if !LUT {
            subtract_zeros::<B, T>(call, (first_row + r, first_token), &mut totals[r]);
        }
        for t in 0..T {
            out[r * call.n_tokens + first_token + t] += sum_lanes(totals[r][t]);
        }
    }
}

/// Subtracts `scale * zero_point * sum(x)` of every group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn subtract_zeros<const B: usize, const T: usize>(
    call: &Call<'_>,
    (row, first_token): (usize, usize),
    totals: &mut [__m256; T],
) {
    let segment = call.segment;
    let scales = &segment.scales[row * segment.scale_stride..];
    let (packed, same) = match segment.values {
        Values::Asymmetric { zeros, stride } => (&zeros[row * stride..], 0.0),
        Values::Symmetric(zero) => (&[][..], f32::from(zero)),
        Values::Levels(_) => return,
    };
    for vector in 0..call.x.n_sums {
        let zeros = match packed {
            [] => _mm256_set1_ps(same),
            packed => load_zeros::<B>(first_chunk(&packed[vector * B..])),
        };
        let product = _mm256_mul_ps(load_f16(first_chunk(&scales[vector * LANES..])), zeros);
        for t in 0..T {
            let sums = load(&call.x.sums_of(first_token + t)[vector]);
            totals[t] = _mm256_fnmadd_ps(product, sums, totals[t]);
        }
    }
}

/// Codebook levels 0 to 7 and 8 to 15; a shorter table is repeated, so that the bits above a short
/// index do not matter.
#[derive(Clone, Copy)]
struct Levels {
    low: __m256,
    high: __m256,
}

impl Levels {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn of(segment: &CodeSegment<'_>) -> Self {
        let mut levels = [[0.0; LANES]; 2];
        if let Values::Levels(table) = segment.values {
            let repeated = table.iter().cycle();
            for (level, value) in levels.as_flattened_mut().iter_mut().zip(repeated) {
                *level = value.to_f32();
            }
        }
        Self { low: load(&levels[0]), high: load(&levels[1]) }
    }
}

/// Field `j` of every lane as f32: the level it names, or `code * 2^(B * j)` left in place, which
/// the arranged activations undo.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn field<const B: usize, const LUT: bool>(words: __m256i, j: usize, levels: &Levels) -> __m256 {
    #[expect(clippy::cast_possible_truncation, reason = "bit positions in a lane are below 32")]
    let shift = (B * j) as i32;
    if LUT {
        // The permutation reads only the low three bits of an index.
        let index = _mm256_srl_epi32(words, _mm_cvtsi32_si128(shift));
        let low = _mm256_permutevar8x32_ps(levels.low, index);
        if B < 4 {
            return low;
        }
        let high = _mm256_permutevar8x32_ps(levels.high, index);
        let fourth_bit_on_top = _mm256_slli_epi32::<28>(index);
        return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(fourth_bit_on_top));
    }
    if B * (j + 1) == 32 {
        return _mm256_cvtepi32_ps(_mm256_srl_epi32(words, _mm_cvtsi32_si128(shift)));
    }
    let mask = _mm256_set1_epi32(((1 << B) - 1) << shift);
    _mm256_cvtepi32_ps(_mm256_and_si256(words, mask))
}
