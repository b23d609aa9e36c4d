//! Bad input and failing disks: one message that names the file, the right exit code, never a panic, nothing left behind.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{
    Ended, Safetensors, change, change_json, check_nothing_left, check_same_files, copy_of,
    fixture, header_len, quantize, run, text, work_dir,
};
use serde_json::json;

/// A copy of a bundled model in a directory of its own, and a target beside it.
struct Case {
    dir: tempfile::TempDir,
    model: PathBuf,
    out: PathBuf,
}

impl Case {
    fn of(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (model, out) = (copy_of(name, &dir.path().join("model")), dir.path().join("out"));
        Self { dir, model, out }
    }

    fn llama() -> Self {
        Self::of("tiny-llama")
    }

    fn weights(&self) -> PathBuf {
        self.model.join("model.safetensors")
    }

    fn config(&self) -> PathBuf {
        self.model.join("config.json")
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Demands that every method refuses the model with all of `words`, and leaves nothing.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        for method in ["rtn", "rosaq"] {
            self.quantize_refused(&["--method", method], words);
        }
    }

    #[track_caller]
    fn quantize_refused(&self, flags: &[&str], words: &[&str]) {
        quantize(&self.model, &self.out, flags).refused(2, words);
        check_nothing_left(&self.out);
    }

    /// The same for what shows only when weights are read, and that the repaired model is not held up by what was done before.
    #[track_caller]
    fn refused_halfway(&self, words: &[&str]) {
        let broken = fs::read(self.weights()).unwrap();
        for method in ["rtn", "rosaq"] {
            let flags = ["--method", method, "--no-eval"];
            let out = self.dir.path().join(method);
            quantize(&self.model, &out, &flags).refused(2, words);
            check_nothing_left(&out);
            fs::copy(fixture("tiny-llama/model.safetensors"), self.weights()).unwrap();
            quantize(&self.model, &out, &flags).exits(0);
            assert!(!work_dir(&out).exists());
            let undisturbed = self.dir.path().join(format!("{method}-undisturbed"));
            quantize(&self.model, &undisturbed, &flags).exits(0);
            check_same_files(&out, &undisturbed);
            fs::write(self.weights(), &broken).unwrap();
        }
    }

    fn logits(&self, model: &Path) -> Ended {
        let (ids, out) = (self.file("ids.json", b"[1, 2, 3]"), self.dir.path().join("logits.npy"));
        run(&["logits", text(model), "--ids", text(&ids), "--out", text(&out)])
    }

    fn logits_bytes(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("logits.npy")).unwrap()
    }
}

#[test]
fn truncated_safetensors() {
    for keep in [0, 7, 8, 100, 20_000, 3_000_000] {
        let case = Case::llama();
        change(&case.weights(), |bytes| bytes.truncate(keep));
        case.refused(&["model.safetensors"]);
    }
}

#[test]
fn longer_safetensors() {
    let case = Case::llama();
    change(&case.weights(), |bytes| bytes.push(0));
    case.refused(&["model.safetensors"]);
}

#[test]
fn truncated_gguf() {
    let whole = fs::read(fixture("golden/families/llama-gguf/model.gguf")).unwrap();
    let case = Case::llama();
    for keep in [0, 3, 4, 20, 100, 700, 2_000, whole.len() / 2, whole.len() - 1] {
        let model = case.file("broken.gguf", &whole[..keep]);
        for flags in [&["--method", "rtn", "--no-eval"][..], &[]] {
            quantize(&model, &case.out, flags).refused(2, &["broken.gguf"]);
            check_nothing_left(&case.out);
        }
        case.logits(&model).refused(2, &["broken.gguf"]);
    }
}

#[test]
fn flipped_bytes_in_a_safetensors_header_are_found_or_harmless() {
    let case = Case::llama();
    case.logits(&case.model).exits(0);
    let expected = case.logits_bytes();
    let whole = fs::read(case.weights()).unwrap();
    let end = 8 + header_len(&whole);
    // The length, then places all over the header, coprime to any period in it.
    for at in (0..8).chain((8..end).step_by(end / 97)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(case.weights(), bytes).unwrap();
        let ended = case.logits(&case.model);
        match ended.code {
            Some(0) => assert!(case.logits_bytes() == expected, "byte {at} changed the logits"),
            _ => ended.refused(2, &["model"]),
        }
    }
}

