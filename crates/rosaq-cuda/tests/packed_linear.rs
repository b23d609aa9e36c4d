//! The committed kernels, executed by the emulator, against products in f64.
//!
//! Relative errors reached are printed with `--nocapture`: up to 3.5e-4 where y or fragments are f16, 5e-8
//! from integers in groups of 128 to f32.
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

use rosaq_cuda_metrics::{Case, codebook, trellis};
use rosaq_pack::{Bits, Segment};

/// Largest relative error, `norm(found - expected) / norm(expected)`.
const TOLERANCE: f64 = 1e-3;

#[track_caller]
fn check(case: &Case) {
    let outcome =
        rosaq_cuda_metrics::run(case).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
    let error = case.relative_error(&outcome.y);
    println!("{}: {error:.1e}", case.name);
    assert!(error < TOLERANCE, "{}: relative error {error:.2e}", case.name);
}

#[test]
fn decode_multiplies_every_width_in_every_group_size() {
    for bits in Bits::ALL {
        for group in [16, 32, 48, 64, 128] {
            check(&Case::new(70, &[Segment::asymmetric(304, bits, group)], 5));
        }
        check(&Case::new(33, &[Segment::symmetric(272, bits, 128)], 8).with_f32_sums());
    }
}

#[test]
fn salient_channels_come_first() {
    for salient in [16, 32, 64, 128, 1024] {
        let four = Segment::asymmetric(448, Bits::FOUR, 128);
        check(&Case::new(97, &[Segment::f16(salient), four], 3));
        let three = Segment::asymmetric(449, Bits::THREE, 64);
        check(&Case::new(64, &[Segment::f16(salient), three], 1).splits(2));
    }
    check(&Case::new(64, &[Segment::f16(200)], 4));
}

#[test]
fn decode_takes_any_number_of_rows_and_inputs() {
    let segments =
        [Segment::symmetric(16, Bits::EIGHT, 16), Segment::asymmetric(301, Bits::THREE, 128)];
    for out_features in [1, 31, 128, 129, 300] {
        check(&Case::new(out_features, &segments, 8));
    }
    for batch in 1..=8 {
        check(&Case::new(40, &segments, batch).splits(2));
    }
}

#[test]
fn gemm_takes_every_batch() {
    for batch in [9, 17, 32, 33, 64, 65, 100, 128, 129, 130] {
        let segments = [Segment::f16(32), Segment::asymmetric(333, Bits::FOUR, 32)];
        check(&Case::new(72, &segments, batch));
        let segments = [Segment::f16(16), Segment::symmetric(384, Bits::THREE, 128)];
        check(&Case::new(33, &segments, batch).splits(3));
    }
}

#[test]
fn gemm_multiplies_every_width() {
    for (bits, batch) in Bits::ALL.into_iter().zip([9, 40, 70, 20, 50, 80]) {
        check(&Case::new(40, &[Segment::asymmetric(144, bits, 16)], batch).with_f32_sums());
    }
}

#[test]
fn codebooks_of_every_width() {
    for bits in [Bits::TWO, Bits::THREE, Bits::FOUR] {
        for (group, batch) in [(128, 1), (64, 5), (16, 8), (32, 20), (128, 70)] {
            check(&Case::new(45, &[Segment::f16(16), codebook(300, bits, group)], batch));
        }
    }
}

#[test]
fn trellises_of_every_width() {
    for bits in 1..=6 {
        for out_features in [5, 32, 70, 200] {
            check(&Case::new(out_features, &[trellis(300, bits, 300)], 5));
        }
        let beside = Segment::asymmetric(32, Bits::FOUR, 32);
        for batch in [2, 30, 60, 100] {
            check(&Case::new(66, &[trellis(160, bits, 16), beside], batch).splits(2));
        }
    }
}

#[test]
fn splits_of_k_do_not_depend_on_which_comes_last() {
    let case =
        Case::new(130, &[Segment::asymmetric(1280, Bits::FOUR, 128)], 8).splits(5).with_f32_sums();
    let found: Vec<Vec<f32>> = (0..4)
        .map(|seed| {
            rosaq_cuda_metrics::run_seeded(&case, seed).unwrap_or_else(|fault| panic!("{fault}")).y
        })
        .collect();
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "results differ by order");
}
