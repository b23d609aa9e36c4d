//! `cargo xtask kernels`: CUDA sources to committed PTX.

use std::path::Path;

use anyhow::{Context, bail};
use rosaq_nvcc::Places;

use crate::Outcome;
use crate::flags::KernelsFlags;
use crate::output::print_text;

pub(crate) fn run(flags: &KernelsFlags) -> anyhow::Result<Outcome> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let places = Places::of_workspace(root);
    let findings =
        if flags.check { rosaq_nvcc::check(&places)? } else { rosaq_nvcc::write(&places)? };
    if findings.is_empty() {
        print_text("kernels: all files are up to date, all budgets hold")?;
        return Ok(Outcome::Done);
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    bail!("kernels:\n  {}", lines.join("\n  "));
}
