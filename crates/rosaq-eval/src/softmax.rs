//! Sums of exponentials over a row of logits: f32 terms, f64 sums, in loops that the compiler
//! vectorizes.

/// Independent partial sums, enough for the widest vectors; the order of additions is fixed by it.
const LANES: usize = 16;

/// The logarithm of the sum of exponentials of `logits`, or `None` when one is not finite.
pub(crate) fn log_sum_exp(logits: &[f32]) -> Option<f64> {
    let max = finite_max(logits)?;
    let mut sums = [0.0_f64; LANES];
    let (blocks, rest) = logits.as_chunks::<LANES>();
    let mut add = |block: &[f32]| {
        for (sum, &logit) in sums.iter_mut().zip(block) {
            *sum += f64::from(exp_nonpositive(logit - max));
        }
    };
    blocks.iter().for_each(|block| add(block));
    add(rest);
    Some(f64::from(max) + sums.iter().sum::<f64>().ln())
}

/// KL(reference || model) of two rows of logits of equal length, natural logarithm, and the
/// logarithm of the model's sum of exponentials; `None` when a logit is not finite.
///
/// With `p` the reference's probabilities, `x` its logits and `y` the model's, it is the mean of
/// `x - y` under `p` minus the difference of the logarithms of their sums: no probability is
/// divided, and equal rows give exactly 0.
pub(crate) fn divergence(reference: &[f32], model: &[f32]) -> Option<(f64, f64)> {
    let max = finite_max(reference)?;
    let model_log_sum = log_sum_exp(model)?;
    let (mut sums, mut moments) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let mut add = |reference: &[f32], model: &[f32]| {
        let lanes = sums.iter_mut().zip(&mut moments).zip(reference.iter().zip(model));
        for ((sum, moment), (&x, &y)) in lanes {
            let weight = f64::from(exp_nonpositive(x - max));
            *sum += weight;
            *moment += weight * (f64::from(x) - f64::from(y));
        }
    };
    let (reference_blocks, reference_rest) = reference.as_chunks::<LANES>();
    let (model_blocks, model_rest) = model.as_chunks::<LANES>();
    for (reference, model) in reference_blocks.iter().zip(model_blocks) {
        add(reference, model);
    }
    add(reference_rest, model_rest);
    let sum: f64 = sums.iter().sum();
    let reference_log_sum = f64::from(max) + sum.ln();
    let mean_difference = moments.iter().sum::<f64>() / sum;
    Some((mean_difference - (reference_log_sum - model_log_sum), model_log_sum))
}

/// The largest logit, or `None` when there is none or one is not finite.
fn finite_max(logits: &[f32]) -> Option<f32> {
    let mut largest = [f32::NEG_INFINITY; LANES];
    // A number times zero is zero, NaN or infinity times zero is NaN.
    let mut zeros = [0.0_f32; LANES];
    let (blocks, rest) = logits.as_chunks::<LANES>();
    let mut add = |block: &[f32]| {
        for ((largest, zero), &logit) in largest.iter_mut().zip(&mut zeros).zip(block) {
            *largest = if logit > *largest { logit } else { *largest };
            *zero += logit * 0.0;
        }
    };
    blocks.iter().for_each(|block| add(block));
    add(rest);
    let max = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    (zeros.iter().all(|&zero| zero == 0.0) && max.is_finite()).then_some(max)
}

/// `exp(x)` for `x <= 0` to 1e-7 of itself (2 units in the last place); below -87, where f32 begins to lose digits,
/// `exp(-87)`, which is 1.6e-38.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; the Taylor polynomial of degree 7 errs by
/// `r^8 / 8! < 6e-9` of the result, a tenth of an f32 rounding.
#[inline(always)]
fn exp_nonpositive(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: the first has 9 bits, so that its product with n is exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let tail = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0));
    let tail = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * tail));
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    (1.0 + (r + r * r * tail)) * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_f64_to_1e_7() {
        let (mut worst_share, mut worst_units) = (0.0_f64, 0.0_f64);
        // Every 997th float from -87 to -1e-30, and both ends.
        let (first, last) = (1e-30_f32.to_bits(), 87.0_f32.to_bits());
        for bits in (first..last).step_by(997).chain([0, last]) {
            let x = -f32::from_bits(bits);
            let exact = f64::from(x).exp();
            #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is meant")]
            let nearest = exact as f32;
            let unit = f64::from(nearest.next_up()) - f64::from(nearest);
            let error = (f64::from(exp_nonpositive(x)) - exact).abs();
            worst_share = worst_share.max(error / exact);
            worst_units = worst_units.max(error / unit);
        }
        assert!(worst_share <= 1e-7, "off by {worst_share} of the result");
        assert!(worst_units <= 2.0, "off by {worst_units} units in the last place");
        assert!((exp_nonpositive(0.0) - 1.0).abs() < f32::EPSILON);
        assert!(exp_nonpositive(-1e30) < 2e-38);
    }

    /// Rows with a wide spread, of lengths that are no multiple of the lanes.
    fn row(length: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0
        };
        (0..length).map(|_| 30.0 * next() - 20.0 + 5.0 * next()).collect()
    }

    fn exact_log_sum(logits: &[f32]) -> f64 {
        logits.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln()
    }

    #[test]
    fn log_sums_agree_with_f64() {
        for length in [1, 2, 15, 16, 17, 1000, 49_152] {
            let logits = row(length, 7);
            let found = log_sum_exp(&logits).expect("finite logits");
            // The sum errs by no more of itself than its terms do.
            assert!((found - exact_log_sum(&logits)).abs() < 1.1e-7, "{length} logits");
        }
    }

    #[test]
    fn divergence_agrees_with_f64() {
        for length in [1, 3, 16, 31, 5000] {
            let (x, y) = (row(length, 1), row(length, 2));
            let (kl, log_sum) = divergence(&x, &y).expect("finite logits");
            let (sum_x, sum_y) = (exact_log_sum(&x), exact_log_sum(&y));
            let terms = x.iter().zip(&y).map(|(&x, &y)| {
                let log_p = f64::from(x) - sum_x;
                log_p.exp() * (log_p - (f64::from(y) - sum_y))
            });
            let exact: f64 = terms.sum();
            assert!((kl - exact).abs() < 1e-6 * (1.0 + exact), "{length}: {kl}, {exact}");
            assert!((log_sum - sum_y).abs() < 1.1e-7);
            assert_eq!(divergence(&x, &x).expect("finite logits").0, 0.0);
        }
    }

    #[test]
    fn anything_but_finite_logits_is_refused() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 15, 16, 39] {
                let mut logits = row(40, 3);
                logits[at] = bad;
                assert_eq!(log_sum_exp(&logits), None, "{bad} at {at}");
                assert!(divergence(&row(40, 4), &logits).is_none());
                assert!(divergence(&logits, &row(40, 4)).is_none());
            }
        }
        assert_eq!(log_sum_exp(&[]), None);
    }
}
