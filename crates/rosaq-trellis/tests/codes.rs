//! Codes and rings, as another crate uses them.

use proptest::prelude::*;
use rosaq_trellis::{
    Encoder, GaussianTable, Sequence, Table, TableKind, Training, TrellisCode, TrellisError,
    normal_samples, train,
};

fn gaussian(bits: u8, table: GaussianTable) -> TrellisCode {
    TrellisCode::gaussian(bits, table).expect("a width of the table")
}

fn any_code() -> impl Strategy<Value = TrellisCode> {
    let tables = prop::sample::select(GaussianTable::ALL.to_vec());
    tables
        .prop_flat_map(|table| (1..=table.most_bits()).prop_map(move |bits| gaussian(bits, table)))
}

/// The sum that the encoder reports, from the codes.
fn error(code: &TrellisCode, sequence: &Sequence<'_>, codes: &[u8]) -> f64 {
    let mut entries = vec![0; codes.len()];
    code.decode(codes, &mut entries);
    (0..codes.len())
        .map(|i| {
            let value =
                f64::from(sequence.scales[i]) * f64::from(code.step()) * f64::from(entries[i]);
            let weight = sequence.weights.map_or(1.0, |weights| f64::from(weights[i]));
            weight * (f64::from(sequence.targets[i]) - value).powi(2)
        })
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_reported_error_is_that_of_the_decoded_values(
        code in any_code(),
        rows in prop::collection::vec((-4.0_f32..4.0, -0.1_f32..0.1, 0.0_f32..2.0), 0..60),
    ) {
        let targets: Vec<f32> = rows.iter().map(|row| row.0 * row.1).collect();
        let scales: Vec<f32> = rows.iter().map(|row| row.1).collect();
        let weights: Vec<f32> = rows.iter().map(|row| row.2).collect();
        let sequence = Sequence { targets: &targets, scales: &scales, weights: Some(&weights) };
        let mut codes = vec![0; rows.len()];
        let reported = Encoder::new(&code).encode(&sequence, &mut codes).expect("finite numbers");
        let summed = error(&code, &sequence, &codes);
        prop_assert!((reported - summed).abs() <= 1e-12 * summed, "{reported} {summed}");
        prop_assert!(codes.iter().all(|&code_of_value| code_of_value < 1 << code.bits()));
    }

    #[test]
    fn turning_the_codes_turns_the_values(
        code in any_code(),
        codes in prop::collection::vec(0_u8..64, 1..30),
        turn in 0_usize..30,
    ) {
        let mut expected = vec![0; codes.len()];
        code.decode(&codes, &mut expected);
        let turn = turn % codes.len();
        expected.rotate_left(turn);
        let mut turned = codes;
        turned.rotate_left(turn);
        let mut found = vec![0; turned.len()];
        code.decode(&turned, &mut found);
        prop_assert_eq!(found, expected);
    }

    /// A kernel keeps the even and the odd bits of the state apart, a byte each, and lets the table
    /// lookup drop the bits above the sixth.
    #[test]
    fn added_tables_decode_from_two_byte_states(
        bits in 1_u8..=4,
        codes in prop::collection::vec(0_u8..16, 12..60),
    ) {
        let code = gaussian(bits, GaussianTable::Sum12);
        let Table::Sum { even, odd } = code.table() else { panic!("two added tables") };
        let mut expected = vec![0; codes.len()];
        code.decode(&codes, &mut expected);
        let (mut e, mut o) = (0_u8, 0_u8);
        // Twice round: the first time warms up.
        for (i, &c) in codes.iter().chain(&codes).enumerate() {
            (e, o) = match bits {
                1 => (o << 1 | c & 1, e),
                2 => (e << 1 | c & 1, o << 1 | c >> 1 & 1),
                3 => (o << 2 | c >> 1 & 2 | c & 1, e << 1 | c >> 1 & 1),
                _ => (e << 2 | c >> 1 & 2 | c & 1, o << 2 | c >> 2 & 2 | c >> 1 & 1),
            };
            if let Some(i) = i.checked_sub(codes.len()) {
                prop_assert_eq!(even[usize::from(e & 63)] + odd[usize::from(o & 63)], expected[i]);
            }
        }
    }

    /// Rings of no more bits than the window go round more than once; they are encoded exactly.
    #[test]
    fn short_rings_are_encoded_exactly(
        table in prop::sample::select(GaussianTable::ALL.to_vec()),
        bits in 1_u8..=4,
        targets in prop::collection::vec(-3.0_f32..3.0, 1..4),
    ) {
        let code = gaussian(bits, table);
        let n = targets.len();
        prop_assume!(n * usize::from(bits) <= usize::from(code.window()));
        let sequence = Sequence { targets: &targets, scales: &[1.0; 3][..n], weights: None };
        let mut codes = vec![0; n];
        let found = Encoder::new(&code).encode(&sequence, &mut codes).expect("finite numbers");
        let mask = (1_u8 << bits) - 1;
        let least = (0..1_u32 << (n * usize::from(bits)))
            .map(|word| {
                let digits: Vec<u8> = (0..n)
                    .map(|i| (word >> (i * usize::from(bits))).to_le_bytes()[0] & mask)
                    .collect();
                error(&code, &sequence, &digits)
            })
            .fold(f64::INFINITY, f64::min);
        prop_assert!((found - least).abs() <= 1e-12 * least);
    }

    #[test]
    fn extreme_numbers_are_encoded(
        code in any_code(),
        rows in prop::collection::vec((-38_i32..=38, -38_i32..=38, -38_i32..=38), 20..40),
    ) {
        let power = |exponent: i32| 10_f32.powi(exponent);
        let targets: Vec<f32> = rows.iter().map(|row| power(row.0)).collect();
        let scales: Vec<f32> = rows.iter().map(|row| -power(row.1)).collect();
        let weights: Vec<f32> = rows.iter().map(|row| power(row.2)).collect();
        let sequence = Sequence { targets: &targets, scales: &scales, weights: Some(&weights) };
        let mut codes = vec![255; rows.len()];
        let found = Encoder::new(&code).encode(&sequence, &mut codes).expect("finite numbers");
        prop_assert!(found.is_finite());
        prop_assert!(codes.iter().all(|&found| found < 1 << code.bits()));
    }
}

