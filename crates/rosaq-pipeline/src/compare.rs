//! Several methods on one model: one calibration, one dense forward pass, one table.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use rosaq_calib::{Collecting, Requirements};
use rosaq_methods::{Setting, find, plan};
use rosaq_model::SourceModel;
use serde::Serialize;
use serde_json::Value;

use crate::calibrate::{StatsDir, calibrate};
use crate::fingerprint::{calibration_fingerprint, model_fingerprint};
use crate::quantize::f16_bytes;
use crate::task_columns::{TaskColumn, columns};
use crate::tokens::{source_tokenizer, warn_of_length};
use crate::usage::StageTime;
use crate::variant::{Variant, differences, directory_name};
use crate::workdir::{lock, remove_dir};
use crate::{
    CalibrationSet, EvalModel, EvalText, EvalTokens, Evaluation, Keep, PipelineError, Progress,
    QuantizeJob, QuantizeReport, Reference, Stopwatch, TableWidth, TaskJob, TaskQuestions,
    quantize, write_report,
};

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
    /// Multiple-choice tasks on which models are measured as well.
    pub tasks: Option<TaskJob>,
    /// Where the checkpoints go, one directory each.
    pub out: PathBuf,
    /// How the rows are sorted.
    pub order: RowOrder,
    /// Start over instead of resuming.
    pub fresh: bool,
}

impl CompareJob {
    /// Where a variant's checkpoint goes.
    #[must_use]
    pub fn checkpoint(&self, variant: &Variant) -> PathBuf {
        self.out.join(directory_name(variant))
    }

    /// How the statistics that all methods share are collected.
    fn collecting(&self) -> Result<Collecting, PipelineError> {
        self.calibration.collecting(self.variants.iter().map(|variant| variant.method.as_str()))
    }
}

/// The order of a table's rows below FP16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// By falling quality (KL divergence).
    Quality,
    /// As the variants are given.
    Given,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompareRow {
    /// The method's name.
    pub method: String,
    /// What was set beyond width and group size.
    pub settings: String,
    /// Code width.
    pub bits: Option<u8>,
    /// Channels that share a scale.
    pub group_size: Option<usize>,
    /// The average that was asked for instead of a code width, bits a weight.
    pub target_bits: Option<f64>,
    /// Channels kept in f16 at linears that read the residual.
    pub salient: Option<u64>,
    /// The same of each head at the output projection.
    pub salient_per_head: Option<u64>,
    /// Salient channels of all heads together, where no head has its own.
    pub salient_of_heads: Option<u64>,
    /// Stored bits a quantized weight, everything counted.
    pub bits_per_weight: f64,
    /// Information bits of the linears alone.
    pub weight_bits: f64,
    /// Bytes of the checkpoint's weights, embeddings included.
    pub total_bytes: u64,
    /// Perplexity from the reloaded checkpoint.
    pub perplexity: f64,
    /// KL divergence from the source model, nats per token.
    pub kl: Option<f64>,
    /// Its standard error.
    pub kl_stderr: Option<f64>,
    /// Processor seconds of quantization; the calibration, which all share, stands beside the rows.
    pub cpu_seconds: Option<f64>,
    /// Largest resident set while it was made (of the whole process where the system cannot tell).
    pub peak_rss_bytes: Option<u64>,
    /// Accuracies on tasks, and their averages.
    pub tasks: Vec<TaskColumn>,
}

/// A finished comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// FP16 first, then the others in the order asked for.
    pub rows: Vec<CompareRow>,
    /// What the calibration took that all methods share; `None` when it had been done before or no method needed it.
    pub calibration: Option<StageTime>,
}

