//! `cargo xtask logits`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use npyz::WriterBuilder;
use rosaq_pipeline::logits;
use serde_json::json;

use crate::Outcome;
use crate::command_flags::LogitsFlags;
use crate::output::{print_json, print_text};

pub(crate) fn run(flags: &LogitsFlags) -> anyhow::Result<Outcome> {
    let ids = read_ids(&flags.ids)?;
    let logits = logits(&flags.model.path(), &ids)?;
    let shape = [logits.rows as u64, logits.cols as u64];
    write_npy(&flags.out, &shape, logits.data)
        .with_context(|| format!("cannot write \"{}\"", flags.out.display()))?;
    if flags.output.json {
        print_json(&json!({ "out": flags.out.display().to_string(), "shape": shape }))?;
    } else {
        print_text(&format!("logits [{}, {}] in {}", shape[0], shape[1], flags.out.display()))?;
    }
    Ok(Outcome::Done)
}

fn read_ids(path: &Path) -> anyhow::Result<Vec<u32>> {
    // The input's fault, not the machine's: the message without the type of a failed disk.
    let list = fs::read_to_string(path)
        .map_err(|error| anyhow!("cannot read \"{}\": {error}", path.display()))?;
    let ids: Vec<u32> = serde_json::from_str(&list)
        .with_context(|| format!("\"{}\" is no JSON list of token ids", path.display()))?;
    ensure!(!ids.is_empty(), "\"{}\" lists no token", path.display());
    Ok(ids)
}

/// Writes beside the target and renames, so that the file appears whole or not at all.
fn write_npy(path: &Path, shape: &[u64], values: Vec<f32>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(&mut bytes).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    let temporary = hidden_beside(path);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary)); // the failure that led here is the one to report
    }
    written
}

fn hidden_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}
