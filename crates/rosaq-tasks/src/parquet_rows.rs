//! Rows from Parquet files, as data sets lie on the Hugging Face Hub.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use serde_json::Value;

use crate::TaskError;
use crate::read::Row;

/// The rows of a file as JSON objects; a field without a value is left out.
pub(crate) fn parquet_rows(path: &Path) -> Result<Vec<Row>, TaskError> {
    let file =
        File::open(path).map_err(|source| TaskError::Read { path: path.to_owned(), source })?;
    // The reader refuses most of what is damaged with an error, but asserts that schemas and levels fit together.
    let read = AssertUnwindSafe(|| read(file, path));
    catch_unwind(read).unwrap_or_else(|_| {
        let reason = "the reader gave up".to_owned();
        Err(TaskError::NotParquet { path: path.to_owned(), reason })
    })
}

fn read(file: File, path: &Path) -> Result<Vec<Row>, TaskError> {
    let not_parquet = |reason| TaskError::NotParquet { path: path.to_owned(), reason };
    let reader = SerializedFileReader::new(file).map_err(|error| not_parquet(error.to_string()))?;
    check_columns(&reader).map_err(not_parquet)?;
    let rows = reader.get_row_iter(None).map_err(|error| not_parquet(error.to_string()))?;
    let one = |(idx, row): (usize, Result<ParquetRow, ParquetError>)| {
        row.map_err(|error| error.to_string())
            .and_then(object)
            .map_err(|reason| TaskError::ParquetRow { path: path.to_owned(), row: idx + 1, reason })
    };
    rows.enumerate().map(one).collect()
}

/// What the reader takes for granted: no place or size is negative, and no dictionary has more entries than its bytes can hold,
/// for as many as it says it has room is made. Every page is unpacked on the way, which takes 2 GiB at most, the largest
/// size that a page can say it has.
fn check_columns(reader: &dyn FileReader) -> Result<(), String> {
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|error| error.to_string())?;
        for (idx, column) in group.metadata().columns().iter().enumerate() {
            let named = |reason| format!("column `{}`: {reason}", column.column_path().string());
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            if start < 0 || column.compressed_size() < 0 {
                return Err(named("expected a place in the file, found a negative one".to_owned()));
            }
            let mut pages =
                group.get_column_page_reader(idx).map_err(|error| named(error.to_string()))?;
            check_dictionary(pages.as_mut()).map_err(named)?;
        }
    }
    Ok(())
}

fn check_dictionary(pages: &mut dyn PageReader) -> Result<(), String> {
    while let Some(page) = pages.get_next_page().map_err(|error| error.to_string())? {
        if let Page::DictionaryPage { buf, num_values, .. } = page {
            let most = buf.len(); // no entry takes less than a byte
            if num_values as usize > most {
                return Err(format!(
                    "expected at most {most} entries in a dictionary of as many bytes, found {num_values}"
                ));
            }
        }
    }
    Ok(())
}

fn object(row: ParquetRow) -> Result<Row, String> {
    let mut object = Row::new();
    for (name, field) in row.into_columns() {
        if !matches!(field, Field::Null) {
            let value = value(field).map_err(|reason| format!("`{name}`: {reason}"))?;
            object.insert(name, value);
        }
    }
    Ok(object)
}

/// Numbers as numbers, texts and lists as such, structs as objects, everything else as its text.
fn value(field: Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => {
            return Err("expected a value in each place of a list, found none".to_owned());
        }
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => value.into(),
        Field::Double(value) => value.into(),
        Field::Str(text) => text.into(),
        Field::Group(row) => Value::Object(object(row)?),
        Field::ListInternal(list) => {
            let items = list.elements().iter().cloned().map(value);
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        other => other.to_string().into(),
    })
}
