//! Properties of packing, layouts, orders and whole linears.

use std::sync::Arc;

use half::f16;
use proptest::prelude::*;

use crate::*;

fn any_bits() -> impl Strategy<Value = Bits> {
    prop::sample::select(Bits::ALL.to_vec())
}

/// The definition, one bit at a time.
fn pack_bit_by_bit(codes: &[u8], bits: Bits) -> Vec<u8> {
    let mut packed = vec![0u8; (codes.len() * bits.count()).div_ceil(8)];
    for (i, &code) in codes.iter().enumerate() {
        for bit in 0..bits.count() {
            let at = i * bits.count() + bit;
            packed[at / 8] |= (code >> bit & 1) << (at % 8);
        }
    }
    packed
}

#[track_caller]
fn check_round_trip(codes: &[u8], bits: Bits) {
    let mut packed = vec![0xAA; packed_len(codes.len(), bits)];
    pack(codes, bits, &mut packed);
    assert_eq!(packed, pack_bit_by_bit(codes, bits), "{bits} bits");
    let mut back = vec![0xAA; codes.len()];
    unpack_into(&packed, bits, &mut back);
    assert_eq!(back, codes, "{bits} bits");
    for (i, &code) in codes.iter().enumerate() {
        assert_eq!(code_at(&packed, bits, i), code, "{bits} bits, index {i}");
    }
}

#[test]
fn every_width_and_short_length_round_trips() {
    for bits in [Bits::ONE].into_iter().chain(Bits::ALL) {
        for n in 0..=67u8 {
            let codes: Vec<u8> =
                (0..n).map(|i| i.wrapping_mul(37).wrapping_add(11) & bits.max_code()).collect();
            check_round_trip(&codes, bits);
        }
    }
}

#[test]
#[should_panic(expected = "exceeds 3 bits")]
fn a_code_out_of_range_is_a_panic_of_pack() {
    pack(&[8], Bits::THREE, &mut [0]);
}

#[test]
fn widths_outside_the_list_are_refused() {
    for found in [0, 7, 9, 16, 255] {
        assert_eq!(Bits::try_from(found), Err(PackError::UnsupportedBits { found }));
        assert_eq!(Bits::of_grid(found), Err(PackError::UnsupportedBits { found }));
    }
}

#[test]
fn serialized_forms_are_flat() {
    let segment = Segment::asymmetric(448, Bits::FOUR, 128);
    let json = serde_json::to_value(segment).expect("plain data");
    let expected = serde_json::json!(
        {"channels": 448, "kind": "int", "bits": 4, "symmetric": false, "group_size": 128}
    );
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<Segment>(json).expect("round trip"), segment);
    let kind = serde_json::to_value(SegmentKind::F16).expect("plain data");
    assert_eq!(kind, serde_json::json!({"kind": "f16"}));
    let wrong = serde_json::json!({"channels": 1, "kind": "int", "bits": 7, "symmetric": true});
    assert!(serde_json::from_value::<Segment>(wrong).is_err());
}

fn any_segment() -> impl Strategy<Value = Segment> {
    let small = prop::sample::select(vec![Bits::TWO, Bits::THREE, Bits::FOUR]);
    let table = prop::sample::select(vec![(8, 3), (12, 4)]);
    let group = prop_oneof![1usize..12, Just(32), Just(64), Just(10_000)];
    prop_oneof![
        (1usize..40).prop_map(Segment::f16),
        (1usize..700, any_bits(), group.clone()).prop_map(|(n, b, g)| Segment::symmetric(n, b, g)),
        (1usize..700, any_bits(), group.clone()).prop_map(|(n, b, g)| Segment::asymmetric(n, b, g)),
        (1usize..90, small.clone(), group.clone()).prop_map(|(n, b, g)| Segment::codebook(
            n,
            b,
            u32::from(b.get()) - 2,
            g
        )),
        (1usize..90, small, table, group)
            .prop_map(|(n, b, (window, id), g)| Segment::trellis(n, b, window, id, g)),
    ]
}

/// One table for each of 2, 3 and 4 bits, then one for trellis windows of 8 bits and two halves of one for 12.
fn codebooks() -> Arc<Vec<Vec<f16>>> {
    let table = |bits: Bits| {
        (0..=bits.max_code()).map(|i| f16::from_f32(f32::from(i).powf(1.5) - 3.0)).collect()
    };
    let of_window = |len: usize| {
        (0..len).map(|i| f16::from_f32(f32::from(mix(i, 5, 6)) / 32.0 - 4.0)).collect()
    };
    let tables = [Bits::TWO, Bits::THREE, Bits::FOUR].map(table);
    Arc::new(tables.into_iter().chain([256, 128].map(of_window)).collect())
}