/// Quantizes with every variant, reloads each checkpoint and measures it. Statistics, checkpoints and measurements are
/// kept, so that a killed comparison goes on and another method can be added later.
///
/// # Errors
/// As [`quantize`] and [`EvalModel::evaluate`].
pub fn compare(job: &CompareJob, progress: Progress) -> Result<Comparison, PipelineError> {
    let source = SourceModel::open(&job.model)?;
    for variant in &job.variants {
        plan(find(&variant.method)?, source.config(), &variant.settings)?; // fail before hours of work
    }
    let statistics = job.out.join("statistics");
    fs::create_dir_all(&statistics).map_err(PipelineError::disk("create", &statistics))?;
    let _lock = lock(&job.out, &job.out)?;
    if job.fresh {
        for dir in [&statistics, &job.out.join("reference")] {
            remove_dir(dir)?;
        }
    }
    let original = EvalModel::open(&job.model)?;
    let tokens = original.tokens(&job.text)?;
    let questions = job.tasks.as_ref().map(|tasks| TaskQuestions::load(tasks, progress));
    let questions = questions.transpose()?;
    let shared = SharedStatistics { dir: statistics, requirements: union(job)? };
    let calibration = prepare_statistics(job, &source, &shared, progress)?;
    let mut run = Run {
        job,
        shared,
        tokens,
        questions,
        original: Some(original),
        reference: None,
        reference_perplexity: None,
        progress,
    };
    let mut rows = Vec::new();
    for variant in job.variants.iter().filter(|v| v.method != "fp16") {
        rows.push(run.row(variant)?);
    }
    if job.order == RowOrder::Quality {
        rows.sort_by(|a, b| a.kl.partial_cmp(&b.kl).unwrap_or(Ordering::Equal));
    }
    let mut fp16 = fp16_row(&source, run.reference_perplexity()?);
    fp16.tasks = run.task_columns(&job.model)?;
    rows.insert(0, fp16);
    Ok(Comparison { rows, calibration })
}

/// The dense pass that all methods share.
fn prepare_statistics(
    job: &CompareJob,
    source: &SourceModel,
    shared: &SharedStatistics,
    progress: Progress,
) -> Result<Option<StageTime>, PipelineError> {
    if !shared.requirements.any {
        return Ok(None);
    }
    let windows = job.calibration.windows(&source_tokenizer(source)?)?;
    warn_of_length(windows.context(), source.config(), progress);
    let model = model_fingerprint(source)?;
    let collecting = job.collecting()?;
    let key = calibration_fingerprint(&model, windows.tokens(), windows.context(), collecting);
    let stats = StatsDir::open(shared.dir.clone(), key, collecting)?;
    let watch = Stopwatch::start();
    let worked = calibrate(source, &windows, shared.requirements, &stats, progress)?.worked;
    Ok(worked.then(|| watch.stop("calibrate")))
}

/// A comparison under way.
struct Run<'a> {
    job: &'a CompareJob,
    shared: SharedStatistics,
    tokens: EvalTokens,
    questions: Option<TaskQuestions>,
    /// The source model until it has become the reference.
    original: Option<EvalModel>,
    reference: Option<Reference>,
    /// Its perplexity on these tokens, once met in a report.
    reference_perplexity: Option<f64>,
    progress: Progress,
}

