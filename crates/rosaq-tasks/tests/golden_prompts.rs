//! Prompts byte for byte as lm-evaluation-harness renders them.
//!
//! The bundled rows are made up; the real data sets are compared where the environment variable `ROSAQ_EVAL_DATA` names a
//! folder with them and a `golden-prompts.jsonl` (task, row from 0, requests, gold, code points of the choices); the test says
//! so when it skips.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rosaq_tasks::{LoadOptions, TaskData, load, select};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    task: String,
    row: usize,
    requests: Vec<GoldenRequest>,
    gold: usize,
    length_chars: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct GoldenRequest {
    context: String,
    continuation: String,
}

/// Compares every row of `golden` with what is rendered from `data`; gives the number of rows.
fn check(data: &Path, golden: &Path) -> usize {
    let lines = fs::read_to_string(golden).unwrap();
    let mut loaded: BTreeMap<String, TaskData> = BTreeMap::new();
    let mut n_rows = 0;
    for line in lines.lines() {
        let golden: Golden = serde_json::from_str(line).unwrap();
        let name = golden.task.replace("mmlu_", "mmlu/");
        let of_task = loaded.entry(name.clone()).or_insert_with(|| {
            let task = select(&[name], None).unwrap().remove(0);
            load(&task, data, LoadOptions::default()).unwrap()
        });
        let question = &of_task.parts[0].questions[golden.row];
        let expected: Vec<(String, String)> =
            golden.requests.into_iter().map(|r| (r.context, r.continuation)).collect();
        assert_eq!(question.requests, expected, "{} row {}", golden.task, golden.row);
        assert_eq!(question.gold, golden.gold, "{} row {}", golden.task, golden.row);
        assert_eq!(question.lengths, golden.length_chars, "{} row {}", golden.task, golden.row);
        n_rows += 1;
    }
    n_rows
}

/// Prompts written by a script of its own from the same rows.
#[test]
fn bundled_rows() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tasks");
    assert_eq!(check(&data, &data.join("golden-prompts.jsonl")), 34);
}

#[test]
fn real_rows() {
    let Some(data) = std::env::var_os("ROSAQ_EVAL_DATA").map(PathBuf::from) else {
        eprintln!("skipped: ROSAQ_EVAL_DATA does not name a folder of evaluation data");
        return;
    };
    let n_rows = check(&data, &data.join("golden-prompts.jsonl"));
    assert!(n_rows > 0);
    eprintln!("{n_rows} rows are the same byte for byte");
}
