//! Questions from Parquet files are those of the files that the data sets' authors hand out.
#![cfg(feature = "parquet")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rosaq_tasks::{LoadOptions, TaskData, TaskError, load, select};
use serde_json::Value;
use tempfile::TempDir;

/// Where the Hub has a task's rows, and the schema there.
const HUB: [(&str, &str, &str); 8] = [
    ("piqa", "piqa/plain_text/validation-00000-of-00001.parquet", "goal sol1 sol2 #label"),
    (
        "winogrande",
        "winogrande/winogrande_xl/validation-00000-of-00001.parquet",
        "sentence option1 option2 answer",
    ),
    (
        "hellaswag",
        "hellaswag/data/validation-00000-of-00001.parquet",
        "activity_label ctx_a ctx_b *endings label",
    ),
    ("arc_easy", "ai2_arc/ARC-Easy/test-00000-of-00001.parquet", CHOICES),
    ("arc_challenge", "ai2_arc/ARC-Challenge/test-00000-of-00001.parquet", CHOICES),
    ("commonsense_qa", "commonsense_qa/data/validation-00000-of-00001.parquet", CHOICES),
    (
        "openbookqa",
        "openbookqa/main/test-00000-of-00001.parquet",
        "id question_stem choices.text choices.label answerKey",
    ),
    ("mmlu", "mmlu/{part}/test-00000-of-00001.parquet", MMLU),
];
const CHOICES: &str = "id question choices.text choices.label answerKey";
const MMLU: &str = "question subject *choices #answer";