/// Deterministic values that depend on every argument.
fn mix(a: usize, b: usize, c: usize) -> u8 {
    let word = (a * 31 + b * 17 + c * 7 + 1).wrapping_mul(0x9E37_79B9);
    (word >> 16).to_le_bytes()[0]
}

fn values_of(idx: usize, segment: &Segment, out: usize) -> SegmentValues {
    let f16_at = |i: usize| f16::from_f32((f32::from(mix(idx, i, 3)) - 128.0) / 64.0);
    let Some(bits) = segment.kind.bits() else {
        return SegmentValues::F16((0..out * segment.channels).map(f16_at).collect());
    };
    let max = bits.max_code();
    let n_groups = out * segment.n_groups();
    let n_zeros = if segment.kind.has_zeros() { n_groups } else { 0 };
    SegmentValues::Codes {
        codes: (0..out * segment.channels).map(|i| mix(idx, i, 1) & max).collect(),
        scales: (0..n_groups).map(f16_at).collect(),
        zeros: (0..n_zeros).map(|i| mix(idx, i, 2) & max).collect(),
    }
}

fn build(out: usize, segments: &[Segment]) -> PackedLinear {
    let builder = PackedLinearBuilder::new(out).codebooks(codebooks());
    segments
        .iter()
        .enumerate()
        .fold(builder, |b, (idx, s)| b.segment(*s, values_of(idx, s, out)))
        .build()
        .expect("a legal linear")
}

/// The definition of every kind, straight from the unpacked values.
fn expected_value(linear: &PackedLinear, idx: usize, row: usize, channel: usize) -> f32 {
    let segment = &linear.segments[idx];
    match (segment.kind, values_of(idx, segment, linear.out_features)) {
        (_, SegmentValues::F16(values)) => values[row * segment.channels + channel].to_f32(),
        (kind, SegmentValues::Codes { codes, scales, zeros }) => {
            let code = codes[row * segment.channels + channel];
            let group = row * segment.n_groups() + channel / segment.group_size;
            let level = match kind {
                SegmentKind::Int { bits, symmetric: true } => {
                    f32::from(code) - f32::from(1u8 << (bits.get() - 1))
                }
                SegmentKind::Int { .. } => f32::from(code) - f32::from(zeros[group]),
                SegmentKind::Codebook { id, .. } => {
                    linear.codebooks[id as usize][usize::from(code)].to_f32()
                }
                SegmentKind::Trellis { bits, window, id } => {
                    let code_at = |row: usize| codes[row * segment.channels + channel];
                    let state = ring_state(code_at, linear.out_features, row, bits, window);
                    trellis_level(&linear.codebooks[id as usize], &state)
                }
                SegmentKind::F16 => unreachable!("f16 segments hold f16 values"),
            };
            scales[group].to_f32() * level
        }
    }
}

/// The last `window` bits of a ring of codes, the youngest first.
fn ring_state(
    code_at: impl Fn(usize) -> u8,
    n_rows: usize,
    row: usize,
    bits: Bits,
    window: u8,
) -> Vec<bool> {
    let young_first = (0..12).map(|back| code_at((row + 12 * n_rows - back) % n_rows));
    let bit_by_bit =
        young_first.flat_map(|code| (0..bits.get()).map(move |bit| code >> bit & 1 == 1));
    bit_by_bit.take(usize::from(window)).collect()
}

