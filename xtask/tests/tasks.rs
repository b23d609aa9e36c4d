//! `eval --tasks` and `compare --tasks`: figures, files, resuming, and what bad data get.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Ended, SMALL, change, fixture, quantize, run, text};
use serde_json::Value;

const ALL: [(&str, u64); 8] = [
    ("piqa", 5),
    ("winogrande", 4),
    ("hellaswag", 4),
    ("arc_easy", 3),
    ("arc_challenge", 3),
    ("commonsense_qa", 4),
    ("openbookqa", 3),
    ("mmlu", 8),
];

fn eval(model: &Path, data: &Path, out: &Path, more: &[&str]) -> Ended {
    let mut args = vec!["eval", text(model), "--data", text(data), "--out", text(out)];
    args.extend(more);
    run(&args)
}

/// A copy of the bundled data.
fn data_in(dir: &Path) -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap().path();
            let to = to.join(entry.file_name().unwrap());
            if entry.is_dir() {
                copy(&entry, &to);
            } else {
                fs::copy(&entry, &to).unwrap();
            }
        }
    }
    let data = dir.join("data");
    copy(&fixture("tasks"), &data);
    data
}

/// The figures of a run, without its times.
#[track_caller]
fn figures(ended: &Ended) -> Value {
    let mut json = ended.exits(0).json();
    json.remove("cpu_seconds");
    json.remove("wall_seconds");
    Value::Object(json)
}

#[test]
fn every_bundled_task_has_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data, samples) =
        (fixture("tiny-llama"), fixture("tasks"), dir.path().join("samples.jsonl"));
    let flags = ["--tasks", "all", "--json", "--samples", text(&samples)];
    let found = figures(&eval(&model, &data, dir.path(), &flags));
    let tasks = found["tasks"].as_array().unwrap();
    for ((name, rows), task) in ALL.iter().zip(tasks) {
        assert_eq!((task["task"].as_str(), task["rows"].as_u64()), (Some(*name), Some(*rows)));
    }
    let reported =
        |task: &Value| task[task["reported"].as_str().unwrap()]["value"].as_f64().unwrap();
    let average = tasks[..7].iter().map(reported).sum::<f64>() / 7.0;
    assert!((found["common_sense_average"].as_f64().unwrap() - average).abs() < 1e-12);
    let groups = tasks[7]["groups"].as_array().unwrap();
    let right = |v: &Value| v["acc"]["value"].as_f64().unwrap() * v["rows"].as_f64().unwrap();
    assert!((groups.iter().map(right).sum::<f64>() - right(&tasks[7])).abs() < 1e-12);

    let lines: Vec<Value> = fs::read_to_string(&samples)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 34);
    for line in &lines {
        assert_eq!(
            line["requests"].as_array().unwrap().len(),
            line["log_likelihoods"].as_array().unwrap().len()
        );
    }
    let plain =
        figures(&eval(&model, &data, dir.path(), &["--tasks", "all", "--json", "--no-sharing"]));
    assert_eq!(plain, found);
}

#[test]
fn a_run_that_was_cut_off_ends_with_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data, out) = (fixture("tiny-qwen2"), fixture("tasks"), dir.path().join("scored"));
    let flags = ["--tasks", "csr,mmlu", "--json", "--shots", "0"];
    let whole = figures(&eval(&model, &data, &out, &flags));
    let kept = fs::read_dir(&out).unwrap().map(|f| f.unwrap().path());
    let kept = kept.filter(|f| f.extension().is_some_and(|e| e == "jsonl")).collect::<Vec<_>>();
    assert_eq!(kept.len(), 1);
    let bytes = fs::read(&kept[0]).unwrap();
    change(&kept[0], |bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(figures(&eval(&model, &data, &out, &flags)), whole);
    assert_eq!(
        fs::read_to_string(&kept[0]).unwrap().lines().count(),
        bytes.split(|&b| b == b'\n').count() - 1
    );
}

