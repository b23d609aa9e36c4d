//! Every instruction set against the reference, and the reference against f64.

mod lanes;
mod model;
mod tiles;
mod trellis;

use std::sync::Arc;

use half::f16;
use proptest::prelude::*;
use rosaq_pack::{
    Bits, PackedLinear, PackedLinearBuilder, Segment, SegmentKind, SegmentValues, code_at,
};

use crate::{Isa, gemm_with, gemv_with};

/// Relative to the sum of the magnitudes that a kernel adds: `scale * (code + zero_point) * |x|`.
/// f32 sums of at most 1,100 terms, most of them in 8 or more chains, stay well under 300 rounding
/// errors of half a unit in the last place.
const TOLERANCE: f64 = 300.0 * (f32::EPSILON / 2.0) as f64;

/// Deterministic bytes.
#[derive(Clone)]
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_be_bytes()[0]
    }

    /// In -2..2, never zero.
    fn float(&mut self) -> f32 {
        (f32::from(self.byte()) - 127.5) / 64.0
    }
}

fn values_of(segment: &Segment, out: usize, noise: &mut Noise) -> SegmentValues {
    let Some(bits) = segment.kind.bits() else {
        let values = (0..out * segment.channels).map(|_| f16::from_f32(noise.float())).collect();
        return SegmentValues::F16(values);
    };
    let n_groups = out * segment.n_groups();
    let n_zeros = if segment.kind.has_zeros() { n_groups } else { 0 };
    SegmentValues::Codes {
        codes: (0..out * segment.channels).map(|_| noise.byte() & bits.max_code()).collect(),
        scales: (0..n_groups).map(|_| f16::from_f32(noise.float() / 32.0)).collect(),
        zeros: (0..n_zeros).map(|_| noise.byte() & bits.max_code()).collect(),
    }
}

fn build(out: usize, segments: &[Segment], noise: &mut Noise) -> PackedLinear {
    let tables = [Bits::TWO, Bits::THREE, Bits::FOUR]
        .map(Bits::n_codes)
        .into_iter()
        .chain([256, 128]) // trellis windows of 8 and 12 bits
        .map(|n| (0..n).map(|_| f16::from_f32(noise.float())).collect());
    let tables = Arc::new(tables.collect());
    segments
        .iter()
        .fold(PackedLinearBuilder::new(out).codebooks(tables), |builder, s| {
            builder.segment(*s, values_of(s, out, noise))
        })
        .build()
        .expect("a legal linear")
}

/// For every output the exact product, and the sum of the magnitudes that a kernel may add.
fn expected(linear: &PackedLinear, x: &[f32]) -> Vec<(f64, f64)> {
    let w = linear.dequantize();
    let dense = w.chunks_exact(linear.in_features).map(|w| {
        let terms = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    });
    dense.enumerate().map(|(row, (sum, size))| (sum, size + zero_terms(linear, row, x))).collect()
}

/// `sum scale * 2 * zero_point * |x|` of one row: what subtracting zero points last can cancel.
fn zero_terms(linear: &PackedLinear, row: usize, x: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (idx, (segment, at)) in linear.segments.iter().zip(&linear.layout().segments).enumerate() {
        let SegmentKind::Int { bits, symmetric } = segment.kind else { continue };
        let x = &x[at.channel_start..at.channel_start + segment.channels];
        for (group, scale) in linear.scales_of(idx, row).iter().enumerate() {
            let zero = match symmetric {
                true => bits.symmetric_zero(),
                false => code_at(linear.zeros_of(idx, row), bits, group),
            };
            let size: f64 = x
                .chunks(segment.group_size)
                .nth(group)
                .map_or(0.0, |x| x.iter().map(|x| f64::from(x.abs())).sum());
            sum += scale.to_f64().abs() * 2.0 * f64::from(zero) * size;
        }
    }
    sum
}

#[track_caller]
fn check_close(found: &[f32], expected: &[(f64, f64)], what: &str) {
    for (row, (found, (exact, size))) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - exact).abs();
        assert!(
            error <= TOLERANCE * size,
            "{what}, row {row}: expected {exact} within {size} * 2e-5, found {found}"
        );
    }
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

#[track_caller]
fn check_gemv(out: usize, segments: &[Segment]) {
    let mut noise = Noise(out as u64 + 1);
    let linear = build(out, segments, &mut noise);
    // One float before and after: kernels must not need alignment.
    let x: Vec<f32> = (0..linear.in_features + 2).map(|_| noise.float()).collect();
    let x = &x[1..=linear.in_features];
    let expected = expected(&linear, x);
    for isa in available() {
        let mut y = vec![f32::NAN; out];
        gemv_with(isa, &linear, x, &mut y);
        check_close(&y, &expected, &format!("{isa}, {out} rows of {segments:?}"));
    }
}

#[test]
fn every_kernel_is_run_or_reported() {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        println!("skipped: this processor has no {isa}, its kernels were not compared");
    }
    assert!(Isa::Scalar.is_available() && Isa::detect().is_available());
}

#[test]
fn every_width_and_group_size_agrees() {
    for bits in Bits::ALL {
        for group_size in [4, 5, 8, 16, 24, 32, 62, 64, 128, 1000] {
            for channels in [1, 7, 31, 32, 63, 64, 65, 128, 130, 448, 515] {
                for out in [1, 5, 8] {
                    check_gemv(out, &[Segment::asymmetric(channels, bits, group_size)]);
                }
                check_gemv(6, &[Segment::symmetric(channels, bits, group_size)]);
            }
        }
    }
}