impl Run<'_> {
    fn row(&mut self, variant: &Variant) -> Result<CompareRow, PipelineError> {
        let (job, s) = (self.job, &variant.settings);
        self.progress.say(&format!("== {}", directory_name(variant)));
        let one = QuantizeJob {
            tables: TableWidth::F16,
            model: job.model.clone(),
            method: variant.method.clone(),
            settings: s.clone(),
            calibration: CalibrationSet {
                products: Some(job.collecting()?.products),
                ..job.calibration.clone()
            },
            out: job.checkpoint(variant),
            fresh: job.fresh,
        };
        let mut report = quantize(&one, Some(&self.shared), self.progress)?;
        let found = self.measured(&one, &mut report)?;
        let mut differences = differences(s);
        // Of placements that were not asked for, the one that was taken.
        if find(&variant.method)?.heeds().contains(&Setting::Rotation) && s.placement.is_none() {
            differences.splice(0..0, report.placement.clone());
        }
        let count = |key: &str| report.settings.get(key).and_then(Value::as_u64);
        Ok(CompareRow {
            method: report.method,
            settings: differences.join(", "),
            bits: s.target_bits.is_none().then(|| s.bits.get()),
            group_size: count("group_size").and_then(|size| usize::try_from(size).ok()),
            target_bits: s.target_bits,
            salient: count("salient"),
            salient_per_head: count("salient_per_head"),
            salient_of_heads: count("salient_of_heads"),
            bits_per_weight: report.bits_per_weight,
            weight_bits: report.weight_bits,
            total_bytes: report.total_bytes,
            perplexity: found.perplexity,
            kl: found.kl,
            kl_stderr: found.kl_stderr,
            cpu_seconds: Some(report.cpu_seconds),
            peak_rss_bytes: report.peak_rss_bytes,
            tasks: self.task_columns(&one.out)?,
        })
    }

    /// Accuracies of a model; its scores are kept beside the checkpoints.
    fn task_columns(&self, model: &Path) -> Result<Vec<TaskColumn>, PipelineError> {
        let Some(questions) = &self.questions else { return Ok(Vec::new()) };
        let keep = Keep::In { dir: &self.job.out.join("tasks"), fresh: self.job.fresh };
        let found = EvalModel::open(model)?.score_tasks(questions, keep, self.progress)?;
        Ok(columns(&found.tasks))
    }

    /// The quality of a finished checkpoint: as its report has it when it was measured on these tokens, else measured now.
    fn measured(
        &mut self,
        job: &QuantizeJob,
        report: &mut QuantizeReport,
    ) -> Result<Evaluation, PipelineError> {
        let key = self.tokens.fingerprint();
        if let Some(found) = report.evaluation.as_ref().filter(|e| e.fingerprint == key) {
            self.reference_perplexity = found.reference_perplexity;
            return Ok(found.clone());
        }
        self.prepare_reference()?;
        let model = EvalModel::open(&job.out)?;
        let found = model.evaluate(&self.tokens, self.reference.as_ref(), self.progress)?;
        report.golden = Some(model.golden_logits(&self.tokens)?);
        report.evaluation = Some(found.clone());
        write_report(&job.out, report)?;
        Ok(found)
    }

    fn prepare_reference(&mut self) -> Result<(), PipelineError> {
        if let Some(original) = self.original.take() {
            let keep = self.job.out.join("reference");
            self.reference =
                Some(original.into_reference(&self.tokens, Some(&keep), self.progress)?);
        }
        Ok(())
    }

    fn reference_perplexity(&mut self) -> Result<f64, PipelineError> {
        // Known without a pass when every row had been measured before.
        if let Some(known) = self.reference_perplexity {
            return Ok(known);
        }
        self.prepare_reference()?;
        Ok(self.reference.as_ref().map_or(f64::NAN, |r| r.score().perplexity))
    }
}

/// Statistics that several methods share.
#[derive(Debug, Clone)]
pub struct SharedStatistics {
    /// Where they are kept.
    pub dir: PathBuf,
    /// What the most demanding of the methods needs.
    pub requirements: Requirements,
}

impl SharedStatistics {
    /// Those in the directory `dir`, which is made if need be; whatever a method needs is added to them.
    #[must_use]
    pub fn kept_in(dir: PathBuf) -> Self {
        Self { dir, requirements: Requirements::NONE }
    }
}

fn union(job: &CompareJob) -> Result<Requirements, PipelineError> {
    let mut all = Requirements::NONE;
    for variant in &job.variants {
        all = all.union(find(&variant.method)?.requirements());
    }
    Ok(all)
}

fn fp16_row(source: &SourceModel, perplexity: f64) -> CompareRow {
    CompareRow {
        method: "fp16".to_owned(),
        settings: String::new(),
        bits: None,
        group_size: None,
        target_bits: None,
        salient: None,
        salient_per_head: None,
        salient_of_heads: None,
        bits_per_weight: 16.0,
        weight_bits: 16.0,
        total_bytes: f16_bytes(source.config()),
        perplexity,
        kl: Some(0.0),
        kl_stderr: Some(0.0),
        cpu_seconds: None,
        peak_rss_bytes: None,
        tasks: Vec::new(),
    }
}
