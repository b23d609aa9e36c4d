//! `--target-bits` and `--target-size`: what was asked for is what is stored.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use common::{Ended, SMALL, check_nothing_left, fixture, quantize, run, text};

/// What a quantization with `flags` stores: bits a weight, bytes of all weights, and its divergence.
fn stored(flags: &[&str]) -> [f64; 3] {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let json = quantize(&model, &out, &[&["--method", "spectral"], flags].concat());
    let json = json.exits(0).json();
    run(&["verify", text(&out)]).exits(0);
    ["bits_per_weight", "total_bytes", "kl"].map(|key| json[key].as_f64().unwrap())
}

#[test]
fn an_average_is_hit_within_a_hundredth_and_more_bits_diverge_less() {
    let mut last = f64::INFINITY;
    for target in [2.0, 2.2, 3.25, 4.5, 8.0] {
        let [bits, _, kl] = stored(&["--target-bits", &target.to_string()]);
        assert!(bits <= target && target - bits < 0.01, "asked for {target}, got {bits}");
        assert!(kl < last, "{kl} nats at {target} bits, {last} with fewer");
        last = kl;
    }
}

#[test]
fn widths_by_sensitivity_beat_one_width_at_the_same_size() {
    let [bits, _, fixed] = stored(&["--bits", "3"]);
    let [_, _, chosen] = stored(&["--target-bits", &format!("{bits:.4}")]);
    assert!(chosen < fixed, "{chosen} nats with chosen widths, {fixed} with one");
}

#[test]
fn a_size_is_hit_within_a_percent() {
    let [_, bytes, _] = stored(&["--bits", "4"]);
    let asked = bytes * 0.97;
    let [_, found, _] = stored(&["--target-size", &format!("{asked:.0}")]);
    assert!((found / asked - 1.0).abs() < 0.01, "asked for {asked} bytes, got {found}");
}

#[test]
fn tables_of_eight_bits_take_half_and_leave_their_share_to_the_linears() {
    let eight = ["--embeddings", "int8"];
    let [bits, bytes, kl] = stored(&["--bits", "4"]);
    let [same_bits, fewer_bytes, same_kl] = stored(&[&["--bits", "4"], &eight[..]].concat());
    assert_eq!(same_bits, bits, "tables are no linears");
    // 1,920 rows of 192 channels, a byte less each, and two scales.
    let saved = 1920.0 * (192.0 - 4.0);
    assert!((bytes - fewer_bytes - saved).abs() < 1000.0, "{bytes} and {fewer_bytes} bytes");
    // Errors of a 256th of the range, in what the model reads and in its logits.
    assert!((same_kl / kl - 1.0).abs() < 0.2, "{kl} nats with f16, {same_kl} with int8");
    let size = format!("{bytes:.0}");
    let [_, found, better] = stored(&[&["--target-size", &size], &eight[..]].concat());
    assert!((found / bytes - 1.0).abs() < 0.01, "asked for {bytes} bytes, got {found}");
    assert!(better < kl, "{better} nats with what int8 tables leave, {kl} without");
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let refused = |flags: &[&str], words: &[&str]| {
        quantize(&model, &out, flags).refused(2, words);
        check_nothing_left(&out);
    };
    refused(&["--target-bits", "3"], &["--target-bits", "`rosaq`", "spectral"]);
    refused(&["--method", "spectral", "--target-bits", "1.9"], &["--target-bits", "from 2 to 8"]);
    let integers = ["--method", "spectral", "--without", "trellis", "--target-bits", "2"];
    refused(&integers, &["--target-bits", "the least"]);
    refused(&["--method", "spectral", "--target-size", "10kB"], &["10000 bytes", "embeddings"]);
    refused(&["--method", "spectral", "--target-size", "large"], &["--target-size"]);
    refused(&["--method", "spectral", "--target-bits", "3", "--bits", "3"], &["--bits"]);
}

