//! Re-reading a checkpoint.

use std::path::Path;

use rosaq_checkpoint::{Checkpoint, VerifyReport};
use rosaq_runtime::Model;

use crate::evaluate::sampled_logits;
use crate::report::has_report;
use crate::{GoldenLogits, PipelineError, Progress, read_report};

/// What a verified checkpoint is.
#[derive(Debug)]
pub struct Verified {
    /// Its files.
    pub files: VerifyReport,
    /// How far its logits are from those it had when it was made, `‖a − b‖ / ‖b‖`; `None` when none were kept.
    pub logits_distance: Option<f64>,
}

/// Kernels of other processors add in another order; sums of thousands of f32 products then differ by about 1e-5.
const LOGITS_TOLERANCE: f64 = 1e-3;

/// Reads every tensor of a checkpoint, compares it with its checksum, and runs the model on the prompt whose logits were
/// kept when it was measured.
///
/// # Errors
/// The first tensor that is not as it was written; [`PipelineError::OtherLogits`].
pub fn verify(path: &Path, progress: Progress) -> Result<Verified, PipelineError> {
    let checkpoint = Checkpoint::open(path)?;
    let stage = progress.stage("verify");
    let files = checkpoint.verify(&|share| stage.set(share))?;
    let golden = if has_report(path) { read_report(path)?.golden } else { None };
    let logits_distance = golden.map(|golden| distance(path, &golden)).transpose()?;
    stage.finish();
    Ok(Verified { files, logits_distance })
}

fn distance(path: &Path, golden: &GoldenLogits) -> Result<f64, PipelineError> {
    let found = sampled_logits(&Model::packed(path)?, &golden.ids, golden.stride.max(1))?;
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let pairs = || found.iter().zip(&golden.logits);
    let off = norm(&mut pairs().map(|(a, b)| f64::from(a - b)));
    let distance = off / norm(&mut golden.logits.iter().map(|&b| f64::from(b))).max(1e-30);
    if found.len() == golden.logits.len() && distance <= LOGITS_TOLERANCE {
        return Ok(distance);
    }
    Err(PipelineError::OtherLogits { path: path.to_owned(), distance })
}
