//! The command line: JSON keys, exit codes, predictions, what is kept and what is replaced.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::fs;

use common::{
    Ended, SMALL, check_nothing_left, check_same_files, fixture, quantize, run, text, work_dir,
};
use serde_json::{Map, Value};

#[track_caller]
fn check_keys(json: &Map<String, Value>, keys: &[&str]) {
    for key in keys {
        assert!(json.get(*key).is_some_and(|value| !value.is_null()), "no `{key}` in {json:#?}");
    }
}

#[track_caller]
fn number(json: &Map<String, Value>, key: &str) -> f64 {
    json[key].as_f64().unwrap_or_else(|| panic!("`{key}` is {}", json[key]))
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn quantize_without_a_model_takes_the_bundled_one_and_reports_every_key() {
    let dir = dir();
    let out = dir.path().join("out");
    let mut args = vec!["quantize", "--out", text(&out), "--json"];
    args.extend(SMALL);
    let json = run(&args).exits(0).json();
    check_keys(
        &json,
        &[
            "model",
            "method",
            "bits_per_weight",
            "weight_bits",
            "total_bytes",
            "perplexity",
            "kl",
            "cpu_seconds",
            "wall_seconds",
            "peak_rss_bytes",
            "out",
        ],
    );
    let stages = json["stages"].as_array().unwrap();
    assert!(stages.len() > 1);
    for stage in stages {
        check_keys(stage.as_object().unwrap(), &["stage", "cpu_seconds", "wall_seconds"]);
        let peak = stage["peak_rss_bytes"].as_f64(); // null where the system cannot tell stages apart
        assert!(peak.is_none_or(|p| p > 0.0 && p <= number(&json, "peak_rss_bytes")));
    }
    assert_eq!(json["method"], "spectral");
    assert_eq!(json["out"], text(&out));
    assert!(json["model"].as_str().unwrap().ends_with("tiny-llama"));
    let perplexity = json["perplexity"].as_object().unwrap();
    let (fp16, quantized) = (number(perplexity, "fp16"), number(perplexity, "quantized"));
    // The bundled model has about 26 on this text; four bits cost a few percent.
    assert!((10.0..50.0).contains(&fp16) && (0.99..1.3).contains(&(quantized / fp16)));
    assert!(number(&json, "bits_per_weight") >= number(&json, "weight_bits"));
    let weights: u64 = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    // `total_bytes` counts tensors (and perhaps headers), the files hold both.
    let ratio = number(&json, "total_bytes") / weights as f64;
    assert!((0.95..=1.0).contains(&ratio), "{ratio}");
    assert!(!work_dir(&out).exists());
}

#[cfg(unix)]
#[test]
fn a_result_can_be_read_by_everyone_who_may_read_its_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir();
    let out = dir.path().join("out");
    quantize(&fixture("tiny-llama"), &out, &["--method", "rtn"]).exits(0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let expected = mode(&out.join("config.json"));
    for entry in fs::read_dir(&out).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), expected, "{path:?}");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.contains("tmp") && !name.starts_with('.'), "{name}");
    }
}

#[test]
fn eval_reports_every_key_for_source_and_packed_models() {
    let dir = dir();
    let out = dir.path().join("out");
    let model = fixture("tiny-qwen2");
    let quantized = quantize(&model, &out, &["--bits", "3"]).exits(0).json();
    let eval = |args: &[&str]| {
        let small = ["eval", "--max-segments", "2", "--context", "128", "--json"];
        run(&[&small[..], args].concat())
    };
    let keys = ["model", "context", "tokens", "perplexity", "kl"];
    let packed = eval(&[text(&out), "--reference", text(&model)]).exits(0).json();
    check_keys(&packed, &keys);
    assert_eq!(packed["context"], 128);
    assert_eq!(packed["tokens"], 2 * 127);
    // Both come from the same checkpoint on the same path.
    assert_eq!(packed["kl"], quantized["kl"]);
    assert_eq!(packed["perplexity"], quantized["perplexity"]["quantized"]);
    assert_eq!(packed["reference_perplexity"], quantized["perplexity"]["fp16"]);

    let source = eval(&["--model", text(&model)]).exits(0).json();
    check_keys(&source, &["model", "context", "tokens", "perplexity"]);
    assert!(source.contains_key("kl") && source["kl"].is_null());
    assert_eq!(source["perplexity"], quantized["perplexity"]["fp16"]);

    let bar = ["--reference", text(&model), "--max-ppl-increase"];
    eval(&[&[text(&out)], &bar[..], &["0.0001"]].concat()).exits(3).json();
    eval(&[&[text(&out)], &bar[..], &["10000"]].concat()).exits(0).json();
}

