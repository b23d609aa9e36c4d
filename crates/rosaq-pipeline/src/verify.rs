//! Re-reading a checkpoint.

use std::path::Path;

use rosaq_checkpoint::{Checkpoint, VerifyReport};

use crate::{PipelineError, Progress};

/// Reads every tensor of a checkpoint and compares it with its checksum.
///
/// # Errors
/// The first tensor that is not as it was written.
pub fn verify(path: &Path, progress: Progress) -> Result<VerifyReport, PipelineError> {
    let checkpoint = Checkpoint::open(path)?;
    let stage = progress.stage("verify");
    let report = checkpoint.verify(&|share| stage.set(share))?;
    stage.finish();
    Ok(report)
}
