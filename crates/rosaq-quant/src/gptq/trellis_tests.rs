//! GPTQ into trellis codes.

use faer::{Mat, MatRef};
use rosaq_pack::Bits;
use rosaq_trellis::{GaussianTable, TrellisCode, normal_samples};

use super::*;
use crate::output_error;

/// A Gram matrix with neighbours that resemble each other, and Gaussian-like weights.
fn related(rows: usize, cols: usize) -> (Matrix, Mat<f64>) {
    let data = normal_samples(rows * cols, 7);
    let gram = Mat::from_fn(cols, cols, |i, j| 0.9_f64.powi(i32::try_from(i.abs_diff(j)).unwrap()));
    (Matrix::new(rows, cols, data), gram)
}

#[test]
fn trellis_codes_leave_less_error_than_integers_and_decode_to_what_was_meant() {
    let (w, gram) = related(96, 48);
    let codes = TrellisCodes::new(vec![
        TrellisCode::gaussian(3, GaussianTable::Sum12).unwrap(),
        TrellisCode::gaussian(2, GaussianTable::Whole8).unwrap(),
    ]);
    let error = |segments: &[Segment], options: &GptqOptions| {
        let order = ChannelOrder::Identity;
        let packed =
            pack_gptq(&w, gram.as_ref(), segments, order, options, TrellisOptions::new(&codes))
                .unwrap();
        output_error(&w, &packed, gram.as_ref()).relative()
    };
    let options = GptqOptions { scale_steps: 10, ..GptqOptions::default() };
    let trellis = error(&[Segment::trellis(48, Bits::THREE, 12, 0, 48)], &options);
    let integers = error(&[Segment::asymmetric(48, Bits::THREE, 48)], &options);
    // Mean squared errors on a Gaussian: 0.019 for the code, 0.037 for the best uniform grid of eight values.
    assert!(trellis.powi(2) < 0.7 * integers.powi(2), "{trellis} {integers}");
    // Groups, two codes, f16 and integers side by side, in either order of rounding.
    let mixed = [
        Segment::f16(3),
        Segment::trellis(25, Bits::THREE, 12, 0, 10),
        Segment::trellis(12, Bits::TWO, 8, 1, 12),
        Segment::asymmetric(8, Bits::FOUR, 8),
    ];
    for act_order in [false, true] {
        let found = error(&mixed, &GptqOptions { act_order, ..options });
        assert!(found > 0.2 * trellis && found < 2.0 * trellis, "{found} {trellis}");
    }
}

#[test]
fn feedback_lowers_the_error_of_trellis_codes() {
    let (w, gram) = related(64, 40);
    let code = TrellisCode::gaussian(3, GaussianTable::Whole8).unwrap();
    let codes = TrellisCodes::new(vec![code]);
    let segments = [Segment::trellis(40, Bits::THREE, 8, 0, 40)];
    let diagonal = Mat::from_fn(40, 40, |i, j| if i == j { 1.0 } else { 0.0 });
    let error = |seen: MatRef<'_, f64>| {
        let (order, options) = (ChannelOrder::Identity, GptqOptions::default());
        let packed =
            pack_gptq(&w, seen, &segments, order, &options, TrellisOptions::new(&codes)).unwrap();
        output_error(&w, &packed, gram.as_ref()).relative()
    };
    assert!(error(gram.as_ref()) < 0.6 * error(diagonal.as_ref()));
}

#[test]
fn rows_that_count_more_are_rounded_better_at_the_cost_of_the_others() {
    let (w, gram) = related(256, 24);
    let codes = TrellisCodes::new(vec![TrellisCode::gaussian(3, GaussianTable::Sum12).unwrap()]);
    let segments = [Segment::trellis(24, Bits::THREE, 12, 0, 24)];
    // Their arithmetic mean is e^0.5 = 1.65 times the geometric one.
    let weights: Vec<f32> = normal_samples(256, 8).iter().map(|z| z.exp()).collect();
    let weighted_error = |row_weights: Option<&[f32]>| -> f64 {
        let (order, options) = (ChannelOrder::Identity, GptqOptions::default());
        let packed = pack_gptq(
            &w,
            gram.as_ref(),
            &segments,
            order,
            &options,
            TrellisOptions { codes: &codes, row_weights },
        )
        .unwrap();
        let decoded = Matrix::new(256, 24, packed.dequantize());
        let of_row = |row: usize| -> f64 {
            let errors = w.row(row).iter().zip(decoded.row(row)).map(|(a, b)| f64::from(a - b));
            let errors: Vec<f64> = errors.collect();
            let product = |i: usize| (0..24).map(|j| gram[(i, j)] * errors[j]).sum::<f64>();
            (0..24).map(|i| errors[i] * product(i)).sum()
        };
        (0..256).map(|row| f64::from(weights[row]) * of_row(row)).sum()
    };
    let (plain, weighted) = (weighted_error(None), weighted_error(Some(&weights)));
    // Of the factor of 1.65, less what codes of three bits and windows of twelve cannot move.
    assert!(weighted < plain / 1.4, "{weighted} {plain}");
    // Weights that are all alike change nothing.
    let alike = weighted_error(Some(&[0.7; 256]));
    assert!((alike / plain - 1.0).abs() < 0.02, "{alike} {plain}");
}

#[test]
fn the_mean_pivot_predicts_what_is_left() {
    let (w, gram) = related(256, 64);
    let codes = TrellisCodes::new(vec![TrellisCode::gaussian(3, GaussianTable::Sum12).unwrap()]);
    let segments = [Segment::trellis(64, Bits::THREE, 12, 0, 64)];
    let options = GptqOptions::default();
    let order = ChannelOrder::Identity;
    let packed =
        pack_gptq(&w, gram.as_ref(), &segments, order, &options, TrellisOptions::new(&codes))
            .unwrap();
    let found = output_error(&w, &packed, gram.as_ref()).relative().powi(2);
    let squares = |m: &Matrix| m.data.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let outputs = |m: &Matrix| -> f64 {
        let product = |row: &[f32], i: usize| -> f64 {
            row.iter().enumerate().map(|(j, &x)| gram[(i, j)] * f64::from(x)).sum()
        };
        let of_row = |row: &[f32]| -> f64 {
            row.iter().enumerate().map(|(i, &x)| f64::from(x) * product(row, i)).sum()
        };
        (0..m.rows).map(|row| of_row(m.row(row))).sum()
    };
    let pivot = mean_pivot(gram.as_ref(), options.damping).unwrap();
    let expected = 0.0191 * pivot * squares(&w) / outputs(&w);
    assert!((found / expected - 1.0).abs() < 0.15, "{found} of the output, {expected} expected");
}
