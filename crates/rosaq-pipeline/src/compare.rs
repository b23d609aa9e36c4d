//! Several methods on one model: one calibration, one dense forward pass, one table.

use std::cmp::Ordering;
use std::fs;
use std::path::PathBuf;

use rosaq_calib::Requirements;
use rosaq_methods::{MethodSettings, find};
use rosaq_model::SourceModel;
use rosaq_saliency::SaliencyRule;
use serde::Serialize;

use crate::{
    CalibrationSet, EvalModel, EvalText, PipelineError, Progress, QuantizeJob, Reference,
    Stopwatch, peak_rss_bytes, quantize,
};

/// One row to be: a method at a width.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The method's name.
    pub method: String,
    /// Its settings.
    pub settings: MethodSettings,
}

/// A comparison.
#[derive(Debug, Clone)]
pub struct CompareJob {
    /// The source model.
    pub model: PathBuf,
    /// What to compare; FP16 stands beside them in any case.
    pub variants: Vec<Variant>,
    /// The calibration set of all methods.
    pub calibration: CalibrationSet,
    /// The text of all measurements.
    pub text: EvalText,
    /// Where the checkpoints go, one directory each.
    pub out: PathBuf,
    /// Start over instead of resuming.
    pub fresh: bool,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompareRow {
    /// The method's name.
    pub method: String,
    /// The method with its placement, for people.
    #[serde(skip)]
    pub label: String,
    /// Code width.
    pub bits: Option<u8>,
    /// Channels that share a scale.
    pub group_size: Option<usize>,
    /// Stored bits a quantized weight, everything counted.
    pub bits_per_weight: f64,
    /// Information bits of the linears alone.
    pub weight_bits: f64,
    /// Perplexity from the reloaded checkpoint.
    pub perplexity: f64,
    /// KL divergence from the source model, nats per token.
    pub kl: Option<f64>,
    /// Its standard error.
    pub kl_stderr: Option<f64>,
    /// Processor seconds of quantization, calibration included where it was not shared.
    pub cpu_seconds: Option<f64>,
    /// Largest resident set of the process when the method was done.
    pub peak_rss_bytes: Option<u64>,
}

/// Quantizes with every variant, reloads each checkpoint and measures it. FP16 comes first, the others by falling quality
/// (KL divergence). Finished checkpoints are kept, so that a killed comparison goes on.
///
/// # Errors
/// As [`quantize`] and [`EvalModel::evaluate`].
pub fn compare(job: &CompareJob, progress: Progress) -> Result<Vec<CompareRow>, PipelineError> {
    let source = SourceModel::open(&job.model)?;
    for variant in &job.variants {
        find(&variant.method)?.plan(source.config(), &variant.settings)?; // fail before hours of work
    }
    let statistics = job.out.join("statistics");
    if job.fresh && statistics.exists() {
        fs::remove_dir_all(&statistics).map_err(PipelineError::disk("remove", &statistics))?;
    }
    let original = EvalModel::open(&job.model)?;
    let tokens = original.tokens(&job.text)?;
    let reference = original.into_reference(&tokens, progress)?;
    let mut rows = Vec::new();
    for variant in job.variants.iter().filter(|v| v.method != "fp16") {
        rows.push(run_variant(job, variant, &tokens, &reference, progress)?);
    }
    rows.sort_by(|a, b| a.kl.partial_cmp(&b.kl).unwrap_or(Ordering::Equal));
    rows.insert(0, fp16_row(&reference));
    Ok(rows)
}

fn run_variant(
    job: &CompareJob,
    variant: &Variant,
    tokens: &crate::EvalTokens,
    reference: &Reference,
    progress: Progress,
) -> Result<CompareRow, PipelineError> {
    let s = &variant.settings;
    let name = directory_name(variant);
    progress.say(&format!("== {name}"));
    let one = QuantizeJob {
        model: job.model.clone(),
        method: variant.method.clone(),
        settings: s.clone(),
        calibration: job.calibration.clone(),
        out: job.out.join(name),
        fresh: job.fresh,
    };
    let shared = SharedStatistics { dir: job.out.join("statistics"), requirements: union(job)? };
    let watch = Stopwatch::start();
    let report = quantize(&one, Some(&shared), progress)?;
    let time = watch.stop("quantize");
    let found = EvalModel::open(&one.out)?.evaluate(tokens, Some(reference), progress)?;
    let label = match &report.placement {
        Some(placement) => format!("{} ({placement})", report.method),
        None => report.method.clone(),
    };
    Ok(CompareRow {
        method: report.method,
        label,
        bits: Some(s.bits.get()),
        group_size: Some(s.group_size),
        bits_per_weight: report.bits_per_weight,
        weight_bits: report.weight_bits,
        perplexity: found.perplexity,
        kl: found.kl,
        kl_stderr: found.kl_stderr,
        cpu_seconds: Some(report.cpu_seconds.max(time.cpu_seconds)),
        peak_rss_bytes: report.peak_rss_bytes.or_else(peak_rss_bytes),
    })
}

/// A name that tells apart every combination of settings, so that comparisons can share a directory.
fn directory_name(variant: &Variant) -> String {
    let s = &variant.settings;
    let mut name = format!("{}-int{}-g{}", variant.method, s.bits.get(), s.group_size);
    let mut add = |part: String| {
        name.push('-');
        name.push_str(&part);
    };
    if s.preset.is_some() {
        add("paper".to_owned());
    }
    if let Some(placement) = s.placement {
        add(placement.to_string());
    }
    if let Some(k) = s.salient {
        add(format!("k{k}"));
    }
    if let Some(k) = s.salient_per_head {
        add(format!("h{k}"));
    }
    if s.saliency != SaliencyRule::Top {
        add(format!("{:?}", s.saliency)
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), ""));
    }
    name
}

/// Statistics that several methods share.
#[derive(Debug, Clone)]
pub struct SharedStatistics {
    /// Where they are kept.
    pub dir: PathBuf,
    /// What the most demanding of the methods needs.
    pub requirements: Requirements,
}

fn union(job: &CompareJob) -> Result<Requirements, PipelineError> {
    let mut all = Requirements::NONE;
    for variant in &job.variants {
        all = all.union(find(&variant.method)?.requirements());
    }
    Ok(all)
}

fn fp16_row(reference: &Reference) -> CompareRow {
    CompareRow {
        method: "fp16".to_owned(),
        label: "fp16".to_owned(),
        bits: None,
        group_size: None,
        bits_per_weight: 16.0,
        weight_bits: 16.0,
        perplexity: reference.score().perplexity,
        kl: Some(0.0),
        kl_stderr: Some(0.0),
        cpu_seconds: None,
        peak_rss_bytes: None,
    }
}
