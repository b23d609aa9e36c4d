//! `kernels/budgets.toml`: how much an entry may use.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::NvccError;

/// Budgets of all entries by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// A table for each entry.
    #[serde(default)]
    pub entry: BTreeMap<String, Budget>,
}

/// What is known of one entry, and what it may use.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Threads of a CTA.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a launch.
    #[serde(default)]
    pub dynamic_shared: u32,
    /// Most registers of a thread.
    pub registers: u32,
    /// Most bytes of static shared memory.
    #[serde(default)]
    pub shared: u32,
    /// Weights of a lane that one tensor-core instruction multiplies: 8 for a tile of 8 rows of x, an n-th of that
    /// for n tiles.
    pub weights_per_hmma: Option<f64>,
    /// Most instructions a weight in the cheapest loop.
    pub best_loop: Option<f64>,
    /// Most instructions a weight in the dearest loop.
    pub worst_loop: Option<f64>,
}

impl Budgets {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read or is no legal table.
    pub fn read(path: &Path) -> Result<Self, NvccError> {
        let text = fs::read_to_string(path)
            .map_err(|source| NvccError::File { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| NvccError::Budgets { path: path.to_owned(), source })
    }
}
