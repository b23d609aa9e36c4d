//! `generate`: text from a model, as the command line gives it.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use common::{fixture, quantize, run, text};
use serde_json::{Map, Value};

fn generated(args: &[&str]) -> Map<String, Value> {
    run(&[&["generate", "--json", "--max-tokens", "24"], args].concat()).exits(0).json()
}

#[test]
fn the_same_seed_gives_the_same_text_for_any_number_of_threads() {
    let drawn = |seed: &str, threads: &str| {
        let args =
            ["--temperature", "0.9", "--top-p", "0.95", "--seed", seed, "--threads", threads];
        generated(&args)["tokens"].clone()
    };
    assert_eq!(drawn("1", "1"), drawn("1", "2"));
    assert_ne!(drawn("1", "1"), drawn("2", "1"));
}

#[test]
fn a_packed_model_writes_and_stops_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    quantize(&fixture("tiny-llama"), &out, &["--bits", "4", "--no-eval"]).exits(0);
    let found = generated(&["--model", text(&out)]);
    let whole = found["text"].as_str().unwrap().to_owned();
    assert!(!whole.is_empty() && found["tokens_per_s"].as_f64().unwrap() > 0.0);
    let letter = whole.trim().chars().nth(2).unwrap().to_string();
    let found = generated(&["--model", text(&out), "--stop", &letter]);
    assert_eq!(found["reason"], "stop");
    assert_eq!(found["text"].as_str().unwrap(), &whole[..whole.find(&letter).unwrap()]);
    // Without --json the text alone is on standard output.
    let plain = run(&["generate", "--max-tokens", "24", "--model", text(&out)]);
    assert_eq!(plain.exits(0).stdout, format!("{whole}\n"));
}

#[test]
fn what_cannot_be_is_refused_before_work_starts() {
    let long = "word ".repeat(5000);
    run(&["generate", "--prompt", &long]).refused(2, &["the prompt has", "shorten"]);
    run(&["generate", "--prompt", ""]).refused(2, &["prompt is empty"]);
    run(&["generate", "--chat"]).refused(2, &["chat template", "tiny-llama"]);
    run(&["generate", "--top-p", "0"]).refused(2, &["top-p"]);
    run(&["generate", "--system", "Be brief."]).refused(2, &["--chat"]);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn devices_are_for_programs_built_for_them() {
    let said = ["built without CUDA", "--features cuda", "--backend cpu"];
    run(&["generate", "--backend", "cuda"]).refused(2, &said);
    let model = fixture("tiny-llama");
    run(&["eval", text(&model), "--backend", "cuda"]).refused(2, &said);
    run(&["throughput", text(&model), "--backend", "cuda"]).refused(2, &said);
    run(&["bench-kernels", "--backend", "cuda"]).refused(2, &said);
}
