//! Tiles of codes against exact sums over rounded activations.

use std::iter::{repeat, repeat_n};

use super::trellis::sum_trellis;
use super::*;
use crate::TiledLinear;
use crate::arch::generic::{add_f16_tiles, add_int_tiles, add_trellis_tiles};
use crate::arch::plain_bytes::PlainBytes;
use crate::tiles::{BlockInput, F16Tiles, IntTiles, TileInput, TrellisTiles};

/// Activations as the kernels round them: to a whole number of 127ths of the largest magnitude among up to 32 or 128 channels of a group;
/// and once more what that leaves over, where integer codes meet a magnitude of more than 2.5 times the mean of all blocks'.
fn rounded(linear: &PackedLinear, x: &[f32]) -> Vec<f64> {
    let mut exact = Vec::with_capacity(x.len());
    for (segment, at) in linear.segments.iter().zip(&linear.layout().segments) {
        let channels = &x[at.channel_start..][..segment.channels];
        if segment.kind == SegmentKind::F16 {
            exact.extend(channels.iter().map(|&x| f64::from(x)));
            continue;
        }
        let is_int = matches!(segment.kind, SegmentKind::Int { .. });
        let block = if is_int { 32 } else { 128 };
        let groups = channels.chunks(segment.group_size);
        let blocks: Vec<&[f32]> = groups.flat_map(|group| group.chunks(block)).collect();
        let mean = blocks.iter().map(|x| largest(x)).sum::<f32>() / blocks.len() as f32;
        for x in blocks {
            let codes = codes_of(x);
            let scale = largest(x) / 127.0;
            let rest: Vec<f32> = x.iter().zip(&codes).map(|(x, code)| x - scale * code).collect();
            let more =
                if is_int && largest(x) > 2.5 * mean { values_of(&rest) } else { Vec::new() };
            let more = more.into_iter().chain(repeat(0.0));
            exact.extend(values_of(x).into_iter().zip(more).map(|(value, more)| value + more));
        }
    }
    exact
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |max, x| max.max(x.abs()))
}

fn codes_of(x: &[f32]) -> Vec<f32> {
    // To the same code, wherever a middle between two lies.
    x.iter().map(|value| (value * (127.0 / largest(x))).round_ties_even()).collect()
}

fn values_of(x: &[f32]) -> Vec<f64> {
    let largest = f64::from(largest(x));
    codes_of(x).into_iter().map(|code| f64::from(code) / 127.0 * largest).collect()
}

fn exact(linear: &PackedLinear, x: &[f32]) -> Vec<(f64, f64)> {
    let (w, rounded) = (linear.dequantize(), rounded(linear, x));
    let rows = w.chunks_exact(linear.in_features).enumerate();
    let sums = rows.map(|(row, w)| {
        let terms = w.iter().zip(&rounded).map(|(w, x)| f64::from(*w) * x);
        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
        (sum, size + zero_terms(linear, row, x))
    });
    sums.collect()
}

fn activations(n: usize, noise: &mut Noise) -> Vec<f32> {
    (0..n).map(|_| (f32::from(noise.byte()) - 128.0) / 64.0 * 127.0 / 128.0).collect()
}

#[track_caller]
fn check(out: usize, n_tokens: usize, segments: &[Segment]) {
    let mut noise = Noise(out as u64 + 3);
    let linear = build(out, segments, &mut noise);
    let n_in = linear.in_features;
    let x = activations(n_in * n_tokens, &mut noise);
    check_tokens(&linear, &x);
    let outlier = |(at, x): (usize, f32)| if at % 83 == 5 { 40.0 * x } else { x };
    check_tokens(&linear, &x.into_iter().enumerate().map(outlier).collect::<Vec<_>>());
}

#[track_caller]
fn check_tokens(linear: &PackedLinear, x: &[f32]) {
    let (n_in, out) = (linear.in_features, linear.out_features);
    let n_tokens = x.len() / n_in;
    for isa in available() {
        let tiled = TiledLinear::new_with(isa, linear).expect("integers and f16 alone");
        let mut y = vec![f32::NAN; out * n_tokens];
        tiled.multiply(x, &mut y);
        for (x, y) in x.chunks_exact(n_in).zip(y.chunks_exact(out)) {
            let name = format!("{isa}, {n_tokens} tokens, {:?}", linear.segments);
            check_close(y, &exact(linear, x), &name);
        }
    }
}

