#![expect(clippy::cast_possible_truncation, reason = "grids are fitted and met in f32")]

use std::ops::Range;

use faer::Mat;
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use rosaq_pack::Bits;

use super::*;
use crate::{Grid, pack_nearest, search_group};

/// Deterministic numbers in -1..1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

fn weights(seed: u64, rows: usize, cols: usize) -> Matrix {
    let mut noise = Noise(seed);
    Matrix::new(rows, cols, (0..rows * cols).map(|_| noise.next() as f32).collect())
}

/// The Gram matrix of correlated inputs: `n_tokens` tokens of few common and as many own components as channels, some of the
/// latter much louder.
fn correlated_gram(seed: u64, n: usize, n_tokens: usize) -> Mat<f64> {
    let mut noise = Noise(seed);
    let common = Mat::<f64>::from_fn(n_tokens, 4, |_, _| noise.next());
    let mix = Mat::<f64>::from_fn(4, n, |_, _| noise.next());
    let own = Mat::<f64>::from_fn(n_tokens, n, |_, i| noise.next() * 0.2 * (1 + i % 5) as f64);
    let x = common * mix + own;
    x.transpose() * &x
}

fn permutation(seed: u64, n: usize) -> Vec<u32> {
    let mut noise = Noise(seed);
    let mut keyed: Vec<(f64, u32)> = (0..n as u32).map(|i| (noise.next(), i)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    keyed.into_iter().map(|(_, i)| i).collect()
}

fn inverse(matrix: &Mat<f64>) -> Mat<f64> {
    let n = matrix.nrows();
    let (mut a, mut inverse) = (matrix.clone(), Mat::<f64>::identity(n, n));
    for k in 0..n {
        let pivot = a[(k, k)];
        for j in 0..n {
            a[(k, j)] /= pivot;
            inverse[(k, j)] /= pivot;
        }
        for i in (0..n).filter(|&i| i != k) {
            let factor = a[(i, k)];
            for j in 0..n {
                let (from, from_inverse) = (a[(k, j)], inverse[(k, j)]);
                a[(i, j)] -= factor * from;
                inverse[(i, j)] -= factor * from_inverse;
            }
        }
    }
    inverse
}

/// The upper `u` of `matrix = uᵀ u`.
fn upper_cholesky(matrix: &Mat<f64>) -> Mat<f64> {
    let n = matrix.nrows();
    let mut u = Mat::<f64>::zeros(n, n);
    for i in 0..n {
        for j in i..n {
            let rest: f64 = (0..i).map(|k| u[(k, i)] * u[(k, j)]).sum();
            let left = matrix[(i, j)] - rest;
            u[(i, j)] = if i == j { left.sqrt() } else { left / u[(i, i)] };
        }
    }
    u
}

/// A linear to be rounded, in stored order throughout.
struct Case {
    w: Matrix,
    gram: Mat<f64>,
    segments: Vec<Segment>,
    options: GptqOptions,
}

impl Case {
    fn n(&self) -> usize {
        self.w.cols
    }

    fn energy(&self, channel: usize) -> f64 {
        self.gram[(channel, channel)].max(0.0)
    }

    /// The group of every channel, `None` for f16.
    fn groups(&self) -> Vec<Option<(Range<usize>, Grid)>> {
        let mut groups = Vec::new();
        for segment in &self.segments {
            let (first, end) = (groups.len(), groups.len() + segment.channels);
            for channel in first..end {
                groups.push(Grid::of(segment.kind).map(|grid| {
                    let start = channel - (channel - first) % segment.group_size;
                    (start..end.min(start + segment.group_size), grid)
                }));
            }
        }
        groups
    }

    fn rounding_order(&self) -> Vec<usize> {
        let groups = self.groups();
        let mut order: Vec<usize> = (0..self.n()).collect();
        if self.options.act_order {
            order.sort_by(|&a, &b| self.energy(b).partial_cmp(&self.energy(a)).unwrap());
        }
        let (f16, int): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|&channel| groups[channel].is_none());
        int.into_iter().chain(f16).collect()
    }

    /// The damped Gram matrix in rounding order.
    fn damped(&self, order: &[usize]) -> Mat<f64> {
        let mean = (0..self.n()).map(|i| self.energy(i)).sum::<f64>() / self.n() as f64;
        Mat::from_fn(self.n(), self.n(), |i, j| {
            let (a, b) = (order[i], order[j]);
            match (i == j, self.energy(a) > 0.0 && self.energy(b) > 0.0) {
                (true, true) => self.energy(a) + self.options.damping * mean,
                (true, false) => mean,
                (false, true) => 0.5 * (self.gram[(a, b)] + self.gram[(b, a)]),
                (false, false) => 0.0,
            }
        })
    }

    /// GPTQ as published: an explicit inverse, its Cholesky factor, one update a channel; all in f64.
    fn round_naively(&self) -> Vec<f32> {
        let n = self.n();
        let (order, groups) = (self.rounding_order(), self.groups());
        let u = upper_cholesky(&inverse(&self.damped(&order)));
        let mut values = vec![0.0; self.w.data.len()];
        for row in 0..self.w.rows {
            let mut t: Vec<f64> = self.w.row(row).iter().map(|&w| f64::from(w)).collect();
            let mut params = vec![None; n];
            for (i, &channel) in order.iter().enumerate() {
                let value = if let Some((group, grid)) = &groups[channel] {
                    let params = *params[group.start].get_or_insert_with(|| {
                        let now: Vec<f32> = t[group.clone()].iter().map(|&v| v as f32).collect();
                        let given = &self.w.row(row)[group.clone()];
                        let fitted = if self.options.act_order { given } else { now.as_slice() };
                        let energies: Vec<f64> =
                            group.clone().map(|channel| self.energy(channel)).collect();
                        search_group(fitted, &energies, *grid, self.options.scale_steps)
                    });
                    params.value(params.code(t[channel] as f32, *grid))
                } else {
                    half::f16::from_f64(t[channel]).to_f32()
                };
                let error = (t[channel] - f64::from(value)) / u[(i, i)];
                for j in i + 1..n {
                    t[order[j]] -= error * u[(i, j)];
                }
                values[row * n + channel] = value;
            }
        }
        values
    }

    fn pack(&self) -> PackedLinear {
        let order = ChannelOrder::Identity;
        pack_gptq(
            &self.w,
            self.gram.as_ref(),
            &self.segments,
            order,
            &self.options,
            TrellisOptions::new(&TrellisCodes::default()),
        )
        .unwrap()
    }

    /// `e H eᵀ` of every row, in f64.
    fn errors(&self, values: &[f32]) -> Vec<f64> {
        let rows = values.chunks_exact(self.n()).enumerate();
        rows.map(|(row, values)| {
            let e: Vec<f64> =
                self.w.row(row).iter().zip(values).map(|(w, v)| f64::from(w - v)).collect();
            let through = |i: usize| (0..e.len()).map(|j| self.gram[(i, j)] * e[j]).sum::<f64>();
            (0..e.len()).map(|i| e[i] * through(i)).sum()
        })
        .collect()
    }
}

