//! Finds a task's files in a folder of data.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TaskError;

/// The first of `files` that exists under `data`, with `{part}` replaced. Of a file `NAME.EXT` a part of its rows,
/// `NAME.ANYTHING.EXT`, may lie in its place.
pub(crate) fn locate(
    task: &str,
    data: &Path,
    files: &[String],
    part: Option<&str>,
) -> Result<PathBuf, TaskError> {
    let mut tried = Vec::new();
    for file in files {
        let path = data.join(file.replace("{part}", part.unwrap_or_default()));
        if path.is_file() {
            return Ok(path);
        }
        let mut parts = partial(&path);
        match parts.len() {
            0 => tried.push(path),
            1 => return Ok(parts.remove(0)),
            _ => return Err(TaskError::Ambiguous { task: task.to_owned(), found: parts }),
        }
    }
    Err(TaskError::NotFound { task: task.to_owned(), tried })
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
