//! Tables for people, JSON for scripts, exit codes for shells.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use rosaq_pipeline::PipelineError;
use serde::Serialize;

use crate::FAILED;

/// Bad usage or bad input.
const BAD_INPUT: u8 = 2;

/// The command as it was given, for reports.
pub(crate) fn command_line() -> Option<String> {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| {
            let arg = arg.to_string_lossy().into_owned();
            if arg.contains(char::is_whitespace) { format!("\"{arg}\"") } else { arg }
        })
        .collect();
    Some(format!("cargo xtask {}", args.join(" ")))
}

/// Makes the directory of a file to be written, so that a path of no use is refused before hours are spent.
pub(crate) fn make_room(file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let failed = || format!("cannot write \"{}\"", file.display());
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).with_context(failed)?;
    }
    if file.is_dir() {
        anyhow::bail!("{}: it is a directory", failed());
    }
    Ok(())
}

/// One JSON object on standard output.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_text(&serde_json::to_string_pretty(value)?)
}

/// Text on standard output.
pub(crate) fn print_text(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")
}

/// A table whose first column is text and whose other columns are numbers with their units in the header; a second column
/// called `settings` is text too.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let n_text = if header.get(1) == Some(&"settings") { 2 } else { 1 };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(n_text) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Bytes in units that people read.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// The code of a failed command: 1 for this machine, 2 for the input.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<PipelineError>() {
        return error.exit_code();
    }
    if error.downcast_ref::<std::io::Error>().is_some() { FAILED } else { BAD_INPUT }
}
