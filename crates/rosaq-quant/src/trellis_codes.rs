//! The codes of trellis segments.

use std::fmt;
use std::sync::Arc;

use half::f16;
use rosaq_trellis::{Table, TrellisCode};

/// The trellis codes of a model, by the index under which segments name them, and their integer levels as a checkpoint keeps
/// them. What one level amounts to, the code's step, is part of the scales.
#[derive(Clone, Default, PartialEq)]
pub struct TrellisCodes {
    codes: Vec<TrellisCode>,
    levels: Arc<Vec<Vec<f16>>>,
}

impl TrellisCodes {
    /// Codes that segments may name.
    #[must_use]
    pub fn new(codes: Vec<TrellisCode>) -> Self {
        let level = |entry: &i8| f16::from_f32(f32::from(*entry));
        let levels = codes.iter().map(|code| match code.table() {
            Table::Whole(entries) => entries.iter().map(level).collect(),
            Table::Sum { even, odd } => even.iter().chain(odd).map(level).collect(),
        });
        let levels = Arc::new(levels.collect());
        Self { codes, levels }
    }

    /// Code number `id`.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&TrellisCode> {
        self.codes.get(id as usize)
    }

    /// The tables of a packed linear and its checkpoint.
    #[must_use]
    pub fn levels(&self) -> &Arc<Vec<Vec<f16>>> {
        &self.levels
    }
}

impl fmt::Debug for TrellisCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.codes.iter().map(|code| (code.bits(), code.window()));
        f.debug_list().entries(shapes).finish()
    }
}