/// A column of texts, numbers (`#`), lists of texts (`*`), or such lists inside of the struct `choices`.
fn schema(columns: &str) -> String {
    let list = |name: &str| {
        format!(
            "optional group {name} (LIST) {{ repeated group list {{ optional binary element (UTF8); }} }}"
        )
    };
    let columns = columns.split(' ').map(|column| match column.split_at(1) {
        ("#", name) => format!("optional int64 {name};"),
        ("*", name) => list(name),
        _ if column == "choices.text" => {
            format!("optional group choices {{ {} {} }}", list("text"), list("label"))
        }
        _ if column == "choices.label" => String::new(),
        _ => format!("optional binary {column} (UTF8);"),
    });
    format!("message rows {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

/// Writes `rows`, whose fields are called as `columns` are; one that is missing or null has no value.
fn write(path: &Path, columns: &str, rows: &[Value]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let schema = Arc::new(parse_message_type(&schema(columns)).unwrap());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let n_list_levels = |column: &str| if column.starts_with('*') { 3 } else { 4 };
    for column in columns.split(' ') {
        let mut to = group.next_column().unwrap().unwrap();
        let name = column.trim_start_matches(['#', '*']);
        let cells = rows.iter().map(|row| name.split('.').fold(row, |value, key| &value[key]));
        if column.starts_with('#') {
            let numbers: Vec<i64> = cells.clone().filter_map(Value::as_i64).collect();
            let levels: Vec<i16> = cells.map(|cell| i16::from(cell.is_i64())).collect();
            to.typed::<Int64Type>().write_batch(&numbers, Some(&levels), None).unwrap();
        } else if column.starts_with('*') || column.contains('.') {
            let (mut texts, mut definition, mut repetition) = (vec![], vec![], vec![]);
            for cell in cells {
                for (idx, text) in cell.as_array().unwrap().iter().enumerate() {
                    texts.extend(text.as_str().map(ByteArray::from));
                    definition.push(n_list_levels(column) - i16::from(text.is_null()));
                    repetition.push(i16::from(idx > 0));
                }
            }
            let levels = (Some(&definition[..]), Some(&repetition[..]));
            to.typed::<ByteArrayType>().write_batch(&texts, levels.0, levels.1).unwrap();
        } else {
            let texts: Vec<ByteArray> =
                cells.clone().filter_map(Value::as_str).map(ByteArray::from).collect();
            let levels: Vec<i16> = cells.map(|cell| i16::from(cell.is_string())).collect();
            to.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
        }
        to.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tasks")
}

fn hub(task: &str) -> (&'static str, &'static str) {
    let (_, file, columns) = HUB.iter().find(|(name, ..)| *name == task).unwrap();
    (file, columns)
}

fn questions(task: &str, data: &Path, shots: usize) -> Result<TaskData, TaskError> {
    let task = select(&[task.to_owned()], None).unwrap().remove(0);
    load(&task, data, LoadOptions { limit: None, shots })
}

/// Rows of a JSON-lines fixture with the fields that the Hub gives them.
fn hub_rows(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixtures().join(file)).unwrap();
    let mut rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &mut rows {
        if let Value::Object(question) = row["question"].take() {
            row["question"] = question["stem"].clone();
            row["question_stem"] = question["stem"].clone();
            let choices = question["choices"].as_array().unwrap();
            for key in ["text", "label"] {
                row["choices"][key] = choices.iter().map(|choice| choice[key].clone()).collect();
            }
        }
        if row["label"].is_number() && file.starts_with("hellaswag") {
            row["label"] = row["label"].to_string().into(); // a text there
        }
    }
    rows
}

#[track_caller]
fn check(task: &str, file: &str, rows: &[Value]) {
    let dir = TempDir::new().unwrap();
    let (place, columns) = hub(task);
    write(&dir.path().join(place), columns, rows);
    let expected = questions(task, &fixtures(), 0).unwrap();
    let found = questions(task, dir.path(), 0).unwrap();
    assert_eq!(found.parts[0].questions, expected.parts[0].questions, "{file}");
    assert!(found.parts[0].file.ends_with(place));
}

#[test]
fn flat_rows() {
    let mut rows = hub_rows("piqa/valid.jsonl");
    let labels = fs::read_to_string(fixtures().join("piqa/valid-labels.lst")).unwrap();
    for (row, label) in rows.iter_mut().zip(labels.lines()) {
        row["label"] = label.parse::<i64>().unwrap().into();
    }
    check("piqa", "piqa/valid.jsonl", &rows);
    check("winogrande", "winogrande/dev.jsonl", &hub_rows("winogrande/dev.jsonl"));
}

#[test]
fn lists() {
    let file = "hellaswag/hellaswag_val.jsonl";
    check("hellaswag", file, &hub_rows(file));
}

#[test]
fn structs_of_lists() {
    for (task, file) in [
        ("arc_easy", "arc_easy/ARC-Easy-Test.jsonl"),
        ("arc_challenge", "arc_challenge/ARC-Challenge-Test.jsonl"),
        ("commonsense_qa", "commonsense_qa/dev_rand_split.jsonl"),
        ("openbookqa", "openbookqa/test.jsonl"),
    ] {
        check(task, file, &hub_rows(file));
    }
}

#[test]
fn subjects_with_examples() {
    let dir = TempDir::new().unwrap();
    let parts = ["abstract_algebra", "high_school_us_history", "marketing", "sociology"];
    for part in parts {
        for split in ["test", "dev"] {
            let file = fixtures().join(format!("mmlu/{split}/{part}_{split}.csv"));
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(file).unwrap();
            let rows: Vec<Value> = reader
                .records()
                .map(|record| {
                    let record = record.unwrap();
                    let answer = "ABCD".find(&record[5]).unwrap();
                    serde_json::json!({"question": &record[0], "subject": part,
                        "choices": [&record[1], &record[2], &record[3], &record[4]], "answer": answer})
                })
                .collect();
            write(
                &dir.path().join(format!("mmlu/{part}/{split}-00000-of-00001.parquet")),
                MMLU,
                &rows,
            );
        }
    }
    for shots in [0, 2] {
        let expected = questions("mmlu", &fixtures(), shots).unwrap();
        let found = questions("mmlu", dir.path(), shots).unwrap();
        assert_eq!(found.parts.len(), 4);
        for (found, expected) in found.parts.iter().zip(&expected.parts) {
            assert_eq!(found.questions, expected.questions);
            assert_eq!((&found.name, &found.group), (&expected.name, &expected.group));
        }
    }
}

/// The message for `rows` of `task`, in which the folder of data is called `DIR`.
fn message(task: &str, columns: &str, rows: &[Value]) -> String {
    let dir = TempDir::new().unwrap();
    write(&dir.path().join(hub(task).0.replace("{part}", "marketing")), columns, rows);
    let error = questions(task, dir.path(), 0).expect_err("bad data").to_string();
    error.replace(&dir.path().display().to_string(), "DIR")
}

#[test]
fn bad_rows_are_named() {
    let row = |answer: i64, choices: &[&str]| serde_json::json!({"question": "Who?", "subject": "marketing", "choices": choices, "answer": answer});
    let file = "\"DIR/mmlu/marketing/test-00000-of-00001.parquet\"";
    let (good, four) = (row(0, &["a", "b", "c", "d"]), ["a", "b", "c", "d"]);
    for (label, found) in [(4, "E"), (-1, "-1"), (77, "77")] {
        assert_eq!(
            message("mmlu", MMLU, &[good.clone(), row(label, &four)]),
            format!("{file}, row 2: expected one of A, B, C, D as the answer, found \"{found}\"")
        );
    }
    assert_eq!(
        message("mmlu", MMLU, &[row(0, &four[..3])]),
        format!("{file}, row 1: expected a field `D`, which task `mmlu` uses, found none")
    );
    assert_eq!(
        message("mmlu", "question *choices", std::slice::from_ref(&good)),
        format!("{file}, row 1: expected a field `answer`, which task `mmlu` uses, found none")
    );
    let mut null = good.clone();
    null["question"] = Value::Null;
    assert_eq!(
        message("mmlu", MMLU, &[good.clone(), null]),
        format!("{file}, row 2: expected a field `question`, which task `mmlu` uses, found none")
    );
    let mut gap = good.clone();
    gap["choices"][2] = Value::Null;
    assert_eq!(
        message("mmlu", MMLU, &[good, gap]),
        format!(
            "{file}, row 2: expected readable values, found damaged ones: `choices`: expected a value in each place of a \
             list, found none"
        )
    );
}

#[test]
fn a_struct_of_uneven_lists_is_refused() {
    let row = serde_json::json!({"id": "1", "question": "Which?", "answerKey": "A",
        "choices": {"text": ["x", "y"], "label": ["A"]}});
    let message = message("arc_easy", CHOICES, &[row]);
    let expected = "DIR/ai2_arc/ARC-Easy/test-00000-of-00001.parquet\", row 1: `data.fields` of task `arc_easy`: expected \
                    lists of one length, found lists of 1 and of 2";
    assert!(message.contains(expected), "{message}");
}

/// Cut anywhere, or with any byte altered, a file gives questions or one message, and no panic gets out.
#[test]
fn damage_is_an_error() {
    let dir = TempDir::new().unwrap();
    let (place, columns) = hub("arc_easy");
    let path = dir.path().join(place);
    write(&path, columns, &hub_rows("arc_easy/ARC-Easy-Test.jsonl")[..2]);
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let error = questions("arc_easy", dir.path(), 0).expect_err("a file cut short").to_string();
        assert!(error.contains(place) && error.contains("expected a Parquet file"), "{error}");
    }
    let mut n_refused = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        if let Err(error) = questions("arc_easy", dir.path(), 0) {
            assert!(error.to_string().contains(place), "{error}");
            n_refused += 1;
        }
    }
    assert!(n_refused > whole.len() / 4, "{n_refused} of {} altered files refused", whole.len());
}