fn trellis_level(table: &[f16], state: &[bool]) -> f32 {
    let index = |bits: &mut dyn Iterator<Item = &bool>| {
        bits.enumerate().map(|(at, &bit)| usize::from(bit) << at).sum::<usize>()
    };
    if table.len() == 1 << state.len() {
        return table[index(&mut state.iter())].to_f32();
    }
    let even = index(&mut state.iter().step_by(2));
    let odd = index(&mut state[1..].iter().step_by(2));
    table[even].to_f32() + table[table.len() / 2 + odd].to_f32()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unpack_undoes_pack(bits in any_bits(), raw in prop::collection::vec(any::<u8>(), 0..2000)) {
        let codes: Vec<u8> = raw.iter().map(|code| code & bits.max_code()).collect();
        check_round_trip(&codes, bits);
    }

    #[test]
    fn layouts_are_bijections(out in 1usize..6, segments in prop::collection::vec(any_segment(), 1..5)) {
        let in_features = segments.iter().map(|s| s.channels).sum();
        let layout = Layout::new(out, in_features, &segments).expect("a legal layout");
        let mut code_bits = vec![0u8; layout.code_bytes * 8];
        let mut zero_bits = vec![0u8; layout.zero_bytes * 8];
        let mut scales = vec![0u8; layout.n_scales];
        let mut f16s = vec![0u8; layout.n_f16];
        let mut channels = vec![0u8; in_features];
        for (segment, at) in segments.iter().zip(&layout.segments) {
            channels[at.channel_start..at.channel_start + segment.channels]
                .iter_mut().for_each(|n| *n += 1);
            let bits = segment.kind.bits().map_or(0, Bits::count);
            for row in 0..out {
                let start = (at.code_offset + row * at.code_stride) * 8;
                code_bits[start..start + segment.channels * bits].iter_mut().for_each(|n| *n += 1);
                let start = (at.zero_offset + row * at.zero_stride) * 8;
                let n_zeros = if segment.kind.has_zeros() { at.n_groups } else { 0 };
                zero_bits[start..start + n_zeros * bits].iter_mut().for_each(|n| *n += 1);
                let start = row * layout.groups_per_row + at.group_start;
                scales[start..start + at.n_groups].iter_mut().for_each(|n| *n += 1);
                let n_f16 = if bits == 0 { segment.channels } else { 0 };
                let start = row * layout.f16_per_row + at.f16_start;
                f16s[start..start + n_f16].iter_mut().for_each(|n| *n += 1);
            }
        }
        // Nothing overlaps, and only the padding at the end of a row (under 8 bits) is unused.
        prop_assert!(code_bits.iter().chain(&zero_bits).all(|&n| n <= 1));
        prop_assert!(scales.iter().chain(&f16s).chain(&channels).all(|&n| n == 1));
        let unused = code_bits.iter().filter(|&&n| n == 0).count();
        prop_assert!(unused <= 7 * out * segments.len());
    }

    #[test]
    fn dequantization_follows_the_definition(
        out in 1usize..5, segments in prop::collection::vec(any_segment(), 1..4),
    ) {
        let linear = build(out, &segments);
        let values = linear.dequantize();
        prop_assert_eq!(values.len(), out * linear.in_features);
        for row in 0..out {
            for (idx, (segment, at)) in segments.iter().zip(&linear.layout().segments).enumerate() {
                for channel in (0..segment.channels).step_by(7).chain([segment.channels - 1]) {
                    let found = values[row * linear.in_features + at.channel_start + channel];
                    prop_assert_eq!(found, expected_value(&linear, idx, row, channel));
                }
            }
        }
    }

    #[test]
    fn parts_round_trip_and_count(
        out in 1usize..5, segments in prop::collection::vec(any_segment(), 1..4),
    ) {
        let linear = build(out, &segments);
        prop_assert!(linear.weight_bits() <= 8 * linear.stored_bytes() as u64);
        let parts = PackedParts {
            codes: linear.codes.clone(),
            scales: linear.scales.clone(),
            zeros: linear.zeros.clone(),
            f16: linear.f16.clone(),
        };
        let again = PackedLinear::new(linear.spec(), parts, linear.codebooks.clone());
        prop_assert_eq!(again, Ok(linear));
    }

    #[test]
    fn per_head_orders_are_bijections(n_heads in 1usize..9, head_dim in 1usize..70, k in 0usize..70) {
        let salient = k % (head_dim + 1);
        let n = n_heads * head_dim;
        let order = ChannelOrder::PerHead { n_heads, head_dim, salient };
        let permutation = order.permutation(n).expect("not the identity by definition");
        prop_assert_eq!(ChannelOrder::Explicit(permutation.clone()).validate(n), Ok(()));
        for (position, &channel) in permutation.iter().enumerate() {
            let dim = channel as usize % head_dim;
            prop_assert_eq!(dim < salient, position < n_heads * salient);
        }
    }

    #[test]
    fn hostile_sizes_are_errors(
        out in any::<usize>(), channels in any::<usize>(), group_size in any::<usize>(), bits in any_bits(),
    ) {
        // Sixteen bytes of codes cannot satisfy a description of more weights than they hold.
        let spec = LinearSpec {
            out_features: out,
            in_features: channels,
            segments: vec![Segment::asymmetric(channels, bits, group_size)],
            order: ChannelOrder::PerHead { n_heads: channels, head_dim: 1, salient: 1 },
        };
        let parts = PackedParts { codes: vec![0; 16], ..PackedParts::default() };
        prop_assert!(PackedLinear::new(spec, parts, Arc::default()).is_err());
        let order = ChannelOrder::PerHead { n_heads: out, head_dim: channels, salient: 0 };
        prop_assert!(order.validate(group_size).is_err());
    }
}

fn sample() -> (LinearSpec, PackedParts) {
    let linear = build(2, &[Segment::f16(2), Segment::asymmetric(6, Bits::FOUR, 4)]);
    let spec = linear.spec();
    let PackedLinear { codes, scales, zeros, f16, .. } = linear;
    (spec, PackedParts { codes, scales, zeros, f16 })
}

