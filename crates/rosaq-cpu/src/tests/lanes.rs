//! The generic kernels over a model of the vector operations: for 16 lanes it checks them on processors
//! without AVX-512, and an instruction set that a processor has must give the model's bits.

use super::*;
use crate::arch::generic::{Simd, add_rows};
use crate::prepare::Arranged;
use crate::segment::SegmentRows;
use crate::tests::model::Model;

/// The product with each token, row-major `[out, tokens]`.
fn product<V: Simd<L>, const L: usize>(isa: V, linear: &PackedLinear, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; linear.out_features * (x.len() / linear.in_features)];
    for (idx, at) in linear.layout().segments.iter().enumerate() {
        let channels = at.channel_start..at.channel_start + linear.segments[idx].channels;
        let x: Vec<&[f32]> =
            x.chunks_exact(linear.in_features).map(|x| &x[channels.clone()]).collect();
        let segment = SegmentRows::of(linear, idx);
        let arranged = match &segment {
            SegmentRows::Codes(segment) if Arranged::<L>::fits(segment) => {
                Some(Arranged::new(segment, x.iter().copied()))
            }
            _ => None,
        };
        add_rows(isa, &segment, (&x, arranged.as_ref()), 0..linear.out_features, &mut out);
    }
    out
}

/// Calls `check` with linears of every width, and five tokens for each.
fn for_every_width(check: impl Fn(&PackedLinear, &[f32], &[Segment])) {
    for bits in Bits::ALL {
        for group_size in [8, 24, 62, 128] {
            for channels in [7, 64, 130, 515] {
                check_segments(&check, &[Segment::asymmetric(channels, bits, group_size)]);
                check_segments(&check, &[Segment::symmetric(channels, bits, group_size)]);
            }
        }
    }
    for (id, bits) in (0..).zip([Bits::TWO, Bits::THREE, Bits::FOUR]) {
        check_segments(&check, &[Segment::codebook(333, bits, id, 32), Segment::f16(157)]);
    }
}

fn check_segments(check: &impl Fn(&PackedLinear, &[f32], &[Segment]), segments: &[Segment]) {
    let mut noise = Noise(segments[0].channels as u64);
    let linear = build(7, segments, &mut noise);
    let x: Vec<f32> = (0..5 * linear.in_features).map(|_| noise.float()).collect();
    check(&linear, &x, segments);
}

#[track_caller]
fn check_same_bits<V: Simd<L>, const L: usize>(isa: V) {
    for_every_width(|linear, x, segments| {
        let (found, model) = (product(isa, linear, x), product::<Model, L>(Model, linear, x));
        assert_eq!(found, model, "{L} lanes, {segments:?}");
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vector_instructions_give_the_bits_of_the_model() {
    use crate::arch::x86_64::{avx2::Avx2, avx512::Avx512};
    if let Some(isa) = Avx2::new() {
        check_same_bits(isa);
    }
    if let Some(isa) = Avx512::new() {
        check_same_bits(isa);
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn vector_instructions_give_the_bits_of_the_model() {
    use crate::arch::aarch64::Neon;
    check_same_bits(Neon::<false>::new().expect("NEON is part of the processor"));
}

#[track_caller]
fn check_model<const L: usize>() {
    for_every_width(|linear, x, segments| {
        let found = product::<Model, L>(Model, linear, x);
        for (token, x) in x.chunks_exact(linear.in_features).enumerate() {
            let found: Vec<f32> = found.iter().skip(token).step_by(5).copied().collect();
            check_close(&found, &expected(linear, x), &format!("{L} lanes, {segments:?}"));
        }
    });
}

#[test]
fn eight_lanes_agree_with_the_dense_product() {
    check_model::<8>();
}

#[test]
fn sixteen_lanes_agree_with_the_dense_product() {
    check_model::<16>();
}