#[test]
fn flipped_bytes_in_a_gguf_header_are_no_panic() {
    let whole = fs::read(fixture("golden/families/llama-gguf/model.gguf")).unwrap();
    let case = Case::llama();
    // Metadata and the tensors' names, shapes, types and offsets take the first 1.6 kB.
    for at in (0..24).chain((24..1600).step_by(13)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let model = case.file("flipped.gguf", &bytes);
        // A number such as the base of the rotary frequencies may change unnoticed: GGUF has no checksum.
        let ended = case.logits(&model);
        if ended.code != Some(0) {
            ended.refused(2, &[]);
        }
    }
}

#[test]
fn a_header_length_beyond_everything() {
    for length in [1_u64 << 63, u64::MAX, 1 << 40, 0] {
        let case = Case::llama();
        change(&case.weights(), |bytes| bytes[..8].copy_from_slice(&length.to_le_bytes()));
        case.refused(&["model.safetensors"]);
    }
}

const Q0: &str = "model.layers.0.self_attn.q_proj.weight";
const DOWN2: &str = "model.layers.2.mlp.down_proj.weight";

#[test]
fn overlapping_and_reversed_offsets() {
    for change_offsets in [
        |start: u64, end: u64| [start - 2, end - 2],
        |start: u64, end: u64| [start + 2, end + 2],
        |start: u64, end: u64| [end, start],
        |start: u64, end: u64| [start, end + (1 << 62)],
        |_, _| [u64::MAX - 1, u64::MAX],
    ] {
        let case = Case::llama();
        let mut file = Safetensors::read(&case.weights());
        let offsets = &mut file.header[DOWN2]["data_offsets"];
        let [start, end] = [0, 1].map(|i| offsets[i].as_u64().unwrap());
        *offsets = json!(change_offsets(start, end));
        file.write(&case.weights());
        case.refused(&["model.safetensors", "tensor `"]);
    }
}

#[test]
fn nan_and_infinite_weights() {
    let last = "model.layers.3.mlp.up_proj.weight";
    for (tensor, value) in [(Q0, 0x7e00_u16), (last, 0x7c00), (last, 0xfc00)] {
        let case = Case::llama();
        let mut file = Safetensors::read(&case.weights());
        file.tensor(tensor)[20..22].copy_from_slice(&value.to_le_bytes());
        file.write(&case.weights());
        case.refused_halfway(&["model.safetensors", tensor, "element 10"]);
        case.logits(&case.model).refused(2, &["model.safetensors", tensor]);
    }
}

#[test]
fn nan_in_an_embedding_row_that_no_text_uses() {
    let case = Case::llama();
    let mut file = Safetensors::read(&case.weights());
    let table = file.tensor("model.embed_tokens.weight");
    let last = table.len() - 2;
    table[last..].copy_from_slice(&0x7e00_u16.to_le_bytes());
    file.write(&case.weights());
    // The evaluation, which is prepared first, reads the whole table.
    case.refused(&["model.safetensors", "model.embed_tokens.weight"]);
    case.refused_halfway(&["model.safetensors", "model.embed_tokens.weight"]);
}

#[test]
fn a_missing_tensor() {
    for tensor in [Q0, DOWN2, "model.norm.weight", "model.embed_tokens.weight"] {
        let case = Case::llama();
        let mut file = Safetensors::read(&case.weights());
        let info = file.header.shift_remove(tensor).unwrap();
        file.header.insert("model.something.else".to_owned(), info);
        file.write(&case.weights());
        case.refused(&[text(&case.model), tensor]);
    }
}

#[test]
fn a_wrong_shape() {
    let case = Case::llama();
    let mut file = Safetensors::read(&case.weights());
    file.header[DOWN2]["shape"] = json!([416, 192]);
    file.write(&case.weights());
    case.refused(&["model.safetensors", DOWN2, "[192, 416]", "[416, 192]"]);
    file.header[DOWN2]["shape"] = json!([192, 416, 1]);
    file.write(&case.weights());
    case.refused(&["model.safetensors", DOWN2]);
    file.header[DOWN2]["shape"] = json!([1_u64 << 40, 1_u64 << 40]);
    file.write(&case.weights());
    case.refused(&["model.safetensors", DOWN2]);
}

#[test]
fn an_element_type_that_is_no_weight() {
    let case = Case::llama();
    let mut file = Safetensors::read(&case.weights());
    for dtype in ["I16", "F8_E4M3", "WAT"] {
        file.header[DOWN2]["dtype"] = json!(dtype);
        file.write(&case.weights());
        case.refused(&["model.safetensors", DOWN2]);
    }
}