#[track_caller]
fn check_refused(change: impl Fn(&mut LinearSpec, &mut PackedParts), expected: &str) {
    let (mut spec, mut parts) = sample();
    change(&mut spec, &mut parts);
    let error = PackedLinear::new(spec, parts, codebooks()).expect_err("must be refused");
    assert!(error.to_string().contains(expected), "expected `{expected}`, found `{error}`");
}

#[test]
fn altered_parts_are_refused() {
    check_refused(|_, p| p.codes.push(0), "`codes` has the wrong length: expected 6, found 7");
    check_refused(|_, p| p.scales.truncate(3), "`scales` has the wrong length");
    check_refused(|_, p| p.zeros.clear(), "`zeros` has the wrong length");
    check_refused(|_, p| p.f16.push(f16::ONE), "`f16` has the wrong length");
    check_refused(|_, p| p.scales[1] = f16::NAN, "`scales` holds a value that is not finite");
    check_refused(|_, p| p.f16[3] = f16::INFINITY, "`f16` holds a value that is not finite");
    check_refused(|s, _| s.in_features = 9, "segments cover 8 channels, the linear has 9");
    check_refused(|s, _| s.segments[1].group_size = 0, "`group_size` must be at least 1");
    check_refused(|s, _| s.segments[0].channels = 0, "`channels` must be at least 1");
    check_refused(|s, _| s.out_features = 0, "at least one input and one output");
    check_refused(|s, _| s.out_features = usize::MAX, "too large to address");
    check_refused(|s, _| s.order = ChannelOrder::Explicit(vec![0; 8]), "channel 0 appears twice");
    check_refused(|s, _| s.order = ChannelOrder::Explicit(vec![0; 3]), "3 entries");
    check_refused(|s, _| s.order = ChannelOrder::Explicit(vec![8; 8]), "channel 8 is out of range");
    check_refused(
        |s, _| s.order = ChannelOrder::PerHead { n_heads: 2, head_dim: 4, salient: 5 },
        "5 salient of 4 dimensions",
    );
    check_refused(
        |s, _| s.segments[1].kind = SegmentKind::Codebook { bits: Bits::FOUR, id: 9 },
        "`zeros` has the wrong length",
    );
}

#[test]
fn codebooks_are_checked() {
    let with = |bits, id| {
        let segment = Segment::codebook(8, bits, id, 8);
        let values = values_of(0, &segment, 1);
        PackedLinearBuilder::new(1).codebooks(codebooks()).segment(segment, values).build()
    };
    assert!(with(Bits::THREE, 1).is_ok());
    assert!(matches!(with(Bits::THREE, 5), Err(PackError::MissingCodebook { id: 5, .. })));
    assert!(matches!(with(Bits::THREE, 2), Err(PackError::CodebookLength { found: 16, .. })));
}

#[test]
fn trellis_tables_are_checked() {
    let with = |bits, window, id| {
        let segment = Segment::trellis(8, bits, window, id, 8);
        let values = values_of(0, &segment, 4);
        PackedLinearBuilder::new(4).codebooks(codebooks()).segment(segment, values).build()
    };
    assert!(with(Bits::THREE, 8, 3).is_ok() && with(Bits::TWO, 12, 4).is_ok());
    assert!(with(Bits::ONE, 8, 3).is_ok());
    for (bits, window, id) in
        [(Bits::THREE, 8, 4), (Bits::EIGHT, 8, 3), (Bits::FOUR, 3, 3), (Bits::TWO, 200, 3)]
    {
        assert!(matches!(with(bits, window, id), Err(PackError::Trellis { .. })), "{window}");
    }
    assert!(matches!(with(Bits::TWO, 8, 9), Err(PackError::MissingCodebook { id: 9, .. })));
}

#[test]
fn the_builder_refuses_what_does_not_fit() {
    let codes = |codes: &[u8], zeros: &[u8]| SegmentValues::Codes {
        codes: codes.to_vec(),
        scales: vec![f16::ONE],
        zeros: zeros.to_vec(),
    };
    let segment = Segment::asymmetric(2, Bits::TWO, 2);
    let build = |values| PackedLinearBuilder::new(1).segment(segment, values).build();
    assert!(build(codes(&[3, 0], &[3])).is_ok());
    assert!(matches!(build(codes(&[4, 0], &[3])), Err(PackError::CodeRange { what: "code", .. })));
    let error = build(codes(&[3, 0], &[4])).expect_err("zero point above 3");
    assert_eq!(error.to_string(), "segment 0: zero point 4 at index 0 exceeds 3");
    assert!(matches!(build(codes(&[3, 0], &[])), Err(PackError::PartLength { part: "zeros", .. })));
    let values = SegmentValues::F16(vec![f16::ONE; 2]);
    assert!(matches!(build(values), Err(PackError::ValueKind { .. })));
}
