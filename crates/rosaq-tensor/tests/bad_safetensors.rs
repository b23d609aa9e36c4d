//! Safetensors headers that are damaged or hostile: an error that says what and where, never a panic.
#![expect(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::path::Path;

use common::safetensors;
use proptest::prelude::*;
use rosaq_tensor::{TensorStore, parse_safetensors};

const HONEST: &str = r#"{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}"#;

fn path() -> &'static Path {
    Path::new("m.safetensors")
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let error = parse_safetensors(bytes, path()).expect_err("a bad file is refused").to_string();
    assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    assert!(error.contains("\"m.safetensors\""), "no path in {error:?}");
}

/// One tensor `a` and eight bytes of data.
#[track_caller]
fn check_entry(dtype: &str, shape: &str, offsets: &str, expected: &str) {
    let header =
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
    check(&safetensors(&header, &[0; 8]), expected);
}

#[test]
fn the_honest_file_is_read() {
    let header = parse_safetensors(&safetensors(HONEST, &[0; 11]), path()).unwrap();
    assert_eq!(header.metadata["k"], "v");
    assert_eq!(header.tensors.len(), 2);
    assert_eq!(header.tensors[1].range.len(), 3);
    assert!(parse_safetensors(&safetensors("{}", &[]), path()).unwrap().tensors.is_empty());
}

#[test]
fn lengths() {
    check(&[], "needs 8 bytes, 0 are left");
    check(&(1_u64 << 63).to_le_bytes(), "header length is 9223372036854775808, the limit is");
    check(&u64::MAX.to_le_bytes(), "the limit is 100000000");
    check(&99_u64.to_le_bytes(), "the safetensors header at byte 8 needs 99 bytes, 0 are left");
    check(&safetensors(HONEST, &[0; 10]), "`b` in \"m.safetensors\": data end at offset 11");
    check(&safetensors(HONEST, &[0; 12]), "describes 11 bytes of tensor data, the file holds 12");
    check(&safetensors("{}", &[0]), "describes 0 bytes of tensor data, the file holds 1");
}

#[test]
fn text() {
    let mut bytes = safetensors(HONEST, &[0; 11]);
    bytes[20] = 0xff;
    check(&bytes, "not valid UTF-8");
    check(&safetensors("{", &[]), "not valid JSON");
    check(&safetensors("[]", &[]), "not valid JSON");
    check(&safetensors(&"[".repeat(100_000), &[]), "not valid JSON");
    let deep = format!(r#"{{"__metadata__":{}"#, r#"{"a":"#.repeat(100_000));
    check(&safetensors(&deep, &[]), "not valid JSON");
    check(&safetensors(r#"{"__metadata__":{"k":1}}"#, &[]), "header is not consistent");
}

#[test]
fn entries() {
    check_entry(
        "F32",
        "[2]",
        "[1,9]",
        "`a` in \"m.safetensors\": expected its data at offset 0, found 1",
    );
    check_entry("F32", "[3]", "[0,8]", "expected 12 bytes for its shape, found 8");
    check_entry("F32", "[2]", "[8,0]", "tensor `a`");
    check_entry("F32", "[4]", "[0,16]", "data end at offset 16 of a data section of 8 bytes");
    check_entry("F32", "[4611686018427387904]", "[0,8]", "does not give a valid size");
    check_entry("F32", "[4294967296,4294967296]", "[0,8]", "`a` in");
    check_entry("F32", "[-1]", "[0,8]", "not valid JSON");
    check_entry("F32", "[2]", "[0,18446744073709551615]", "found 18446744073709551615");
    check_entry("F8_E4M3", "[8]", "[0,8]", "element type F8_E4M3 is not supported");
    check_entry("Q4_1", "[8]", "[0,8]", "element type Q4_1 is not supported");
}

#[test]
fn overlaps_and_duplicates() {
    let overlapping = HONEST.replace("[8,11]", "[5,8]");
    check(
        &safetensors(&overlapping, &[0; 8]),
        "`b` in \"m.safetensors\": expected its data at offset 8",
    );
    let hole = HONEST.replace("[8,11]", "[9,12]");
    check(&safetensors(&hole, &[0; 12]), "expected its data at offset 8, found 9");
    let twice = HONEST.replace("\"b\"", "\"a\"");
    check(&safetensors(&twice, &[0; 11]), "tensor `a` is defined twice");
    let same = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    check(&safetensors(same, &[0]), "tensor `a` is defined twice");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = safetensors(HONEST, &[0; 11]);
    for length in 0..bytes.len() {
        assert!(parse_safetensors(&bytes[..length], path()).is_err(), "length {length}");
    }
}

#[track_caller]
fn check_shards(index: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let tensor =
        |name| format!(r#"{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#);
    for (file, name) in [("1.safetensors", "a"), ("2.safetensors", "b"), ("3.safetensors", "a")] {
        std::fs::write(dir.path().join(file), safetensors(&tensor(name), &[7])).unwrap();
    }
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    match TensorStore::open(dir.path()) {
        Ok(store) => assert_eq!(store.names().collect::<Vec<_>>().join(" "), expected),
        Err(error) => assert!(error.to_string().contains(expected), "{error}"),
    }
}

#[test]
fn shards() {
    let index = |map: &str| format!(r#"{{"metadata":{{"total_size":2}},"weight_map":{{{map}}}}}"#);
    check_shards(&index(r#""a":"1.safetensors","b":"2.safetensors""#), "a b");
    check_shards(&index(r#""a":"1.safetensors","c":"2.safetensors""#), "tensor `c` is listed in");
    check_shards(
        &index(r#""a":"2.safetensors","b":"1.safetensors""#),
        "under shard `2.safetensors`",
    );
    check_shards(
        &index(r#""a":"1.safetensors","b":"3.safetensors""#),
        "tensor `a` is defined twice",
    );
    check_shards(&index(r#""a":"4.safetensors""#), "4.safetensors");
    check_shards(&index(r#""a":"../1.safetensors""#), "expected a plain file name");
    check_shards(&index(r#""a":"/1.safetensors""#), "expected a plain file name");
    check_shards(&index(r#""a":"""#), "expected a plain file name");
    check_shards(
        &index(r#""a":"1.safetensors","a":"3.safetensors""#),
        "the shard index is not valid JSON",
    );
    check_shards("{}", "the shard index is not valid JSON");
}

proptest! {
    #[test]
    fn altered_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = safetensors(HONEST, &[0; 11]);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(header) = parse_safetensors(&bytes, path()) {
            for tensor in &header.tensors {
                let view = tensor.view(&bytes, path());
                prop_assert_eq!(view.dtype.storage_bytes(view.n_elements()), Some(view.bytes.len()));
                let _ = view.to_f32();
            }
        }
    }
}