#[test]
fn a_configuration_that_contradicts_the_tensors() {
    for (field, value, words) in [
        ("num_hidden_layers", 3, "model.layers.3."),
        ("num_hidden_layers", 5, "model.layers.4."),
        ("vocab_size", 1919, "model.embed_tokens.weight"),
        ("vocab_size", 1921, "model.embed_tokens.weight"),
        ("hidden_size", 160, "model.embed_tokens.weight"),
        ("intermediate_size", 415, "mlp."),
        ("num_attention_heads", 4, "self_attn."),
        ("num_key_value_heads", 6, "self_attn.k_proj"),
    ] {
        let case = Case::llama();
        change_json(&case.config(), |json| json[field] = json!(value));
        case.refused(&[text(&case.model), words]);
    }
    let untied = Case::llama();
    change_json(&untied.config(), |json| json["tie_word_embeddings"] = json!(false));
    untied.refused(&[text(&untied.model), "lm_head.weight"]);
}

#[test]
fn a_bias_that_the_configuration_does_not_announce() {
    let case = Case::llama();
    let mut file = Safetensors::read(&case.weights());
    let bias = "model.layers.1.self_attn.v_proj.bias";
    file.push_zeros(bias, &[64]);
    file.write(&case.weights());
    case.refused(&[text(&case.model), bias]);
    // And the other way around: announced, but not there.
    let case = Case::llama();
    change_json(&case.config(), |json| json["attention_bias"] = json!(true));
    case.refused(&[text(&case.model), "self_attn.q_proj.bias"]);
}

#[test]
fn configurations_out_of_range() {
    for (field, value) in [
        ("num_key_value_heads", json!(4)),
        ("num_attention_heads", json!(0)),
        ("head_dim", json!(31)),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!(1_u64 << 60)),
        ("num_hidden_layers", json!("four")),
        ("num_hidden_layers", json!(1 << 24)),
        ("rms_norm_eps", json!(0)),
        ("rope_theta", json!(-1.0)),
        ("rope_scaling", json!({"type": "yarn", "factor": 4.0})),
        ("hidden_act", json!("gelu")),
        ("architectures", json!([])),
        ("quantization_config", json!({"quant_method": "gptq"})),
    ] {
        let case = Case::llama();
        change_json(&case.config(), |json| drop(json.insert(field.to_owned(), value)));
        case.quantize_refused(&["--method", "rtn"], &[text(&case.model)]);
    }
}

#[test]
fn unreadable_configurations() {
    for content in [&b""[..], b"{", b"[]", b"\xff\xfe", b"null"] {
        let case = Case::llama();
        fs::write(case.config(), content).unwrap();
        case.quantize_refused(&[], &["config.json"]);
    }
    let case = Case::llama();
    fs::remove_file(case.config()).unwrap();
    case.quantize_refused(&[], &["config.json"]);
}

#[test]
fn an_unknown_architecture() {
    let case = Case::llama();
    change_json(&case.config(), |json| json["architectures"] = json!(["OPTForCausalLM"]));
    case.refused(&[text(&case.config()), "OPTForCausalLM", "LlamaForCausalLM"]);
}

#[test]
fn a_missing_or_broken_tokenizer() {
    let case = Case::llama();
    let tokenizer = case.model.join("tokenizer.json");
    fs::write(&tokenizer, "{}").unwrap();
    case.quantize_refused(&[], &["tokenizer.json"]);
    fs::remove_file(&tokenizer).unwrap();
    case.quantize_refused(&[], &["tokenizer.json", text(&case.model)]);
}

#[test]
fn a_tokenizer_of_another_model() {
    let case = Case::of("tiny-qwen2");
    fs::copy(fixture("tiny-llama/tokenizer.json"), case.model.join("tokenizer.json")).unwrap();
    case.quantize_refused(&[], &["tokenizer", "1568"]);
}

