//! Logits as a NumPy file.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::{Ended, fixture, quantize, run, text};
use serde_json::Value;

/// Header and values of a NumPy file of f32.
fn read_npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let values = bytes[data..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (String::from_utf8(bytes[10..data].to_vec()).unwrap(), values)
}

fn logits(model: &Path, ids: &str, out: &Path, more: &[&str]) -> Ended {
    let list = out.with_extension("ids.json");
    fs::write(&list, ids).unwrap();
    let args = ["logits", text(model), "--ids", text(&list), "--out", text(out), "--json"];
    run(&[&args[..], more].concat())
}

#[test]
fn logits_are_a_numpy_file_that_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a.npy", "b.npy"].map(|name| dir.path().join(name));
    let packed = dir.path().join("packed");
    quantize(&fixture("tiny-llama"), &packed, &["--no-eval"]).exits(0);
    for model in [&fixture("tiny-llama"), &packed] {
        let json = logits(model, "[0, 17, 5, 1919]", &a, &[]).exits(0).json();
        assert_eq!(json["shape"], serde_json::json!([4, 1920]));
        let (header, values) = read_npy(&a);
        assert!(header.contains("'<f4'") && header.contains("(4, 1920"), "{header}");
        assert_eq!(values.len(), 4 * 1920);
        assert!(values.iter().all(|x| x.is_finite()));
        logits(model, "[0, 17, 5, 1919]", &b, &["--threads", "1"]).exits(0);
        assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());
    }
}

#[test]
fn logits_need_no_tokenizer_and_match_the_reference_software() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.npy");
    for (family, model) in [("llama2-mha", ""), ("qwen2-bias", ""), ("llama-gguf", "model.gguf")] {
        let golden = fixture("golden/families").join(family);
        let json: Value =
            serde_json::from_slice(&fs::read(golden.join("logits.json")).unwrap()).unwrap();
        let model = if model.is_empty() { golden } else { golden.join(model) };
        logits(&model, &json["ids"].to_string(), &out, &[]).exits(0);
        let expected = json["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
        let expected: Vec<f64> = expected.collect();
        let (_, found) = read_npy(&out);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            // f32 here, f64 there, over two layers.
            assert!((f64::from(*a) - b).abs() <= 1e-4 * (1.0 + b.abs()), "{family}: {a} {b}");
        }
    }
}

#[test]
fn bad_token_lists_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.npy");
    let model = fixture("tiny-llama");
    let list = out.with_extension("ids.json");
    for ids in ["", "{}", "[1.5]", "[-1]", "[\"a\"]", "[4294967296]"] {
        logits(&model, ids, &out, &[]).refused(2, &[text(&list)]);
    }
    logits(&model, "[]", &out, &[]).refused(2, &[]);
    logits(&model, "[1, 1920]", &out, &[]).refused(2, &["1920"]);
    fs::remove_file(&list).unwrap();
    let args = ["logits", text(&model), "--ids", text(&list), "--out", text(&out)];
    run(&args).refused(2, &[text(&list)]);
    assert!(!out.exists());
}
