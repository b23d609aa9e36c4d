//! What a job found, as it is printed and kept beside the weights.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::PipelineError;
use crate::findings::BlockFindings;
use crate::learned::Learning;
use crate::usage::StageTime;

/// The report of a quantization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizeReport {
    /// The source model.
    pub model: String,
    /// The method.
    pub method: String,
    /// The settings given.
    pub settings: Map<String, Value>,
    /// Where the residual rotation was placed.
    pub placement: Option<String>,
    /// Average information bits of the quantized linears.
    pub weight_bits: f64,
    /// The same with everything else that is stored for them.
    pub bits_per_weight: f64,
    /// Bytes of the checkpoint's weights, embeddings included.
    pub total_bytes: u64,
    /// Bytes of the whole model in f16.
    pub source_bytes_f16: u64,
    /// Processor seconds of calibration and quantization; after a resumed run, those of its last part.
    pub cpu_seconds: f64,
    /// Whether the run went on where an earlier one had been ended.
    pub resumed: bool,
    /// Processor seconds that forward pass, Gram matrices and eigenbases would take at the f32 GEMM rate measured in the same
    /// run; `None` when nothing was calibrated.
    pub floor_cpu_seconds: Option<f64>,
    /// Wall seconds of the same.
    pub wall_seconds: f64,
    /// Largest resident set of the process in these seconds (since its start where the system cannot tell).
    pub peak_rss_bytes: Option<u64>,
    /// How the rotation was learned, where it was.
    pub learning: Option<Learning>,
    /// Stored bits a weight of each role, as [`LINEAR_ROLES`] has them, without rotation matrices.
    ///
    /// [`LINEAR_ROLES`]: rosaq_model::LINEAR_ROLES
    pub role_bits: Vec<f64>,
    /// What was found in each block.
    pub blocks: Vec<BlockFindings>,
    /// Time and memory by stage.
    pub stages: Vec<StageTime>,
    /// The checkpoint.
    pub out: String,
    /// KL divergence from the source model, nats per token, to be expected by the sensitivities of the linears, where they
    /// are known.
    #[serde(default)]
    pub expected_kl: Option<f64>,
    /// Measured on the reloaded checkpoint, once it has been.
    pub evaluation: Option<Evaluation>,
    /// Logits of the reloaded checkpoint, by which `verify` tells whether it still computes the same.
    pub golden: Option<GoldenLogits>,
}

/// Quality of a model on a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Identifies source model and tokens, so that a measurement can be told from one of another text.
    pub fingerprint: String,
    /// The text's file.
    pub text: String,
    /// How the text was taken from its file.
    pub text_form: String,
    /// Tokens of a window.
    pub context: usize,
    /// Tokens scored.
    pub tokens: usize,
    /// Perplexity of the model.
    pub perplexity: f64,
    /// Perplexity of the reference.
    pub reference_perplexity: Option<f64>,
    /// KL divergence of the reference's next-token distribution from the model's, nats per token.
    pub kl: Option<f64>,
    /// Its standard error.
    pub kl_stderr: Option<f64>,
}

/// A few logits of the checkpoint as it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenLogits {
    /// The prompt's token ids.
    pub ids: Vec<u32>,
    /// Every so many-th logit after the last of them is kept.
    pub stride: usize,
    /// Those logits.
    pub logits: Vec<f32>,
}

const FILE: &str = "rosaq-report.json";

/// Writes the report into a checkpoint directory, atomically.
///
/// # Errors
/// Disk errors.
pub fn write_report(dir: &Path, report: &QuantizeReport) -> Result<(), PipelineError> {
    let path = dir.join(FILE);
    let failed = |source| PipelineError::Disk { action: "write", path: path.clone(), source };
    let json = serde_json::to_string_pretty(report).map_err(|e| failed(e.into()))?;
    // A plain file rather than a `NamedTempFile`, which only its owner could read.
    let temporary = dir.join(format!(".{FILE}.{}.tmp", std::process::id()));
    let written = fs::write(&temporary, json + "\n").and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        drop(fs::remove_file(&temporary)); // the failure that led here is the one to report
    }
    written.map_err(failed)
}

/// Whether a checkpoint directory still has its report.
pub(crate) fn has_report(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

/// Reads the report of a checkpoint directory.
///
/// # Errors
/// A report that is missing or malformed.
pub fn read_report(dir: &Path) -> Result<QuantizeReport, PipelineError> {
    let path = dir.join(FILE);
    let json = fs::read_to_string(&path).map_err(PipelineError::disk("read", &path))?;
    serde_json::from_str(&json).map_err(|source| PipelineError::Report { path, source })
}