#[test]
fn a_large_channel_does_not_cost_the_others_their_precision() {
    let mut noise = Noise(5);
    let linear = build(16, &[Segment::asymmetric(512, Bits::FOUR, 128)], &mut noise);
    let mut x = activations(512, &mut noise);
    x[70] = 500.0;
    let w = linear.dequantize();
    let rows = w.chunks_exact(512).map(|w| w.iter().zip(&x).map(|(w, x)| f64::from(w * x)).sum());
    let expected: Vec<f64> = rows.collect();
    for isa in available() {
        let mut y = [0.0; 16];
        TiledLinear::new_with(isa, &linear).unwrap().multiply(&x, &mut y);
        // Without the large channel, a step of rounding is at most 2 / 127; with it, it would be 500 / 127.
        let step = 2.0 / 127.0;
        for ((row, y), expected) in w.chunks_exact(512).zip(y).zip(&expected) {
            let size: f64 = row.iter().map(|w| f64::from(w.abs())).sum();
            assert!((f64::from(y) - expected).abs() <= size * step / 2.0, "{isa}: {y}, {expected}");
        }
    }
}

const WIDTHS: [Bits; 6] = [Bits::TWO, Bits::THREE, Bits::FOUR, Bits::FIVE, Bits::SIX, Bits::EIGHT];

#[test]
fn every_width_symmetry_and_number_of_tokens() {
    for bits in WIDTHS {
        for n_tokens in [1, 2, 16, 17, 40] {
            check(21, n_tokens, &[Segment::symmetric(300, bits, 128)]);
            check(8, n_tokens, &[Segment::asymmetric(256, bits, 128)]);
        }
    }
}

#[test]
fn odd_shapes_and_groups() {
    for (channels, group_size) in
        [(1, 1), (31, 16), (62, 62), (100, 7), (576, 576), (513, 128), (700, 300)]
    {
        check(33, 3, &[Segment::asymmetric(channels, Bits::THREE, group_size)]);
        check(1, 1, &[Segment::symmetric(channels, Bits::FIVE, group_size)]);
    }
}

#[test]
fn salient_channels_and_segments_of_several_widths() {
    let segments = [
        Segment::f16(13),
        Segment::asymmetric(160, Bits::FOUR, 32),
        Segment::f16(64),
        Segment::symmetric(96, Bits::TWO, 96),
    ];
    for n_tokens in [1, 5] {
        check(100, n_tokens, &segments);
    }
}

#[test]
fn largest_sums_do_not_overflow() {
    // Codes and activations that are all at their largest, and of one sign or of alternating ones.
    for bits in WIDTHS {
        for flip in [1.0, -1.0] {
            let segment = Segment::asymmetric(128, bits, 128);
            let values = SegmentValues::Codes {
                codes: vec![bits.max_code(); 8 * 128],
                scales: vec![f16::ONE; 8],
                zeros: vec![0; 8],
            };
            let linear = PackedLinearBuilder::new(8).segment(segment, values).build().unwrap();
            let x: Vec<f32> = [1.0, flip].into_iter().cycle().take(128).collect();
            let expected = x.iter().sum::<f32>() * f32::from(bits.max_code());
            for isa in available() {
                let mut y = [f32::NAN; 8];
                TiledLinear::new_with(isa, &linear).unwrap().multiply(&x, &mut y);
                assert!(
                    y.iter().all(|y| (y - expected).abs() <= 1e-5 * 128.0 * 255.0),
                    "{isa}, {bits:?}: expected {expected}, found {y:?}"
                );
            }
        }
    }
}

#[test]
fn other_codes_are_left_to_other_kernels() {
    let mut noise = Noise(1);
    let codebook = SegmentKind::Codebook { bits: Bits::THREE, id: 1 };
    let segment = Segment { channels: 64, kind: codebook, group_size: 64 };
    let linear = build(8, &[segment], &mut noise);
    assert!(TiledLinear::new(&linear).is_none());
}

