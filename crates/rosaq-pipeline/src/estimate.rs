//! What a job will take and give, before hours are spent.

use std::path::Path;

use rosaq_calib::Collecting;
use rosaq_methods::{HeadScope, QuantPlan, Sensitivity, find, plan};
use rosaq_model::{ActivationSite, LINEAR_ROLES, ModelConfig, Role, SourceModel};
use rosaq_rotate::Placement;
use rosaq_text::TokenWindows;
use serde::Serialize;

use crate::bases::Bases;
use crate::calibrate::{StatsDir, calibrate};
use crate::online::{online_operations, product_operations};
use crate::quantize::{Keys, calibration_tokens};
use crate::sensitivity::{kept_fisher, sensitivity};
use crate::{PipelineError, Progress, QuantizeJob, TableWidth};

/// A prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Stored bits a quantized weight, rotations counted.
    pub bits_per_weight: f64,
    /// Information bits of the linears alone.
    pub weight_bits: f64,
    /// Bytes of the checkpoint, embeddings included.
    pub total_bytes: u64,
    /// Largest resident set.
    pub peak_bytes: u64,
    /// Disk in use before the result is published: statistics, snapshot and shards.
    pub disk_bytes: u64,
    /// Floating-point operations of calibration and quantization.
    pub operations: f64,
    /// Operations a token at run time beside the linears: rotations that are not absorbed, transforms.
    pub online_operations: f64,
    /// The same over those of all linears and the head.
    pub online_share: f64,
    /// Share of the residual's activation energy in the f16 channels, averaged over sampled sites.
    pub energy_kept: Option<f64>,
    /// Tokens on which that was measured.
    pub sample_tokens: usize,
    /// KL divergence to be expected, nats per token, where the statistics and gradients of an earlier run tell.
    pub expected_kl: Option<f64>,
}

/// Windows and tokens of each on which the energy is sampled.
const SAMPLE_WINDOWS: usize = 4;
/// Layers whose eigenvalues are looked at.
const SAMPLE_LAYERS: usize = 4;

/// Predicts what `job` will take and give. Statistics are measured on a few windows only; those that an earlier run left in the
/// directory `statistics` tell more.
///
/// # Errors
/// Input that cannot be used.
pub fn estimate(
    job: &QuantizeJob,
    statistics: Option<&Path>,
    progress: Progress,
) -> Result<Estimate, PipelineError> {
    let source = SourceModel::open(&job.model)?;
    let method = find(&job.method)?;
    let config = source.config();
    let mut plan = plan(method, config, &job.settings)?;
    let needs = method.requirements();
    let mut expected_kl = None;
    if let Some(dir) = statistics.filter(|dir| dir.is_dir() && method.wants_gradients())
        && let Some(known) = known_sensitivity(job, &source, &plan, dir)?
    {
        plan = method.plan_by_sensitivity(config, &job.settings, &known)?;
        expected_kl = method.expected_divergence(&plan, &known);
    }
    let (mut calibration_tokens_len, mut sample_tokens, mut energy_kept) = (0, 0, None);
    if needs.any {
        let windows = calibration_tokens(job, &source)?;
        calibration_tokens_len = windows.tokens().len();
        if plan.residual.is_some_and(|r| r.basis.salient() > 0) {
            let sample = windows.take(SAMPLE_WINDOWS);
            sample_tokens = sample.tokens().len();
            energy_kept = Some(sampled_energy(&source, &plan, &sample, progress)?);
        }
    }
    let weight_bits = plan.weight_bits(config);
    let packed = plan.stored_bytes(config);
    let bits_per_weight = (8 * packed) as f64 / config.quantizable_weights() as f64;
    let statistics = if needs.any { statistics_bytes(config) } else { 0 };
    let hidden = (calibration_tokens_len * config.hidden_size * 4) as u64;
    let total_bytes = packed + job.tables.bytes(config) + small_parts_bytes(config);
    Ok(Estimate {
        bits_per_weight,
        weight_bits,
        total_bytes,
        peak_bytes: peak_bytes(config, hidden, statistics),
        disk_bytes: total_bytes + statistics + hidden,
        operations: operations(config, &plan, calibration_tokens_len, job.calibration.length),
        online_operations: online_operations(config, &plan),
        online_share: online_operations(config, &plan) / product_operations(config),
        energy_kept,
        sample_tokens,
        expected_kl,
    })
}