/// Mean squared error on 80,000 numbers that no table was trained on.
fn gaussian_error(code: &TrellisCode) -> f64 {
    let samples = normal_samples(80_000, 77);
    let mut encoder = Encoder::new(code);
    let mut codes = vec![0; 1_000];
    let errors = samples.chunks(1_000).map(|targets| {
        let sequence = Sequence { targets, scales: &[1.0; 1_000], weights: None };
        encoder.encode(&sequence, &mut codes).expect("finite numbers")
    });
    errors.sum::<f64>() / 80_000.0
}

#[test]
fn shipped_tables_reach_the_figures_of_the_readme() {
    #[track_caller]
    fn check(bits: u8, table: GaussianTable, stated: f64) {
        let found = gaussian_error(&gaussian(bits, table));
        // 80,000 samples have a standard error of half a percent.
        assert!(
            (found / stated - 1.0).abs() < 0.02,
            "{bits} bits, {table:?}: {found}, not {stated}"
        );
    }
    check(1, GaussianTable::Whole8, 0.28097);
    check(2, GaussianTable::Whole8, 0.07687);
    check(3, GaussianTable::Whole8, 0.02069);
    check(4, GaussianTable::Whole8, 0.00564);
    check(1, GaussianTable::Sum12, 0.27264);
    check(2, GaussianTable::Sum12, 0.07237);
    check(3, GaussianTable::Sum12, 0.0191);
    check(4, GaussianTable::Sum12, 0.00509);
    check(5, GaussianTable::Sum12, 0.00136);
    check(6, GaussianTable::Sum12, 0.0004);
    check(1, GaussianTable::Whole12, 0.27313);
    check(2, GaussianTable::Whole12, 0.07219);
    check(3, GaussianTable::Whole12, 0.01896);
    check(4, GaussianTable::Whole12, 0.00497);
}

#[test]
fn rows_without_weight_leave_the_others_in_peace() {
    let code = gaussian(3, GaussianTable::Whole8);
    let n = 300;
    let targets = normal_samples(n, 4);
    let mut encoder = Encoder::new(&code);
    let mut codes = vec![0; n];
    let mut encode = |scales: &[f32], weights: Option<&[f32]>| {
        let sequence = Sequence { targets: &targets, scales, weights };
        let reported = encoder.encode(&sequence, &mut codes).expect("finite numbers");
        (reported, codes.clone())
    };
    let (whole, _) = encode(&vec![1.0; n], None);

    // Every third row is free to take any code: the rest does better than its share.
    let weights: Vec<f32> = (0..n).map(|i| f32::from(u8::from(i % 3 != 0))).collect();
    let (weighted, by_weight) = encode(&vec![1.0; n], Some(&weights));
    assert!(weighted < 0.6 * whole, "{weighted} of {whole}");

    // A scale of zero does the same; its error is its target, whatever the code.
    let (scaled, by_scale) = encode(&weights, None);
    assert_eq!(by_weight, by_scale);
    let lost: f64 = (0..n).step_by(3).map(|i| f64::from(targets[i]).powi(2)).sum();
    assert!((scaled - lost - weighted).abs() < 1e-9 * scaled);

    let (nothing, _) = encode(&vec![1.0; n], Some(&vec![0.0; n]));
    assert_eq!(nothing, 0.0);
}

