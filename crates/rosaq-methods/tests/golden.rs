//! One ROSAQ linear, from activations to codes, against a computation in float64 by other software.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use faer::Mat;
use rosaq_methods::{SalientFirst, residual_basis};
use rosaq_model::ActivationSite;
use rosaq_pack::{Bits, ChannelOrder, Segment, code_at, unpack_into};
use rosaq_pca::{eigenbasis, headwise_eigenbases};
use rosaq_quant::pack_nearest;
use rosaq_rotate::rotate_input;
use rosaq_saliency::SaliencyRule;
use rosaq_tensor::Matrix;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    n_tokens: usize,
    in_features: usize,
    out_features: usize,
    n_salient: usize,
    group_size: usize,
    x: Vec<f64>,
    w: Vec<f32>,
    eigenvalues: Vec<f64>,
    basis: Vec<f64>,
    salient_f16: Vec<f32>,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<u8>,
    output_squared_error: f64,
    headwise: Headwise,
}

#[derive(Deserialize)]
struct Headwise {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    eigenvalues: Vec<Vec<f64>>,
    bases: Vec<Vec<f64>>,
}

fn golden() -> (Golden, Mat<f64>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden/rosaq-linear.json");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let n = golden.in_features;
    let x = Mat::from_fn(golden.n_tokens, n, |t, i| golden.x[t * n + i]);
    let gram = x.transpose() * &x;
    (golden, gram)
}

#[track_caller]
fn check_basis(found: &rosaq_pca::Eigenbasis, values: &[f64], vectors: &[f64]) {
    let n = values.len();
    for (a, b) in found.values.iter().zip(values) {
        assert!((a - b).abs() <= 1e-10 * values[0], "eigenvalue {a}, expected {b}");
    }
    for i in 0..n {
        for j in 0..n {
            // Neighboring eigenvalues differ by at least 1e-3 relative, which magnifies rounding by a thousand.
            let (a, b) = (found.vectors[(i, j)], vectors[i * n + j]);
            assert!((a - b).abs() < 1e-9, "entry ({i}, {j}) of the basis: {a}, expected {b}");
        }
    }
}

#[test]
fn eigenbases_agree_whole_and_per_value_head() {
    let (golden, gram) = golden();
    check_basis(&eigenbasis(gram.as_ref()).unwrap(), &golden.eigenvalues, &golden.basis);
    let h = &golden.headwise;
    let bases = headwise_eigenbases(gram.as_ref(), h.n_heads, h.n_kv_heads, h.head_dim).unwrap();
    for ((found, values), vectors) in bases.iter().zip(&h.eigenvalues).zip(&h.bases) {
        check_basis(found, values, vectors);
    }
}

#[test]
fn codes_scales_zero_points_and_salient_values_are_exact() {
    let (golden, gram) = golden();
    let (n, out, k) = (golden.in_features, golden.out_features, golden.n_salient);
    let first = SalientFirst { rule: SaliencyRule::Top, salient: k };
    let basis = residual_basis(gram.as_ref(), first, 0, ActivationSite::AttentionInput).unwrap();
    let original = Matrix::new(out, n, golden.w.clone());
    let mut w = original.clone();
    rotate_input(&mut w, basis.as_ref());
    let segments = [Segment::f16(k), Segment::asymmetric(n - k, Bits::FOUR, golden.group_size)];
    let packed = pack_nearest(&w, &segments, ChannelOrder::Identity).unwrap();

    let salient: Vec<f32> = packed.f16.iter().map(|v| v.to_f32()).collect();
    assert_eq!(salient, golden.salient_f16);
    let scales: Vec<f32> = packed.scales.iter().map(|v| v.to_f32()).collect();
    assert_eq!(scales, golden.scales);
    let groups = golden.zeros.len() / out;
    for row in 0..out {
        let mut codes = vec![0; n - k];
        unpack_into(packed.codes_of(1, row), Bits::FOUR, &mut codes);
        assert_eq!(codes, golden.codes[row * (n - k)..][..n - k], "codes of row {row}");
        for group in 0..groups {
            let zero = code_at(packed.zeros_of(1, row), Bits::FOUR, group);
            assert_eq!(
                zero,
                golden.zeros[row * groups + group],
                "zero of row {row}, group {group}"
            );
        }
    }

    // ‖X (W − Ŵ)‖² with the packed weights turned back into the original basis.
    let stored = packed.dequantize();
    let error = Mat::from_fn(n, out, |i, o| {
        let back: f64 = (0..n).map(|j| basis[(i, j)] * f64::from(stored[o * n + j])).sum();
        f64::from(original.data[o * n + i]) - back
    });
    let squared =
        (error.transpose() * &gram * &error).diagonal().column_vector().iter().sum::<f64>();
    let relative = squared / golden.output_squared_error - 1.0;
    assert!(relative.abs() < 1e-5, "output error {squared}"); // weights were rotated into f32
}