#[test]
fn packed_checkpoints_are_scored_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (out, data) = (dir.path().join("packed"), fixture("tasks"));
    let source = fixture("tiny-llama");
    quantize(&source, &out, &["--method", "fp16", "--no-eval"]).exits(0);
    let flags = ["--tasks", "piqa,mmlu/marketing", "--json"];
    let mut packed = figures(&eval(&out, &data, &dir.path().join("scored"), &flags));
    let mut dense = figures(&eval(&source, &data, &dir.path().join("scored"), &flags));
    assert_eq!(packed["tasks"][1]["task"], "mmlu/marketing");
    assert_eq!(packed["tasks"].take(), dense["tasks"].take());
}

#[test]
fn a_task_of_ones_own_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (tasks, rows) = (dir.path().join("own.toml"), dir.path().join("own.jsonl"));
    fs::write(
        &tasks,
        r#"
            name = "capitals"
            metrics = ["acc", "acc_norm"]
            reported = "acc"
            context = "The capital of {{ country }} is"
            choices = "cities"
            answer = "right"
            [data]
            files = ["own.jsonl"]
        "#,
    )
    .unwrap();
    fs::write(&rows, r#"{"country": "France", "cities": ["Paris", "Rome"], "right": 0}"#).unwrap();
    let flags = ["--task-file", text(&tasks), "--json"];
    let found = figures(&eval(&fixture("tiny-llama"), dir.path(), dir.path(), &flags));
    assert_eq!(
        (&found["tasks"][0]["task"], &found["tasks"][0]["rows"]),
        (&"capitals".into(), &1.into())
    );
    fs::write(&tasks, "name = 'x'").unwrap();
    eval(&fixture("tiny-llama"), dir.path(), dir.path(), &flags)
        .refused(2, &["own.toml", "metrics"]);
}

#[test]
fn compare_has_a_column_for_each_task() {
    let dir = tempfile::tempdir().unwrap();
    let (out, csv, data) = (dir.path().join("out"), dir.path().join("t.csv"), fixture("tasks"));
    let html = dir.path().join("t.html");
    let model = fixture("tiny-llama");
    let mut args =
        vec!["compare", text(&model), "--methods", "rtn", "--bits", "4", "--out", text(&out)];
    args.extend(SMALL);
    args.extend([
        "--tasks",
        "all",
        "--data",
        text(&data),
        "--limit",
        "2",
        "--csv",
        text(&csv),
        "--report",
        text(&html),
        "--json",
    ]);
    let found = figures(&run(&args));
    let page = fs::read_to_string(&html).unwrap();
    let section = page.split("id=\"accuracy\"").nth(1).unwrap().split("</section>").next().unwrap();
    let average = 100.0 * found["rows"][1]["tasks"][7]["value"].as_f64().unwrap();
    assert!(section.contains(&format!(">{average:.2}<")), "{section}");
    assert!(section.contains(">piqa<") && section.matches("<circle").count() == 2, "{section}");
    let columns = found["rows"][0]["tasks"].as_array().unwrap();
    let names: Vec<&str> = columns.iter().map(|c| c["name"].as_str().unwrap()).collect();
    let known = [
        "piqa",
        "winogrande",
        "hellaswag",
        "arc_easy",
        "arc_challenge",
        "commonsense_qa",
        "openbookqa",
        "average",
        "humanities",
        "social sciences",
        "STEM",
        "other",
        "mmlu",
    ];
    assert_eq!(names, known);
    let csv = fs::read_to_string(&csv).unwrap();
    let mut lines = csv.lines();
    let header = lines.next().unwrap();
    assert!(
        header.contains(",piqa,piqa_stderr,") && header.contains(",social_sciences,"),
        "{header}"
    );
    assert!(lines.all(|line| line.split(',').count() == header.split(',').count()));
    assert_eq!(figures(&run(&args)), found);
}