#[test]
fn a_model_against_itself_has_no_divergence() {
    let model = fixture("tiny-llama");
    let args = ["eval", text(&model), "--reference", text(&model), "--max-ppl-increase", "0.0001"];
    let small = ["--max-segments", "1", "--context", "64", "--json"];
    let json = run(&[&args[..], &small[..]].concat()).exits(0).json();
    assert_eq!(number(&json, "kl"), 0.0);
    assert_eq!(json["perplexity"], json["reference_perplexity"]);
}

#[test]
fn compare_reports_a_row_of_every_key_for_each_variant() {
    let dir = dir();
    let out = dir.path().join("out");
    let (model, out) = (fixture("tiny-llama"), text(&out));
    let mut args = vec!["compare", "--model", text(&model), "--methods", "rtn,rosaq"];
    let [csv, html] = ["table.csv", "table.html"].map(|name| dir.path().join(name));
    args.extend(["--bits", "4,3", "--out", out, "--json"]);
    args.extend(["--csv", text(&csv), "--report", text(&html)]);
    args.extend(SMALL);
    let json = run(&args).exits(0).json();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1 + 2 * 2, "{rows:#?}");
    let csv = fs::read_to_string(&csv).unwrap();
    assert_eq!(csv.lines().count(), 1 + rows.len(), "{csv}");
    assert!(
        csv.starts_with("method,settings,bits,group_size,target_bits,salient,salient_per_head,"),
        "{csv}"
    );
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("absorbed"));
    for row in rows {
        let row = row.as_object().unwrap();
        check_keys(
            row,
            &["method", "bits_per_weight", "weight_bits", "perplexity", "kl", "kl_stderr"],
        );
        if row["method"] != "fp16" {
            check_keys(row, &["bits", "group_size", "cpu_seconds", "peak_rss_bytes"]);
        }
    }
    let kls: Vec<f64> = rows.iter().map(|row| row["kl"].as_f64().unwrap()).collect();
    assert!(kls.is_sorted(), "{kls:?}");
    // The same command again finds its results.
    let again = run(&args).exits(0).json();
    let quality = |json: &Map<String, Value>| -> Vec<Value> {
        let rows = json["rows"].as_array().unwrap();
        rows.iter().map(|row| serde_json::json!([row["method"], row["bits"], row["kl"]])).collect()
    };
    assert_eq!(quality(&again), quality(&json));
    let seconds = json["calibration"]["cpu_seconds"].as_f64().unwrap();
    assert!(seconds > 0.0);
    assert_eq!(again["calibration"], Value::Null, "nothing was left to calibrate");
    let rows = again["rows"].as_array().unwrap();
    assert_eq!(rows[0]["perplexity"], json["rows"][0]["perplexity"], "FP16 is remembered too");
}

#[test]
fn a_checkpoint_has_a_card_and_a_page_with_plots() {
    let dir = dir();
    let (out, html) = (dir.path().join("out"), dir.path().join("report.html"));
    let json = quantize(&fixture("tiny-llama"), &out, &["--report", text(&html)]).exits(0).json();
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.starts_with("---\nlibrary_name: rosaq"), "{card}");
    let bits = format!("{:.3}", number(&json, "bits_per_weight"));
    assert!(card.contains(&bits) && card.contains("cargo xtask quantize"), "{bits}: {card}");
    let page = fs::read_to_string(html).unwrap();
    for part in ["attention input", "down", "eigen", "<svg"] {
        assert!(page.contains(part), "no `{part}` in the page");
    }
}

#[test]
fn every_method_runs_from_the_command_line() {
    let dir = dir();
    let out = dir.path().join("out");
    let (model, out) = (fixture("tiny-qwen2"), text(&out));
    let mut args = vec!["compare", "--model", text(&model), "--bits", "3", "--out", out];
    args.extend([
        "--methods",
        "rtn,gptq,awq,spinquant,mixed,rosaq,spectral",
        "--learning-steps",
        "10",
    ]);
    args.extend(["--act-order", "--json"]);
    args.extend(SMALL);
    let json = run(&args).exits(0).json();
    let rows = json["rows"].as_array().unwrap();
    let kl = |method: &str| {
        rows.iter().find(|row| row["method"] == method).unwrap()["kl"].as_f64().unwrap()
    };
    for method in ["gptq", "awq", "spinquant", "spectral"] {
        assert!(kl(method) < kl("rtn"), "{method}: {} of {}", kl(method), kl("rtn"));
    }
}

