//! AWQ's search for channel scales.

use faer::MatRef;
use rayon::prelude::*;
use rosaq_tensor::Matrix;

use crate::output_error::{half_gram, output_energy};
use crate::{Grid, fit_group};

/// The scales found and what they are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelScale {
    /// One positive factor an input channel.
    pub scales: Vec<f32>,
    /// The exponent on the mean magnitudes that gave them.
    pub alpha: f64,
    /// Output error `tr(E H Eᵀ)` with the scales.
    pub loss: f64,
    /// The same without them (alpha 0).
    pub plain_loss: f64,
}

/// Exponents tried, `0, 1/20, .. 19/20`: AWQ's grid (arXiv 2306.00978, section 3.2; `n_grid = 20` in its public code).
const N_ALPHAS: usize = 20;
/// Least scale before normalization, as in AWQ's public code.
const SCALE_FLOOR: f64 = 1e-4;
/// Outputs on which the loss is measured at most, evenly spread: enough to rank twenty candidates, and it bounds the cost of
/// wide layers, which grows with outputs times channels squared.
const MAX_LOSS_ROWS: usize = 1024;

/// Searches scales `s = mean|x|^alpha` (normalized by the root of their extremes' product) for the input channels that all
/// of `weights`, each `[out, in]`, read, such that rounding `w s` to `grid` in groups of `group_size` and dividing
/// by `s` again leaves the least output error, measured through the Gram matrix `gram` of the inputs.
///
/// # Panics
/// If `mean_magnitude`, `gram` or a matrix do not fit the input channels.
#[must_use]
pub fn search_channel_scale(
    weights: &[&Matrix],
    mean_magnitude: &[f64],
    gram: MatRef<'_, f64>,
    grid: Grid,
    group_size: usize,
) -> ChannelScale {
    let n = mean_magnitude.len();
    assert_eq!((gram.nrows(), gram.ncols()), (n, n), "a square gram of {n}");
    assert!(weights.iter().all(|w| w.cols == n), "matrices of {n} input channels");
    let half_gram = half_gram(gram);
    let rows: Vec<&[f32]> = weights.iter().flat_map(|w| w.data.chunks_exact(n)).collect();
    let step = rows.len().div_ceil(MAX_LOSS_ROWS);
    let rows: Vec<&[f32]> = rows.into_iter().step_by(step).collect();
    let candidates: Vec<(f64, Vec<f32>, f64)> = (0..N_ALPHAS)
        .into_par_iter()
        .map(|i| {
            let alpha = i as f64 / N_ALPHAS as f64;
            let scales = scales_for(mean_magnitude, alpha);
            let loss = rounding_loss(&rows, &scales, half_gram.as_ref(), grid, group_size);
            (alpha, scales, loss * step as f64)
        })
        .collect();
    let plain_loss = candidates[0].2;
    let best = candidates.into_iter().reduce(|a, b| if b.2 < a.2 { b } else { a });
    let (alpha, scales, loss) = best.expect("there are twenty candidates");
    ChannelScale { scales, alpha, loss, plain_loss }
}

#[expect(clippy::cast_possible_truncation, reason = "scales are applied to f32 weights")]
fn scales_for(mean_magnitude: &[f64], alpha: f64) -> Vec<f32> {
    let raw: Vec<f64> = mean_magnitude.iter().map(|m| m.powf(alpha).max(SCALE_FLOOR)).collect();
    let max = raw.iter().copied().fold(0.0, f64::max);
    let min = raw.iter().copied().fold(f64::INFINITY, f64::min);
    let norm = (max * min).sqrt();
    raw.iter().map(|s| (s / norm) as f32).collect()
}

/// `tr(E H Eᵀ)` for the rounding error `E` of `rows`; products in f32, summed in f64.
fn rounding_loss(
    rows: &[&[f32]],
    scales: &[f32],
    half_gram: MatRef<'_, f32>,
    grid: Grid,
    group_size: usize,
) -> f64 {
    let n = scales.len();
    let mut error = vec![0.0_f32; rows.len() * n];
    let mut scaled = vec![0.0_f32; n];
    for (row, error) in rows.iter().zip(error.chunks_exact_mut(n)) {
        for ((to, w), s) in scaled.iter_mut().zip(*row).zip(scales) {
            *to = w * s;
        }
        let groups = scaled.chunks(group_size).zip(error.chunks_mut(group_size));
        for ((group, error), scales) in groups.zip(scales.chunks(group_size)) {
            let ladder = fit_group(group, grid).ladder(grid);
            for ((e, &w), s) in error.iter_mut().zip(group).zip(scales) {
                *e = (w - ladder.scale * ladder.nearest(w)) / s;
            }
        }
    }
    output_energy(&error, half_gram)
}

