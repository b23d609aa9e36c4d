//! The tasks that come with rosaq, and how they are called.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Task, TaskError};

/// The seven common-sense tasks of the ROSAQ paper's tables 5 to 7, in their order there.
pub const COMMON_SENSE: [&str; 7] = [
    "piqa",
    "winogrande",
    "hellaswag",
    "arc_easy",
    "arc_challenge",
    "commonsense_qa",
    "openbookqa",
];

/// Task files by name.
const FILES: [(&str, &str); 8] = [
    ("piqa", include_str!("../tasks/piqa.toml")),
    ("winogrande", include_str!("../tasks/winogrande.toml")),
    ("hellaswag", include_str!("../tasks/hellaswag.toml")),
    ("arc_easy", include_str!("../tasks/arc_easy.toml")),
    ("arc_challenge", include_str!("../tasks/arc_challenge.toml")),
    ("commonsense_qa", include_str!("../tasks/commonsense_qa.toml")),
    ("openbookqa", include_str!("../tasks/openbookqa.toml")),
    ("mmlu", include_str!("../tasks/mmlu.toml")),
];

/// The tasks called `names`, each once. `csr` stands for the seven common-sense tasks, `all` for these and `mmlu`, `TASK/PART`
/// for one part of a task. `task_file` is a task file, or a folder of such; its tasks can be named as well, stand before
/// bundled ones of the same name, and are all taken when no name is given.
///
/// # Errors
/// [`TaskError::UnknownTask`]; task files that cannot be read or understood.
pub fn select(names: &[String], task_file: Option<&Path>) -> Result<Vec<Task>, TaskError> {
    let own = task_file.map_or_else(|| Ok(Vec::new()), own_tasks)?;
    if names.is_empty() {
        return Ok(own);
    }
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        match name.as_str() {
            "csr" => wanted.extend(COMMON_SENSE),
            "all" => wanted.extend(FILES.map(|(name, _)| name)),
            name => wanted.push(name),
        }
    }
    let mut tasks: Vec<Task> = Vec::new();
    for name in wanted {
        let task = find(name, &own)?;
        if !tasks.iter().any(|t| t.name == task.name) {
            tasks.push(task);
        }
    }
    Ok(tasks)
}

fn find(name: &str, own: &[Task]) -> Result<Task, TaskError> {
    let unknown = || {
        let bundled = FILES.iter().map(|(name, _)| (*name).to_owned());
        let groups = ["csr", "all"].map(str::to_owned);
        let own = own.iter().map(|task| task.name.clone());
        let known = own.chain(bundled).chain(groups).collect();
        TaskError::UnknownTask { name: name.to_owned(), known }
    };
    let (whole, part) =
        name.split_once('/').map_or((name, None), |(task, part)| (task, Some(part)));
    let mut task = match own.iter().find(|task| task.name == whole) {
        Some(task) => task.clone(),
        None => {
            let (file, text) = FILES.iter().find(|(name, _)| *name == whole).ok_or_else(unknown)?;
            Task::parse(text, &format!("{file}.toml"))?
        }
    };
    if let Some(part) = part {
        if !task.keep_part(part) {
            return Err(unknown());
        }
        name.clone_into(&mut task.name);
    }
    Ok(task)
}

/// The tasks of a file, or of all `.toml` files of a folder, by name.
fn own_tasks(path: &Path) -> Result<Vec<Task>, TaskError> {
    let read = |source| TaskError::Read { path: path.to_owned(), source };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>, _>>()
            })
            .map_err(read)?;
        files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
        files.sort();
        if files.is_empty() {
            return Err(TaskError::Empty { path: path.to_owned() });
        }
    }
    let parse = |file: &PathBuf| {
        let text = fs::read_to_string(file)
            .map_err(|source| TaskError::Read { path: file.clone(), source })?;
        Task::parse(&text, &file.display().to_string())
    };
    files.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        select(&names, None).expect("tasks").into_iter().map(|t| t.name).collect()
    }

    #[test]
    fn groups_hold_their_tasks_once() {
        assert_eq!(names(&["csr"]), COMMON_SENSE);
        assert_eq!(names(&["mmlu", "piqa", "all"]).len(), 8);
        assert_eq!(names(&["mmlu/anatomy"]), ["mmlu/anatomy"]);
    }

    #[test]
    fn unknown_names_are_refused() {
        for name in ["pica", "mmlu/alchemy", "piqa/x"] {
            let error = select(&[name.to_owned()], None).expect_err("no such task");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn mmlu_has_57_subjects_in_four_categories() {
        let task = find("mmlu", &[]).expect("bundled");
        let sizes: Vec<(&str, usize)> =
            task.groups.iter().map(|g| (g.name.as_str(), g.parts.len())).collect();
        let known = [("humanities", 13), ("social sciences", 12), ("STEM", 19), ("other", 13)];
        assert_eq!(sizes, known);
        let mut subjects: Vec<&str> = task.parts().collect();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), 57);
    }
}
