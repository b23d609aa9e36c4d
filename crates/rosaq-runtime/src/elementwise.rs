//! Softmax and the gated activation, written so that the compiler can use vector registers.

use rayon::prelude::*;

/// `exp(x)` in f32 for `x <= 88`, flushing to zero below -87.
///
/// Cody-Waite reduction by ln 2 and a degree-6 polynomial on [-ln2/2, ln2/2] (coefficients of the Taylor series corrected
/// by the Cephes `expf` minimax fit); within 2 units in the last place of the f64 function, which the tests check.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the exponent is an integer in -126..=127")]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.0, 88.0);
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_2e-4_f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let p = p * r * r + r + 1.0;
    let power = f32::from_bits(((n as i32 + 127) << 23).cast_unsigned());
    if x < -87.0 { 0.0 } else { p * power }
}

/// Softmax of `row` in place; f32 throughout, sums in eight lanes.
pub(crate) fn softmax(row: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(value);
        }
    }
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut sums = [0.0_f32; 8];
    let (chunks, rest) = row.as_chunks_mut::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *value = exp(*value - max);
            *sum += *value;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for value in rest {
        *value = exp(*value - max);
        sum += *value;
    }
    let factor = 1.0 / sum;
    for value in row {
        *value *= factor;
    }
}

/// `gate = silu(gate) * up`, with `silu(x) = x / (1 + exp(-x))`.
pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    const CHUNK: usize = 1 << 14;
    gate.par_chunks_mut(CHUNK).zip(up.par_chunks(CHUNK)).for_each(|(gate, up)| {
        for (g, u) in gate.iter_mut().zip(up) {
            *g = *g / (1.0 + exp((-*g).min(88.0))) * u;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_f64_within_two_units() {
        for i in -86_000..88_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp({x}): relative error {error}");
        }
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn softmax_sums_to_one_and_keeps_the_ratio() {
        let mut row: Vec<f32> = (0..19).map(|i| i as f32 * 0.3 - 2.0).collect();
        softmax(&mut row);
        let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
        assert!((sum - 1.0).abs() < 1e-6); // nineteen f32 terms
        assert!((f64::from(row[1] / row[0]) - 0.3_f64.exp()).abs() < 1e-6);
    }

    #[test]
    fn silu_is_the_definition() {
        let mut gate = vec![-200.0, -3.0, 0.0, 0.5, 90.0];
        let expected: Vec<f64> =
            gate.iter().map(|&x| f64::from(x) / (1.0 + (-f64::from(x)).exp()) * 2.0).collect();
        silu_mul(&mut gate, &[2.0; 5]);
        for (a, b) in gate.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() <= 1e-6 * b.abs().max(1e-30), "{a} {b}");
        }
    }
}
