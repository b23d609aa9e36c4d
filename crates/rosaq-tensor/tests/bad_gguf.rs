//! GGUF headers that are damaged or hostile: an error that says what and where, never a panic.

mod common;

use common::{Gguf, path, string};
use proptest::prelude::*;
use rosaq_tensor::parse_gguf;

const ARRAY: u32 = 9;

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let error = parse_gguf(bytes, path()).expect_err("a bad file is refused").to_string();
    assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    assert!(error.contains("\"some.gguf\""), "no path in {error:?}");
}

fn altered(alter: impl FnOnce(&mut Gguf)) -> Vec<u8> {
    let mut file = Gguf::small();
    alter(&mut file);
    file.bytes()
}

#[test]
fn the_honest_file_is_read() {
    let bytes = Gguf::small().bytes();
    let header = parse_gguf(&bytes, path()).unwrap();
    assert_eq!(header.tensors[0].shape, [2, 3]);
    let b = header.tensors[1].view(&bytes, path());
    assert_eq!(b.to_f32().unwrap(), [8.0, 9.0, 10.0, 11.0]);
    let no_tensors = altered(|f| {
        f.tensors.clear();
        f.n_tensors = 0;
        f.data.clear();
    });
    assert!(parse_gguf(&no_tensors[..24], path()).unwrap().tensors.is_empty());
}

#[test]
fn magic_and_version() {
    check(b"GGML\x03\0\0\0", "expected it to begin with `GGUF`");
    check(b"GG", "the GGUF magic at byte 0 needs 4 bytes, 2 are left");
    check(&altered(|f| f.version = 1), "GGUF version 1, expected 2 or 3");
    check(&altered(|f| f.version = 3_u32.swap_bytes()), "little-endian");
    assert!(parse_gguf(&altered(|f| f.version = 2), path()).is_ok());
}