fn bits() -> impl Strategy<Value = Bits> {
    prop::sample::select(vec![
        Bits::TWO,
        Bits::THREE,
        Bits::FOUR,
        Bits::FIVE,
        Bits::SIX,
        Bits::EIGHT,
    ])
}

fn integer(channels: usize, bits: Bits, symmetric: bool, group_size: usize) -> Segment {
    if symmetric {
        Segment::symmetric(channels, bits, group_size)
    } else {
        Segment::asymmetric(channels, bits, group_size)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_diagonal_gram_means_nearest_rounding(
        seed: u64, rows in 1_usize..80, n in 1_usize..200, n_f16 in 0_usize..9,
        group_size in 1_usize..150, bits in bits(), symmetric: bool, act_order: bool,
    ) {
        let w = weights(seed, rows, n + n_f16);
        let mut noise = Noise(!seed);
        let gram = Mat::<f64>::from_fn(w.cols, w.cols, |i, j| {
            if i == j { noise.next().max(0.0) } else { 0.0 } // half of them dead
        });
        let mut segments = vec![integer(n, bits, symmetric, group_size)];
        if n_f16 > 0 {
            segments.insert(0, Segment::f16(n_f16));
        }
        let order = ChannelOrder::Explicit(permutation(seed, w.cols));
        let options = GptqOptions { act_order, ..GptqOptions::default() };
        let found = pack_gptq(&w, gram.as_ref(), &segments, order.clone(), &options, TrellisOptions::new(&TrellisCodes::default())).unwrap();
        prop_assert_eq!(found, pack_nearest(&w, &segments, order).unwrap());
    }

    #[test]
    fn it_is_gptq_as_published(
        seed: u64, rows in 1_usize..68, n in 1_usize..160, first in 1_usize..40, n_f16 in 0_usize..40,
        group_size in prop::sample::select(vec![1_usize, 5, 16, 32, 48, 64, 100, 128, 130, 200]),
        bits in bits(), symmetric: bool, act_order: bool, scale_steps in 0_usize..6,
    ) {
        let mut segments = vec![integer(first, Bits::FOUR, !symmetric, 16)];
        if n_f16 > 0 {
            segments.push(Segment::f16(n_f16));
        }
        segments.push(integer(n, bits, symmetric, group_size));
        let n = first + n + n_f16;
        let mut gram = correlated_gram(seed, n, n / 2 + 1);
        let dead = n / 2; // with leftovers beside its zero
        gram[(dead, dead)] = 0.0;
        let options = GptqOptions { act_order, scale_steps, ..GptqOptions::default() };
        let case = Case { w: weights(seed, rows, n), gram, segments, options };
        let naive = case.round_naively();
        // Both compute in f64, so that a code differs only when its target lies within 1e-12 or so of a tie.
        prop_assert_eq!(&case.pack().dequantize(), &naive);

        // Any storage order of the same problem.
        let order = permutation(seed, n);
        let mut original = Matrix::zeros(rows, n);
        let mut gram = Mat::<f64>::zeros(n, n);
        for (i, &a) in order.iter().enumerate() {
            for row in 0..rows {
                original.row_mut(row)[a as usize] = case.w.row(row)[i];
            }
            for (j, &b) in order.iter().enumerate() {
                gram[(a as usize, b as usize)] = case.gram[(i, j)];
            }
        }
        let order = ChannelOrder::Explicit(order);
        let found = pack_gptq(&original, gram.as_ref(), &case.segments, order, &options, TrellisOptions::new(&TrellisCodes::default())).unwrap();
        prop_assert_eq!(found.dequantize(), naive);
    }

    #[test]
    fn errors_keep_babais_bound(
        seed: u64, n in 2_usize..100, act_order: bool, damping in 0.001..0.1, spread in 0..4_u8,
    ) {
        let case = unclamped(seed, n, spread, GptqOptions { damping, act_order, scale_steps: 0 });
        let order = case.rounding_order();
        let damped = case.damped(&order);
        let live: Vec<usize> = (0..n + 2).filter(|&i| order[i] < n).collect();
        let live = Mat::from_fn(n, n, |i, j| damped[(live[i], live[j])]);
        let u = upper_cholesky(&inverse(&live));
        let pivots: f64 = (0..n).map(|i| u[(i, i)].powi(-2)).sum();
        let packed = case.pack();
        for (row, error) in case.errors(&packed.dequantize()).into_iter().enumerate() {
            let scale = f64::from(packed.scales_of(0, row)[0].to_f32());
            // A code chosen in f32 may miss the nearest by 1e-5 of a step: 128 steps times 2^-24.
            prop_assert!(error <= scale * scale / 4.0 * pivots * 1.0001, "{error} in row {row}");
        }
    }
}

/// A linear of five outputs of which no code is clamped: two channels without energy widen the grid of one group a row to -1
/// and 1 on 8 bits, the `n` others stay within 0.25. Their energies span about `2 * spread` decades beside what correlation gives.
fn unclamped(seed: u64, n: usize, spread: u8, options: GptqOptions) -> Case {
    let mut w = weights(seed, 5, n + 2);
    let mut gram = correlated_gram(seed, n + 2, n);
    let mut noise = Noise(!seed);
    let loudness: Vec<f64> =
        (0..n + 2).map(|_| 10_f64.powf(f64::from(spread) * noise.next())).collect();
    for row in 0..5 {
        w.row_mut(row)[..n].iter_mut().for_each(|v| *v *= 0.25);
        w.row_mut(row)[n..].copy_from_slice(&[-1.0, 1.0]);
    }
    for i in 0..n + 2 {
        for j in 0..n + 2 {
            gram[(i, j)] *= if i < n && j < n { loudness[i] * loudness[j] } else { 0.0 };
        }
    }
    Case { w, gram, segments: vec![Segment::asymmetric(n + 2, Bits::EIGHT, n + 2)], options }
}

/// The bound allows nearest rounding's error too; what GPTQ gains it gains on average, while single rows may lose.
#[test]
fn without_clamping_its_mean_error_is_below_nearest_roundings() {
    for (act_order, spread) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
        let (mut ratios, mut n_lost) = (Vec::new(), 0);
        for seed in 0..40 {
            let n = 8 + 2 * usize::try_from(seed).unwrap();
            let options = GptqOptions { act_order, ..GptqOptions::default() };
            let case = unclamped(seed, n, spread, options);
            let nearest = pack_nearest(&case.w, &case.segments, ChannelOrder::Identity).unwrap();
            let gptq = case.errors(&case.pack().dequantize());
            for (gptq, nearest) in gptq.iter().zip(case.errors(&nearest.dequantize())) {
                ratios.push(gptq / nearest);
                n_lost += usize::from(*gptq > nearest);
            }
        }
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        // Each error relative to its own problem's, so that no loud problem decides alone.
        assert!(
            mean < 0.6,
            "mean {mean}, {n_lost} of {} lost, act_order {act_order}",
            ratios.len()
        );
    }
}

