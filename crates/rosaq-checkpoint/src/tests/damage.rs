//! Damaged, truncated, contradictory and hostile files: an error that names the place, never a panic.

use proptest::prelude::*;

use super::*;
use crate::header::INDEX_FILE;

#[test]
fn a_flipped_payload_byte_is_found_and_named() {
    let written = Written::new(LLAMA);
    let path = written.shard(2);
    let bytes = fs::read(&path).unwrap();
    let store = rosaq_tensor::TensorStore::open(&path).unwrap();
    for name in store.names() {
        // No single bit makes these values NaN, the permutations not distinct, or the like.
        let view = store.get(name).unwrap();
        let at = view.bytes.as_ptr().addr() - store.file_bytes(0).as_ptr().addr();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let copy = written.path().join("copy");
        fs::write(&copy, damaged).unwrap();
        fs::rename(&copy, &path).unwrap(); // the map keeps the old file
        let verified = Checkpoint::open(written.path()).and_then(|c| c.verify(&|_| ()));
        if name.ends_with("channels") {
            refused(verified, &[name.trim_end_matches(".channels"), "00003-of-00003", "twice"]);
        } else {
            refused(verified, &[name, "00003-of-00003", "checksum"]);
        }
    }
    fs::write(&path, bytes).unwrap();
    let progress = std::cell::Cell::new(0.0);
    let checkpoint = Checkpoint::open(written.path()).unwrap();
    let report = checkpoint.verify(&|share| progress.set(share)).unwrap();
    assert_eq!(report.n_files, 3);
    let index = fs::read_to_string(written.path().join(INDEX_FILE)).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(report.n_tensors, index["weight_map"].as_object().unwrap().len() as u64);
    assert_eq!(report.n_bytes, index["metadata"]["total_size"].as_u64().unwrap());
    assert!(progress.get() >= 1.0);
}

#[test]
fn truncated_and_empty_files_are_errors() {
    let written = Written::new(LLAMA);
    let open = || Checkpoint::open(written.path());
    for file in [written.shard(0), written.shard(1), written.path().join(CONFIG_FILE)] {
        let name = file.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&file).unwrap();
        for len in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 3] {
            fs::write(&file, &bytes[..len]).unwrap();
            refused(open(), &[name]);
        }
        fs::remove_file(&file).unwrap();
        refused(open(), &[name, "cannot read"]);
        fs::write(&file, bytes).unwrap();
    }
    let index = written.path().join(INDEX_FILE);
    fs::write(&index, []).unwrap();
    refused(open(), &[INDEX_FILE]);
}

