//! Scales fitted anew to codes that stand.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use half::f16;
use rayon::prelude::*;
use rosaq_pack::{PackedLinear, PackedParts};
use rosaq_tensor::Matrix;

use crate::{QuantError, reorder_columns};

/// Rows fitted together. Fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;

/// `packed` with every scale replaced by the one that leaves its row the least output error `e H eᵀ`, `e` being a row of `w`
/// minus the packed values: one group after another, each in closed form, `s + (ŵ_g H e) / (ŵ_g H ŵ_g) s` with `ŵ_g` the values
/// of the group. A row's error never grows but by the rounding of a scale to f16.
///
/// `w` `[out, in]` and `gram` `[in, in]`, the Gram matrix of the inputs, are in the model's channel order. Products and sums in
/// f64; a product of `out x in x in`.
///
/// # Errors
/// None but those of a packed linear that was damaged in between.
///
/// # Panics
/// If the shapes differ.
pub fn refit_scales(
    packed: &PackedLinear,
    w: &Matrix,
    gram: MatRef<'_, f64>,
) -> Result<PackedLinear, QuantError> {
    let n = w.cols;
    assert_eq!((packed.out_features, packed.in_features), (w.rows, n), "the shape of the weights");
    assert_eq!((gram.nrows(), gram.ncols()), (n, n), "a square gram of {n}");
    let order = packed.order.permutation(n);
    let ordered = order.as_ref().map(|order| reorder_columns(w, order));
    let original = |i: usize| order.as_ref().map_or(i, |order| order[i] as usize);
    let gram = Mat::from_fn(n, n, |i, j| gram[(original(i), original(j))]);
    let groups = groups(packed);
    let mut scales = packed.scales.clone();
    let width = packed.layout().groups_per_row;
    if width == 0 {
        return Ok(packed.clone());
    }
    let w = ordered.as_ref().unwrap_or(w);
    scales.par_chunks_mut(ROWS * width).enumerate().for_each(|(chunk, scales)| {
        let first = chunk * ROWS;
        refit_rows(packed, w, gram.as_ref(), &groups, first..first + scales.len() / width, scales);
    });
    let PackedLinear { codes, zeros, f16, codebooks, .. } = packed.clone();
    Ok(PackedLinear::new(packed.spec(), PackedParts { codes, scales, zeros, f16 }, codebooks)?)
}

/// The stored channels of every group, in the order of the scales of a row.
fn groups(packed: &PackedLinear) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    for (segment, at) in packed.segments.iter().zip(&packed.layout().segments) {
        let end = at.channel_start + segment.channels;
        groups.extend((0..at.n_groups).map(|group| {
            let first = at.channel_start + group * segment.group_size;
            first..end.min(first.saturating_add(segment.group_size))
        }));
    }
    groups
}

/// Fits the scales of `rows`, `[rows, groups]`.
fn refit_rows(
    packed: &PackedLinear,
    w: &Matrix,
    gram: MatRef<'_, f64>,
    groups: &[Range<usize>],
    rows: Range<usize>,
    scales: &mut [f16],
) {
    let (n, n_rows) = (w.cols, rows.len());
    let mut stored = vec![0.0_f32; n_rows * n];
    packed.dequantize_rows_into(rows.clone(), &mut stored);
    let values = Mat::from_fn(n_rows, n, |row, i| f64::from(stored[row * n + i]));
    let errors =
        Mat::from_fn(n_rows, n, |row, i| f64::from(w.row(rows.start + row)[i]) - values[(row, i)]);
    // What the errors amount to at each channel: `e H`.
    let mut pulls = Mat::<f64>::zeros(n_rows, n);
    matmul(&mut pulls, Accum::Replace, &errors, gram, 1.0, Par::Seq);
    let mut reach = Mat::<f64>::zeros(n_rows, n);
    for (idx, group) in groups.iter().enumerate() {
        let of_group = values.as_ref().subcols(group.start, group.len());
        let gram = gram.subrows(group.start, group.len());
        matmul(&mut reach, Accum::Replace, of_group, gram, 1.0, Par::Seq);
        for row in 0..n_rows {
            let along = |m: &Mat<f64>| -> f64 {
                group.clone().map(|i| values[(row, i)] * m[(row, i)]).sum()
            };
            let (pull, energy) = (along(&pulls), along(&reach));
            let scale = &mut scales[row * groups.len() + idx];
            let old = scale.to_f64();
            let fitted = f16::from_f64(old + old * pull / energy);
            if !(fitted.is_finite() && old != 0.0 && energy > 0.0) {
                continue;
            }
            *scale = fitted;
            let change = fitted.to_f64() / old - 1.0;
            for i in 0..n {
                pulls[(row, i)] -= change * reach[(row, i)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rosaq_pack::{Bits, ChannelOrder, Segment};

    use super::*;
    use crate::{output_error, pack_nearest};

    fn noise(len: usize, seed: usize) -> Vec<f32> {
        let wave =
            |i: usize| (((i * 7919 + seed * 104_729) % 10_007) as f32 / 5003.5 - 1.0).powi(3);
        (0..len).map(wave).collect()
    }

    fn gram(n: usize, seed: usize) -> Mat<f64> {
        let x = noise(3 * n * n, seed + 1);
        let x = Mat::from_fn(3 * n, n, |i, j| f64::from(x[i * n + j]));
        x.transpose() * &x
    }

    fn segments() -> Vec<Segment> {
        vec![
            Segment::f16(3),
            Segment::asymmetric(11, Bits::THREE, 4),
            Segment::symmetric(6, Bits::TWO, 6),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_error_never_grows_and_the_codes_stand(seed in 0_usize..1000) {
            let (w, gram) = (Matrix::new(70, 20, noise(1400, seed)), gram(20, seed));
            let order = ChannelOrder::Explicit((0..20).map(|i| i * 7 % 20).collect());
            let packed = pack_nearest(&w, &segments(), order).unwrap();
            let refitted = refit_scales(&packed, &w, gram.as_ref()).unwrap();
            let error = |packed: &PackedLinear| output_error(&w, packed, gram.as_ref()).error;
            // f16 scales: 2^-11 of a value, squared, beside a rounding error of at least a percent.
            prop_assert!(error(&refitted) <= error(&packed) * 1.0001);
            prop_assert!(refitted.codes == packed.codes && refitted.zeros == packed.zeros);
        }
    }

    #[test]
    fn one_group_gets_the_best_of_all_scales() {
        let (w, gram) = (Matrix::new(5, 12, noise(60, 3)), gram(12, 3));
        let segments = [Segment::symmetric(12, Bits::TWO, 12)];
        let packed = pack_nearest(&w, &segments, ChannelOrder::Identity).unwrap();
        let refitted = refit_scales(&packed, &w, gram.as_ref()).unwrap();
        let values = packed.dequantize();
        for row in 0..5 {
            let error = |factor: f64| -> f64 {
                let e =
                    |i: usize| f64::from(w.row(row)[i]) - factor * f64::from(values[row * 12 + i]);
                (0..12)
                    .flat_map(|i| (0..12).map(move |j| (i, j)))
                    .map(|(i, j)| e(i) * gram[(i, j)] * e(j))
                    .sum()
            };
            let found = refitted.scales[row].to_f64() / packed.scales[row].to_f64();
            let tried = (0..4000).map(|step| error(f64::from(step) / 2000.0));
            let best = tried.fold(f64::INFINITY, f64::min);
            assert!(error(found) <= best * 1.0001, "row {row}: {} {best}", error(found));
        }
    }
}
