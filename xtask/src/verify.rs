//! `cargo xtask verify`.

use rosaq_pipeline::{Progress, verify};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::VerifyFlags;
use crate::output::{megabytes, print_json, print_text};

pub(crate) fn run(flags: &VerifyFlags) -> anyhow::Result<Outcome> {
    let progress = Progress::detect();
    let verified = verify(&flags.checkpoint, progress)?;
    let report = verified.files;
    let path = flags.checkpoint.display().to_string();
    if flags.output.json {
        print_json(&json!({
            "checkpoint": path, "files": report.n_files, "tensors": report.n_tensors, "bytes": report.n_bytes,
            "logits_distance": verified.logits_distance,
        }))?;
    } else {
        let (tensors, files) = (report.n_tensors, report.n_files);
        let logits = match verified.logits_distance {
            Some(d) => format!("logits as when it was made, to {d:.0e}"),
            None => "no logits were kept to compare with (`--no-eval`)".to_owned(),
        };
        print_text(&format!(
            "{path}: {tensors} tensors in {files} files, {} MB: all checksums and ranges are right; {logits}",
            megabytes(report.n_bytes)
        ))?;
    }
    Ok(Outcome::Done)
}
