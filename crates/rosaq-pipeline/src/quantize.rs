//! The quantization job: calibrate, then block by block rotate, round, pack and write, then publish.

use std::path::Path;

use faer::Mat;
use rosaq_calib::{Fingerprint, Requirements};
use rosaq_checkpoint::{
    Checkpoint, CheckpointSizes, block_shard_is_complete, finish, write_block_shard,
    write_ends_shard,
};
use rosaq_gradient::OutputFisher;
use rosaq_methods::{BlockInput, QuantPlan, find, plan, quantize_block};
use rosaq_model::{LINEAR_ROLES, ModelConfig, SourceModel};
use rosaq_rotate::Placement;
use rosaq_text::TokenWindows;
use serde_json::json;

use crate::bases::{Bases, Learner};
use crate::calibrate::{StatsDir, calibrate};
use crate::estimate::floor_seconds;
use crate::findings::BlockFindings;
use crate::fingerprint::{calibration_fingerprint, hex, job_fingerprint, model_fingerprint};
use crate::report::{QuantizeReport, read_report, write_report};
use crate::sensitivity::{fisher, sensitivity};
use crate::tokens::{source_tokenizer, warn_of_length, write_tokenizer_files};
use crate::usage::{StageTime, Stopwatch, peak_rss_bytes};
use crate::workdir::{WorkDir, remove_leftovers};
use crate::{PipelineError, Progress, QuantizeJob, SharedStatistics, TableWidth};

/// Quantizes a model as `job` says. `shared` names a directory of calibration statistics that several methods use;
/// otherwise they live and go with the job's work directory.
///
/// If the target already holds the result of the same job, it is kept and its report returned.
///
/// # Errors
/// Input that cannot be used, a target that is something else, a full disk. The target is never half-written, and the
/// same call goes on where a killed one stopped.
pub fn quantize(
    job: &QuantizeJob,
    shared: Option<&SharedStatistics>,
    progress: Progress,
) -> Result<QuantizeReport, PipelineError> {
    let source = SourceModel::open(&job.model)?;
    let method = find(&job.method)?;
    let plan = plan(method, source.config(), &job.settings)?;
    let requirements = method.requirements();
    let windows = if requirements.any { Some(calibration_tokens(job, &source)?) } else { None };
    if let Some(windows) = &windows {
        warn_of_length(windows.context(), source.config(), progress);
    }
    let keys = Keys::new(job, &source, windows.as_ref())?;
    if let Some(report) = finished_before(job, &keys, progress)? {
        remove_leftovers(&job.out)?;
        return Ok(report);
    }
    let work = WorkDir::open(&job.out, &keys.job, job.fresh)?;
    let prepared =
        Prepared { job, source: &source, plan: &plan, requirements, windows: windows.as_ref() };
    let report = match prepared.fill(&work, &keys, shared, progress) {
        Ok(report) => report,
        Err(error) => {
            if error.exit_code() == BAD_INPUT {
                work.abandon();
            }
            return Err(error);
        }
    };
    // The target may have come to be something else in the meantime.
    if let Some(report) = finished_before(job, &keys, progress)? {
        work.abandon();
        return Ok(report);
    }
    work.publish(&job.out)?;
    Ok(report)
}

/// The exit code of errors that would come again.
const BAD_INPUT: u8 = 2;

/// A job whose input has been opened and understood.
struct Prepared<'a> {
    job: &'a QuantizeJob,
    source: &'a SourceModel,
    plan: &'a QuantPlan,
    requirements: Requirements,
    windows: Option<&'a TokenWindows>,
}