/// The sensitivities by what an earlier run on the same model and text left in `dir`; `None` where that is not all there.
fn known_sensitivity(
    job: &QuantizeJob,
    source: &SourceModel,
    plan: &QuantPlan,
    dir: &Path,
) -> Result<Option<Sensitivity>, PipelineError> {
    let windows = calibration_tokens(job, source)?;
    let keys = Keys::new(job, source, Some(&windows))?;
    let stats = StatsDir::open(dir.to_owned(), keys.calibration, job.collecting()?)?;
    let requirements = find(&job.method)?.requirements();
    if !stats.is_complete(source.config(), requirements) {
        return Ok(None);
    }
    let fisher = kept_fisher(source.config(), &stats);
    fisher.map(|fisher| sensitivity(source, plan, &stats, &fisher)).transpose()
}

/// The average that the linears of the model at `path` may take for its weights to take `total_bytes`, embeddings and all,
/// these stored as `tables` says: stored bits a weight.
///
/// # Errors
/// A model that cannot be opened; a size that its embeddings alone exceed.
pub fn bits_for_size(
    path: &Path,
    total_bytes: u64,
    tables: TableWidth,
) -> Result<f64, PipelineError> {
    let source = SourceModel::open(path)?;
    let config = source.config();
    let weights = config.quantizable_weights();
    let others = tables.bytes(config) + small_parts_bytes(config);
    match total_bytes.checked_sub(others) {
        Some(left) => Ok((8 * left) as f64 / weights as f64),
        None => Err(PipelineError::SizeTooSmall { asked: total_bytes, others }),
    }
}

/// Norms and biases, which stay f32, and what the shards' headers take: names, shapes, checksums, descriptions of linears.
fn small_parts_bytes(config: &ModelConfig) -> u64 {
    const HEADER_BYTES: usize = 280; // for each tensor, counted on both bundled models
    const PARTS: usize = 3; // of a linear, mostly: codes, scales, zeros
    let biases = config.biased.iter().map(|&role| config.linear_shape(role)[0]).sum::<usize>();
    let head_norms = if config.family.has_qk_norm { 2 } else { 0 };
    let block = 4 * (2 * config.hidden_size + head_norms * config.head_dim + biases);
    let n_tensors = PARTS * LINEAR_ROLES.len() + 2 + head_norms + config.biased.len();
    let ends = 4 * config.hidden_size + 3 * HEADER_BYTES;
    (config.n_layers * (block + n_tensors * HEADER_BYTES) + ends) as u64
}

/// The mean share of `tr H` that the salient channels of the plan's own bases hold, over both residual sites of a few layers.
fn sampled_energy(
    source: &SourceModel,
    plan: &QuantPlan,
    sample: &TokenWindows,
    progress: Progress,
) -> Result<f64, PipelineError> {
    let dir = tempfile::tempdir().map_err(PipelineError::disk("create", std::env::temp_dir()))?;
    let stats = StatsDir::open(dir.path().to_owned(), [0; 32], Collecting::default())?;
    let sites = [ActivationSite::AttentionInput, ActivationSite::MlpInput];
    calibrate(source, sample, rosaq_calib::Requirements::grams_at(&sites), &stats, progress)?;
    let salient = plan.residual.map_or(0, |r| r.basis.salient());
    let config = source.config();
    let bases = Bases::new(config, &stats, plan, None)?;
    let step = config.n_layers.div_ceil(SAMPLE_LAYERS);
    let mut shares = Vec::new();
    for layer in (0..config.n_layers).step_by(step) {
        let layer_stats = stats.load(layer, config)?;
        for site in sites {
            let gram = layer_stats.gram(site)?;
            if let Some(basis) = bases.at(layer, &layer_stats, site)? {
                let kept = basis.as_ref().subcols(0, salient);
                let energy = kept.transpose() * gram.view() * kept;
                let energy: f64 = energy.diagonal().column_vector().iter().sum();
                shares.push(energy / gram.trace());
            }
        }
    }
    Ok(shares.iter().sum::<f64>() / shares.len() as f64)
}

