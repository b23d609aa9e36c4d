//! How much each linear matters, from the gradients of a few calibration windows and the statistics on disk.

use std::path::PathBuf;

use rosaq_calib::{load_state, save_state};
use rosaq_gradient::{OutputFisher, output_fisher};
use rosaq_methods::{BlockInput, QuantPlan, Sensitivity, block_sensitivity};
use rosaq_model::{ModelConfig, SourceModel};
use rosaq_text::TokenWindows;

use crate::bases::Bases;
use crate::calibrate::StatsDir;
use crate::{PipelineError, Progress};

/// Calibration windows whose gradients are taken, spread over the set: two draws of labels over 16 windows of 512 tokens
/// agree on the sum of a linear within a few percent, where a factor of two is half a bit.
const WINDOWS: usize = 8;
/// Seed of the labels.
const SEED: u64 = 0;
/// What the file with the gradients' squares begins with.
const MAGIC: &[u8; 8] = b"ROSAQFS2";

/// The sensitivities of all linears once they are rotated as `plan` says, with the Fisher information of `fisher`.
///
/// # Errors
/// Models that cannot be loaded, statistics that are missing.
pub(crate) fn sensitivity(
    source: &SourceModel,
    plan: &QuantPlan,
    stats: &StatsDir,
    fisher: &OutputFisher,
) -> Result<Sensitivity, PipelineError> {
    let config = source.config();
    let bases = Bases::new(config, stats, plan, None)?;
    let mut layers = Vec::with_capacity(config.n_layers);
    for (layer, fisher) in fisher.layers.iter().enumerate() {
        let block = source.load_block(layer)?;
        source.release();
        let stats = stats.load(layer, config)?;
        let around = bases.around(layer, Some(&stats), None)?;
        let (stats, around, fisher) = (Some(&stats), around.as_ref(), Some(fisher));
        let input = BlockInput { config, layer, stats, bases: around, heads: None, fisher };
        let heads = bases.of_heads(plan, input, &block)?;
        let input = BlockInput { heads: heads.as_deref(), ..input };
        layers.push(block_sensitivity(plan, input, block)?);
    }
    Ok(Sensitivity { layers })
}

/// The Fisher information of all outputs; it is kept beside the statistics.
///
/// # Errors
/// Models that cannot be loaded or overflow, a full disk.
pub(crate) fn fisher(
    source: &SourceModel,
    windows: &TokenWindows,
    stats: &StatsDir,
    progress: Progress,
) -> Result<OutputFisher, PipelineError> {
    if let Some(kept) = kept_fisher(source.config(), stats) {
        return Ok(kept);
    }
    let step = windows.len().div_ceil(WINDOWS).max(1);
    let tokens = windows.windows().step_by(step).flatten().copied().collect();
    let sample = TokenWindows::new(tokens, windows.context())?;
    let stage = progress.stage("gradients");
    let found = output_fisher(source, &sample, SEED, &|share| stage.set(share))?;
    stage.finish();
    save_state(&path(stats), MAGIC, stats.key(), &found)?;
    Ok(found)
}

/// What an earlier run kept. A file that is damaged or of another run counts for nothing.
pub(crate) fn kept_fisher(config: &ModelConfig, stats: &StatsDir) -> Option<OutputFisher> {
    let path = path(stats);
    let outputs = rosaq_model::LINEAR_ROLES.map(|role| config.linear_shape(role)[0]);
    let block_fits = |block: &[Vec<f64>; 7]| block.iter().map(Vec::len).eq(outputs);
    let kept = path.exists().then(|| load_state::<OutputFisher>(&path, MAGIC, stats.key()));
    let fisher = kept?.ok()??;
    let fits = fisher.layers.len() == config.n_layers && fisher.layers.iter().all(block_fits);
    fits.then_some(fisher)
}

fn path(stats: &StatsDir) -> PathBuf {
    stats.path().join("fisher.state")
}