#[test]
fn calibration_texts_of_no_use() {
    let case = Case::llama();
    for (name, content, words) in [
        ("empty.txt", &b""[..], &["expected text"][..]),
        ("empty.jsonl", b"\n\n", &["expected text"]),
        ("short.txt", b"Once upon a time.\n", &["at least 512 tokens", "found "]),
        ("short.jsonl", b"{\"text\": \"Once upon a time.\"}\n", &["at least 512 tokens", "found "]),
        ("bytes.txt", b"fine\nnot \xff fine\n", &["line 2", "UTF-8"]),
        ("bytes.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n", &["line 2", "UTF-8"]),
        ("other.jsonl", b"{\"text\": \"a\"}\n{\"content\": \"b\"}\n", &["line 2", "text"]),
        ("number.jsonl", b"{\"text\": 1}\n", &["line 1", "text"]),
        ("cut.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"b", &["line 2"]),
    ] {
        let path = case.file(name, content);
        let words = [&[text(&path)], words].concat();
        case.quantize_refused(&["--calib", text(&path)], &words);
    }
    let missing = case.dir.path().join("missing.txt");
    case.quantize_refused(&["--calib", text(&missing)], &[text(&missing)]);
    case.quantize_refused(&["--calib", text(case.dir.path())], &[text(case.dir.path())]);
}

#[test]
fn evaluation_texts_of_no_use_are_refused_before_the_work() {
    let case = Case::llama();
    for (name, content, words) in [
        ("empty.txt", &b""[..], &["expected text"][..]),
        ("short.txt", b"Once upon a time.\n", &["at least 128 tokens", "found "]),
        ("bytes.txt", b"fine\nnot \xff fine\n", &["line 2", "UTF-8"]),
    ] {
        let path = case.file(name, content);
        let words = [&[text(&path)], words].concat();
        case.quantize_refused(&["--text", text(&path)], &words);
        let args = ["eval", text(&case.model), "--context", "128", "--text", text(&path)];
        run(&args).refused(2, &words);
    }
    let missing = case.dir.path().join("missing.txt");
    case.quantize_refused(&["--text", text(&missing)], &[text(&missing)]);
}

#[test]
fn paths_that_are_no_model() {
    let case = Case::llama();
    let missing = case.dir.path().join("missing");
    let empty = case.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let picture = case.file("picture.png", b"\x89PNG");
    for path in [&missing, &empty, &picture] {
        quantize(path, &case.out, &[]).refused(2, &[text(path)]);
        check_nothing_left(&case.out);
        for command in ["eval", "verify"] {
            run(&[command, text(path)]).refused(2, &[text(path)]);
        }
        case.logits(path).refused(2, &[text(path)]);
    }
}

#[test]
fn a_missing_shard_of_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let model = copy_of("golden/families/llama-gqa-tied", &dir.path().join("model"));
    let shard = model.join("model-00002-of-00002.safetensors");
    fs::remove_file(&shard).unwrap();
    let out = dir.path().join("out");
    quantize(&model, &out, &["--method", "rtn", "--no-eval"]).refused(2, &[text(&shard)]);
    check_nothing_left(&out);
}

#[test]
fn a_quantized_model_as_source() {
    let packed = Packed::new();
    let again = packed.dir.path().join("again");
    quantize(&packed.out, &again, &[])
        .refused(2, &[text(&packed.out), "already quantized", "rosaq"]);
    check_nothing_left(&again);
}

/// A packed checkpoint to be damaged.
struct Packed {
    dir: tempfile::TempDir,
    out: PathBuf,
}

impl Packed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("packed");
        let flags = ["--method", "rtn", "--no-eval"];
        quantize(&fixture("tiny-qwen2"), &out, &flags).exits(0);
        Self { dir, out }
    }

    fn shard(&self, number: usize) -> PathBuf {
        self.out.join(format!("model-{number:05}-of-00004.safetensors"))
    }

    #[track_caller]
    fn verify_refused(&self, words: &[&str]) {
        run(&["verify", text(&self.out), "--json"]).refused(2, words);
    }
}

#[test]
fn verify_finds_a_flipped_payload_byte() {
    let packed = Packed::new();
    run(&["verify", text(&packed.out)]).exits(0);
    for (number, tensor) in [
        (1, "model.embed_tokens.weight"),
        (2, "model.layers.0.self_attn.o_proj.codes"),
        (3, "model.layers.1.mlp.gate_proj.scales"),
        (4, "model.layers.2.mlp.down_proj.zeros"),
        (4, "model.layers.2.input_layernorm.weight"),
    ] {
        let shard = packed.shard(number);
        let whole = fs::read(&shard).unwrap();
        let mut file = Safetensors::read(&shard);
        let bytes = file.tensor(tensor);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let data = file.data;
        change(&shard, |bytes| {
            let start = bytes.len() - data.len();
            bytes[start..].copy_from_slice(&data);
        });
        packed.verify_refused(&[text(&shard), tensor, "checksum"]);
        fs::write(&shard, whole).unwrap();
    }
    run(&["verify", text(&packed.out)]).exits(0);
}