/// Gram matrices of all layers as they are kept: packed triangles of f64.
fn statistics_bytes(config: &ModelConfig) -> u64 {
    config.n_layers as u64 * site_widths(config).map(|d| d * (d + 1) / 2 * 8).iter().sum::<u64>()
}

fn site_widths(config: &ModelConfig) -> [u64; 4] {
    let heads = config.n_heads * config.head_dim;
    [config.hidden_size, heads, config.hidden_size, config.intermediate_size].map(|d| d as u64)
}

/// The larger of the two stages: hidden states, a block in f32, whole Grams and one batch of activations; or a block in
/// f32 and f64 with its Grams; or the tables.
fn peak_bytes(config: &ModelConfig, hidden: u64, statistics: u64) -> u64 {
    let block = 4 * config.quantizable_weights() / config.n_layers as u64;
    let grams =
        if statistics == 0 { 0 } else { site_widths(config).map(|d| d * d * 8).iter().sum() };
    let batch_tokens = 4096; // as the runtime's batches
    let activations =
        batch_tokens * 4 * (2 * config.intermediate_size + 4 * config.hidden_size) as u64;
    let base = 50 << 20; // program and tokenizer
    let calibrating = hidden + block + grams + activations;
    let quantizing = 2 * block + 2 * grams;
    base + calibrating.max(quantizing).max(3 * TableWidth::F16.bytes(config))
}

/// Processor seconds that the unavoidable products would take at `rate` (1e9 operations per second and core): forward pass,
/// Gram matrices, eigenbases.
pub(crate) fn floor_seconds(
    config: &ModelConfig,
    plan: &QuantPlan,
    windows: &TokenWindows,
    rate: f64,
) -> f64 {
    floor_operations(config, plan, windows.tokens().len(), windows.context()) / (rate * 1e9)
}

/// Products that no implementation can avoid: the dense pass with its causal attention, Gram matrices (half, by symmetry),
/// and eigenbases (a symmetric eigenproblem with vectors takes about 9 n³).
fn floor_operations(config: &ModelConfig, plan: &QuantPlan, tokens: usize, length: usize) -> f64 {
    let (t, layers, d) = (tokens as f64, config.n_layers as f64, config.hidden_size as f64);
    let linears = 2.0 * t * config.quantizable_weights() as f64;
    // Scores and weighted values, two products each over half the positions.
    let attention = layers * 2.0 * t * length as f64 * (config.n_heads * config.head_dim) as f64;
    let grams = layers * t * site_widths(config).map(|d| (d * d) as f64).iter().sum::<f64>();
    let bases = match plan.residual.map(|r| r.placement) {
        None => 0.0,
        Some(Placement::Absorbed) => 1.0,
        Some(Placement::Shortcut | Placement::Online) => 2.0 * layers,
    };
    let heads = match plan.heads.map(|h| h.scope) {
        None => 0.0,
        Some(HeadScope::EachHead) => {
            layers * config.n_kv_heads as f64 * 9.0 * (config.head_dim as f64).powi(3)
        }
        Some(HeadScope::AllHeads) => {
            layers * 9.0 * ((config.n_heads * config.head_dim) as f64).powi(3)
        }
    };
    if tokens == 0 { 0.0 } else { linears + attention + grams + bases * 9.0 * d.powi(3) + heads }
}

/// The floor, the search for down's scales, and the products that rotate weights.
fn operations(config: &ModelConfig, plan: &QuantPlan, tokens: usize, length: usize) -> f64 {
    let (layers, d) = (config.n_layers as f64, config.hidden_size as f64);
    let down = config.intermediate_size as f64;
    let rows = [2.0 * d, d, 2.0 * down, d].map(|rows| rows.min(1024.0)); // as measured by the search
    let search: f64 = rows
        .iter()
        .zip(site_widths(config))
        .zip(plan.scaled)
        .map(|((rows, n), scaled)| if scaled { layers * 20.0 * rows * (n * n) as f64 } else { 0.0 })
        .sum();
    let [q, kv] = [Role::Query, Role::Key].map(|r| config.linear_shape(r)[0] as f64);
    let rotated_rows = q + 2.0 * kv + 2.0 * down;
    let rotations = if plan.residual.is_some() { layers * 2.0 * d * d * rotated_rows } else { 0.0 };
    floor_operations(config, plan, tokens, length) + search + rotations
}
