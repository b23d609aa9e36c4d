//! `throughput`: decoding speed, as the command line gives it.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use common::{fixture, quantize, run, text};
use serde_json::Value;

fn rows(args: &[&str]) -> Vec<Value> {
    let found = run(&[&["throughput", "--json"], args].concat()).exits(0).json();
    found["rows"].as_array().unwrap().clone()
}

#[test]
fn checkpoints_stand_beside_the_model_in_f16() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small");
    quantize(&fixture("tiny-llama"), &out, &["--bits", "4", "--no-eval"]).exits(0);
    let fp16 = fixture("tiny-llama");
    let common = ["--reference", text(&fp16), "--batch", "1,3", "--tokens", "6"];
    let found = rows(&[&[text(&out)][..], &common].concat());
    let keys: Vec<_> =
        found.iter().map(|row| (row["model"].as_str().unwrap(), row["batch"].as_u64())).collect();
    let expected = [("fp16", Some(1)), ("fp16", Some(3)), ("small", Some(1)), ("small", Some(3))];
    assert_eq!(keys, expected);
    for row in &found {
        let number = |key: &str| row[key].as_f64().unwrap();
        assert_eq!((row["context"].as_u64(), row["generated"].as_u64()), (Some(6), Some(6)));
        assert_eq!(row["out_of_memory"], false);
        // The definitions of the paper's appendix D.
        let decode = number("decode_tokens_per_second");
        assert!((decode * number("median_time_per_token") - 1.0).abs() < 1e-9);
        let throughput = number("throughput_tokens_per_second");
        assert!((throughput / decode - number("batch")).abs() < 1e-9);
        let baseline = found.iter().find(|b| b["model"] == "fp16" && b["batch"] == row["batch"]);
        match row["model"].as_str().unwrap() {
            "fp16" => assert!(row["speedup_vs_fp16"].is_null()),
            _ => {
                let theirs = baseline.unwrap()["throughput_tokens_per_second"].as_f64().unwrap();
                assert!((number("speedup_vs_fp16") - throughput / theirs).abs() < 1e-9);
            }
        }
    }
    // A table for people, with the same models.
    let plain = run(&["throughput", text(&out), "--batch", "1", "--tokens", "2"]);
    let plain = &plain.exits(0).stdout;
    assert!(plain.contains("small") && plain.contains("throughput, tokens/s"), "{plain}");
}

#[test]
fn what_does_not_fit_is_said_before_work_starts() {
    // More keys and values than any machine holds are a row; more positions than the model has are an error.
    let model = fixture("tiny-llama");
    let found = rows(&[text(&model), "--batch", "1000000000000", "--tokens", "4"]);
    assert_eq!(found[0]["out_of_memory"], true);
    assert!(found[0].get("throughput_tokens_per_second").is_none());
    run(&["throughput", text(&model), "--tokens", "100000"]).refused(2, &["positions", "fewer"]);
    run(&["throughput"]).refused(2, &["MODEL"]);
    run(&["throughput", text(&model), "--tokens", "0"]).refused(2, &["--tokens"]);
}