#[test]
fn files_that_cannot_be_written_are_refused_before_the_work() {
    let dir = dir();
    let (file, out) = (dir.path().join("file"), dir.path().join("out"));
    fs::write(&file, "").unwrap();
    let (below, model) = (file.join("x"), fixture("tiny-llama"));
    let compare = ["compare", "--model", text(&model), "--out", text(&out), "--csv"];
    run(&[&compare[..], &[text(&below)]].concat()).refused(1, &[text(&below)]);
    run(&[&compare[..], &[text(dir.path())]].concat()).refused(2, &["is a directory"]);
    quantize(&model, &out, &["--report", text(&below)]).refused(1, &[text(&below)]);
    assert!(!out.exists() && !work_dir(&out).exists());
}

#[test]
fn a_variant_named_twice_is_compared_once() {
    let dir = dir();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let args = ["compare", "--model", text(&model), "--out", text(&out), "--json"];
    let twice = ["--methods", "rtn,rtn", "--bits", "4,3,4"];
    let json = run(&[&args[..], &twice, &SMALL].concat()).exits(0).json();
    assert_eq!(json["rows"].as_array().unwrap().len(), 1 + 2);
}

#[test]
fn verify_reports_what_it_read() {
    let dir = dir();
    let out = dir.path().join("out");
    quantize(&fixture("tiny-llama"), &out, &["--method", "mixed"]).exits(0);
    let json = run(&["verify", text(&out), "--json"]).exits(0).json();
    check_keys(&json, &["checkpoint", "files", "tensors", "bytes"]);
    assert_eq!(json["files"], 5);
    assert_eq!(number(&json, "logits_distance"), 0.0);
    // A report that tells of other logits stands for kernels that compute something else.
    let report = out.join("rosaq-report.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    content["golden"]["logits"][3] = serde_json::json!(1e3);
    fs::write(&report, content.to_string()).unwrap();
    run(&["verify", text(&out)]).refused(2, &[text(&out), "logits", "kernels"]);
    fs::write(&report, "{}").unwrap();
    run(&["verify", text(&out)]).refused(2, &["rosaq-report.json", "--fresh"]);
    fs::remove_file(&report).unwrap();
    run(&["verify", text(&out)]).exits(0);
    run(&["verify", text(&fixture("tiny-llama"))])
        .refused(2, &["tiny-llama", "config.json", "quantize"]);
}

#[track_caller]
fn check_prediction(model: &str, flags: &[&str]) {
    let dir = dir();
    let out = dir.path().join("out");
    let model = fixture(model);
    let predicted = quantize(&model, &out, &[flags, &["--dry-run"]].concat()).exits(0).json();
    check_nothing_left(&out);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a prediction wrote something");
    let real = quantize(&model, &out, &[flags, &["--no-eval"]].concat()).exits(0).json();
    for (key, tolerance) in
        [("bits_per_weight", 0.01), ("weight_bits", 0.01), ("total_bytes", 0.03)]
    {
        let ratio = number(&predicted, key) / number(&real, key);
        assert!((ratio - 1.0).abs() <= tolerance, "{flags:?}: {key} is {ratio} of the real one");
    }
}

#[test]
fn a_dry_run_predicts_sizes_and_writes_nothing() {
    for method in ["fp16", "rtn", "mixed", "rosaq"] {
        check_prediction("tiny-llama", &["--method", method]);
    }
    check_prediction("tiny-qwen2", &["--method", "mixed", "--bits", "3", "--group-size", "32"]);
}

#[test]
fn a_dry_run_counts_the_rotations_of_every_placement() {
    for placement in ["absorbed", "shortcut", "online"] {
        check_prediction("tiny-llama", &["--rotation", placement]);
        check_prediction("tiny-qwen2", &["--rotation", placement, "--bits", "2"]);
    }
}

#[test]
fn a_fractional_width_is_refused_with_a_hint() {
    for command in ["quantize", "compare"] {
        run(&[command, "--bits", "3.5"]).refused(2, &["3.5", "--bits", "--target-bits"]);
    }
    run(&["quantize", "--bits", "7"]).refused(2, &["--bits", "2, 3, 4, 5, 6"]);
    run(&["quantize", "--bits", "four"]).refused(2, &["--bits", "four"]);
    run(&["quantize", "--group-size", "0"]).refused(2, &["--group-size"]);
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let dir = dir();
    let out = dir.path().join("out");
    let llama = fixture("tiny-llama");
    let refused = |flags: &[&str], words: &[&str]| {
        quantize(&llama, &out, flags).refused(2, words);
        check_nothing_left(&out);
    };
    refused(&["--method", "qtip"], &["`qtip`", "fp16", "rtn", "mixed", "rosaq"]);
    refused(&["--rotation", "spin"], &["`spin`", "absorbed", "shortcut", "online"]);
    refused(&["--saliency", "luck"], &["`luck`", "top", "bottom", "random", "magnitude"]);
    refused(&["--preset", "gold"], &["gold", "paper"]);
    run(&["compare", "--methods", "rtn,qtip", "--out", text(&out)])
        .refused(2, &["`qtip`", "mixed"]);
    assert!(!out.exists());
    run(&["squeeze"]).refused(2, &["squeeze"]);

    let model = common::copy_of("tiny-llama", &dir.path().join("model"));
    let config = model.join("config.json");
    common::change_json(&config, |json| {
        json["architectures"] = serde_json::json!(["MambaForCausalLM"])
    });
    quantize(&model, &out, &[]).refused(2, &["MambaForCausalLM", text(&config), "llama", "qwen2"]);
    check_nothing_left(&out);
}

#[test]
fn settings_that_do_not_fit_the_model_are_refused_by_flag() {
    let dir = dir();
    let out = dir.path().join("out");
    let llama = fixture("tiny-llama");
    for flags in [["--salient", "100000"], ["--salient-per-head", "33"]] {
        quantize(&llama, &out, &flags).refused(2, &flags);
        check_nothing_left(&out);
    }
    // What a method has no use for is not passed over, nor what none of several has.
    for (flags, heeding) in [
        (&["--act-order"][..], "gptq"),
        (&["--scale-steps", "3"], "gptq"),
        (&["--learning-steps", "3"], "spinquant"),
    ] {
        quantize(&llama, &out, flags).refused(2, &[flags[0], "`rosaq`", heeding]);
        check_nothing_left(&out);
    }
    let args = ["quantize", "--model", text(&llama), "--out", text(&out), "--salient", "8"];
    run(&args).refused(2, &["--salient", "`spectral`", "mixed, rosaq"]);
    check_nothing_left(&out);
    run(&["compare", "--methods", "rtn,gptq", "--salient", "8", "--out", text(&out)])
        .refused(2, &["--salient", "mixed, rosaq"]);
    let refused = |flags: &[&str]| quantize(&llama, &out, flags).exits(2).refused(2, &[]);
    for flag in ["--calib-length", "--calib-sequences", "--context", "--max-segments"] {
        let mut args = vec!["quantize", "--model", text(&llama), "--out", text(&out)];
        args.extend([flag, "0"]);
        run(&args).refused(2, &[]);
        check_nothing_left(&out);
    }
    refused(&["--model", "x"]); // given twice
}

#[test]
fn a_missed_bar_ends_with_code_3_and_keeps_the_result() {
    let dir = dir();
    let out = dir.path().join("out");
    let flags = ["--method", "rtn", "--bits", "2", "--max-ppl-increase"];
    let model = fixture("tiny-llama");
    let missed = quantize(&model, &out, &[&flags[..], &["0.0001"]].concat());
    missed.exits(3).json();
    assert!(missed.stderr.contains("0.0001"), "{missed:#?}");
    run(&["verify", text(&out)]).exits(0);
    quantize(&model, &out, &[&flags[..], &["1e9"]].concat()).exits(0).json();
    quantize(&model, &out, &[&flags[..], &["1", "--no-eval"]].concat())
        .refused(2, &["--no-eval", "--max-ppl-increase"]);
}

#[test]
fn the_same_command_again_keeps_the_result_and_another_needs_fresh() {
    let dir = dir();
    let (out, other) = (dir.path().join("out"), dir.path().join("other"));
    let model = fixture("tiny-llama");
    let rtn = |bits, more: &[&str]| {
        quantize(&model, &out, &[&["--method", "rtn", "--bits", bits], more].concat())
    };
    let first = rtn("4", &[]).exits(0).json();
    let written = || fs::metadata(out.join("config.json")).unwrap().modified().unwrap();
    let time = written();
    let again = rtn("4", &[]).exits(0).json();
    assert_eq!(written(), time);
    assert_eq!(again["perplexity"], first["perplexity"]);
    assert_eq!(
        again["cpu_seconds"], first["cpu_seconds"],
        "the report of the run that did the work"
    );

    rtn("3", &[]).refused(2, &[text(&out), "--fresh", "--out"]);
    quantize(&fixture("tiny-qwen2"), &out, &["--method", "rtn"])
        .refused(2, &[text(&out), "--fresh"]);
    assert_eq!(written(), time);
    assert!(!work_dir(&out).exists());

    let replaced = rtn("3", &["--fresh"]).exits(0).json();
    assert!(number(&replaced, "weight_bits") < number(&first, "weight_bits"));
    quantize(&model, &other, &["--method", "rtn", "--bits", "3"]).exits(0);
    check_same_files(&out, &other);
    assert!(!work_dir(&out).exists());
}

#[test]
fn what_is_no_checkpoint_is_never_replaced() {
    let dir = dir();
    let model = fixture("tiny-llama");
    let thesis = dir.path().join("thesis");
    fs::create_dir(&thesis).unwrap();
    fs::write(thesis.join("chapter1.txt"), "precious").unwrap();
    let letter = dir.path().join("letter.txt");
    fs::write(&letter, "precious").unwrap();
    for out in [&thesis, &letter] {
        let refused = quantize(&model, out, &["--method", "rtn", "--fresh"]);
        refused.refused(2, &[text(out), "--out"]);
        assert!(!work_dir(out).exists());
    }
    assert_eq!(fs::read_to_string(thesis.join("chapter1.txt")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(letter).unwrap(), "precious");
    // An empty directory is as good as none.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    quantize(&model, &empty, &["--method", "rtn", "--no-eval"]).exits(0);
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let dir = dir();
    let [one, three] = ["one", "three"].map(|name| dir.path().join(name));
    for (out, threads) in [(&one, "1"), (&three, "3")] {
        let flags = ["--bits", "3", "--rotation", "shortcut", "--no-eval", "--threads", threads];
        quantize(&fixture("tiny-qwen2"), out, &flags).exits(0);
    }
    check_same_files(&one, &three);
}

#[test]
fn a_gguf_file_without_vocabulary_is_quantized_as_it_is() {
    let dir = dir();
    let out = dir.path().join("out");
    let model = fixture("golden/families/llama-gguf/model.gguf");
    quantize(&model, &out, &["--method", "rtn", "--no-eval"]).exits(0);
    run(&["verify", text(&out)]).exits(0);
    assert!(!out.join("tokenizer.json").exists());
    // Calibration needs text, and text a tokenizer.
    let other = dir.path().join("other");
    quantize(&model, &other, &[]).refused(2, &["model.gguf", "tokenizer"]);
    check_nothing_left(&other);
}

#[cfg(target_os = "linux")] // for /dev/full
#[test]
fn a_closed_or_full_standard_output_is_no_panic() {
    use std::process::Stdio;
    let model = fixture("tiny-llama");
    let args = ["quantize", "--model", text(&model), "--dry-run", "--method", "rtn"];
    for json in [&[][..], &["--json"]] {
        let mut command = common::xtask(&args);
        command.args(json);
        command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
        command.stderr(Stdio::piped());
        let ended = Ended::of(&args, &command.output().unwrap());
        ended.refused(1, &["standard output"]);
    }
    let mut command = common::xtask(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take()); // as `| head -0` does
    let ended = Ended::of(&args, &child.wait_with_output().unwrap());
    assert!(ended.code != Some(101), "{ended:#?}");
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = run(&["--help"]);
    help.exits(0);
    for word in ["quantize", "eval", "compare", "logits", "verify", "bench-kernels", "130"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    for command in ["quantize", "eval", "compare", "logits", "verify", "bench-kernels"] {
        let help = run(&[command, "--help"]);
        assert!(help.exits(0).stdout.contains("--json"), "{command}");
    }
}
