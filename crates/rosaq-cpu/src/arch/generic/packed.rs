//! Rows of packed codes, multiplied without being unpacked.
//!
//! [`crate::prepare`] says how codes and activations meet in the lanes of a vector.

#![expect(unsafe_code, reason = "a block of codes is read without a second bounds check")]
#![expect(clippy::needless_range_loop, reason = "register tiles are indexed by row and token")]

use std::ops::Range;

use half::f16;

use super::{Kernel, Simd};
use crate::prepare::{Arranged, LaneGroups};
use crate::segment::{CodeSegment, Values};

/// [`crate::arch::all::add_rows`] for codes in groups that lanes fit.
///
/// The kernel reads past the end of a row, so the last rows are multiplied as a padded copy.
pub(crate) fn add_rows<V: Simd<L>, const L: usize>(
    isa: V,
    segment: &CodeSegment<'_>,
    x: &Arranged<L>,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let reach = x.reach(segment);
    let n_direct = segment.n_rows_within(reach).clamp(rows.start, rows.end);
    let (direct, padded) = out.split_at_mut((n_direct - rows.start) * x.n_tokens());
    enter(isa, segment, x, rows.start..n_direct, direct);
    if n_direct < rows.end {
        let tail = segment.padded_tail(n_direct, reach);
        enter(isa, &tail.segment(), x, 0..rows.end - n_direct, padded);
    }
}

/// Enters the kernel for the segment's width and kind of values.
fn enter<V: Simd<L>, const L: usize>(
    isa: V,
    segment: &CodeSegment<'_>,
    x: &Arranged<L>,
    rows: Range<usize>,
    out: &mut [f32],
) {
    match (segment.values, segment.bits.get()) {
        (Values::Levels(_), 2) => isa.enter::<CodeRows<2, 8, true>>(segment, x, rows, out),
        (Values::Levels(_), 3) => isa.enter::<CodeRows<3, 8, true>>(segment, x, rows, out),
        (Values::Levels(_), _) => isa.enter::<CodeRows<4, 8, true>>(segment, x, rows, out),
        (_, 2) => isa.enter::<CodeRows<2, 8, false>>(segment, x, rows, out),
        (_, 3) => isa.enter::<CodeRows<3, 8, false>>(segment, x, rows, out),
        (_, 4) => isa.enter::<CodeRows<4, 8, false>>(segment, x, rows, out),
        (_, 5) => isa.enter::<CodeRows<5, 4, false>>(segment, x, rows, out),
        (_, 6) => isa.enter::<CodeRows<6, 4, false>>(segment, x, rows, out),
        _ => isa.enter::<CodeRows<8, 4, false>>(segment, x, rows, out),
    }
}

/// Codes of `B` bits, `F` of them a lane, which name levels if `LUT`. Every row has what
/// [`Arranged::reach`] says after its start.
struct CodeRows<const B: usize, const F: usize, const LUT: bool>;

impl<const L: usize, const B: usize, const F: usize, const LUT: bool> Kernel<L>
    for CodeRows<B, F, LUT>
{
    type Segment<'a> = CodeSegment<'a>;
    type Tokens<'a> = Arranged<L>;

    #[inline(always)]
    fn run<V: Simd<L>>(
        isa: V,
        segment: &CodeSegment<'_>,
        x: &Arranged<L>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let levels = isa.levels(&level_table(segment.values));
        let n_tokens = x.n_tokens();
        let call = Call::<V, L, B, F, LUT> { isa, segment, x, n_tokens, levels };
        let by_four = n_tokens - n_tokens % 4;
        for token in (0..by_four).step_by(4) {
            call.add_rows::<2, 4>(token, rows.clone(), out);
        }
        for token in by_four..n_tokens {
            call.add_rows::<4, 1>(token, rows.clone(), out);
        }
    }
}

/// Codebook levels; a shorter table is repeated, so that the bits above a short index do not matter.
fn level_table(values: Values<'_>) -> [f32; 16] {
    let mut table = [0.0; 16];
    if let Values::Levels(levels) = values {
        for (entry, level) in table.iter_mut().zip(levels.iter().cycle()) {
            *entry = level.to_f32();
        }
    }
    table
}

/// What every row of a call shares; the parameters are those of [`CodeRows`].
struct Call<'a, V: Simd<L>, const L: usize, const B: usize, const F: usize, const LUT: bool> {
    isa: V,
    segment: &'a CodeSegment<'a>,
    x: &'a Arranged<L>,
    n_tokens: usize,
    levels: V::Levels,
}

