//! Reads everything that a checkpoint holds and compares it with its checksums.

use std::path::Path;

use rosaq_model::ModelConfig;

use crate::shard::Shard;
use crate::{Checkpoint, CheckpointError};

/// What [`Checkpoint::verify`] has read and found in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Safetensors files.
    pub n_files: u64,
    /// Tensors.
    pub n_tensors: u64,
    /// Bytes of these tensors.
    pub n_bytes: u64,
}

impl Checkpoint {
    /// Reads every tensor, compares it with its BLAKE3 checksum and checks its numbers. `progress`
    /// hears the share of bytes done, 0 to 1.
    ///
    /// # Errors
    /// The first [`CheckpointError`], which names the tensor and the file.
    pub fn verify(&self, progress: &dyn Fn(f64)) -> Result<VerifyReport, CheckpointError> {
        let mut report = VerifyReport::default();
        let mut visit = |shard: &Shard| -> Result<(), CheckpointError> {
            report.n_files += 1;
            for (_, tensor) in shard.tensors() {
                shard.check_checksum(&tensor)?;
                report.n_tensors += 1;
                report.n_bytes += tensor.bytes.len() as u64;
                progress(share(report.n_bytes, self.sizes().total_bytes));
            }
            Ok(())
        };
        visit(&self.ends)?;
        self.load_ends()?;
        for (layer, shard) in self.blocks.iter().enumerate() {
            visit(shard)?;
            self.load_block(layer)?;
        }
        progress(1.0);
        Ok(report)
    }
}

/// Whether the shard of block `layer` stands in `dir` and can be kept by a run that resumes: its
/// header is valid, names and shapes are those of `config`, and all its checksums match.
///
/// # Panics
/// If the model has no such layer.
#[must_use]
pub fn block_shard_is_complete(dir: &Path, config: &ModelConfig, layer: usize) -> bool {
    assert!(layer < config.n_layers, "layer {layer} of {}", config.n_layers);
    let checked = Shard::open_block(dir, config, layer).and_then(|shard| {
        let checked = shard.tensors().try_for_each(|(_, tensor)| shard.check_checksum(&tensor));
        shard.release();
        checked
    });
    checked.is_ok()
}

#[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
fn share(done: u64, total: u64) -> f64 {
    done as f64 / total as f64
}
