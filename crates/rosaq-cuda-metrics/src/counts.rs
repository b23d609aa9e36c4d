//! What a product asks of a device.

use serde::Serialize;

use crate::{Case, run};

/// A kernel that went wrong on the emulator.
#[derive(Debug, thiserror::Error)]
#[error("a kernel went wrong on the emulator: {0}")]
pub struct MetricsError(#[from] rosaq_ptx_emu::Fault);

/// Counts of all launches of a product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counts {
    /// What was multiplied.
    pub name: String,
    /// Weights.
    pub n_weights: usize,
    /// Rows of x.
    pub batch: usize,
    /// Bytes of x, y and the weights with scales and zeros, each once.
    pub minimal_bytes: usize,
    /// Bytes of the sectors touched at all: the least that DRAM moves.
    pub unique_bytes: u64,
    /// Bytes of the sectors of all requests: what the second-level cache moves if the first keeps nothing.
    pub requested_bytes: u64,
    /// Bytes used of the sectors of weights.
    pub useful_part_of_weights: f64,
    /// Wavefronts of an `ldmatrix`; 4 is the least.
    pub waves_of_ldmatrix: f64,
    /// PTX instructions of a lane for each weight, everything counted; SASS has fewer or more.
    pub instructions_per_weight: f64,
    /// Against a product in f64.
    pub relative_error: f64,
}

impl Counts {
    /// Runs `case` on the emulator.
    ///
    /// # Errors
    /// [`MetricsError`]
    pub fn of(case: &Case) -> Result<Self, MetricsError> {
        let outcome = run(case)?;
        Ok(Self {
            name: case.name.clone(),
            n_weights: case.n_weights(),
            batch: case.batch,
            minimal_bytes: case.minimal_bytes(),
            unique_bytes: outcome.unique_bytes(),
            requested_bytes: outcome.requested_bytes(),
            useful_part_of_weights: outcome.useful_part_of_weights(),
            waves_of_ldmatrix: outcome.waves_of_ldmatrix(),
            instructions_per_weight: outcome.instructions() as f64 * 32.0 / case.n_weights() as f64,
            relative_error: case.relative_error(&outcome.y),
        })
    }
}