#[test]
fn activations_of_no_size_or_that_are_not_finite() {
    let mut noise = Noise(5);
    let linear = build(8, &[Segment::symmetric(64, Bits::FOUR, 32)], &mut noise);
    let tiled = TiledLinear::new(&linear).unwrap();
    let mut y = [f32::NAN; 8];
    tiled.multiply(&[0.0; 64], &mut y);
    assert_eq!(y, [0.0; 8]);
    tiled.multiply(&[f32::MIN_POSITIVE; 64], &mut y);
    assert!(y.iter().all(|y| y.abs() < 1e-30));
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = [1.0; 64];
        x[40] = bad;
        tiled.multiply(&x, &mut y);
        assert!(y.iter().all(|y| !y.is_finite()), "{y:?}");
    }
}

/// Sixteen lanes in plain Rust: what the layout for AVX-512 must give wherever the tests run.
#[test]
fn sixteen_lanes_give_what_eight_do() {
    let mut noise = Noise(9);
    let linear = build(40, &[Segment::f16(7), Segment::asymmetric(192, Bits::SIX, 64)], &mut noise);
    let x = activations(linear.in_features, &mut noise);
    fn product<const L: usize>(linear: &PackedLinear, x: &[f32]) -> Vec<f32> {
        let (ints, values) =
            (IntTiles::<L>::of(linear, 1).unwrap(), F16Tiles::<L>::of(linear, 0).unwrap());
        let mut input = TileInput::default();
        input.set::<_, L>(PlainBytes, (&ints.blocks, ints.channel_start), &[x]);
        let n_tiles = linear.out_features.div_ceil(L);
        let mut out = vec![[0.0; L]; n_tiles];
        add_int_tiles(PlainBytes, &ints, &input, 0..n_tiles, &mut out);
        add_f16_tiles(PlainBytes, &values, &[&x[..7]], 0..n_tiles, &mut out);
        out.as_flattened()[..linear.out_features].to_vec()
    }
    assert_eq!(product::<16>(&linear, &x), product::<8>(&linear, &x));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_back_as_they_were(
        out in 1_usize..40,
        channels in 1_usize..200,
        group_size in 1_usize..200,
        width in 0_usize..6,
        symmetric: bool,
        f16_channels in 0_usize..5,
    ) {
        let kind = SegmentKind::Int { bits: WIDTHS[width], symmetric };
        let segments: Vec<Segment> = repeat_n(Segment::f16(1), f16_channels)
            .chain([Segment { channels, kind, group_size }])
            .collect();
        let linear = build(out, &segments, &mut Noise(out as u64));
        for isa in available() {
            let tiled = TiledLinear::new_with(isa, &linear).unwrap();
            let mut row = vec![f32::NAN; linear.in_features];
            for (idx, expected) in linear.dequantize().chunks_exact(linear.in_features).enumerate() {
                tiled.row_into(idx, &mut row);
                prop_assert_eq!(&row, expected);
            }
        }
    }

    #[test]
    fn threads_and_neighbours_do_not_matter(n_tokens in 1_usize..40, threads in 2_usize..4) {
        let mut noise = Noise(n_tokens as u64);
        let linear = build(300, &[Segment::asymmetric(320, Bits::THREE, 64)], &mut noise);
        let tiled = TiledLinear::new(&linear).unwrap();
        let x = activations(320 * n_tokens, &mut noise);
        let on = |threads: usize, x: &[f32]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut y = vec![f32::NAN; x.len() / 320 * 300];
            pool.install(|| tiled.multiply(x, &mut y));
            y
        };
        let whole = on(1, &x);
        prop_assert_eq!(&on(threads, &x), &whole);
        let last = on(1, &x[x.len() - 320..]);
        prop_assert_eq!(&last, &whole[whole.len() - 300..]);
    }
}

const TRELLIS_WIDTHS: [Bits; 6] =
    [Bits::ONE, Bits::TWO, Bits::THREE, Bits::FOUR, Bits::FIVE, Bits::SIX];

#[test]
fn trellis_codes_of_every_width_and_shape() {
    for bits in TRELLIS_WIDTHS {
        for (out, channels) in [(1, 1), (3, 31), (8, 32), (70, 33), (9, 200), (97, 576), (200, 128)]
        {
            let mut noise = Noise((out * channels) as u64);
            let linear = sum_trellis(out, channels, bits, &mut noise);
            let n_in = linear.in_features;
            for n_tokens in [1, 2, 17] {
                let x = activations(n_in * n_tokens, &mut noise);
                for isa in available() {
                    let tiled = TiledLinear::new_with(isa, &linear).expect("tables of integers");
                    let mut y = vec![f32::NAN; out * n_tokens];
                    tiled.multiply(&x, &mut y);
                    for (x, y) in x.chunks_exact(n_in).zip(y.chunks_exact(out)) {
                        let what = format!("{isa}, {bits} bits, {out} x {channels}, {n_tokens}");
                        check_close(y, &exact(&linear, x), &what);
                    }
                }
            }
        }
    }
}

