//! What is written is what is read, and files appear whole or not at all.
#![expect(clippy::unwrap_used, reason = "a test helper may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use proptest::prelude::*;
use rosaq_tensor::{
    DType, TensorData, TensorError, TensorStore, TensorView, f32_to_f16_bytes, write_safetensors,
};

const DTYPES: [DType; 8] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::U32,
    DType::U8,
    DType::Bool,
];

fn tensor(name: &str, dtype: DType, shape: &[usize], bytes: Vec<u8>) -> TensorData<'static> {
    TensorData { name: name.into(), dtype, shape: shape.into(), bytes: bytes.into() }
}

prop_compose! {
    fn any_tensor()(
        dtype in prop::sample::select(&DTYPES[..]),
        shape in prop::collection::vec(0_usize..5, 0..4),
    )(
        bytes in prop::collection::vec(
            any::<u8>(),
            shape.iter().product::<usize>() * dtype.block_bytes(),
        ),
        dtype in Just(dtype),
        shape in Just(shape),
    ) -> TensorData<'static> {
        TensorData { name: String::new(), dtype, shape, bytes: bytes.into() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn write_then_read_is_identity(
        named in prop::collection::btree_map(any::<String>(), any_tensor(), 0..6),
        metadata in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let mut tensors: Vec<TensorData<'_>> =
            named.into_iter().map(|(name, tensor)| TensorData { name, ..tensor }).collect();
        write_safetensors(&path, &tensors, metadata.clone()).unwrap();
        let store = TensorStore::open(dir.path()).unwrap();
        prop_assert_eq!(&store.safetensors_metadata()[0], &metadata);
        prop_assert_eq!(store.names().count(), tensors.len());
        for tensor in &tensors {
            let view = store.get(&tensor.name).unwrap();
            prop_assert_eq!(view.dtype, tensor.dtype);
            prop_assert_eq!(view.shape, &*tensor.shape);
            prop_assert_eq!(view.bytes, &*tensor.bytes);
            // Data are aligned in the file, which a map aligns to a page.
            prop_assert!(view.bytes.is_empty() || view.bytes.as_ptr().addr().is_multiple_of(view.dtype.block_bytes()));
        }
        let first = std::fs::read(&path).unwrap();
        tensors.reverse();
        write_safetensors(&path, &tensors, metadata).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), first);
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn f16_and_bf16_survive(bits in prop::collection::vec(any::<u16>(), 1..100)) {
        let halves: Vec<f16> = bits.iter().map(|&b| f16::from_bits(b)).collect();
        if halves.iter().all(|h| h.is_finite()) {
            let values = read(DType::F16, &bits).unwrap();
            let back = f32_to_f16_bytes(&values, "t").unwrap();
            prop_assert_eq!(back, bits.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>());
        } else {
            prop_assert!(read(DType::F16, &bits).is_err());
        }
        let halves: Vec<bf16> = bits.iter().map(|&b| bf16::from_bits(b)).collect();
        match read(DType::BF16, &bits) {
            Ok(values) => {
                let back: Vec<u16> = values.iter().map(|&v| bf16::from_f32(v).to_bits()).collect();
                prop_assert_eq!(back, bits);
            }
            Err(_) => prop_assert!(halves.iter().any(|h| !h.is_finite())),
        }
    }
}

fn read(dtype: DType, bits: &[u16]) -> Result<Vec<f32>, TensorError> {
    let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
    let shape = [bits.len()];
    TensorView { name: "t", dtype, shape: &shape, bytes: &bytes, file: Path::new("f") }.to_f32()
}

#[test]
fn the_reference_parser_reads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let tensors = [
        tensor("a \"quoted\"", DType::U8, &[3], vec![1, 2, 3]),
        tensor("b", DType::F16, &[1, 2], vec![0; 4]),
    ];
    write_safetensors(&path, &tensors, [("k\n".into(), "\u{1}".into())].into()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(parsed.tensor("a \"quoted\"").unwrap().data(), [1, 2, 3]);
    assert_eq!(parsed.tensor("b").unwrap().shape(), [1, 2]);
}

#[track_caller]
fn check_refused(tensors: &[TensorData<'_>], expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let error = write_safetensors(&path, tensors, BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let byte = |name| tensor(name, DType::U8, &[1], vec![0]);
    check_refused(&[byte("a"), byte("b"), byte("a")], "tensor `a` is defined twice");
    check_refused(&[byte("__metadata__")], "`__metadata__`");
    check_refused(&[tensor("a", DType::F32, &[2], vec![0; 4])], "expected 8 bytes for its shape");
    check_refused(&[tensor("a", DType::F32, &[usize::MAX, 2], vec![])], "`a`");
    check_refused(&[tensor("a", DType::Q8_0, &[32], vec![0; 34])], "element type Q8_0");
}

#[test]
fn failures_of_the_disk_name_the_target_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent").join("x.safetensors");
    let error = write_safetensors(&absent, &[], BTreeMap::new()).unwrap_err();
    assert!(matches!(&error, TensorError::Write { path, .. } if *path == absent), "{error}");
    // A directory cannot be replaced by a file: the rename fails after everything was written.
    let taken = dir.path().join("taken");
    std::fs::create_dir_all(taken.join("inside")).unwrap();
    let error = write_safetensors(&taken, &[], BTreeMap::new()).unwrap_err();
    assert!(matches!(error, TensorError::Write { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_map_keeps_the_old_file_while_a_new_one_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write_safetensors(&path, &[tensor("a", DType::U8, &[1], vec![1])], BTreeMap::new()).unwrap();
    let store = TensorStore::open(&path).unwrap();
    if cfg!(unix) {
        write_safetensors(&path, &[tensor("a", DType::U8, &[1], vec![2])], BTreeMap::new())
            .unwrap();
    }
    store.release();
    assert_eq!(store.get("a").unwrap().bytes, [1]);
    assert_eq!(store.files(), [path]);
    assert_eq!(store.file_bytes(0).last(), Some(&1));
}

#[test]
fn checkpoints_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: &Path| TensorStore::open(path).unwrap_err().to_string();
    assert!(message(&dir.path().join("absent")).starts_with("cannot read"));
    assert!(message(dir.path()).contains("expected `model.safetensors`"));
    std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
    assert!(message(&dir.path().join("notes.txt")).contains("neither"));
    // An empty GGUF file: magic, version, no tensor, no key.
    let gguf = [&b"GGUF\x03\0\0\0"[..], &[0; 16]].concat();
    std::fs::write(dir.path().join("one.gguf"), &gguf).unwrap();
    assert!(TensorStore::open(dir.path()).unwrap().gguf().is_some());
    std::fs::write(dir.path().join("two.GGUF"), &gguf).unwrap();
    assert!(message(dir.path()).contains("2 `.gguf` files"));
    let path = dir.path().join("model.safetensors");
    write_safetensors(&path, &[], BTreeMap::new()).unwrap();
    assert!(TensorStore::open(dir.path()).unwrap().gguf().is_none());
}
