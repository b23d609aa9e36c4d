//! Softmax and the gated activation as plain loops, written so that the compiler can use the vector registers of whatever
//! instruction set they are compiled for. No fused multiply-add: every instruction set gives the same bits.

/// `exp(x)` in f32 for `x <= 88`; below -87 it stays at `exp(-87) = 1.6e-38`, which is zero beside any other term.
///
/// Cody-Waite reduction by ln 2 and a degree-6 polynomial on [-ln2/2, ln2/2] (coefficients of the Taylor series corrected
/// by the Cephes `expf` minimax fit); within 2 units in the last place of the f64 function, which the tests check. Without
/// branches and conversions, which would keep the compiler from vector registers.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, which the low bits then hold
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < -87.0 { -87.0 } else { x }; // NaN stays NaN
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_2e-4_f32;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    // The exponent field is n + 127; everything above n in `shifted` leaves on the left.
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// Softmax of `row` in place; f32 throughout, sums in eight lanes.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed lanes become one vector register")]
pub(crate) fn softmax(row: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for i in 0..8 {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut sums = [0.0_f32; 8];
    let (chunks, rest) = row.as_chunks_mut::<8>();
    for chunk in chunks {
        for i in 0..8 {
            chunk[i] = exp(chunk[i] - max);
        }
        for i in 0..8 {
            sums[i] += chunk[i];
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
#[inline(always)]
pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        let negated = if *g > -88.0 { -*g } else { 88.0 };
        *g = *g / (1.0 + exp(negated)) * u;
    }
}

/// The way back of [`silu_mul`], with `silu'(x) = s(x) (1 + x (1 - s(x)))` and `s(x) = 1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn silu_mul_backward(gate: &mut [f32], up: &mut [f32], gradient: &[f32]) {
    for ((g, u), d) in gate.iter_mut().zip(up).zip(gradient) {
        let negated = if *g > -88.0 { -*g } else { 88.0 };
        let sigmoid = 1.0 / (1.0 + exp(negated));
        let slope = sigmoid * (1.0 + *g * (1.0 - sigmoid));
        (*g, *u) = (d * *u * slope, d * (*g * sigmoid));
    }
}

/// Every `points` consecutive values, a power of two, become their Walsh-Hadamard transform over `sqrt(points)`.
#[inline(always)]
pub(crate) fn walsh_hadamard(x: &mut [f32], points: usize) {
    let scale = 1.0 / (points as f32).sqrt();
    for block in x.chunks_exact_mut(points) {
        let mut half = 1;
        while half < points {
            for pair in block.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        block.iter_mut().for_each(|value| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_transform_follows_its_definition_and_undoes_itself() {
        for points in [1_usize, 2, 8, 64] {
            let x: Vec<f32> = (0..3 * points).map(|i| ((i * 37) % 23) as f32 - 11.0).collect();
            let mut turned = x.clone();
            walsh_hadamard(&mut turned, points);
            let mut dispatched = x.clone();
            crate::walsh_hadamard(&mut dispatched, points);
            assert_eq!(turned, dispatched, "every instruction set gives the same bits");
            for (block, turned) in x.chunks(points).zip(turned.chunks(points)) {
                for (row, &found) in turned.iter().enumerate() {
                    let sign = |i: usize| {
                        if (i & row).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 }
                    };
                    let sum: f64 =
                        block.iter().enumerate().map(|(i, &v)| sign(i) * f64::from(v)).sum();
                    let expected = sum / (points as f64).sqrt();
                    // Integers: exact but for the scaling.
                    assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
                }
            }
            walsh_hadamard(&mut turned, points);
            assert!(turned.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    use super::*;

    #[test]
    fn exp_agrees_with_f64_within_two_units() {
        for i in -86_000..88_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp({x}): relative error {error}");
        }
        assert!(exp(-1000.0) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let row: Vec<f32> = (0..1003).map(|i| ((i * 37) % 211) as f32 * 0.13 - 17.0).collect();
        let (mut plain, mut dispatched) = (row.clone(), row.clone());
        softmax(&mut plain);
        crate::softmax(&mut dispatched);
        assert_eq!(plain, dispatched);
        let (mut plain, mut dispatched) = (row.clone(), row.clone());
        silu_mul(&mut plain, &row);
        crate::silu_mul(&mut dispatched, &row);
        assert_eq!(plain, dispatched);
        let (mut plain, mut dispatched) = ([row.clone(), row.clone()], [row.clone(), row.clone()]);
        let [gate, up] = &mut plain;
        silu_mul_backward(gate, up, &row);
        let [gate, up] = &mut dispatched;
        crate::silu_mul_backward(gate, up, &row);
        assert_eq!(plain, dispatched);
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
            // exp is clamped at 88, so a gate of -200 leaves 1e-36 instead of 1e-85: nothing beside any other term.
            assert!((f64::from(*a) - b).abs() <= 1e-6 * b.abs() + 1e-35, "{a} {b}");
        }
    }

    #[test]
    fn silu_goes_back_by_the_definition() {
        let gates = [-200.0, -30.0, -3.0, -1.278_464_5, 0.0, 0.5, 30.0, 90.0];
        let (mut gate, mut up) = (gates.to_vec(), vec![2.0; 8]);
        silu_mul_backward(&mut gate, &mut up, &[-3.0; 8]);
        for ((gate, up), x) in gate.into_iter().zip(up).zip(gates.map(f64::from)) {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            let slope = sigmoid * (1.0 + x * (1.0 - sigmoid));
            // A slope is a sum of terms up to 1.3, which cancel at the minimum of silu, -1.278.
            assert!((f64::from(gate) + 6.0 * slope).abs() < 2e-6, "slope at {x}: {gate}");
            assert!(
                (f64::from(up) + 3.0 * x * sigmoid).abs() <= 1e-6 * x.abs(),
                "silu at {x}: {up}"
            );
        }
    }
}