#[test]
fn tables_5_to_7_set_the_papers_accuracies_below_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (out, data, model) = (dir.path().join("out"), fixture("tasks"), fixture("tiny-llama"));
    let mut args = vec!["reproduce", "tables5-7", "--model", text(&model), "--out", text(&out)];
    args.extend(["--bits", "4"]);
    args.extend(SMALL);
    run(&args).refused(2, &["--tasks all", "--data"]);
    args.extend(["--tasks", "piqa,mmlu", "--data", text(&data), "--limit", "2"]);
    let shown = run(&args);
    shown.exits(0);
    let mut lines = shown.stdout.lines();
    let paper = lines.find(|line| line.contains("paper, LLaMA2-7B fp16")).unwrap();
    assert!(["79.11", "38.83", "41.26"].iter().all(|figure| paper.contains(figure)), "{paper}");
    args.push("--json");
    let json = figures(&run(&args));
    let methods: Vec<&str> =
        json["rows"].as_array().unwrap().iter().map(|r| r["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["fp16", "rtn", "gptq", "awq", "spinquant", "mixed", "rosaq"]);
    assert_eq!(json["paper"]["fp16_accuracy_percent"]["STEM"], 34.48);
}

/// A task whose data are changed in one file, and what the refusal has to say.
#[track_caller]
fn refused(task: &str, file: &str, change_file: impl FnOnce(&mut Vec<u8>), words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let data = data_in(dir.path());
    change(&data.join(file), change_file);
    let out = dir.path().join("scored");
    let words: Vec<&str> = words.iter().copied().chain(file.rsplit('/').take(1)).collect();
    eval(&fixture("tiny-llama"), &data, &out, &["--tasks", task]).refused(2, &words);
    assert!(!out.exists());
}

fn replace(from: &'static str, to: &'static str) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| {
        let content = String::from_utf8(bytes.clone()).unwrap();
        assert!(content.contains(from));
        *bytes = content.replacen(from, to, 1).into_bytes();
    }
}

#[test]
fn labels_that_are_missing_or_wrong() {
    let labels = "piqa/valid-labels.lst";
    refused("piqa", labels, |bytes| bytes.truncate(8), &["5 rows", "found 4"]);
    refused("piqa", labels, |bytes| bytes.extend(b"1\n"), &["5 rows", "found 6"]);
    refused("piqa", labels, Vec::clear, &["found 0"]);
    let dir = tempfile::tempdir().unwrap();
    let data = data_in(dir.path());
    fs::write(data.join(labels), "0\n1\n2\n0\n1\n").unwrap();
    let words = ["valid.jsonl", "row 3", "0, 1", "\"2\""];
    eval(&fixture("tiny-llama"), &data, dir.path(), &["--tasks", "piqa"]).refused(2, &words);
    fs::remove_file(data.join(labels)).unwrap();
    let words = ["piqa", "valid-labels.lst"];
    eval(&fixture("tiny-llama"), &data, dir.path(), &["--tasks", "piqa"]).refused(2, &words);
}

#[test]
fn answers_that_are_missing_or_unknown() {
    let arc = "arc_easy/ARC-Easy-Test.jsonl";
    refused("arc_easy", arc, replace(", \"answerKey\": \"2\"", ""), &["row 2", "answer"]);
    refused(
        "arc_easy",
        arc,
        replace("\"answerKey\": \"2\"", "\"answerKey\": \"E\""),
        &["row 2", "1, 2, 3, 4", "\"E\""],
    );
    refused(
        "arc_easy",
        arc,
        replace("\"answerKey\": \"2\"", "\"answerKey\": null"),
        &["row 2", "found none"],
    );
    let mmlu = "mmlu/test/abstract_algebra_test.csv";
    refused("mmlu", mmlu, replace("6,C", "6,E"), &["row 1", "A, B, C, D", "\"E\""]);
    refused(
        "winogrande",
        "winogrande/dev.jsonl",
        replace("the _ was", "the was"),
        &["row 1", "`_`"],
    );
}