#[test]
fn an_index_must_say_what_the_shards_hold() {
    let written = Written::new(LLAMA);
    let path = written.path().join(INDEX_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let check = |from: &str, to: &str, words: &[&str]| {
        assert!(text.contains(from));
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        refused(Checkpoint::open(written.path()), words);
    };
    check(
        "\"lm_head.weight\": \"model-00001",
        "\"lm_head.weight\": \"model-00009",
        &["lm_head.weight", "model-00009", "model-00001-of-00003"],
    );
    check("\"lm_head.weight\"", "\"lm_tail.weight\"", &["lm_head.weight", "no shard"]);
    check("weight_map", "weight_mop", &["index", "weight_map"]);
}

#[test]
fn contradictory_configurations_are_refused() {
    let check = |from: &str, to: &str, words: &[&str]| {
        let written = Written::new(LLAMA);
        written.edit_config(from, to);
        refused(Checkpoint::open(written.path()), words);
    };
    check(r#""quant_method":"rosaq""#, r#""quant_method":"gptq""#, &["gptq", "rosaq"]);
    check(r#""version":1"#, r#""version":2"#, &["version 2", "newer", "update"]);
    check(r#""hidden_size":16"#, r#""hidden_size":32"#, &["q_proj", "[32, 32]", "[16, 16]"]);
    check(r#""num_hidden_layers":2"#, r#""num_hidden_layers":3"#, &["layers.2", "not described"]);
    check(r#""num_hidden_layers":2"#, r#""num_hidden_layers":1"#, &["layers.1", "no linear"]);
    check(r#""vocab_size":11"#, r#""vocab_size":12"#, &["embed_tokens", "[12, 16]", "[11, 16]"]);
    check(r#""mlp_bias":true"#, r#""mlp_bias":false"#, &["down_proj.bias", "no part"]);
    let tied = r#""tie_word_embeddings":true"#;
    check(r#""tie_word_embeddings":false"#, tied, &["lm_head.weight"]);
    check(r#""bits":3"#, r#""bits":7"#, &["quantization_config", "7"]);
    check(r#""order":"explicit""#, r#""order":"identity""#, &["differently", "config.json"]);
    check(r#""group_size":8"#, r#""group_size":4"#, &["differently", "k_proj"]);
    check(r#""out_features":8"#, r#""out_features":9"#, &["k_proj", "[8, 16]", "[9, 16]"]);
    check(r#""settings""#, r#""setting""#, &["unknown field", "setting"]);
}

#[test]
fn an_edit_is_noticed_unless_the_checksum_is_taken_out() {
    let written = Written::new(LLAMA);
    let path = written.path().join(CONFIG_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("12345.678", "22345.678", 1)).unwrap();
    refused(Checkpoint::open(written.path()), &["config.json", "changed", "remove `checksum`"]);
    fs::write(&path, text).unwrap();
    written.edit_config("12345.678", "22345.678");
    let theta = Checkpoint::open(written.path()).unwrap().config().rope_theta;
    assert!((theta - 22345.678).abs() < 1e-6);
}

/// Writes block 1 again with other tensors or metadata than the writer would give it.
fn rewrite_shard(
    written: &Written,
    edit: impl FnOnce(
        &mut Vec<rosaq_tensor::TensorData<'static>>,
        &mut std::collections::BTreeMap<String, String>,
    ),
) {
    rewrite(&written.shard(2), edit);
}

/// Reads a shard, lets `edit` change it, and writes it back.
fn rewrite(
    path: &Path,
    edit: impl FnOnce(
        &mut Vec<rosaq_tensor::TensorData<'static>>,
        &mut std::collections::BTreeMap<String, String>,
    ),
) {
    let bytes = fs::read(path).unwrap();
    let header = rosaq_tensor::parse_safetensors(&bytes, path).unwrap();
    let mut tensors: Vec<_> = header
        .tensors
        .iter()
        .map(|entry| rosaq_tensor::TensorData {
            name: entry.name.clone(),
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            bytes: bytes[entry.range.clone()].to_vec().into(),
        })
        .collect();
    let mut metadata = header.metadata;
    edit(&mut tensors, &mut metadata);
    rosaq_tensor::write_safetensors(path, &tensors, metadata).unwrap();
}

#[test]
fn tensors_that_do_not_belong_are_refused() {
    let check =
        |name: &'static str, edit: fn(&mut rosaq_tensor::TensorData<'static>), words: &[&str]| {
            let written = Written::new(LLAMA);
            rewrite_shard(&written, |tensors, _| {
                edit(tensors.iter_mut().find(|t| t.name.ends_with(name)).unwrap());
            });
            refused(Checkpoint::open(written.path()), words);
        };
    check("q_proj.codes", |t| t.name += "x", &["no tensor", "q_proj.codes", "00003-of-00003"]);
    check("q_proj.scales", |t| t.shape.reverse(), &["q_proj.scales", "[16, 3]", "[3, 16]"]);
    check("q_proj.f16", |t| t.dtype = rosaq_tensor::DType::BF16, &["q_proj.f16", "F16", "BF16"]);

    let written = Written::new(LLAMA);
    rewrite_shard(&written, |tensors, _| {
        let mut extra = tensors[0].clone();
        extra.name = "model.layers.1.extra".to_owned();
        tensors.push(extra);
    });
    refused(Checkpoint::open(written.path()), &["model.layers.1.extra", "no part of this model"]);
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for name in ["input_layernorm.weight", "q_proj.bias", "q_proj.scales", "q_proj.f16"] {
        let written = Written::new(LLAMA);
        rewrite_shard(&written, |tensors, _| {
            let tensor = tensors.iter_mut().find(|t| t.name.ends_with(name)).unwrap();
            // Set bits are NaN in f16 and in f32.
            tensor.bytes.to_mut()[4..8].fill(0xff);
        });
        let checkpoint = Checkpoint::open(written.path()).unwrap();
        refused(checkpoint.load_block(1), &[name, "NaN"]);
    }
}

#[test]
fn shard_metadata_must_be_there() {
    let check = |key: &str, value: Option<&str>, words: &[&str]| {
        let written = Written::new(LLAMA);
        rewrite_shard(&written, |_, metadata| {
            metadata.remove(key).unwrap();
            metadata.extend(value.map(|value| (key.to_owned(), value.to_owned())));
        });
        refused(Checkpoint::open(written.path()), words);
    };
    check("rosaq_version", Some("2"), &["version 2", "update rosaq"]);
    check("rosaq_version", None, &["rosaq_version", "found none"]);
    check("rosaq_linears", Some("[]"), &["rosaq_linears", "JSON"]);
    check("rosaq_linears", Some("{}"), &["q_proj", "not described"]);
    check("rosaq_codebooks", None, &["rosaq_codebooks"]);
    check("rosaq_down_hadamard", None, &["rosaq_down_hadamard", "found none"]);
    for value in ["3x7", "x8", "24", "3x16", "99999999999999999999x8", "-3x-8"] {
        check("rosaq_down_hadamard", Some(value), &["rosaq_down_hadamard", value, "24"]);
    }
    for value in ["", "7", "7-", "x-00000000", "7-00000000", "-7-00000000"] {
        let written = Written::new(LLAMA);
        rewrite(&written.shard(0), |_, metadata| {
            metadata.insert("rosaq_head_basis".to_owned(), value.to_owned());
        });
        refused(Checkpoint::open(written.path()), &["rosaq_head_basis", value, "seed"]);
    }
    // A sound one has no place beside a head of its own, nor beside a matrix for the head's input.
    for written in [Written::new(LLAMA), Written::new(QWEN3)] {
        rewrite(&written.shard(0), |_, metadata| {
            metadata.insert("rosaq_head_basis".to_owned(), crate::header::seed_text(7));
        });
        refused(Checkpoint::open(written.path()), &["rosaq_head_basis", "shared table"]);
    }
    check("blake3:model.layers.1.mlp.up_proj.f16", Some("abc"), &["mlp.up_proj.f16", "64"]);
}

/// Bytes of the header, or the whole file where it is no safetensors file.
fn header_len(path: &Path, bytes: &[u8]) -> usize {
    if path.ends_with(CONFIG_FILE) {
        return bytes.len();
    }
    8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap()
}

fn everything(dir: &Path) -> Result<(Content, String), CheckpointError> {
    let checkpoint = Checkpoint::open(dir)?;
    let texts = format!("{:?} {:?}", checkpoint.config(), checkpoint.quantization());
    Ok((Content::load(&checkpoint)?, texts))
}

#[test]
fn a_flipped_header_byte_is_an_error_or_changes_nothing() {
    let written = Written::new(LLAMA);
    let expected = everything(written.path()).unwrap();
    let files = [written.path().join(CONFIG_FILE), written.shard(0), written.shard(1)];
    let files = files.map(|path| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let cases = (0..files.len(), any::<prop::sample::Index>(), 1..=u8::MAX);
    let outcome = runner.run(&cases, |(file_idx, at, change)| {
        let (path, bytes) = &files[file_idx];
        let at = at.index(header_len(path, bytes));
        let mut damaged = bytes.clone();
        damaged[at] ^= change;
        fs::write(path, damaged).unwrap();
        let found = everything(written.path());
        fs::write(path, bytes).unwrap();
        if let Ok(found) = found {
            prop_assert!(found == expected, "byte {at} of {path:?} ^ {change} goes unnoticed");
        }
        Ok(())
    });
    outcome.unwrap();
}
