//! `cargo xtask reproduce`: rows in the paper's order, its figures beside ours.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::{SMALL, fixture, run, text};
use serde_json::{Map, Value};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// `reproduce` of an item on tiny-llama at the widths 4 and 3, as JSON, and its table as comma-separated values.
fn reproduce(item: &str, dir: &Path) -> (Map<String, Value>, String) {
    let (model, out, csv) = (fixture("tiny-llama"), dir.join("out"), dir.join("table.csv"));
    let mut args = vec!["reproduce", item, "--model", text(&model), "--out", text(&out), "--json"];
    args.extend(["--csv", text(&csv)]);
    args.extend(SMALL);
    (run(&args).exits(0).json(), fs::read_to_string(&csv).unwrap())
}

#[track_caller]
fn check_ablation(item: &str, variants: &[(&str, &str)]) {
    let dir = dir();
    let (json, csv) = reproduce(item, dir.path());
    let rows = json["rows"].as_array().unwrap();
    // In the paper's order, whatever the quality, the rows of one width after those of another.
    let found: Vec<_> = rows.iter().map(|row| [&row["name"], &row["settings"]]).collect();
    let [four, three] = [variants; 2];
    let expected: Vec<_> = [&[("fp16", "")][..], four, three].concat();
    assert_eq!(serde_json::json!(found), serde_json::json!(expected));
    let widths: Vec<_> = rows.iter().skip(1).map(|row| row["bits"].as_u64().unwrap()).collect();
    assert!(widths.is_sorted_by(|a, b| a >= b) && widths.contains(&3), "{widths:?}");

    let perplexity = |row: &Value| row["perplexity"].as_f64().unwrap();
    for (width, rows) in [4, 3].into_iter().zip(rows[1..].chunks(variants.len())) {
        assert!(rows[0]["perplexity_increase_percent"].is_null(), "{width} bits, first row");
        for row in &rows[1..] {
            let expected = (perplexity(row) / perplexity(&rows[0]) - 1.0) * 100.0;
            let increase = row["perplexity_increase_percent"].as_f64().unwrap();
            assert!((increase - expected).abs() < 1e-9, "{increase}, expected {expected}");
        }
    }
    for row in rows {
        assert_eq!(row["paper_model"], "LLaMA2-7B");
        assert_eq!(row["paper_perplexity"].as_f64(), (row["name"] == "fp16").then_some(5.47));
    }
    assert_eq!(json["paper"]["salient"], 128);
    let head = csv.lines().next().unwrap();
    assert!(head.ends_with(",name,perplexity_increase_percent,paper_model,paper_perplexity"));
    assert!(csv.lines().nth(1).unwrap().ends_with(",fp16,,LLaMA2-7B,5.47"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + rows.len());
}

#[test]
fn table_2_has_the_rules_of_saliency_beside_the_papers_figures() {
    check_ablation(
        "table2",
        &[
            ("top", "online"),
            ("bottom", "online, bottom"),
            ("random", "online, random"),
            ("top and bottom", "online, top-bottom"),
        ],
    );
}

#[test]
fn table_3_has_the_rotations_at_the_output_beside_the_papers_figures() {
    check_ablation(
        "table3",
        &[("head-wise", "online"), ("global", "online, o global"), ("none", "online, o none")],
    );
}

#[test]
fn a_table_for_people_says_whose_figures_stand_beside_ours() {
    let dir = dir();
    let (model, out) = (fixture("tiny-llama"), dir.path().join("out"));
    let args = ["reproduce", "table3", "--bits", "3", "--model", text(&model), "--out", text(&out)];
    let shown = run(&[&args[..], &SMALL[..]].concat());
    shown.exits(0);
    for words in ["Δ to head-wise, %", "paper, LLaMA2-7B", "5.47", "K = 128", "-: not recorded"] {
        assert!(shown.stdout.contains(words), "no `{words}` in {}", shown.stdout);
    }
    let line = |name: &str| {
        let mut lines = shown.stdout.lines();
        lines.find(|l| l.starts_with(&format!("│ {name} "))).unwrap().to_owned()
    };
    assert!(line("fp16").contains("5.47") && line("global").ends_with(" - │"), "{}", shown.stdout);
    for (name, kept) in [("head-wise", "a head"), ("global", "at o"), ("none", "at o")] {
        assert!(line(name).contains(kept), "{}", shown.stdout);
    }
}

#[test]
fn channels_are_shown_before_and_after_their_rotation() {
    let dir = dir();
    let (model, svg) = (fixture("tiny-llama"), dir.path().join("figure.svg"));
    let common = ["--model", text(&model), "--layer", "1", "--json"];
    let csv = dir.path().join("new/table.csv");
    let table8 = ["reproduce", "table8", "--csv", text(&csv)];
    let table = run(&[&table8, &common[..]].concat()).exits(0).json();
    let csv = fs::read_to_string(&csv).unwrap();
    assert!(csv.starts_with("basis,rank,index,magnitude,energy\nrotated,1,0,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 10 + 10);
    let energies: Vec<f64> = table["rotated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| channel["energy"].as_f64().unwrap())
        .collect();
    assert_eq!(energies.len(), 10);
    // The loudest direction of all is the first eigenvector, which holds more than any channel of the model.
    assert_eq!(table["rotated"][0]["index"], 0);
    assert!(energies[0] > table["original"][0]["energy"].as_f64().unwrap());
    assert_eq!(table["paper"][0]["eigenvalue"], 20450.0);
    let figure = ["reproduce", "figure2", "--out", text(&svg)];
    run(&[&figure[..], &common[..]].concat()).exits(0);
    assert!(fs::read_to_string(&svg).unwrap().starts_with("<svg"));
    run(&["reproduce", "table8", "--model", text(&model), "--layer", "99"])
        .refused(2, &["--layer", "99"]);
    // What an item has no use for is not passed over.
    run(&["reproduce", "figure2", "--csv", "x.csv"]).refused(2, &["--csv"]);
    run(&["reproduce", "table8", "--report", "x.html"]).refused(2, &["--report"]);
}

#[test]
fn table_4_has_speeds_of_fp16_and_checkpoints_beside_the_papers() {
    let dir = dir();
    let (model, out, csv) =
        (fixture("tiny-llama"), dir.path().join("out"), dir.path().join("table.csv"));
    let mut args = vec!["reproduce", "table4", "--model", text(&model), "--out", text(&out)];
    args.extend(["--json", "--bits", "4", "--throughput", "2x4,3x4", "--csv", text(&csv)]);
    args.extend(SMALL);
    let json = run(&args).exits(0).json();
    let rows = json["rows"].as_array().unwrap();
    let batches: Vec<_> = rows.iter().map(|row| row["batch"].as_u64().unwrap()).collect();
    assert_eq!(batches, [2, 2, 2, 2, 3, 3, 3, 3]);
    for (idx, row) in rows.iter().enumerate() {
        let name = row["model"].as_str().unwrap();
        assert!(name.starts_with(["fp16", "awq", "gptq", "rosaq"][idx % 4]), "{name}");
        assert!(row["throughput_tokens_per_second"].as_f64().unwrap() > 0.0, "{name}");
    }
    assert_eq!(json["paper"]["device"], "RTX A6000");
    let csv = fs::read_to_string(&csv).unwrap();
    assert_eq!(csv.lines().count(), 9);
    run(&["reproduce", "table4", "--throughput", "64"]).refused(2, &["64x256"]);
    run(&["bench-kernels", "--shape", "4096"]).refused(2, &["4096x4096"]);
}