#[test]
fn trellis_rows_come_back_as_they_were() {
    for bits in TRELLIS_WIDTHS {
        for out in [1, 2, 8, 11, 40] {
            let linear = sum_trellis(out, 150, bits, &mut Noise(out as u64));
            let expected = linear.dequantize();
            for isa in available() {
                let tiled = TiledLinear::new_with(isa, &linear).unwrap();
                let mut row = vec![f32::NAN; linear.in_features];
                for (idx, expected) in expected.chunks_exact(linear.in_features).enumerate() {
                    tiled.row_into(idx, &mut row);
                    assert_eq!(row, expected, "{isa}, {bits} bits, row {idx} of {out}");
                }
            }
        }
    }
}

/// What the layout for AVX-512 must give wherever the tests run, in any range of its tiles.
#[test]
fn vectors_of_64_channels_give_what_those_of_32_do() {
    for bits in TRELLIS_WIDTHS {
        let mut noise = Noise(21);
        let linear = sum_trellis(72, 300, bits, &mut noise);
        let x = activations(linear.in_features, &mut noise);
        fn product<const L: usize>(linear: &PackedLinear, x: &[f32], first_row: usize) -> Vec<f32> {
            let tiles = TrellisTiles::<L>::of(linear, 1).unwrap();
            let mut input = BlockInput::default();
            let channels = tiles.channel_start..tiles.channel_start + tiles.channels;
            input.set::<_, L>(PlainBytes, channels, &[x]);
            let range = first_row / L..linear.out_features.div_ceil(L);
            let mut out = vec![[0.0; L]; range.len()];
            add_trellis_tiles(PlainBytes, &tiles, &input, range, &mut out);
            out.as_flattened()[..linear.out_features - first_row].to_vec()
        }
        let whole = product::<8>(&linear, &x, 0);
        for (found, first_row) in [
            (product::<16>(&linear, &x, 0), 0),
            (product::<16>(&linear, &x, 48), 48),
            (product::<8>(&linear, &x, 40), 40),
        ] {
            for (found, expected) in found.iter().zip(&whole[first_row..]) {
                // Sums of the same blocks, over lanes in another order.
                assert!((found - expected).abs() <= 1e-5 * 576.0 * 128.0, "{found} {expected}");
            }
        }
    }
}

#[test]
fn several_linears_at_once_give_what_each_gives() {
    let mut noise = Noise(17);
    let mut linear = |out, segments: &[Segment]| build(out, segments, &mut noise);
    let linears = [
        linear(100, &[Segment::f16(12), Segment::symmetric(288, Bits::FOUR, 128)]),
        linear(37, &[Segment::symmetric(300, Bits::THREE, 100)]),
        linear(230, &[Segment::f16(12), Segment::asymmetric(288, Bits::FOUR, 128)]),
        linear(8, &[Segment::f16(300)]),
        sum_trellis(64, 297, Bits::THREE, &mut Noise(3)),
        sum_trellis(24, 297, Bits::TWO, &mut Noise(4)),
    ];
    for n_tokens in [1, 3, 40] {
        let x = activations(300 * n_tokens, &mut Noise(5));
        for isa in available() {
            let tiled = linears.each_ref().map(|l| TiledLinear::new_with(isa, l).unwrap());
            let new = |linear: &TiledLinear| vec![f32::NAN; linear.out_features * n_tokens];
            let mut alone = tiled.each_ref().map(new);
            for (linear, y) in tiled.iter().zip(&mut alone) {
                linear.multiply(&x, y);
            }
            let mut together = tiled.each_ref().map(new);
            let mut outputs = together.each_mut().map(Vec::as_mut_slice);
            TiledLinear::multiply_all(&tiled.each_ref(), &x, &mut outputs);
            assert_eq!(together, alone, "{isa}, {n_tokens} tokens");
        }
    }
}