#[test]
fn fields_that_are_missing_or_of_another_kind() {
    refused(
        "piqa",
        "piqa/valid.jsonl",
        replace("\"goal\": \"How", "\"aim\": \"How"),
        &["row 2", "goal"],
    );
    refused(
        "piqa",
        "piqa/valid.jsonl",
        replace("\"sol1\": \"Ask the jar.\"", "\"sol1\": {}"),
        &["row 2", "choices"],
    );
    let swag = "hellaswag/hellaswag_val.jsonl";
    refused(
        "hellaswag",
        swag,
        replace("\"endings\": [\"He eats", "\"endings\": [7, [\"He eats"),
        &["row 2"],
    );
    refused(
        "commonsense_qa",
        "commonsense_qa/dev_rand_split.jsonl",
        replace("\"text\": \"sink\"", "\"txt\": \"sink\""),
        &["row 1", "context"],
    );
    refused(
        "openbookqa",
        "openbookqa/test.jsonl",
        replace("\"text\": \"star\"", "\"text\": \"\""),
        &["row 1", "choices"],
    );
}

#[test]
fn files_that_are_no_rows() {
    refused("piqa", "piqa/valid.jsonl", Vec::clear, &["empty"]);
    refused("piqa", "piqa/valid.jsonl", |bytes| bytes.truncate(30), &["row 1", "JSON"]);
    refused(
        "piqa",
        "piqa/valid.jsonl",
        |bytes| bytes.splice(..0, *b"[1]\n").for_each(drop),
        &["row 1", "JSON object"],
    );
    refused("piqa", "piqa/valid.jsonl", |bytes| bytes[150] = 0xff, &["UTF-8", "line 2"]);
    refused("mmlu", "mmlu/test/marketing_test.csv", |bytes| bytes[20] = 0xc0, &["UTF-8", "line 1"]);
    refused("mmlu", "mmlu/test/marketing_test.csv", Vec::clear, &["empty"]);
    let algebra = "mmlu/test/abstract_algebra_test.csv";
    refused("mmlu", algebra, replace(",6,C", ",C"), &["row 1 (line 1)", "6 columns", "found 5"]);
    refused(
        "mmlu",
        algebra,
        replace("0,1,-1", "0,1,-1,2"),
        &["row 3 (line 5)", "6 columns", "found 7"],
    );
}

#[test]
fn data_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixture("tiny-llama");
    for (task, word) in [("piqa", "piqa/valid.jsonl"), ("mmlu", "formal_logic_test.csv")] {
        eval(&model, dir.path(), dir.path(), &["--tasks", task]).refused(2, &[task, word]);
    }
    let data = data_in(dir.path());
    let whole = data.join("piqa/valid.jsonl");
    for part in ["a", "b"] {
        fs::copy(&whole, data.join(format!("piqa/valid.{part}.jsonl"))).unwrap();
    }
    fs::remove_file(whole).unwrap();
    let words = ["valid.a.jsonl", "valid.b.jsonl"];
    eval(&model, &data, dir.path(), &["--tasks", "piqa"]).refused(2, &words);
}

#[test]
fn flags_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = (fixture("tiny-llama"), fixture("tasks"));
    eval(&model, &data, dir.path(), &["--tasks", "pica"]).refused(2, &["pica", "piqa", "csr"]);
    eval(&model, &data, dir.path(), &[]).refused(2, &["--tasks"]);
    eval(&model, &data, dir.path(), &["--tasks", "piqa", "--shots", "2"])
        .refused(2, &["piqa", "--shots 2"]);
    eval(&model, &data, dir.path(), &["--tasks", "mmlu", "--shots", "3"])
        .refused(2, &["mmlu", "2 rows"]);
    eval(&model, &data, dir.path(), &["--tasks", "piqa", "--context", "3"])
        .refused(2, &["valid.jsonl", "row 1", "at most 3 tokens"]);
    run(&["eval", text(&model), "--tasks", "piqa"]).refused(2, &["--data"]);
}
