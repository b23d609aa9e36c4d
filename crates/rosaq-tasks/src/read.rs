//! Rows from files as data sets are handed out: JSON lines, comma-separated values, labels in a file of their own.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::TaskError;
#[cfg(feature = "parquet")]
use crate::parquet_rows::parquet_rows;

/// The fields of a row by name.
pub(crate) type Row = Map<String, Value>;

/// The rows of a file: those of a Parquet file where its name ends so, CSV where `columns` are given, else a JSON object a
/// line.
pub(crate) fn read_rows(path: &Path, columns: Option<&[String]>) -> Result<Vec<Row>, TaskError> {
    let rows = match columns {
        _ if path.extension().is_some_and(|e| e == "parquet") => parquet_rows(path)?,
        Some(columns) => csv_rows(path, &read_utf8(path)?, columns)?,
        None => json_rows(path, &read_utf8(path)?)?,
    };
    if rows.is_empty() {
        return Err(TaskError::Empty { path: path.to_owned() });
    }
    Ok(rows)
}

/// Adds the lines of a file of labels to `rows` as `label`.
pub(crate) fn add_labels(rows: &mut [Row], path: &Path) -> Result<(), TaskError> {
    let text = read_utf8(path)?;
    let labels: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    if labels.len() != rows.len() || text.trim().is_empty() {
        let labels = if text.trim().is_empty() { 0 } else { labels.len() };
        return Err(TaskError::Labels { path: path.to_owned(), rows: rows.len(), labels });
    }
    for (row, label) in rows.iter_mut().zip(labels) {
        row.insert("label".to_owned(), Value::from(label));
    }
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn parquet_rows(path: &Path) -> Result<Vec<Row>, TaskError> {
    Err(TaskError::NoParquet { path: path.to_owned() })
}

fn json_rows(path: &Path, text: &str) -> Result<Vec<Row>, TaskError> {
    let parse = |(idx, line): (usize, &str)| {
        let row = idx + 1;
        serde_json::from_str(line).map_err(|source| TaskError::Json {
            path: path.to_owned(),
            row,
            source,
        })
    };
    // Blank lines at the end are no rows; in between they would shift the labels.
    text.trim_end().lines().enumerate().map(parse).collect()
}

fn csv_rows(path: &Path, text: &str, columns: &[String]) -> Result<Vec<Row>, TaskError> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for (idx, record) in reader.records().enumerate() {
        let row = idx + 1;
        let record =
            record.map_err(|source| TaskError::Csv { path: path.to_owned(), row, source })?;
        if record.len() != columns.len() {
            return Err(TaskError::Columns {
                path: path.to_owned(),
                row,
                line: record.position().map_or(0, csv::Position::line),
                expected: columns.len(),
                found: record.len(),
            });
        }
        let fields = columns.iter().zip(&record);
        rows.push(fields.map(|(name, field)| (name.clone(), Value::from(field))).collect());
    }
    Ok(rows)
}

fn read_utf8(path: &Path) -> Result<String, TaskError> {
    let bytes =
        fs::read(path).map_err(|source| TaskError::Read { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        TaskError::NotUtf8 { path: path.to_owned(), line }
    })
}
