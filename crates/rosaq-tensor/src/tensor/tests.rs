//! Conversions, row ranges and refusals of tensor views.

use half::bf16;

use super::*;

fn view<'a>(dtype: DType, shape: &'a [usize], bytes: &'a [u8]) -> TensorView<'a> {
    TensorView { name: "w", dtype, shape, bytes, file: Path::new("m.safetensors") }
}

#[test]
fn rows_are_a_slice_of_the_whole() {
    let bytes: Vec<u8> = (0..5 * 7).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let shape = [5, 7];
    let tensor = view(DType::F32, &shape, &bytes);
    let all = tensor.to_f32().unwrap();
    assert_eq!(tensor.rows_to_f32(2..4).unwrap(), all[14..28]);
    assert_eq!(tensor.rows_to_f32(5..5).unwrap(), [0.0; 0]);
    assert_eq!(tensor.to_matrix().unwrap().row(4), &all[28..]);
    let error = tensor.rows_to_f32(4..6).unwrap_err();
    assert!(matches!(error, TensorError::Rows { n_rows: 5, .. }), "{error}");
}

#[test]
fn rows_of_blocks_begin_at_blocks() {
    let block = |scale: f32| -> Vec<u8> {
        let scale = f16::from_f32(scale).to_le_bytes();
        scale.into_iter().chain((0..32).map(|i: u8| i.wrapping_sub(16))).collect()
    };
    let bytes: Vec<u8> = (1..=4).flat_map(|s| block(s as f32)).collect();
    let tensor = view(DType::Q8_0, &[2, 64], &bytes);
    let second = tensor.rows_to_f32(1..2).unwrap();
    let expected: Vec<f32> =
        [3.0, 4.0].iter().flat_map(|s| (-16..16).map(move |c| s * c as f32)).collect();
    assert_eq!(second, expected);
}

#[test]
fn non_finite_values_are_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![1.0_f32; 40_000];
        values[33_333] = bad;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = view(DType::F32, &[400, 100], &bytes);
        let error = tensor.to_f32().unwrap_err().to_string();
        assert!(error.contains("`w` in \"m.safetensors\": element 33333"), "{error}");
        let error = tensor.rows_to_f32(333..334).unwrap_err().to_string();
        assert!(error.contains("element 33333"), "{error}");
        assert!(tensor.rows_to_f32(0..333).is_ok());
        let halves: Vec<u8> =
            values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        let tensor = view(DType::BF16, &[40_000], &halves);
        assert!(matches!(tensor.to_f32(), Err(TensorError::NonFinite { index: 33_333, .. })));
    }
}

#[test]
fn f64_rounds_and_overflow_is_refused() {
    let bytes: Vec<u8> = [0.1_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(view(DType::F64, &[2], &bytes).to_f32().unwrap(), [0.1_f32, -2.0]);
    let bytes = 1e39_f64.to_le_bytes();
    assert!(view(DType::F64, &[], &bytes).to_f32().is_err());
}

#[test]
fn wrong_types_shapes_and_lengths_are_errors() {
    let tensor = view(DType::I32, &[2], &[0; 8]);
    assert!(tensor.to_f32().unwrap_err().to_string().contains("found I32"));
    assert!(tensor.to_f16().is_err());
    assert!(tensor.expect_shape(&[2]).is_ok());
    let error = tensor.expect_shape(&[3, 1]).unwrap_err().to_string();
    assert_eq!(error, "tensor `w` in \"m.safetensors\": expected shape [3, 1], found [2]");
    assert!(view(DType::F32, &[2, 2], &[0; 8]).to_f32().is_err());
    assert!(view(DType::F32, &[usize::MAX, usize::MAX], &[0; 8]).to_f32().is_err());
    assert!(view(DType::F32, &[2], &[0; 8]).to_matrix().is_err());
    // A row that is not whole blocks cannot come from a checked file, but must not panic either.
    assert!(view(DType::Q8_0, &[2, 16], &[0; 34]).rows_to_f32(1..2).is_err());
}

#[test]
fn stored_integers_and_halves_come_back() {
    assert_eq!(view(DType::U32, &[2], &[1, 0, 0, 0, 0, 1, 0, 0]).to_u32().unwrap(), [1, 256]);
    let halves = view(DType::F16, &[1], &[0x00, 0x3c]).to_f16().unwrap();
    assert_eq!(halves, [f16::ONE]);
    assert!(view(DType::F16, &[1], &[0x00, 0x7c]).to_f16().is_err());
}
