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
        let packed = pack_gptq(&w, gram.as_ref(), segments, order, options, &codes).unwrap();
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
        let packed = pack_gptq(&w, seen, &segments, order, &options, &codes).unwrap();
        output_error(&w, &packed, gram.as_ref()).relative()
    };
    assert!(error(gram.as_ref()) < 0.6 * error(diagonal.as_ref()));
}
