//! What can be wrong with a task's file or its data.

use std::io;
use std::path::{Path, PathBuf};

use rosaq_text::TextError;

/// Why a task could not be prepared. Rows count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// There is no task of this name.
    #[error("no task or group of tasks is called `{name}`; there are {}", known.join(", "))]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A task file cannot be parsed.
    #[error("task file \"{file}\": {}", source.message())]
    Spec {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: toml::de::Error,
    },
    /// A task file contradicts itself.
    #[error("task file \"{file}\": `{field}`: {reason}")]
    BadSpec {
        /// The file.
        file: String,
        /// The entry.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// None of the places where a task's data may be has it.
    #[error("task `{task}`: no data; looked for {}", places(tried))]
    NotFound {
        /// The task.
        task: String,
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// Several parts of a file lie side by side.
    #[error("task `{task}`: expected one part of the data, found {}", places(found))]
    Ambiguous {
        /// The task.
        task: String,
        /// What was found.
        found: Vec<PathBuf>,
    },
    /// Examples were asked for where there are none.
    #[error("task `{task}`: {found} rows of examples, `--shots {asked}` needs as many")]
    TooFewShots {
        /// The task.
        task: String,
        /// Rows found.
        found: usize,
        /// Rows asked for.
        asked: usize,
    },
    /// A file cannot be read.
    #[error("cannot read \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not text.
    #[error("\"{}\", line {line}: expected UTF-8 text, found other bytes", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
    /// A file has no row.
    #[error("\"{}\" is empty: expected at least one row", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is no JSON object.
    #[error("\"{}\", row {row}: expected a JSON object", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A CSV file cannot be split into records.
    #[error("\"{}\", row {row}: expected comma-separated values", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The cause.
        #[source]
        source: csv::Error,
    },
    /// A CSV record has another number of fields.
    #[error("\"{}\", row {row} (line {line}): expected {expected} columns, found {found}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The line on which it begins.
        line: u64,
        /// Columns that the task names.
        expected: usize,
        /// Columns of the record.
        found: usize,
    },
    /// A Parquet file is all there is, and this build does not read it.
    #[error(
        "\"{}\" is a Parquet file, which this build does not read; build with `--features parquet`, or put the files there that \
         the data set's authors hand out",
        path.display()
    )]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// A Parquet file is none, or is damaged. The cause is a text, so that the type is the same in every build.
    #[error("\"{}\": expected a Parquet file, whole, and plain or packed with Snappy; found: {reason}", path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// A row of a Parquet file cannot be read.
    #[error("\"{}\", row {row}: expected readable values, found damaged ones: {reason}", path.display())]
    ParquetRow {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// What the reader says.
        reason: String,
    },
    /// Labels and rows do not pair up.
    #[error(
        "\"{}\": expected one label for each of {rows} rows, found {labels}, so that row {} has no partner",
        path.display(), rows.min(labels) + 1
    )]
    Labels {
        /// The file of labels.
        path: PathBuf,
        /// Rows of the data.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// A row lacks a field.
    #[error("\"{}\", row {row}: expected a field `{field}`, which task `{task}` uses, found none", path.display())]
    MissingField {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The task.
        task: String,
        /// The field.
        field: String,
    },
    /// A template does not fit a row.
    #[error("\"{}\", row {row}: `{field}` of task `{task}`: {}", path.display(), said(source))]
    Template {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The task.
        task: String,
        /// The entry of the task file.
        field: &'static str,
        /// The cause.
        source: minijinja::Error,
    },
    /// What should be a list of texts is something else.
    #[error("\"{}\", row {row}: `{field}` of task `{task}`: expected {expected}, found {found}", path.display())]
    Choices {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The task.
        task: String,
        /// The entry of the task file.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The answer is none of the choices.
    #[error("\"{}\", row {row}: expected one of {} as the answer, found {found}", path.display(), answers.join(", "))]
    Answer {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// What it may be.
        answers: Vec<String>,
        /// What it is.
        found: String,
    },
    /// Nothing of a choice is left to score.
    #[error("\"{}\", row {row}: choice {choice} has no token of its own", path.display())]
    NothingToScore {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The choice, from 1.
        choice: usize,
    },
    /// A choice alone is longer than what the model takes.
    #[error("\"{}\", row {row}: expected choice {choice} to have at most {max_length} tokens, found {found}", path.display())]
    LongChoice {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The choice, from 1.
        choice: usize,
        /// Its tokens.
        found: usize,
        /// Tokens that the model takes.
        max_length: usize,
    },
    /// The tokenizer.
    #[error("\"{}\", row {row}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The cause.
        #[source]
        source: TextError,
    },
}

/// The place of a row, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) row: usize,
}

fn places(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|p| format!("\"{}\"", p.display())).collect();
    quoted.join(", ")
}

/// What the template engine says, without its own name for the template.
fn said(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    }
}