#[test]
fn an_encoder_forgets_what_it_encoded() {
    let code = gaussian(2, GaussianTable::Sum12);
    let targets = normal_samples(400, 6);
    let scales = vec![1.0; 400];
    let encode = |encoder: &mut Encoder, range: std::ops::Range<usize>| {
        let mut codes = vec![0; range.len()];
        let sequence =
            Sequence { targets: &targets[range.clone()], scales: &scales[range], weights: None };
        encoder.encode(&sequence, &mut codes).expect("finite numbers");
        codes
    };
    let mut used = Encoder::new(&code);
    for range in [0..400, 10..15, 3..3, 0..130, 0..400] {
        assert_eq!(encode(&mut used, range.clone()), encode(&mut Encoder::new(&code), range));
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    let mut encoder = Encoder::new(&gaussian(4, GaussianTable::Whole8));
    let mut check = |target: f32, scale: f32, weight: f32, expected: &str| {
        let sequence = Sequence {
            targets: &[0.0, target],
            scales: &[1.0, scale],
            weights: Some(&[1.0, weight]),
        };
        let error = encoder.encode(&sequence, &mut [0; 2]).expect_err(expected);
        assert_eq!(
            error.to_string(),
            format!(
                "numbers to be encoded: expected finite numbers and no weight below 0, found {expected} at index 1"
            )
        );
    };
    check(f32::NAN, 1.0, 1.0, "target NaN");
    check(0.0, f32::INFINITY, 1.0, "scale inf");
    check(0.0, 1.0, -0.5, "weight -0.5");
}

#[test]
fn impossible_codes_are_refused() {
    #[track_caller]
    fn check(bits: u8, window: u8, step: f32, table: Table, expected: &TrellisError) {
        assert_eq!(&TrellisCode::new(bits, window, step, table).expect_err("impossible"), expected);
    }
    let whole = |n: usize| Table::Whole(vec![0; n]);
    let sum = |even: i8, odd: i8| Table::Sum { even: vec![even; 16], odd: vec![odd; 16] };
    check(7, 12, 1.0, whole(4096), &TrellisError::Bits { found: 7 });
    check(0, 12, 1.0, whole(4096), &TrellisError::Bits { found: 0 });
    check(3, 5, 1.0, whole(32), &TrellisError::Window { bits: 3, max: 12, found: 5 });
    check(3, 13, 1.0, whole(8192), &TrellisError::Window { bits: 3, max: 12, found: 13 });
    check(2, 7, 1.0, sum(0, 0), &TrellisError::OddWindow { found: 7 });
    check(2, 8, 0.0, whole(256), &TrellisError::Step { found: 0.0 });
    check(2, 8, f32::INFINITY, whole(256), &TrellisError::Step { found: f32::INFINITY });
    check(2, 8, 1.0, sum(100, 28), &TrellisError::SumRange { min: 128, max: 128 });
    let length = TrellisError::TableLength { window: 8, table: "whole", expected: 256, found: 255 };
    check(2, 8, 1.0, whole(255), &length);
    assert_eq!(
        TrellisCode::gaussian(5, GaussianTable::Whole8),
        Err(TrellisError::Bits { found: 5 })
    );
    assert_eq!(
        TrellisCode::gaussian(7, GaussianTable::Sum12),
        Err(TrellisError::Bits { found: 7 })
    );
}

#[test]
fn short_training_beats_the_best_scalar_quantizer() {
    // Lloyd and Max reach 0.1175 with 2 bits (Max, "Quantizing for minimum distortion", table I).
    for (window, kind) in [(6, TableKind::Whole), (8, TableKind::Sum)] {
        let training =
            Training { bits: 2, window, kind, n_starts: 2, rounds: 30, n_first: 4_000, seed: 1 };
        let samples = normal_samples(20_000, 2);
        let code = train(&training, &samples).expect("a code exists");
        let error = gaussian_error(&code);
        assert!(error < 0.098, "{kind:?}: {error}");
        assert_eq!(train(&training, &samples).expect("a code exists"), code);
    }
}
