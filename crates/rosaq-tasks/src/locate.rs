//! Finds a task's files in a folder of data.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TaskError;
use crate::spec::{DataSpec, Task};

/// The file of a task's rows under `data`, or of one part of them, and the layout that it has: the first that exists.
pub(crate) fn locate<'a>(
    task: &'a Task,
    data: &Path,
    part: Option<&str>,
) -> Result<(&'a DataSpec, PathBuf), TaskError> {
    let mut tried = Vec::new();
    for layout in task.data.layouts() {
        if let Some(path) = first(task, data, &layout.files, part, &mut tried)? {
            return Ok((layout, path));
        }
    }
    Err(TaskError::NotFound { task: task.name.clone(), tried })
}

/// The file of examples, in the layout of the rows.
pub(crate) fn locate_shots(
    task: &Task,
    layout: &DataSpec,
    data: &Path,
    part: Option<&str>,
) -> Result<PathBuf, TaskError> {
    let mut tried = Vec::new();
    let found = first(task, data, &layout.shots, part, &mut tried)?;
    found.ok_or_else(|| TaskError::NotFound { task: task.name.clone(), tried })
}

/// The first of `files` that exists under `data`, with `{part}` replaced. Of a file `NAME.EXT` a part of its rows,
/// `NAME.ANYTHING.EXT`, may lie in its place.
fn first(
    task: &Task,
    data: &Path,
    files: &[String],
    part: Option<&str>,
    tried: &mut Vec<PathBuf>,
) -> Result<Option<PathBuf>, TaskError> {
    for file in files {
        let path = data.join(file.replace("{part}", part.unwrap_or_default()));
        if path.is_file() {
            return Ok(Some(path));
        }
        let mut parts = partial(&path);
        match parts.len() {
            0 => tried.push(path),
            1 => return Ok(Some(parts.remove(0))),
            _ => return Err(TaskError::Ambiguous { task: task.name.clone(), found: parts }),
        }
    }
    Ok(None)
}

/// The file of labels beside `rows`.
pub(crate) fn labels(task: &str, rows: &Path, pattern: &str) -> Result<PathBuf, TaskError> {
    let stem = rows.file_stem().unwrap_or_default().to_string_lossy();
    let path = rows.with_file_name(pattern.replace("{stem}", &stem));
    if path.is_file() {
        Ok(path)
    } else {
        Err(TaskError::NotFound { task: task.to_owned(), tried: vec![path] })
    }
}

/// Files beside `path` that are called `STEM.*.EXT`, sorted.
fn partial(path: &Path) -> Vec<PathBuf> {
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (start, end) = (text(path.file_stem()) + ".", format!(".{}", text(path.extension())));
    let Some(entries) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|entry| {
            let name = text(entry.file_name());
            name.len() > start.len() + end.len() && name.starts_with(&start) && name.ends_with(&end)
        })
        .collect();
    found.sort();
    found
}