impl Prepared<'_> {
    /// Fills the work directory with everything that is to be published.
    fn fill(
        &self,
        work: &WorkDir,
        keys: &Keys,
        shared: Option<&SharedStatistics>,
        progress: Progress,
    ) -> Result<QuantizeReport, PipelineError> {
        let total = Stopwatch::start();
        let (job, source) = (self.job, self.source);
        let dir = shared.map_or_else(|| work.statistics(), |s| s.dir.clone());
        let stats = StatsDir::open(dir, keys.calibration, job.collecting()?)?;
        let (mut stages, mut floor) = (Vec::new(), None);
        if let Some(windows) = self.windows {
            let watch = Stopwatch::start();
            let wanted =
                shared.map_or(self.requirements, |s| s.requirements.union(self.requirements));
            let rate = calibrate(source, windows, wanted, &stats, progress)?.gemm_rate;
            stages.push(watch.stop("calibrate"));
            floor = rate.map(|rate| floor_seconds(source.config(), self.plan, windows, rate));
        }
        let (mut by_sensitivity, mut outputs, mut expected_kl) = (None, None, None);
        let method = find(&job.method)?;
        if let (true, Some(windows)) = (method.wants_gradients(), self.windows) {
            let watch = Stopwatch::start();
            let fisher = outputs.insert(fisher(source, windows, &stats, progress)?);
            let found = sensitivity(source, self.plan, &stats, fisher)?;
            stages.push(watch.stop("sensitivity"));
            let plan = method.plan_by_sensitivity(source.config(), &job.settings, &found)?;
            expected_kl = method.expected_divergence(&plan, &found);
            by_sensitivity = Some(plan);
        }
        let plan = by_sensitivity.as_ref().unwrap_or(self.plan);
        let watch = Stopwatch::start();
        let staging = &work.staging();
        let learner = Learner { source, work, progress };
        let bases = Bases::new(source.config(), &stats, plan, Some(learner))?;
        match plan.residual.map(|r| r.placement) {
            _ if bases.learning.is_some() => stages.push(watch.stop("learn")),
            Some(Placement::Absorbed) => stages.push(watch.stop("rotation")),
            _ => {} // bases of sites are found block by block
        }
        let watch = Stopwatch::start();
        let (requirements, findings) = (self.requirements, work.root());
        let fisher = outputs.as_ref();
        let stats = &stats;
        let tables = job.tables;
        let run = Run { source, plan, stats, requirements, fisher, tables, staging, findings };
        run.write_all(&bases, progress)?;
        let mut settings = job.settings_json(plan);
        settings.insert("fingerprint".to_owned(), json!(hex(&keys.job)));
        let sizes = finish(staging, source.config(), &job.method, settings)?;
        write_tokenizer_files(source, staging)?;
        stages.push(watch.stop("quantize and write"));
        let mut report = build_report(job, plan, source, sizes, stages, &total);
        report.floor_cpu_seconds = floor;
        report.expected_kl = expected_kl;
        report.learning = bases.learning;
        report.blocks = BlockFindings::load_all(work.root(), source.config().n_layers);
        report.resumed = work.resumed();
        write_report(staging, &report)?;
        Ok(report)
    }
}

/// What saved work belongs to.
pub(crate) struct Keys {
    pub(crate) calibration: Fingerprint,
    /// Everything that decides the bytes of the result.
    pub(crate) job: Fingerprint,
}

impl Keys {
    pub(crate) fn new(
        job: &QuantizeJob,
        source: &SourceModel,
        windows: Option<&TokenWindows>,
    ) -> Result<Self, PipelineError> {
        let model = model_fingerprint(source)?;
        let calibration = match windows {
            Some(w) => calibration_fingerprint(&model, w.tokens(), w.context(), job.collecting()?),
            None => model,
        };
        let mut settings = format!("{:?}", job.settings);
        if job.tables != TableWidth::F16 {
            settings.push_str(job.tables.name());
        }
        Ok(Self { calibration, job: job_fingerprint(&calibration, &job.method, &settings) })
    }
}

pub(crate) fn calibration_tokens(
    job: &QuantizeJob,
    source: &SourceModel,
) -> Result<TokenWindows, PipelineError> {
    Ok(job.calibration.windows(&source_tokenizer(source)?)?)
}

/// The report of an earlier run, when the target is the result of this very job.
fn finished_before(
    job: &QuantizeJob,
    keys: &Keys,
    progress: Progress,
) -> Result<Option<QuantizeReport>, PipelineError> {
    let exists = |reason, replaceable| {
        Err(PipelineError::TargetExists { path: job.out.clone(), reason, replaceable })
    };
    let out = &job.out;
    if !out.exists() {
        return Ok(None);
    }
    if !Checkpoint::is_rosaq(out) {
        let is_empty = out.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        return if is_empty { Ok(None) } else { exists("is no rosaq checkpoint", false) };
    }
    if job.fresh {
        return Ok(None);
    }
    let checkpoint = Checkpoint::open(out)?;
    let made_by = checkpoint.quantization().settings.get("fingerprint");
    if made_by.and_then(|v| v.as_str()) != Some(&hex(&keys.job)) {
        return exists("was made from another model, text or setting", true);
    }
    progress.say(&format!("{} is already done; `--fresh` would make it again", out.display()));
    read_report(out).map(Some)
}