#[test]
fn counts_beyond_the_file() {
    check(&altered(|f| f.n_tensors = 1 << 63), "the number of tensors is 9223372036854775808");
    check(&altered(|f| f.n_tensors = 1 << 20), "the number of tensors at byte 16 needs 25165824");
    check(&altered(|f| f.n_keys = u64::MAX), "the number of metadata keys");
    check(&altered(|f| f.n_tensors = 3), "overlaps and holes are refused");
    let long_array = [&4_u32.to_le_bytes()[..], &(1_u64 << 27).to_le_bytes()].concat();
    check(&Gguf::small().with_pair(b"k", ARRAY, &long_array).bytes(), "is truncated");
    let endless = [&4_u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    check(&Gguf::small().with_pair(b"k", ARRAY, &endless).bytes(), "the limit is");
    check(&Gguf::small().with_pair(b"k", 8, &(1_u64 << 20).to_le_bytes()).bytes(), "is truncated");
    check(&altered(|f| f.tensors[0].dims = vec![1; 5]), "a number of dimensions is 5");
}

#[test]
fn nested_arrays() {
    let mut value = [&0_u32.to_le_bytes()[..], &0_u64.to_le_bytes()].concat();
    for depth in 2..100 {
        value = [&ARRAY.to_le_bytes()[..], &1_u64.to_le_bytes(), &value].concat();
        let bytes = Gguf::small().with_pair(b"k", ARRAY, &value).bytes();
        if depth <= 4 {
            assert!(parse_gguf(&bytes, path()).is_ok(), "depth {depth}");
        } else {
            check(&bytes, "the depth of a metadata array is 5, the limit is 4");
        }
    }
}

#[test]
fn metadata_values() {
    let pair = |kind, value: &[u8]| Gguf::small().with_pair(b"k", kind, value).bytes();
    check(&pair(13, &[0; 8]), "a metadata value type at byte 33 has the invalid value 13");
    check(&pair(7, &[2]), "a bool at byte 37 has the invalid value 2");
    check(&pair(8, &string(b"\xff\xfe")), "a metadata value is not valid UTF-8");
    let bools = [&7_u32.to_le_bytes()[..], &2_u64.to_le_bytes(), &[1, 7]].concat();
    check(&pair(ARRAY, &bools), "an array of bools at byte 49 has the invalid value 7");
    let unknown = [&13_u32.to_le_bytes()[..], &0_u64.to_le_bytes()].concat();
    check(&pair(ARRAY, &unknown), "a metadata value type at byte 37 has the invalid value 13");
    let twice = Gguf::small().with_pair(b"k", 0, &[1]).with_pair(b"k", 0, &[2]).bytes();
    check(&twice, "metadata key `k` is defined twice");
    check(&Gguf::small().with_pair(b"\xff", 0, &[1]).bytes(), "a metadata key is not valid UTF-8");
    let split = Gguf::small().with_pair(b"split.count", 2, &[3, 0]).bytes();
    check(&split, "one of 3 parts; merge them");
    for bad in [0_u32, 3, 1 << 22] {
        let bytes = Gguf::small().with_pair(b"general.alignment", 4, &bad.to_le_bytes()).bytes();
        check(&bytes, "`general.alignment`");
    }
}

#[test]
fn getters_say_what_is_there() {
    let bytes = Gguf::small().with_pair(b"n", 5, &(-1_i32).to_le_bytes()).bytes();
    let metadata = parse_gguf(&bytes, path()).unwrap().metadata;
    let text = |error: rosaq_tensor::TensorError| error.to_string();
    let expected =
        "metadata key `n` in \"some.gguf\": expected an unsigned 32-bit integer, found I32(-1)";
    assert_eq!(text(metadata.get_u32("n").unwrap_err()), expected);
    let expected = "metadata key `m` is missing in \"some.gguf\"";
    assert_eq!(text(metadata.get_str("m").unwrap_err()), expected);
    assert!(metadata.get_f32("n").is_err() && metadata.get_array_str("n").is_err());
    assert!(metadata.get_bool("n").is_err() && metadata.get_array_i32("n").is_err());
    let bytes = Gguf::small().with_pair(b"n", 10, &7_u64.to_le_bytes()).bytes();
    assert_eq!(parse_gguf(&bytes, path()).unwrap().metadata.get_u32("n").unwrap(), 7);
}

#[test]
fn tensor_records() {
    check(
        &altered(|f| f.tensors[1].offset = 0),
        "`b` in \"some.gguf\": expected its data at offset 32, found 0",
    );
    check(&altered(|f| f.tensors[1].offset = 64), "expected its data at offset 32, found 64");
    check(&altered(|f| f.tensors[1].offset = u64::MAX), "found 18446744073709551615");
    check(&altered(|f| f.tensors[1].name = b"a".to_vec()), "tensor `a` is defined twice");
    check(&altered(|f| f.tensors[1].name = b"\xc3".to_vec()), "a tensor name is not valid UTF-8");
    check(&altered(|f| f.tensors[1].dims = vec![5]), "`b` in \"some.gguf\": data end at offset 52");
    check(&altered(|f| f.tensors[1].dims = vec![u64::MAX, 2]), "shape [2, 18446744073709551615]");
    check(&altered(|f| f.tensors[1].dims = vec![1 << 62]), "type F32 does not give a valid size");
    check(&altered(|f| f.tensors[1].dims = vec![1 << 61]), "`b`");
    check(&altered(|f| f.tensors[1].ggml_type = 10), "element type Q2_K is not supported");
    check(&altered(|f| f.tensors[1].ggml_type = 777), "element type number 777 is not supported");
    check(&altered(|f| f.tensors[1].ggml_type = 8), "not a whole number of blocks");
    check(&altered(|f| f.data.truncate(40)), "`b` in \"some.gguf\": data end at offset 48");
    check(
        &altered(|f| f.data.resize(100, 0)),
        "describes 48 bytes of tensor data, the file holds 100",
    );
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = Gguf::small().with_pair(b"k", 8, &string(b"value")).bytes();
    for length in 0..bytes.len() {
        assert!(parse_gguf(&bytes[..length], path()).is_err(), "length {length}");
    }
}

fn touch_everything(bytes: &[u8]) {
    if let Ok(header) = parse_gguf(bytes, path()) {
        for tensor in &header.tensors {
            let view = tensor.view(bytes, path());
            assert_eq!(view.dtype.storage_bytes(view.n_elements()), Some(view.bytes.len()));
            if let Ok(values) = view.to_f32() {
                assert_eq!(values.len(), view.n_elements());
            }
        }
    }
}

proptest! {
    #[test]
    fn altered_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = Gguf::small()
            .with_pair(b"s", 8, &string(b"value"))
            .with_pair(b"general.alignment", 4, &32_u32.to_le_bytes())
            .bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        touch_everything(&bytes);
    }

    #[test]
    fn arbitrary_bytes_after_the_counts_never_panic(
        n_tensors in 0_u64..4,
        n_keys in 0_u64..4,
        rest in prop::collection::vec(prop_oneof![3 => 0_u8..14, 1 => any::<u8>()], 0..300),
    ) {
        let file = Gguf { version: 3, n_tensors, n_keys, pairs: rest, tensors: vec![], data: vec![] };
        touch_everything(&file.bytes());
    }
}