#[test]
fn it_beats_nearest_rounding() {
    let segments = [Segment::f16(8), Segment::asymmetric(120, Bits::THREE, 32)];
    for (act_order, scale_steps) in [(false, 0), (true, 0), (false, 10), (true, 10)] {
        let (mut gptq, mut nearest) = (0.0, 0.0);
        for seed in 0..6 {
            let options = GptqOptions { act_order, scale_steps, ..GptqOptions::default() };
            let case = Case {
                w: weights(seed, 8, 128),
                gram: correlated_gram(seed, 128, 200),
                segments: segments.to_vec(),
                options,
            };
            gptq += case.errors(&case.pack().dequantize()).iter().sum::<f64>();
            let rounded = pack_nearest(&case.w, &segments, ChannelOrder::Identity).unwrap();
            nearest += case.errors(&rounded.dequantize()).iter().sum::<f64>();
        }
        assert!(gptq < 0.6 * nearest, "{gptq} against {nearest}, act_order {act_order}");
    }
}

#[test]
fn act_order_keeps_groups_of_the_given_weights() {
    let (w, gram) = (weights(3, 9, 96), correlated_gram(3, 96, 120));
    let segments = [Segment::asymmetric(96, Bits::FOUR, 32)];
    let options = GptqOptions { act_order: true, ..GptqOptions::default() };
    let found = pack_gptq(
        &w,
        gram.as_ref(),
        &segments,
        ChannelOrder::Identity,
        &options,
        TrellisOptions::new(&TrellisCodes::default()),
    )
    .unwrap();
    let nearest = pack_nearest(&w, &segments, ChannelOrder::Identity).unwrap();
    assert_eq!((&found.scales, &found.zeros), (&nearest.scales, &nearest.zeros));
    assert_ne!(found.codes, nearest.codes);
}