impl<V: Simd<L>, const L: usize, const B: usize, const F: usize, const LUT: bool>
    Call<'_, V, L, B, F, LUT>
{
    /// Bytes of the codes of one block: `B * F` bits a lane.
    const BLOCK: usize = L / 8 * F * B;

    /// Splits the rows into register tiles of `R`, and the rest into single rows, for `T` tokens.
    #[inline(always)]
    fn add_rows<const R: usize, const T: usize>(
        &self,
        token: usize,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let mut row = rows.start;
        while row + R <= rows.end {
            self.add_tile::<R, T>((row, token), &mut out[(row - rows.start) * self.n_tokens..]);
            row += R;
        }
        while row < rows.end {
            self.add_tile::<1, T>((row, token), &mut out[(row - rows.start) * self.n_tokens..]);
            row += 1;
        }
    }

    /// `R` rows times `T` tokens, added to `out` `[R.., n_tokens]`.
    #[inline(always)]
    fn add_tile<const R: usize, const T: usize>(
        &self,
        (first_row, first_token): (usize, usize),
        out: &mut [f32],
    ) {
        let Self { isa, segment, x, .. } = *self;
        let n_blocks = x.n_blocks;
        let mut codes: [&[u8]; R] = [&[]; R];
        let mut scales: [&[f16]; R] = [&[]; R];
        for r in 0..R {
            codes[r] = &segment.codes[(first_row + r) * segment.code_stride..];
            scales[r] = &segment.scales[(first_row + r) * segment.scale_stride..];
            let end = (n_blocks - 1) * Self::BLOCK + size_of::<[[u8; 4]; L]>();
            assert!(codes[r].len() >= end, "the last rows are padded");
        }
        let mut fields: [&[[[f32; L]; F]]; T] = [&[]; T];
        for t in 0..T {
            fields[t] = &x.fields_of(first_token + t).as_chunks().0[..n_blocks];
        }
        let lanes = &x.lanes[..n_blocks];
        let mut totals = [[isa.splat(0.0); T]; R];
        for block in 0..n_blocks {
            let mut sums = [[isa.splat(0.0); T]; R];
            let mut words = [isa.splat_bits(0); R];
            for r in 0..R {
                let bytes = codes[r].as_ptr().wrapping_add(block * Self::BLOCK);
                // SAFETY: `block < n_blocks`, so these bytes lie within the length asserted above.
                words[r] = isa.load_codes::<B>(unsafe { &*bytes.cast::<[[u8; 4]; L]>() });
                // The same place in the next rows: streams are too short for the hardware to foresee.
                isa.prefetch(bytes.wrapping_add(R * segment.code_stride));
            }
            for j in 0..F {
                let mut values = [isa.splat(0.0); R];
                for r in 0..R {
                    values[r] = self.field(words[r], j);
                }
                for t in 0..T {
                    // Once for all rows: registers are scarce.
                    let x = isa.load(&fields[t][block][j]);
                    for r in 0..R {
                        sums[r][t] = isa.mul_add(values[r], x, sums[r][t]);
                    }
                }
            }
            let LaneGroups { first, offsets } = &lanes[block];
            for r in 0..R {
                let scale = isa.permute(isa.load_f16(first_chunk(&scales[r][*first..])), offsets);
                for t in 0..T {
                    totals[r][t] = isa.mul_add(sums[r][t], scale, totals[r][t]);
                }
            }
        }
        for r in 0..R {
            if !LUT {
                self.subtract_zeros((first_row + r, first_token), &mut totals[r]);
            }
            for t in 0..T {
                out[r * self.n_tokens + first_token + t] += isa.sum_lanes(totals[r][t]);
            }
        }
    }

    /// Subtracts `scale * zero_point * sum(x)` of every group.
    #[inline(always)]
    fn subtract_zeros<const T: usize>(
        &self,
        (row, first_token): (usize, usize),
        totals: &mut [V::Floats; T],
    ) {
        let Self { isa, segment, x, .. } = *self;
        let scales = &segment.scales[row * segment.scale_stride..];
        let (packed, same) = match segment.values {
            Values::Asymmetric { zeros, stride } => (&zeros[row * stride..], 0.0),
            Values::Symmetric(zero) => (&[][..], f32::from(zero)),
            Values::Levels(_) => return,
        };
        for vector in 0..x.n_sums {
            let zeros = match packed {
                [] => isa.splat(same),
                packed => self.zeros(first_chunk(&packed[vector * (L / 8 * B)..])),
            };
            let product = isa.mul(isa.load_f16(first_chunk(&scales[vector * L..])), zeros);
            for t in 0..T {
                let sums = isa.load(&x.sums_of(first_token + t)[vector]);
                totals[t] = isa.neg_mul_add(product, sums, totals[t]);
            }
        }
    }

    /// Field `j` of every lane as f32: the level it names, or `code * 2^(B * j)` left in place,
    /// which the arranged activations undo.
    #[inline(always)]
    fn field(&self, words: V::Words, j: usize) -> V::Floats {
        #[expect(clippy::cast_possible_truncation, reason = "bit positions in a lane are below 32")]
        let shift = (B * j) as i32;
        let isa = self.isa;
        if LUT {
            return isa.look_up::<B>(self.levels, isa.shift_right(words, shift));
        }
        if B * (j + 1) == 32 {
            return isa.to_floats(isa.shift_right(words, shift));
        }
        isa.to_floats(isa.and(words, isa.splat_bits(((1 << B) - 1) << shift)))
    }

    /// Packed zero points, one a lane, as f32.
    #[inline(always)]
    fn zeros(&self, bytes: &[u8; L]) -> V::Floats {
        #![expect(clippy::cast_possible_truncation, reason = "bytes and bits of one vector")]
        // The zero point of lane `l` lies in the two bytes from bit `B * l` on.
        let mut pairs = [[u8::MAX; 4]; L];
        let mut shifts = [0; L];
        for lane in 0..L {
            let byte = (lane * B / 8) as u8;
            pairs[lane][..2].copy_from_slice(&[byte, byte + 1]);
            shifts[lane] = (lane * B % 8) as i32;
        }
        let isa = self.isa;
        let zeros = isa.shift_right_each(isa.gather_bytes(bytes, &pairs), &shifts);
        isa.to_floats(isa.and(zeros, isa.splat_bits((1 << B) - 1)))
    }
}

/// The first `N` elements.
///
/// # Panics
/// If there are fewer.
#[inline(always)]
#[track_caller]
fn first_chunk<T, const N: usize>(slice: &[T]) -> &[T; N] {
    slice.first_chunk().expect("the last rows of a segment are padded")
}