fn build_report(
    job: &QuantizeJob,
    plan: &QuantPlan,
    source: &SourceModel,
    sizes: CheckpointSizes,
    stages: Vec<StageTime>,
    total: &Stopwatch,
) -> QuantizeReport {
    let time = total.stop("total");
    QuantizeReport {
        model: job.model.display().to_string(),
        method: job.method.clone(),
        settings: job.settings_json(plan),
        placement: plan.residual.map(|r| r.placement.to_string()),
        weight_bits: sizes.weight_bits,
        bits_per_weight: sizes.bits_per_weight,
        total_bytes: sizes.total_bytes,
        source_bytes_f16: f16_bytes(source.config()),
        cpu_seconds: time.cpu_seconds,
        resumed: false,
        learning: None,
        role_bits: LINEAR_ROLES.map(|role| plan.role_bits(source.config(), role)).to_vec(),
        blocks: Vec::new(),
        floor_cpu_seconds: None,
        expected_kl: None,
        wall_seconds: time.wall_seconds,
        // The system's figure is that of the last stage alone where stages can be told apart.
        peak_rss_bytes: stages
            .iter()
            .map(|s| s.peak_rss_bytes)
            .max()
            .flatten()
            .max(peak_rss_bytes()),
        stages,
        out: job.out.display().to_string(),
        evaluation: None,
        golden: None,
    }
}

/// Bytes of the whole model in f16: what the size is compared with.
pub(crate) fn f16_bytes(config: &ModelConfig) -> u64 {
    2 * config.quantizable_weights() + TableWidth::F16.bytes(config)
}

/// One run over the blocks.
struct Run<'a> {
    source: &'a SourceModel,
    plan: &'a QuantPlan,
    stats: &'a StatsDir,
    requirements: Requirements,
    /// What each output counts, where the method asks for it.
    fisher: Option<&'a OutputFisher>,
    tables: TableWidth,
    staging: &'a Path,
    /// Where findings are kept.
    findings: &'a Path,
}

impl Run<'_> {
    fn write_all(&self, bases: &Bases<'_>, progress: Progress) -> Result<(), PipelineError> {
        let config = self.source.config();
        let stage = progress.stage("quantize");
        let mut next = None;
        for layer in 0..config.n_layers {
            if block_shard_is_complete(self.staging, config, layer) {
                next = None;
            } else {
                next = self.write_block(layer, bases, next)?;
            }
            stage.set((layer + 1) as f64 / (config.n_layers + 1) as f64);
        }
        self.write_ends(bases)?;
        stage.finish();
        Ok(())
    }

    /// Quantizes and writes one block; returns the next block's attention basis where it was needed already.
    fn write_block(
        &self,
        layer: usize,
        bases: &Bases<'_>,
        known: Option<Mat<f64>>,
    ) -> Result<Option<Mat<f64>>, PipelineError> {
        let config = self.source.config();
        let stats =
            if self.requirements.any { Some(self.stats.load(layer, config)?) } else { None };
        let around = bases.around(layer, stats.as_ref(), known)?;
        let block = self.source.load_block(layer)?;
        self.source.release();
        let (stats, around) = (stats.as_ref(), around.as_ref());
        let fisher = self.fisher.map(|fisher| &fisher.layers[layer]);
        let input = BlockInput { config, layer, stats, bases: around, heads: None, fisher };
        let heads = bases.of_heads(self.plan, input, &block)?;
        let input = BlockInput { heads: heads.as_deref(), ..input };
        let quantized = quantize_block(self.plan, input, block)?;
        BlockFindings::new(layer, config.n_layers, &quantized).save(self.findings)?;
        write_block_shard(self.staging, config, layer, &quantized.block)?;
        Ok(around.map(|b| b.next.clone()))
    }

    fn write_ends(&self, bases: &Bases<'_>) -> Result<(), PipelineError> {
        let config = self.source.config();
        let ends = bases.rotated_ends(self.source.load_ends()?)?;
        self.source.release();
        let ends = self.tables.pack(config, ends)?;
        write_ends_shard(self.staging, config, &ends, self.plan.codes.levels())?;
        Ok(())
    }
}
