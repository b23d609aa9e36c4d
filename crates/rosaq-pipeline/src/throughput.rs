//! Decoding speed of several models side by side (appendix D of the ROSAQ paper).

use std::path::{Path, PathBuf};

use rosaq_generate::{GenerateError, Speed, SpeedRequest};
use rosaq_runtime::{Backend, RuntimeError};
use serde::Serialize;

use crate::resident::resident_model;
use crate::usage::available_memory_bytes;
use crate::{PipelineError, Place, Progress};

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct ThroughputJob {
    /// Rosaq checkpoints and source models, which run in f16.
    pub models: Vec<PathBuf>,
    /// The model in f16 that speeds are set against, measured first.
    pub reference: Option<PathBuf>,
    /// Sequences decoded together.
    pub batches: Vec<usize>,
    /// Tokens of each prompt, and as many are generated.
    pub tokens: usize,
    /// Where they run.
    pub place: Place,
}

/// Speeds of one model at one batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThroughputRow {
    /// `fp16`, or the checkpoint's folder.
    pub model: String,
    /// Sequences decoded together.
    pub batch: usize,
    /// Tokens of each prompt.
    pub context: usize,
    /// Tokens generated of each sequence.
    pub generated: usize,
    /// What could be measured; `None` where it does not fit the memory.
    #[serde(flatten)]
    pub speed: Option<ThroughputSpeed>,
    /// Whether it does not.
    pub out_of_memory: bool,
}

/// Speeds, in tokens a second but for the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ThroughputSpeed {
    /// Median seconds of a step of all sequences.
    pub median_time_per_token: f64,
    /// Of one sequence.
    pub decode_tokens_per_second: f64,
    /// Of all sequences.
    pub throughput_tokens_per_second: f64,
    /// Of the prompts.
    pub prompt_tokens_per_second: f64,
    /// Throughput over that of the f16 model at the same batch.
    pub speedup_vs_fp16: Option<f64>,
}

/// Measures all models at all batches, one model in memory at a time.
///
/// # Errors
/// Models that cannot be opened, more tokens than one was made for.
pub fn throughput(
    job: &ThroughputJob,
    progress: Progress,
) -> Result<Vec<ThroughputRow>, PipelineError> {
    let reference = job.reference.iter().map(|path| ("fp16".to_owned(), path));
    let models: Vec<_> =
        reference.chain(job.models.iter().map(|path| (name_of(path), path))).collect();
    let mut rows: Vec<ThroughputRow> = Vec::new();
    let n_baseline = if job.reference.is_some() { job.batches.len() } else { 0 };
    for (name, path) in models {
        let model = resident_model(path, &job.place)?;
        for &batch in &job.batches {
            let request = SpeedRequest { batch, context: job.tokens, generated: job.tokens };
            let stage = progress.stage(&format!("{name} x {batch}"));
            let baseline = rows[..n_baseline.min(rows.len())].iter().find(|row| row.batch == batch);
            let baseline = baseline.and_then(|row| row.speed);
            let speed = run_if_it_fits(model.as_ref(), request, &|share| stage.set(share))?;
            let out_of_memory = speed.is_none();
            stage.finish();
            let speed = speed.map(|speed| ThroughputSpeed {
                median_time_per_token: speed.median_time_per_token,
                decode_tokens_per_second: speed.decode_speed(),
                throughput_tokens_per_second: speed.throughput(request),
                prompt_tokens_per_second: speed.prompt_speed(request),
                speedup_vs_fp16: baseline
                    .map(|b| speed.throughput(request) / b.throughput_tokens_per_second),
            });
            let (context, generated) = (job.tokens, job.tokens);
            let model = name.clone();
            rows.push(ThroughputRow { model, batch, context, generated, speed, out_of_memory });
        }
    }
    Ok(rows)
}

/// `None` where there is no room, found out before or on the way.
fn run_if_it_fits(
    model: &dyn Backend,
    request: SpeedRequest,
    progress: &dyn Fn(f64),
) -> Result<Option<Speed>, PipelineError> {
    let free = model.free_bytes().or_else(available_memory_bytes);
    if free.is_some_and(|free| request.bytes(model) >= free) {
        return Ok(None);
    }
    match request.run(model, progress) {
        Err(GenerateError::Runtime(RuntimeError::NoMemory { .. })) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// The last part of a path.
fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}
