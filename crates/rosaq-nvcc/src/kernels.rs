//! All kernels: compiled and written, or compared with what is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::compile::{Compiled, assemble, ptx};
use crate::findings::over_budget;
use crate::table::table;
use crate::{Architecture, Budgets, Finding, NvccError, Toolchain};

/// Where everything is, from the root of the workspace.
#[derive(Debug, Clone)]
pub struct Places {
    /// `*.cu`, `budgets.toml`, `resources.md`.
    pub kernels: PathBuf,
    /// The committed PTX.
    pub ptx: PathBuf,
    /// An environment of its own for the compiler.
    pub environment: PathBuf,
    /// Takes machine code, to look at.
    pub scratch: PathBuf,
}

impl Places {
    /// The places in a workspace.
    #[must_use]
    pub fn of_workspace(root: &Path) -> Self {
        Self {
            kernels: root.join("kernels"),
            ptx: root.join("crates/rosaq-cuda/ptx"),
            environment: root.join("target/cuda-env"),
            scratch: root.join("target/kernels"),
        }
    }
}

/// Compiles all kernels, writes PTX and table, and returns what is over budget.
///
/// # Errors
/// No compiler, a kernel that does not compile, files that cannot be written.
pub fn write(places: &Places) -> Result<Vec<Finding>, NvccError> {
    let built = build(places, &places.scratch)?;
    make_dir(&places.ptx)?;
    for (stem, text) in &built.ptx {
        write_file(&places.ptx.join(format!("{stem}.ptx")), text)?;
    }
    write_file(&places.kernels.join("resources.md"), &built.table)?;
    Ok(built.findings)
}

/// Compiles all kernels elsewhere and returns every difference from what is committed, and what is over budget.
///
/// # Errors
/// No compiler, a kernel that does not compile, files that cannot be read.
pub fn check(places: &Places) -> Result<Vec<Finding>, NvccError> {
    let scratch = tempfile::tempdir()
        .map_err(|source| NvccError::File { path: std::env::temp_dir(), source })?;
    let built = build(places, scratch.path())?;
    let mut findings = Vec::new();
    let expected =
        built.ptx.iter().map(|(stem, text)| (places.ptx.join(format!("{stem}.ptx")), text));
    let table = (places.kernels.join("resources.md"), &built.table);
    for (path, text) in expected.chain([table]) {
        // A file that is not there is as wrong as one with other bytes.
        if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            findings.push(Finding::Stale { path: shown(&path) });
        }
    }
    for stem in stems(&places.ptx, "ptx")? {
        if !built.ptx.iter().any(|(known, _)| *known == stem) {
            let path = shown(&places.ptx.join(format!("{stem}.ptx")));
            findings.push(Finding::Orphan { path });
        }
    }
    findings.extend(built.findings);
    Ok(findings)
}

struct Built {
    ptx: Vec<(String, String)>,
    table: String,
    findings: Vec<Finding>,
}

fn build(places: &Places, scratch: &Path) -> Result<Built, NvccError> {
    let toolchain = Toolchain::open_or_install(&places.environment)?;
    let budgets = Budgets::read(&places.kernels.join("budgets.toml"))?;
    make_dir(scratch)?;
    // nvcc runs in the directory of the sources.
    let scratch = &std::path::absolute(scratch)
        .map_err(|source| NvccError::File { path: scratch.to_owned(), source })?;
    let stems = stems(&places.kernels, "cu")?;
    let ptx = in_parallel(&stems, |stem| {
        let text = ptx(&toolchain, &places.kernels, stem, scratch)?;
        write_file(&scratch.join(format!("{stem}.ptx")), &text)?;
        Ok((stem.clone(), text))
    })?;
    let jobs: Vec<(&String, Architecture)> =
        stems.iter().flat_map(|stem| Architecture::ALL.map(|a| (stem, a))).collect();
    let compiled: Vec<Compiled> = in_parallel(&jobs, |&(stem, architecture)| {
        assemble(&toolchain, stem, &scratch.join(format!("{stem}.ptx")), architecture, scratch)
    })?;
    let findings = over_budget(&compiled, &budgets);
    Ok(Built { ptx, table: table(&compiled, &budgets), findings })
}

/// Does every job on as many threads as there are cores; results in the jobs' order, or the first error.
fn in_parallel<J: Sync, T: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<T, NvccError> + Sync,
) -> Result<Vec<T>, NvccError> {
    let next = Mutex::new(0..jobs.len());
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let lock_next = || next.lock().map_or(None, |mut jobs| jobs.next());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(idx) = lock_next() {
                    let result = work(&jobs[idx]);
                    if let Ok(mut done) = done.lock() {
                        done.push((idx, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(idx, _)| *idx);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Names of the files in `dir` with an extension, without it, sorted.
fn stems(dir: &Path, extension: &str) -> Result<Vec<String>, NvccError> {
    let file_error = |source| NvccError::File { path: dir.to_owned(), source };
    let mut stems = Vec::new();
    for entry in fs::read_dir(dir).map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(stem) = stem.filter(|_| path.extension().is_some_and(|e| e == extension)) {
            stems.push(stem.to_owned());
        }
    }
    stems.sort();
    Ok(stems)
}

fn make_dir(path: &Path) -> Result<(), NvccError> {
    fs::create_dir_all(path).map_err(|source| NvccError::File { path: path.to_owned(), source })
}

fn write_file(path: &Path, text: &str) -> Result<(), NvccError> {
    fs::write(path, text).map_err(|source| NvccError::File { path: path.to_owned(), source })
}

/// The last parts of a path, as one would name it in the workspace.
fn shown(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let from = parts.iter().rposition(|p| p == "crates" || p == "kernels").unwrap_or(0);
    parts[from..].join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_keep_their_order() {
        let jobs: Vec<usize> = (0..100).collect();
        assert_eq!(in_parallel(&jobs, |&job| Ok(job)).expect("no error"), jobs);
    }

    #[test]
    fn sources_are_found_by_extension() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b.cu", "a.cu", "c.cuh"] {
            write_file(&dir.path().join(name), "").expect("written");
        }
        assert_eq!(stems(dir.path(), "cu").expect("read"), ["a", "b"]);
    }
}
