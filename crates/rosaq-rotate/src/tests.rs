//! Rewritings against the function they must not change, on single blocks computed directly.

use faer::Mat;
use proptest::prelude::*;
use rosaq_model::LinearWeights;
use rosaq_tensor::Matrix;

use crate::{rotate_input, rotate_output};

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }
}

fn orthogonal(n: usize, next: &mut impl FnMut() -> f64) -> Mat<f64> {
    let a = Mat::from_fn(n, n, |_, _| next());
    a.qr().compute_Q()
}

#[expect(clippy::cast_possible_truncation, reason = "test weights are f32")]
fn matrix(rows: usize, cols: usize, next: &mut impl FnMut() -> f64) -> Matrix {
    Matrix::new(rows, cols, (0..rows * cols).map(|_| next() as f32).collect())
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(x - y))).sum();
    let norm: f64 = b.iter().map(|y| square(f64::from(*y))).sum();
    (difference / norm.max(1e-300)).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_rotation_and_its_transpose_restore_the_weights(out in 1_usize..20, n in 1_usize..20, seed: u64) {
        let mut next = noise(seed);
        let original = matrix(out, n, &mut next);
        let r = orthogonal(n, &mut next);
        let mut w = original.clone();
        rotate_input(&mut w, r.as_ref());
        rotate_input(&mut w, r.transpose());
        // Two roundings to f32.
        prop_assert!(distance(&w.data, &original.data) < 1e-6);
    }

    #[test]
    fn output_rotation_turns_weights_and_bias_alike(out in 1_usize..16, n in 1_usize..16, seed: u64) {
        let mut next = noise(seed);
        let weight = matrix(out, n, &mut next);
        let bias = matrix(1, out, &mut next).data;
        let r = orthogonal(out, &mut next);
        let x = matrix(1, n, &mut next).data;
        let apply = |l: &LinearWeights| -> Vec<f64> {
            (0..out).map(|o| {
                let b = f64::from(l.bias.as_ref().unwrap()[o]);
                l.weight.row(o).iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() + b
            }).collect()
        };
        let mut linear = LinearWeights { weight, bias: Some(bias) };
        let before = apply(&linear);
        rotate_output(&mut linear, r.as_ref());
        let after = apply(&linear);
        for (j, value) in after.iter().enumerate() {
            let expected: f64 = (0..out).map(|i| before[i] * r[(i, j)]).sum();
            prop_assert!((value - expected).abs() < 1e-5); // sums of under 16 terms below 1 in f32
        }
    }
}
