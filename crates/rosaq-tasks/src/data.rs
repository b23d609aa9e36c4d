//! A task's questions, read from a folder of data.

use std::path::{Path, PathBuf};

use crate::error::Place;
use crate::locate::{labels, locate, locate_shots};
use crate::mapped::mapped;
use crate::read::{Row, add_labels, read_rows};
use crate::render::Renderer;
use crate::spec::DataSpec;
use crate::{Question, Task, TaskError};

/// A task with its questions.
#[derive(Debug, Clone)]
pub struct TaskData {
    /// The task.
    pub task: Task,
    /// Its parts; one without a name where it has none.
    pub parts: Vec<Part>,
    /// Places where parts were looked for in vain, although others were found.
    pub missing: Vec<PathBuf>,
}

/// The questions of one file.
#[derive(Debug, Clone)]
pub struct Part {
    /// The part's name.
    pub name: Option<String>,
    /// The group it is averaged in.
    pub group: Option<String>,
    /// The file.
    pub file: PathBuf,
    /// The questions, in the file's order.
    pub questions: Vec<Question>,
}

/// What of the data is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The first so many rows of each file.
    pub limit: Option<usize>,
    /// Examples with answers before each question.
    pub shots: usize,
}

/// Reads the questions of `task` from the folder `data`. Of a task with parts some may be missing, but not all.
///
/// # Errors
/// Whatever is wrong with the files; messages name file and row.
pub fn load(task: &Task, data: &Path, options: LoadOptions) -> Result<TaskData, TaskError> {
    let env = Task::environment();
    let renderer = Renderer::new(task, &env)?;
    let mut found = TaskData { task: task.clone(), parts: Vec::new(), missing: Vec::new() };
    if task.groups.is_empty() {
        found.parts.push(load_part(task, &renderer, data, None, options)?);
        return Ok(found);
    }
    for group in &task.groups {
        for part in &group.parts {
            match load_part(task, &renderer, data, Some(part), options) {
                Ok(mut part) => {
                    part.group = Some(group.name.clone());
                    found.parts.push(part);
                }
                Err(TaskError::NotFound { tried, .. }) => {
                    found.missing.extend(tried.into_iter().take(1))
                }
                Err(error) => return Err(error),
            }
        }
    }
    if found.parts.is_empty() {
        let files = || task.data.layouts().flat_map(|layout| &layout.files);
        let tried = task
            .parts()
            .take(1)
            .flat_map(|part| files().map(|file| data.join(file.replace("{part}", part))));
        return Err(TaskError::NotFound { task: task.name.clone(), tried: tried.collect() });
    }
    Ok(found)
}

fn load_part(
    task: &Task,
    renderer: &Renderer<'_>,
    data: &Path,
    part: Option<&str>,
    options: LoadOptions,
) -> Result<Part, TaskError> {
    let (layout, file) = locate(task, data, part)?;
    let mut rows = read_rows(&file, layout.columns.as_deref())?;
    if let Some(pattern) = &layout.labels {
        add_labels(&mut rows, &labels(&task.name, &file, pattern)?)?;
    }
    rows.truncate(options.limit.unwrap_or(usize::MAX));
    let rows = mapped(rows, task, layout, &file)?;
    let (shot_file, shots) = read_shots(task, layout, data, part, options.shots)?;
    let place = |path, idx: usize| Place { path, row: idx + 1 };
    let shots: Vec<(Place<'_>, &Row)> =
        shots.iter().enumerate().map(|(idx, row)| (place(&shot_file, idx), row)).collect();
    let prefix = renderer.prefix(part, &shots, place(&file, 0))?;
    let questions = rows
        .iter()
        .enumerate()
        .map(|(idx, row)| renderer.question(&prefix, row, part, place(&file, idx)));
    let questions = questions.collect::<Result<Vec<_>, _>>()?;
    Ok(Part { name: part.map(str::to_owned), group: None, file, questions })
}

fn read_shots(
    task: &Task,
    layout: &DataSpec,
    data: &Path,
    part: Option<&str>,
    n: usize,
) -> Result<(PathBuf, Vec<Row>), TaskError> {
    if n == 0 {
        return Ok((PathBuf::new(), Vec::new()));
    }
    let too_few = |found| TaskError::TooFewShots { task: task.name.clone(), found, asked: n };
    if layout.shots.is_empty() {
        return Err(too_few(0));
    }
    let file = locate_shots(task, layout, data, part)?;
    let mut rows = read_rows(&file, layout.columns.as_deref())?;
    if rows.len() < n {
        return Err(too_few(rows.len()));
    }
    rows.truncate(n);
    let rows = mapped(rows, task, layout, &file)?;
    Ok((file, rows))
}
