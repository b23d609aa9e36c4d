//! What is learned about each block on the way, for the report.

use std::fs;
use std::path::{Path, PathBuf};

use rosaq_methods::{QuantizedBlock, RotatedSite};
use rosaq_model::LINEAR_ROLES;
use serde::{Deserialize, Serialize};

use crate::PipelineError;

/// Findings of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockFindings {
    /// The block.
    pub layer: usize,
    /// Relative output error of each linear on the calibration set, by role.
    pub output_errors: Vec<(String, f64)>,
    /// Channels before and after rotation; of a few blocks only.
    pub rotated: Vec<RotatedChannels>,
}

/// Root mean squares of a site's channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RotatedChannels {
    /// The activation site.
    pub site: String,
    /// Tokens behind the figures.
    pub tokens: u64,
    /// In the model's own basis.
    pub before: Vec<f32>,
    /// In the basis that the linears read, as stored.
    pub after: Vec<f32>,
}

impl BlockFindings {
    pub(crate) fn new(layer: usize, n_layers: usize, block: &QuantizedBlock) -> Self {
        let errors = LINEAR_ROLES.iter().zip(block.output_errors);
        let rotated = if is_shown(layer, n_layers) { &block.rotated[..] } else { &[] };
        Self {
            layer,
            output_errors: errors.filter_map(|(role, e)| Some((role.to_string(), e?))).collect(),
            rotated: rotated.iter().map(channels).collect(),
        }
    }

    /// Keeps the findings in `dir` until the job is done.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), PipelineError> {
        let path = path(dir, self.layer);
        let failed = |source| PipelineError::Disk { action: "write", path: path.clone(), source };
        let json = serde_json::to_vec(self).map_err(|e| failed(e.into()))?;
        let temporary = dir.join("findings.tmp");
        fs::write(&temporary, json).and_then(|()| fs::rename(&temporary, &path)).map_err(failed)
    }

    /// The findings that were kept of all blocks.
    pub(crate) fn load_all(dir: &Path, n_layers: usize) -> Vec<Self> {
        let read = |layer| serde_json::from_slice(&fs::read(path(dir, layer)).ok()?).ok();
        (0..n_layers).filter_map(read).collect()
    }
}

fn path(dir: &Path, layer: usize) -> PathBuf {
    dir.join(format!("findings-{layer:03}.json"))
}

/// The first, the middle and the last block stand for all.
fn is_shown(layer: usize, n_layers: usize) -> bool {
    layer == 0 || layer == n_layers / 2 || layer + 1 == n_layers
}

#[expect(clippy::cast_possible_truncation, reason = "figures for people")]
fn channels(site: &RotatedSite) -> RotatedChannels {
    let roots = |squares: &[f64]| squares.iter().map(|s| s.max(0.0).sqrt() as f32).collect();
    RotatedChannels {
        site: site.site.word().to_owned(),
        tokens: site.tokens,
        before: roots(&site.before),
        after: roots(&site.after),
    }
}
