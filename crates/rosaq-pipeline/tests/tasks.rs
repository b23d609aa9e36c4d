//! Scores of multiple-choice tasks on whole models.
//!
//! Those of SmolLM2-135M are compared with lm-evaluation-harness where `ROSAQ_REAL_MODEL` names its GGUF file and
//! `ROSAQ_EVAL_DATA` a folder of evaluation data with `harness-smollm2-piqa-winogrande.json`; the test says so when it skips.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::path::{Path, PathBuf};

use rosaq_pipeline::{EvalModel, Keep, Progress, Sharing, TaskJob, TaskQuestions, TaskScores};
use rosaq_text::AddSpecial;
use serde::Deserialize;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

fn job(tasks: &[&str], data: &Path) -> TaskJob {
    TaskJob {
        tasks: tasks.iter().map(|&t| t.to_owned()).collect(),
        task_file: None,
        data: data.to_owned(),
        limit: None,
        shots: 0,
        context: None,
    }
}

fn score(model: &EvalModel, job: &TaskJob, keep: Keep<'_>) -> TaskScores {
    let questions = TaskQuestions::load(job, Progress::Quiet).unwrap();
    model.score_tasks(&questions, keep, Progress::Quiet).unwrap()
}

/// Log-probability of what stands behind `context` in the whole text, from the logits of one plain forward pass.
fn plain(model: &EvalModel, context: &str, continuation: &str) -> f64 {
    let encode = |text: &str| model.tokenizer().encode(text, AddSpecial::Yes).unwrap();
    let (whole, n_context) = (encode(&format!("{context}{continuation}")), encode(context).len());
    let logits = model.model().logits(&whole[..whole.len() - 1]).unwrap();
    let rows = logits.data.chunks_exact(logits.cols).zip(&whole[1..]).skip(n_context - 1);
    rows.map(|(row, &target)| {
        let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
        f64::from(row[target as usize]) - max - sum.ln()
    })
    .sum()
}

#[track_caller]
fn check_against_plain(model: &Path, job: &TaskJob) {
    let model = EvalModel::open(model).unwrap();
    let shared = score(&model, job, Keep::Nowhere(Sharing::Shared));
    let apart = score(&model, job, Keep::Nowhere(Sharing::Apart));
    assert!(!shared.questions.is_empty());
    for (shared, apart) in shared.questions.iter().zip(&apart.questions) {
        for (choice, (context, continuation)) in shared.requests.iter().enumerate() {
            let expected = plain(&model, context, continuation);
            for found in [shared, apart].map(|q| q.log_likelihoods[choice]) {
                // Sums of f32 products in another order, over a few dozen scored tokens.
                let off = (f64::from(found) - expected).abs();
                assert!(off < 1e-4, "{} row {}: off by {off:e}", shared.task, shared.row);
            }
        }
    }
}

#[test]
fn sharing_and_batching_change_nothing_on_the_bundled_llama() {
    check_against_plain(&fixture("tiny-llama"), &job(&["all"], &fixture("tasks")));
}

#[test]
fn nor_on_the_bundled_qwen_with_examples() {
    let with_shots = TaskJob { shots: 2, ..job(&["mmlu"], &fixture("tasks")) };
    check_against_plain(&fixture("tiny-qwen2"), &with_shots);
}

#[test]
fn kept_scores_are_the_same_and_are_not_computed_again() {
    let dir = tempfile::tempdir().unwrap();
    let model = EvalModel::open(&fixture("tiny-llama")).unwrap();
    let keep = Keep::In { dir: dir.path(), fresh: false };
    let first_rows = TaskJob { limit: Some(2), ..job(&["csr"], &fixture("tasks")) };
    score(&model, &first_rows, keep);
    let all = job(&["csr"], &fixture("tasks"));
    let resumed = score(&model, &all, keep);
    let whole = score(&model, &all, Keep::Nowhere(Sharing::Shared));
    assert_eq!(resumed.tasks, whole.tasks);
    for (resumed, whole) in resumed.questions.iter().zip(&whole.questions) {
        for (a, b) in resumed.log_likelihoods.iter().zip(&whole.log_likelihoods) {
            assert!((a - b).abs() < 1e-4); // other batches, so other orders of f32 additions
        }
    }
    let size = || {
        let files = std::fs::read_dir(dir.path()).unwrap();
        files.map(|f| f.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = size();
    assert_eq!(resumed, score(&model, &all, keep));
    assert_eq!(before, size());
}

#[derive(Deserialize)]
struct Harness {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    doc_id: usize,
    /// The index of the right choice, or where the choices differ in their contexts, the text that is scored.
    target: Value,
    args: Vec<(String, String)>,
    ll: Vec<f32>,
    acc: f32,
    acc_norm: Option<f32>,
}

#[test]
fn the_real_model_scores_as_in_the_harness() {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(path), Some(data)) = (variable("ROSAQ_REAL_MODEL"), variable("ROSAQ_EVAL_DATA"))
    else {
        eprintln!(
            "skipped: ROSAQ_REAL_MODEL and ROSAQ_EVAL_DATA do not name a model and a folder of data"
        );
        return;
    };
    let golden =
        std::fs::read_to_string(data.join("harness-smollm2-piqa-winogrande.json")).unwrap();
    let golden: std::collections::BTreeMap<String, Harness> =
        serde_json::from_str(&golden).unwrap();
    let model = EvalModel::open(&path).unwrap();
    let mut worst = 0.0_f32;
    for (task, Harness { samples }) in &golden {
        let of_task = TaskJob { limit: Some(samples.len()), ..job(&[task], &data) };
        for sharing in [Sharing::Shared, Sharing::Apart] {
            let found = score(&model, &of_task, Keep::Nowhere(sharing));
            assert_eq!(found.questions.len(), samples.len());
            for sample in samples {
                let question = &found.questions[sample.doc_id];
                assert_eq!(question.requests, sample.args);
                assert!(sample.target.as_u64().is_none_or(|gold| gold == question.gold as u64));
                for (found, expected) in question.log_likelihoods.iter().zip(&sample.ll) {
                    worst = worst.max((found - expected).abs());
                }
                let as_number = |right: bool| f32::from(u8::from(right));
                assert_eq!(as_number(question.acc), sample.acc, "{task} {}", sample.doc_id);
                assert_eq!(
                    question.acc_norm.map(as_number),
                    sample.acc_norm,
                    "{task} {}",
                    sample.doc_id
                );
            }
        }
    }
    eprintln!("log-likelihoods differ by {worst:e} at most");
    assert!(worst < 1e-3, "log-likelihoods differ by {worst:e}");
}