#[test]
fn averages_stand_beside_widths_in_a_comparison() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let mut args = vec!["compare", "--model", text(&model), "--out", text(&out), "--json"];
    args.extend(["--methods", "rtn,spectral", "--bits", "4", "--target-bits", "3.5,4.25"]);
    args.extend(SMALL);
    let json = run(&args).exits(0).json();
    let rows = json["rows"].as_array().unwrap();
    let mut found: Vec<_> =
        rows.iter().map(|row| (row["method"].clone(), row["target_bits"].clone())).collect();
    found.sort_by_key(|(_, target)| target.as_f64().unwrap_or(0.0).to_bits());
    let names: Vec<_> = found.iter().map(|(method, _)| method.as_str().unwrap()).collect();
    assert_eq!(names, ["fp16", "rtn", "spectral", "spectral"]);
    assert_eq!(found[3].1, 4.25);
}

#[test]
fn what_is_to_be_expected_is_known_once_statistics_are() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let statistics = dir.path().join("statistics");
    let quantize = |more: &[&str]| -> Ended {
        let fixed = ["quantize", "--model", text(&model), "--out", text(&out), "--json"];
        let kept = ["--statistics", text(&statistics)];
        run(&[&fixed[..], &kept, more].concat())
    };
    let target = ["--target-bits", "3.5"];
    let predict = |more: &[&str]| {
        let json = quantize(&[&target[..], &["--dry-run"], more].concat()).exits(0).json();
        json["expected_kl"].as_f64()
    };
    assert_eq!(predict(&[]), None);
    assert!(!statistics.exists(), "a prediction wrote something");
    let real = quantize(&target).exits(0).json();
    let (expected, found) = (real["expected_kl"].as_f64().unwrap(), real["kl"].as_f64().unwrap());
    // A lower bound, more or less: errors that add up are taken for independent.
    assert!((0.15..1.2).contains(&(expected / found)), "{expected} expected, {found} found");
    assert_eq!(predict(&[]), Some(expected));
    // Of another calibration set they say nothing.
    assert_eq!(predict(&["--calib-sequences", "3"]), None);
    // A second width needs no second calibration.
    let again = quantize(&["--bits", "3", "--no-eval", "--fresh"]);
    again.exits(0);
    assert!(!again.stderr.contains("calibrate:") && !again.stderr.contains("gradients:"));
}

#[test]
fn every_part_of_a_recipe_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let mut args = vec!["compare", "--model", text(&model), "--out", text(&out), "--json"];
    args.extend(["--methods", "rtn,spectral", "--target-bits", "3.25", "--ablation"]);
    args.extend(SMALL);
    let json = run(&args).exits(0).json();
    let rows = json["rows"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["method"] == "spectral");
    let kls: Vec<(&str, f64)> =
        rows.map(|row| (row["settings"].as_str().unwrap(), row["kl"].as_f64().unwrap())).collect();
    assert_eq!(kls.len(), 7, "{kls:?}");
    let kl = |part: &str| kls.iter().find(|(name, _)| name.contains(part)).unwrap().1;
    let whole = kls.iter().find(|(name, _)| !name.contains("without")).unwrap().1;
    for part in ["rotation", "down-hadamard", "output-weights", "sensitivity", "refit"] {
        assert_ne!(kl(&format!("without {part}")), whole, "{part} changes nothing");
    }
    assert!(kl("without trellis") > 1.3 * whole, "{kls:?}");
    // Left out by name, it is the same variant.
    let place = args.iter().position(|arg| *arg == "--ablation").unwrap();
    args.splice(place..=place, ["--without", "refit"]);
    let json = run(&args).exits(0).json();
    let row = json["rows"].as_array().unwrap().iter().find(|row| row["method"] == "spectral");
    assert_eq!(row.unwrap()["kl"].as_f64(), Some(kl("without refit")));
    let unknown = ["quantize", "--model", text(&model), "--without", "luck"];
    run(&unknown).refused(2, &["--without", "luck", "trellis", "refit"]);
}