#[cfg(test)]
mod tests {
    use faer::Mat;
    use proptest::prelude::*;
    use rosaq_pack::{ChannelOrder, Segment};

    use super::*;
    use crate::pack_nearest;

    fn weights() -> Matrix {
        let data = (0..24 * 32).map(|i| ((i * 37 % 101) as f32 - 50.0) / 60.0).collect();
        Matrix::new(24, 32, data)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn alpha_zero_is_nearest_rounding(
            seed: u64, n in 1_usize..60, rows in 1_usize..12, group_size in 1_usize..70,
            bits in prop::sample::select(vec![2_u8, 3, 4, 5, 6, 8]), symmetric: bool,
            magnitude in prop::collection::vec(prop_oneof![Just(0.0), 1e-30..1e30_f64], 60),
        ) {
            let magnitude = &magnitude[..n];
            prop_assert_eq!(scales_for(magnitude, 0.0), vec![1.0; n]);

            let value = |i: usize| (seed.wrapping_mul(i as u64 + 1) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            let w = Matrix::new(rows, n, (0..rows * n).map(value).collect());
            let grid = if symmetric { Grid::symmetric(bits) } else { Grid::asymmetric(bits) }.unwrap();
            let gram = Mat::<f64>::from_fn(n, n, |i, j| if i == j { 1.0 + (i % 7) as f64 } else { 0.5 });
            let found = search_channel_scale(&[&w], magnitude, gram.as_ref(), grid, group_size);
            prop_assert!(found.loss <= found.plain_loss);

            let bits = rosaq_pack::Bits::try_from(bits).unwrap();
            let segment = if symmetric {
                Segment::symmetric(n, bits, group_size)
            } else {
                Segment::asymmetric(n, bits, group_size)
            };
            let packed = pack_nearest(&w, &[segment], ChannelOrder::Identity).unwrap().dequantize();
            let mut expected = 0.0;
            for (row, packed) in w.data.chunks_exact(n).zip(packed.chunks_exact(n)) {
                let e: Vec<f64> = row.iter().zip(packed).map(|(w, p)| f64::from(w - p)).collect();
                expected += (0..n).map(|i| (0..n).map(|j| e[i] * gram[(i, j)] * e[j]).sum::<f64>()).sum::<f64>();
            }
            // Errors are differences in f32 of numbers near 1, in products of 60 terms in f32.
            prop_assert!(
                (found.plain_loss - expected).abs() <= 1e-4 * expected + 1e-9,
                "{} is not {expected}", found.plain_loss
            );
        }
    }

    #[test]
    fn equal_channels_need_no_scale() {
        let gram = Mat::<f64>::identity(32, 32);
        let found = search_channel_scale(
            &[&weights()],
            &[1.0; 32],
            gram.as_ref(),
            Grid::asymmetric(3).unwrap(),
            16,
        );
        assert_eq!(found.alpha, 0.0);
        assert!(found.scales.iter().all(|&s| (s - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_loud_channel_is_protected() {
        let mut magnitude = vec![0.1; 32];
        magnitude[5] = 30.0;
        let gram =
            Mat::<f64>::from_fn(
                32,
                32,
                |i, j| if i == j { magnitude[i] * magnitude[i] } else { 0.0 },
            );
        let found = search_channel_scale(
            &[&weights()],
            &magnitude,
            gram.as_ref(),
            Grid::asymmetric(3).unwrap(),
            16,
        );
        assert!(found.loss < 0.5 * found.plain_loss, "{found:?}");
        assert!(found.scales[5] > found.scales[4]);
    }

    #[test]
    fn loss_is_the_output_error() {
        // Against the definition in f64: sum over tokens of the squared output error, with H = XᵀX of four tokens.
        let w = weights();
        let x = Mat::<f64>::from_fn(4, 32, |t, i| ((t * 7 + i * 3) % 11) as f64 - 5.0);
        let gram = x.transpose() * &x;
        let grid = Grid::asymmetric(3).unwrap();
        let found = search_channel_scale(&[&w], &[1.0; 32], gram.as_ref(), grid, 16);
        let mut expected = 0.0;
        for row in w.data.chunks_exact(32) {
            let mut error = Vec::new();
            for group in row.chunks(16) {
                let params = fit_group(group, grid);
                error.extend(
                    group.iter().map(|&v| f64::from(v - params.value(params.code(v, grid)))),
                );
            }
            for t in 0..4 {
                expected +=
                    error.iter().enumerate().map(|(i, e)| e * x[(t, i)]).sum::<f64>().powi(2);
            }
        }
        assert!((found.plain_loss - expected).abs() / expected < 1e-5); // f32 products of 32 terms
    }
}
