//! Rows of one layout made what those of another are.

use std::path::Path;

use minijinja::Expression;
use minijinja::value::{Serde, Value};

use crate::error::Place;
use crate::read::Row;
use crate::spec::DataSpec;
use crate::{Task, TaskError};

/// `rows` with the fields that `layout` gives as expressions; all others stay as they are.
pub(crate) fn mapped(
    rows: Vec<Row>,
    task: &Task,
    layout: &DataSpec,
    file: &Path,
) -> Result<Vec<Row>, TaskError> {
    if layout.fields.is_empty() {
        return Ok(rows);
    }
    let env = Task::environment();
    let mut fields = Vec::new();
    for (name, text) in &layout.fields {
        let expression = env.compile_expression(text).map_err(|error| TaskError::BadSpec {
            file: task.name.clone(),
            field: "data.fields",
            reason: error.to_string(),
        })?;
        fields.push((name, expression));
    }
    let one =
        |(idx, row): (usize, Row)| map(row, &fields, task, Place { path: file, row: idx + 1 });
    rows.into_iter().enumerate().map(one).collect()
}

fn map(
    mut row: Row,
    fields: &[(&String, Expression<'_, '_>)],
    task: &Task,
    place: Place<'_>,
) -> Result<Row, TaskError> {
    let missing = |field: String| TaskError::MissingField {
        path: place.path.to_owned(),
        row: place.row,
        task: task.name.clone(),
        field,
    };
    let failed = |source| TaskError::Template {
        path: place.path.to_owned(),
        row: place.row,
        task: task.name.clone(),
        field: "data.fields",
        source,
    };
    let values = Value::from(Serde(row.clone()));
    for (name, expression) in fields {
        let mut used: Vec<String> = expression.undeclared_variables(false).into_iter().collect();
        used.sort();
        if let Some(absent) = used.into_iter().find(|column| !row.contains_key(column)) {
            return Err(missing(absent));
        }
        let value = expression.eval(&values).map_err(failed)?;
        if value.is_undefined() {
            return Err(missing((*name).clone()));
        }
        let value = serde_json::to_value(&value).map_err(|error| {
            failed(minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))
        })?;
        row.insert((*name).clone(), value);
    }
    Ok(row)
}