#[test]
fn verify_finds_flipped_bytes_in_the_configuration() {
    let packed = Packed::new();
    let config = packed.out.join("config.json");
    let whole = fs::read(&config).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 7); // stays ASCII, so that the JSON can stay valid
        fs::write(&config, &bytes).unwrap();
        let ended = run(&["verify", text(&packed.out)]);
        // Space between values has no meaning, and may turn into other such space.
        if ended.code != Some(0) || !whole[at].is_ascii_whitespace() {
            ended.refused(2, &["config.json"]);
        }
    }
}

#[test]
fn verify_finds_flipped_bytes_in_a_shard_header() {
    let packed = Packed::new();
    let shard = packed.shard(2);
    let whole = fs::read(&shard).unwrap();
    let end = 8 + header_len(&whole);
    for at in (0..end).step_by(end / 61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&shard, &bytes).unwrap();
        let ended = run(&["verify", text(&packed.out)]);
        if ended.code != Some(0) {
            ended.refused(2, &["packed"]);
        }
    }
}

#[test]
fn an_incomplete_packed_checkpoint() {
    let packed = Packed::new();
    for name in [
        "model-00001-of-00004.safetensors",
        "model-00003-of-00004.safetensors",
        "model.safetensors.index.json",
    ] {
        let path = packed.out.join(name);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        packed.verify_refused(&[text(&path)]);
        let flags = ["--context", "64", "--max-segments", "1"];
        run(&[&["eval", text(&packed.out)], &flags[..]].concat()).refused(2, &[text(&path)]);
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        packed.verify_refused(&[text(&path)]);
        fs::write(&path, whole).unwrap();
    }
    run(&["verify", text(&packed.out)]).exits(0);
}

#[cfg(unix)]
#[test]
fn a_target_below_a_regular_file() {
    let case = Case::llama();
    let file = case.file("file", b"precious");
    for method in ["rtn", "rosaq"] {
        for out in [file.join("x"), PathBuf::from("/dev/null/x")] {
            let ended = quantize(&case.model, &out, &["--method", method]);
            ended.refused(1, &["create", text(out.parent().unwrap())]);
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let npy = file.join("a.npy");
    let ids = case.file("ids.json", b"[1]");
    let args = ["logits", text(&case.model), "--ids", text(&ids), "--out", text(&npy)];
    run(&args).refused(1, &[text(&npy)]);
}

/// Runs the program with files limited to `blocks` of 512 bytes: what lies beyond fails as on a full disk.
#[cfg(unix)]
fn run_limited(blocks: u32, args: &[&str]) -> Ended {
    let program = common::xtask(args);
    let script = format!("ulimit -f {blocks} || exit 99; trap '' XFSZ; exec \"$0\" \"$@\"");
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).arg(program.get_program()).args(args);
    Ended::of(args, &command.output().unwrap())
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_with_code_1_and_the_same_command_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixture("tiny-llama");
    // Below the blocks' 206 kB, between them and the embedding's 812 kB, within the statistics, and within small files.
    for (method, blocks) in
        [("rtn", 200), ("rtn", 600), ("rosaq", 200), ("rosaq", 1500), ("rtn", 0), ("rosaq", 3)]
    {
        let undisturbed = dir.path().join(method);
        let args = |out: &Path| -> Vec<String> {
            let fixed = [
                "quantize",
                "--model",
                text(&model),
                "--out",
                text(out),
                "--method",
                method,
                "--no-eval",
            ];
            fixed.iter().chain(&common::SMALL).map(ToString::to_string).collect()
        };
        let borrowed = |args: &[String]| -> Ended {
            run(&args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        if !undisturbed.exists() {
            borrowed(&args(&undisturbed)).exits(0);
        }
        let out = dir.path().join(format!("{method}-{blocks}"));
        let args = args(&out);
        let limited = run_limited(blocks, &args.iter().map(String::as_str).collect::<Vec<_>>());
        limited.refused(1, &[text(&work_dir(&out)), "File too large"]);
        assert!(!out.exists());
        borrowed(&args).exits(0);
        assert!(!work_dir(&out).exists());
        check_same_files(&out, &undisturbed);
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_part_of_logits() {
    let case = Case::llama();
    let (ids, out) = (case.file("ids.json", b"[1, 2, 3]"), case.dir.path().join("a.npy"));
    let args = ["logits", text(&case.model), "--ids", text(&ids), "--out", text(&out)];
    run_limited(8, &args).refused(1, &[text(&out), "File too large"]);
    let names: Vec<_> =
        fs::read_dir(case.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}"); // the model and the list
}
