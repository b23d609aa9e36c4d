//! GGUF against the reference Python package: `fixtures/make_gguf_golden.py`.
#![expect(clippy::unwrap_used, reason = "a test helper may panic")]

use std::path::Path;

use rosaq_tensor::{DType, MetadataArray, MetadataValue, TensorView, parse_gguf};
use serde_json::Value;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden/gguf-blocks.json");
    let text = std::fs::read_to_string(path).expect("the fixture is part of the repository");
    serde_json::from_str(&text).expect("the fixture is JSON")
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal text");
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[track_caller]
fn check(dtype: DType) {
    let golden = &golden()["types"][dtype.name()];
    let (bytes, expected) = (unhex(&golden["blocks"]), floats(&unhex(&golden["values"])));
    let view = TensorView {
        name: "t",
        dtype,
        shape: &[2, expected.len() / 2],
        bytes: &bytes,
        file: Path::new("golden"),
    };
    // Exact: the formats are defined by single f32 operations.
    assert_eq!(view.to_f32().unwrap(), expected);
    assert_eq!(view.rows_to_f32(1..2).unwrap(), expected[expected.len() / 2..]);
}

#[test]
fn plain_types() {
    check(DType::F32);
    check(DType::F16);
    check(DType::BF16);
}

#[test]
fn q4_0() {
    check(DType::Q4_0);
}

#[test]
fn q4_1() {
    check(DType::Q4_1);
}

#[test]
fn q5_0() {
    check(DType::Q5_0);
}

#[test]
fn q5_1() {
    check(DType::Q5_1);
}

#[test]
fn q8_0() {
    check(DType::Q8_0);
}

#[test]
fn q4_k() {
    check(DType::Q4K);
}

#[test]
fn q5_k() {
    check(DType::Q5K);
}

#[test]
fn q6_k() {
    check(DType::Q6K);
}

#[test]
fn a_whole_file() {
    let golden = &golden()["file"];
    let bytes = unhex(&golden["bytes"]);
    let path = Path::new("golden.gguf");
    let header = parse_gguf(&bytes, path).unwrap();

    let metadata = &header.metadata;
    let scalars = [
        ("t.u8", MetadataValue::U8(200)),
        ("t.i8", MetadataValue::I8(-100)),
        ("t.u16", MetadataValue::U16(60_000)),
        ("t.i16", MetadataValue::I16(-30_000)),
        ("t.u32", MetadataValue::U32(4_000_000_000)),
        ("t.i32", MetadataValue::I32(-2_000_000_000)),
        ("t.u64", MetadataValue::U64(1 << 63)),
        ("t.i64", MetadataValue::I64(-(1 << 62))),
        ("t.f32", MetadataValue::F32(0.5)),
        ("t.f64", MetadataValue::F64(0.25)),
        ("t.bool", MetadataValue::Bool(true)),
        ("t.string", MetadataValue::String("Grüße".into())),
        ("t.bools", MetadataValue::Array(MetadataArray::Bool(vec![true, false]))),
    ];
    for (key, expected) in scalars {
        assert_eq!(metadata.get(key), Some(&expected), "{key}");
    }
    assert_eq!(metadata.get_array_str("t.strings").unwrap(), ["a", "", "ḃc"]);
    assert_eq!(metadata.get_array_i32("t.ints").unwrap(), [1, -2, 3]);
    assert_eq!(metadata.get_array_f32("t.floats").unwrap(), [1.5, -2.5]);
    assert_eq!(metadata.get_str("general.architecture").unwrap(), "llama");

    let tensors: Vec<_> = header.tensors.iter().map(|t| t.view(&bytes, path)).collect();
    assert_eq!(tensors[0].name, "token_embd.weight");
    assert_eq!(tensors[0].shape, [2, 3]);
    assert_eq!(tensors[0].to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(tensors[1].name, "blk.0.ffn_up.weight");
    assert_eq!((tensors[1].dtype, tensors[1].shape), (DType::Q8_0, &[3, 64][..]));
    assert_eq!(tensors[1].to_f32().unwrap(), floats(&unhex(&golden["ffn_up"])));
    assert_eq!(tensors.len(), 2);
}
