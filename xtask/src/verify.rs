//! `cargo xtask verify`.

use rosaq_pipeline::verify;
use serde_json::json;

use crate::Outcome;
use crate::flags::VerifyFlags;
use crate::output::{megabytes, prepare, print_json, print_text};

pub(crate) fn run(flags: &VerifyFlags) -> anyhow::Result<Outcome> {
    let progress = prepare(&flags.output)?;
    let report = verify(&flags.checkpoint, progress)?;
    let path = flags.checkpoint.display().to_string();
    if flags.output.json {
        print_json(&json!({
            "checkpoint": path, "files": report.n_files, "tensors": report.n_tensors, "bytes": report.n_bytes,
        }))?;
    } else {
        let (tensors, files) = (report.n_tensors, report.n_files);
        print_text(&format!(
            "{path}: {tensors} tensors in {files} files, {} MB: all checksums and ranges are right",
            megabytes(report.n_bytes)
        ))?;
    }
    Ok(Outcome::Done)
}
