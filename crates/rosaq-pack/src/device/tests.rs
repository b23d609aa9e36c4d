//! The image stands for the same weight as the packed linear.

use std::sync::Arc;

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::{Bits, PackedLinear, PackedLinearBuilder, Segment, SegmentKind, SegmentValues};

/// A linear of these segments with codes that follow from `seed`.
fn linear(out_features: usize, segments: &[Segment], seed: u64) -> PackedLinear {
    let mut state = seed | 1;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    let mut level = || f16::from_f32((next() % 4001) as f32 / 1000.0 - 2.0);
    let tables = [4, 8, 16, 128, 256, 4096].map(|n| (0..n).map(|_| level()).collect());
    let mut builder = PackedLinearBuilder::new(out_features).codebooks(Arc::new(tables.into()));
    for segment in segments {
        let n = out_features * segment.channels;
        let n_groups = out_features * segment.n_groups();
        let mut value = || f16::from_f32((next() % 2001) as f32 / 1000.0 - 1.0);
        let values = match segment.kind {
            SegmentKind::F16 => SegmentValues::F16((0..n).map(|_| value()).collect()),
            kind => {
                let scales = (0..n_groups).map(|_| value()).collect();
                let max = u32::from(kind.bits().map_or(0, Bits::max_code)) + 1;
                let mut codes =
                    |n| (0..n).map(|_| u8::try_from(next() % max).expect("a code")).collect();
                let zeros = codes(if kind.has_zeros() { n_groups } else { 0 });
                SegmentValues::Codes { codes: codes(n), scales, zeros }
            }
        };
        builder = builder.segment(*segment, values);
    }
    builder.build().expect("a legal linear")
}

#[track_caller]
fn check(linear: &PackedLinear) {
    let device = DeviceLinear::new(linear).expect("a linear that kernels read");
    let mut expected = vec![0.0; linear.out_features * linear.in_features];
    linear.dequantize_rows_into(0..linear.out_features, &mut expected);
    assert_eq!(device.dequantize(), expected);
    assert!(device.image.len().is_multiple_of(128), "{} bytes", device.image.len());
}

#[test]
fn every_width_and_group_size_stands_for_the_same_weight() {
    for bits in Bits::ALL {
        for group in [16, 32, 48, 64, 80, 96, 112, 128, 256, 400] {
            check(&linear(35, &[Segment::asymmetric(400, bits, group)], 7));
            check(&linear(32, &[Segment::symmetric(272, bits, group)], 8));
        }
    }
}

#[test]
fn levels_of_codebooks_stand_in_registers() {
    for (id, bits) in [Bits::TWO, Bits::THREE, Bits::FOUR].into_iter().enumerate() {
        let id = u32::try_from(id).expect("a few tables");
        check(&linear(45, &[Segment::codebook(300, bits, id, 64)], 9));
    }
}

#[test]
fn rings_of_a_trellis_go_on_in_the_block_before() {
    for bits in (1..7).map(|bits| Bits::try_from(bits).expect("a legal width")) {
        for out_features in [1, 5, 31, 32, 33, 64, 70] {
            let whole = Segment::trellis(200, bits, 12, 3, 200);
            check(&linear(out_features, &[whole], 10));
        }
        let short = if bits.get() <= 4 { (8, 4) } else { (12, 5) };
        let groups = Segment::trellis(96, bits, short.0, short.1, 32);
        check(&linear(40, &[Segment::f16(16), groups], 11));
    }
}

#[test]
fn segments_follow_each_other() {
    for salient in [16, 32, 64, 128, 1024] {
        let segments = [
            Segment::f16(salient),
            Segment::symmetric(16, Bits::EIGHT, 16),
            Segment::asymmetric(301, Bits::THREE, 64),
        ];
        check(&linear(70, &segments, salient as u64));
    }
}

#[test]
fn what_no_kernel_reads_is_refused() {
    let refused = |segments: &[Segment]| DeviceLinear::new(&linear(3, segments, 1)).err();
    let groups = refused(&[Segment::symmetric(64, Bits::FOUR, 24)]);
    assert_eq!(groups, Some(DeviceError::GroupSize { segment: 0, group_size: 24 }));
    let start = refused(&[Segment::f16(20), Segment::symmetric(64, Bits::FOUR, 64)]);
    assert_eq!(start, Some(DeviceError::Start { segment: 1, start: 20 }));
}

fn any_segment() -> impl Strategy<Value = Segment> {
    let bits = prop::sample::select(Bits::ALL.to_vec());
    (0..5, bits, 1..20_usize, 1..9_usize).prop_map(|(kind, bits, blocks, group)| {
        let (channels, group) = (16 * blocks, 16 * group);
        match kind {
            0 => Segment::f16(channels),
            1 => Segment::symmetric(channels, bits, group),
            2 => Segment::trellis(channels, bits.min(Bits::SIX), 12, 3, group),
            3 => {
                let bits = bits.min(Bits::FOUR);
                Segment::codebook(channels, bits, u32::from(bits.get()) - 2, group)
            }
            _ => Segment::asymmetric(channels, bits, group),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn images_stand_for_the_same_weight(
        segments in prop::collection::vec(any_segment(), 1..5),
        rest in 0..40_usize,
        out_features in 1..80_usize,
        seed: u64,
    ) {
        let mut segments = segments;
        if rest > 0 {
            segments.push(Segment::asymmetric(rest, Bits::FOUR, 32));
        }
        check(&linear(out_features, &segments, seed));
    }
}