#[test]
fn every_codebook_agrees() {
    for (id, bits) in (0..).zip([Bits::TWO, Bits::THREE, Bits::FOUR]) {
        for group_size in [8, 20, 32, 64, 128] {
            for channels in [9, 64, 100, 256, 333] {
                check_gemv(7, &[Segment::codebook(channels, bits, id, group_size)]);
            }
        }
    }
}

#[test]
fn mixed_segments_agree() {
    check_gemv(9, &[Segment::f16(128), Segment::asymmetric(448, Bits::FOUR, 128)]);
    check_gemv(3, &[Segment::f16(18), Segment::asymmetric(9 * 62, Bits::FOUR, 62)]);
    check_gemv(
        65,
        &[
            Segment::symmetric(16, Bits::EIGHT, 16),
            Segment::asymmetric(64, Bits::FIVE, 64),
            Segment::codebook(40, Bits::THREE, 1, 32),
            Segment::asymmetric(456, Bits::THREE, 128),
            Segment::f16(3),
        ],
    );
}

fn any_segment() -> impl Strategy<Value = Segment> {
    let group = prop_oneof![1usize..70, Just(32), Just(64), Just(128)];
    let kind = prop_oneof![
        Just(SegmentKind::F16),
        (prop::sample::select(Bits::ALL.to_vec()), any::<bool>())
            .prop_map(|(bits, symmetric)| SegmentKind::Int { bits, symmetric }),
        (2u8..5, any::<bool>()).prop_map(|(bits, long)| SegmentKind::Trellis {
            bits: Bits::try_from(bits).expect("2 to 4"),
            window: if long { 12 } else { 8 },
            id: if long { 4 } else { 3 },
        }),
        (0u32..3).prop_map(|id| {
            let bits = [Bits::TWO, Bits::THREE, Bits::FOUR][id as usize];
            SegmentKind::Codebook { bits, id }
        }),
    ];
    (1usize..300, kind, group).prop_map(|(channels, kind, group_size)| Segment {
        channels,
        kind,
        group_size,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gemv_equals_the_dense_product(
        out in 1usize..20, segments in prop::collection::vec(any_segment(), 1..4),
    ) {
        check_gemv(out, &segments);
    }

    #[test]
    fn gemm_equals_gemv_of_each_token(
        out in 1usize..150, n_tokens in 1usize..40,
        segments in prop::collection::vec(any_segment(), 1..3), seed in any::<u64>(),
    ) {
        let mut noise = Noise(seed);
        let linear = build(out, &segments, &mut noise);
        let x: Vec<f32> = (0..n_tokens * linear.in_features).map(|_| noise.float()).collect();
        for isa in available() {
            let mut y = vec![f32::NAN; n_tokens * out];
            gemm_with(isa, &linear, &x, &mut y);
            for (x, y) in x.chunks_exact(linear.in_features).zip(y.chunks_exact(out)) {
                check_close(y, &expected(&linear, x), &format!("{isa}, {n_tokens} tokens"));
            }
        }
    }
}

/// `f` in a pool of its own.
fn with_threads<T: Send>(n_threads: usize, f: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build();
    pool.expect("threads can be started").install(f)
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut noise = Noise(7);
    let segments = [Segment::f16(100), Segment::asymmetric(1000, Bits::THREE, 128)];
    let linear = build(1000, &segments, &mut noise);
    assert!(linear.out_features * linear.in_features > 1 << 20, "small matrices use one thread");
    let x: Vec<f32> = (0..40 * linear.in_features).map(|_| noise.float()).collect();
    for isa in available() {
        for n_tokens in [1, 5, 40] {
            let x = &x[..n_tokens * linear.in_features];
            let run = || {
                let mut y = vec![0.0; n_tokens * linear.out_features];
                gemm_with(isa, &linear, x, &mut y);
                if n_tokens == 1 {
                    gemv_with(isa, &linear, x, &mut y);
                }
                y
            };
            let one = with_threads(1, run);
            assert!(one == with_threads(3, run), "{isa}, {n_tokens} tokens");
        }
    }
}

#[test]
fn a_token_of_a_small_batch_equals_the_token_alone() {
    let mut noise = Noise(3);
    let segments = [Segment::f16(16), Segment::asymmetric(560, Bits::FOUR, 128)];
    let linear = build(70, &segments, &mut noise);
    let x: Vec<f32> = (0..7 * linear.in_features).map(|_| noise.float()).collect();
    for isa in available().filter(|isa| *isa != Isa::Scalar) {
        let mut batch = vec![0.0; 7 * 70];
        gemm_with(isa, &linear, &x, &mut batch);
        for (x, batch) in x.chunks_exact(linear.in_features).zip(batch.chunks_exact(70)) {
            let mut alone = vec![0.0; 70];
            gemv_with(isa, &linear, x, &mut alone);
            assert_eq!(alone, batch, "{isa}");
        }
    }
}

#[test]
#[should_panic(expected = "W is [2, 8], x has 7 elements")]
fn a_wrong_length_is_named() {
    let linear = build(2, &[Segment::symmetric(8, Bits::FOUR, 8)], &mut Noise(1));
    gemv_with(Isa::Scalar, &linear, &[0.0; 7], &mut [0.0; 2]);
}
