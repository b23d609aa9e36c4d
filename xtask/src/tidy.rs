//! `cargo xtask tidy`: rules of the workspace that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::Outcome;
use crate::output::print_text;

/// Which crates a crate may depend on, without the `rosaq-` in front. Data flows from left to right; no arrow turns back.
const EDGES: &[(&str, &[&str])] = &[
    ("tensor", &[]),
    ("pca", &[]),
    ("saliency", &[]),
    ("pack", &[]),
    ("text", &[]),
    ("trellis", &[]),
    ("report", &[]),
    ("nvcc", &[]),
    ("cuda-shim", &[]),
    ("tasks", &["text"]),
    ("eval", &["text"]),
    ("model", &["tensor"]),
    ("rotate", &["model", "tensor"]),
    ("quant", &["pack", "tensor", "trellis"]),
    ("learn", &["quant", "rotate", "tensor"]),
    ("cpu", &["pack"]),
    ("calib", &["cpu", "model"]),
    ("cuda", &["cuda-shim", "pack"]),
    ("cuda-model", &["model", "tensor", "pack", "runtime", "cuda"]),
    ("ptx-emu", &[]),
    ("cuda-emu", &["ptx-emu"]),
    ("cuda-metrics", &["cuda", "pack", "ptx-emu"]),
    (
        "methods",
        &[
            "model", "tensor", "calib", "pca", "saliency", "rotate", "learn", "quant", "pack",
            "trellis",
        ],
    ),
    ("checkpoint", &["tensor", "model", "pack", "quant", "rotate"]),
    ("runtime", &["model", "checkpoint", "pack", "cpu", "tensor"]),
    ("gradient", &["tensor", "model", "text", "cpu", "runtime"]),
    ("generate", &["runtime", "text"]),
    (
        "pipeline",
        &[
            "tensor",
            "model",
            "text",
            "calib",
            "pca",
            "saliency",
            "rotate",
            "quant",
            "pack",
            "methods",
            "learn",
            "report",
            "checkpoint",
            "cpu",
            "cuda-model",
            "runtime",
            "gradient",
            "generate",
            "eval",
            "tasks",
        ],
    ),
];

/// Files in which `unsafe` may stand, by the start of their path.
const UNSAFE_PLACES: &[&str] = &[
    "crates/rosaq-tensor/src/mmap.rs",
    "crates/rosaq-cpu/src/arch/",
    "crates/rosaq-cpu/src/dispatch.rs",
    "crates/rosaq-cpu/src/tiles/mmap.rs",
    "crates/rosaq-cuda/src/driver/",
    "crates/rosaq-cuda/tests/",
    "crates/rosaq-cuda-shim/",
    "crates/rosaq-cuda-emu/",
];

/// Lines of a source file, tests aside.
const MAX_LINES: usize = 400;

/// Directories in which tensor names of checkpoints may be spelled out.
const NAME_PLACES: &[&str] = &[
    "crates/rosaq-model/src/families/",
    "crates/rosaq-model/src/gguf_config.rs",
    "crates/rosaq-checkpoint/src/",
    "xtask/src/tidy.rs",
];

pub(crate) fn run() -> anyhow::Result<Outcome> {
    let (n_files, complaints) = complaints()?;
    if complaints.is_empty() {
        print_text(&format!("tidy: {n_files} files, {} crates: all rules hold", EDGES.len()))?;
        return Ok(Outcome::Done);
    }
    bail!("tidy:\n  {}", complaints.join("\n  "));
}

/// How many files were read, and which rules they break.
fn complaints() -> anyhow::Result<(usize, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let mut complaints = Vec::new();
    check_edges(root, &mut complaints)?;
    let mut files = Vec::new();
    for dir in ["crates", "xtask", "benches"] {
        rust_files(&root.join(dir), &mut files)?;
    }
    for file in &files {
        check_file(root, file, &mut complaints)?;
    }
    Ok((files.len(), complaints))
}

fn check_edges(root: &Path, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root.join("crates"))? {
        let manifest = entry?.path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        let table: toml::Table = text.parse().with_context(|| manifest.display().to_string())?;
        let name = table["package"]["name"].as_str().unwrap_or_default().replace("rosaq-", "");
        let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
            complaints.push(format!("crate rosaq-{name} has no row in the table of edges"));
            continue;
        };
        let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            if let Some(to) = dependency.strip_prefix("rosaq-")
                && !allowed.contains(&to)
            {
                complaints.push(format!("rosaq-{name} must not depend on rosaq-{to}"));
            }
        }
    }
    Ok(())
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn check_file(root: &Path, file: &Path, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let name = file.strip_prefix(root)?.display().to_string();
    let text = fs::read_to_string(file).with_context(|| name.clone())?;
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let n_lines = code.lines().count();
    if n_lines > MAX_LINES && !is_test {
        complaints.push(format!(
            "{name} has {n_lines} lines; a file holds one idea, in at most {MAX_LINES}"
        ));
    }
    let allowed = |places: &[&str]| places.iter().any(|p| name.starts_with(p));
    let lines = code.lines().map(str::trim).filter(|l| !l.starts_with("//"));
    for line in lines {
        if line.contains("unsafe {") && !allowed(UNSAFE_PLACES) && name != "xtask/src/tidy.rs" {
            complaints
                .push(format!("{name}: unsafe code belongs in mmap, arch and dispatch modules"));
        }
        let spelled = line.contains("self_attn.") || line.contains("\"blk.");
        if spelled && !is_test && !allowed(NAME_PLACES) {
            complaints.push(format!("{name}: tensor names belong in the families' tables: {line}"));
        }
    }
    let has_doc = text.lines().next().is_some_and(|l| l.starts_with("//!") || l.starts_with("#!["));
    if !has_doc {
        complaints.push(format!("{name} does not begin with its module doc"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_its_rules() -> anyhow::Result<()> {
        let (n_files, complaints) = complaints()?;
        assert!(n_files > 100, "{n_files} files were found");
        assert_eq!(complaints, Vec::<String>::new());
        Ok(())
    }
}