#[test]
fn f16_channels_absorb_the_feedback() {
    // They stand first, are rounded last, and leave no error that they could still cancel: `E Λ` is zero at them but for
    // their own rounding.
    let segments = vec![Segment::f16(6), Segment::asymmetric(58, Bits::TWO, 16)];
    let (w, gram) = (weights(5, 7, 64), correlated_gram(5, 64, 100));
    for act_order in [false, true] {
        let options = GptqOptions { act_order, ..GptqOptions::default() };
        let case = Case { w: w.clone(), gram: gram.clone(), segments: segments.clone(), options };
        let values = case.pack().dequantize();
        let natural: Vec<usize> = (0..64).collect();
        let damped = case.damped(&natural);
        for (row, values) in values.chunks_exact(64).enumerate() {
            let e: Vec<f64> =
                case.w.row(row).iter().zip(values).map(|(w, v)| f64::from(w - v)).collect();
            assert!(e[..6].iter().all(|e| e.abs() > 1e-4), "salient channels stay as they were");
            for i in 0..6 {
                let left: f64 = (0..64).map(|j| damped[(i, j)] * e[j]).sum();
                // Values below 2 round by 2^-11 to f16.
                let most: f64 = (0..6).map(|j| damped[(i, j)].abs() * 2.0_f64.powi(-11)).sum();
                assert!(left.abs() <= most, "{left} left at channel {i}, at most {most}");
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let (w, gram) = (weights(7, 200, 300), correlated_gram(7, 300, 200));
    let segments = [Segment::f16(20), Segment::asymmetric(280, Bits::THREE, 48)];
    for act_order in [false, true] {
        let options = GptqOptions { act_order, scale_steps: 3, ..GptqOptions::default() };
        let [one, three] = [1, 3].map(|n_threads| {
            let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let order = ChannelOrder::Explicit(permutation(7, 300));
            pool.install(|| {
                pack_gptq(
                    &w,
                    gram.as_ref(),
                    &segments,
                    order,
                    &options,
                    TrellisOptions::new(&TrellisCodes::default()),
                )
                .unwrap()
            })
        });
        assert_eq!(one, three);
    }
}

#[test]
fn degenerate_inputs_are_finite_or_refused() {
    let n = 40;
    let mut noise = Noise(9);
    let x: Vec<f64> = (0..n).map(|_| noise.next()).collect();
    let loud = |i: usize| if i == 3 { 1e4 } else { 1.0 };
    let grams = [
        Mat::<f64>::zeros(n, n),
        Mat::from_fn(n, n, |i, j| x[i] * x[j]), // rank 1; 5 times the same token is its multiple
        Mat::from_fn(n, n, |i, j| 5e12 * x[i] * x[j]),
        Mat::from_fn(n, n, |i, j| 1e-300 * x[i] * x[j]),
        Mat::from_fn(n, n, |i, j| loud(i) * loud(j)), // an attention sink
        Mat::from_fn(n, n, |i, j| if i % 2 == j % 2 { 1.0 } else { 0.0 }), // twins
        correlated_gram(1, n, 3),
    ];
    let segments = [Segment::f16(4), Segment::asymmetric(36, Bits::THREE, 16)];
    for (gram_idx, gram) in grams.iter().enumerate() {
        for magnitude in [0.0, 1e-8, 1.0, 1e4] {
            for damping in [0.0, 1e-12, 0.01] {
                for act_order in [false, true] {
                    let mut w = weights(2, 6, n);
                    w.data.iter_mut().for_each(|v| *v *= magnitude);
                    let options = GptqOptions { damping, act_order, scale_steps: 4 };
                    let order = ChannelOrder::Identity;
                    let what = format!("gram {gram_idx}, weights {magnitude:e}, {options:?}");
                    match pack_gptq(
                        &w,
                        gram.as_ref(),
                        &segments,
                        order,
                        &options,
                        TrellisOptions::new(&TrellisCodes::default()),
                    ) {
                        Ok(packed) => {
                            assert!(packed.dequantize().iter().all(|v| v.is_finite()), "{what}");
                        }
                        Err(QuantError::Compensation { .. }) => {
                            assert!(damping < 0.01 && magnitude == 1e4, "{what}");
                        }
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
            }
        }
    }
}

#[track_caller]
fn check_refused(gram: &Mat<f64>, segments: &[Segment], damping: f64, message: &str) {
    let w = weights(1, 3, 8);
    let options = GptqOptions { damping, ..GptqOptions::default() };
    let order = ChannelOrder::Identity;
    let error = pack_gptq(
        &w,
        gram.as_ref(),
        segments,
        order,
        &options,
        TrellisOptions::new(&TrellisCodes::default()),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn bad_input_is_refused() {
    let good = correlated_gram(1, 8, 20);
    let int = [Segment::asymmetric(8, Bits::FOUR, 4)];
    check_refused(
        &good,
        &int,
        -0.5,
        "gptq damping must be a finite number of at least 0 (usually 0.01), found -0.5",
    );
    let mut bad = good.clone();
    bad[(2, 5)] = f64::NAN;
    check_refused(
        &bad,
        &int,
        0.01,
        "the gram matrix of the inputs is not finite at channel 5, found NaN",
    );
    let indefinite = Mat::from_fn(8, 8, |i, j| if i == j { 1.0 } else { -1.0 });
    check_refused(
        &indefinite,
        &int,
        0.01,
        "the gram matrix of the inputs is not positive definite, even with 1 times its mean \
         diagonal added; were its statistics damaged?",
    );
    check_refused(
        &good,
        &[Segment::asymmetric(7, Bits::FOUR, 4)],
        0.01,
        "segments cover 7 channels, the linear has 8",
    );
    check_refused(
        &good,
        &[Segment::codebook(8, Bits::FOUR, 0, 4)],
        0.01,
        "segment kind Codebook { bits: Bits(4), id: 0 } cannot be filled by rounding to an \
         integer grid, and names no trellis code",
    );
}
