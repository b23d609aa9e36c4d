//! Keys or values as a cache keeps them.

use std::borrow::Cow;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// The form in which a cache keeps keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheForm {
    /// As they are computed.
    #[default]
    F32,
    /// Rounded, in half the memory.
    F16,
}

impl CacheForm {
    /// Bytes of a value.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<f16>(),
        }
    }

    /// Room for nothing yet.
    pub(crate) const fn empty(self) -> States {
        match self {
            Self::F32 => States::F32(Vec::new()),
            Self::F16 => States::F16(Vec::new()),
        }
    }
}

/// Keys or values of one sequence and layer.
#[derive(Debug, Clone)]
pub(crate) enum States {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl States {
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::F32(states) => states.len(),
            Self::F16(states) => states.len(),
        }
    }

    /// Puts more behind; values beyond the range of f16 become infinite there.
    pub(crate) fn extend(&mut self, more: &[f32]) {
        match self {
            Self::F32(states) => states.extend_from_slice(more),
            Self::F16(states) => {
                let start = states.len();
                states.resize(start + more.len(), f16::ZERO);
                states[start..].convert_from_f32_slice(more);
            }
        }
    }

    /// Makes room for `len` values in all; whether there is.
    pub(crate) fn reserve(&mut self, len: usize) -> bool {
        let more = len.saturating_sub(self.len());
        match self {
            Self::F32(states) => states.try_reserve_exact(more).is_ok(),
            Self::F16(states) => states.try_reserve_exact(more).is_ok(),
        }
    }

    pub(crate) const fn view(&self) -> StatesView<'_> {
        match self {
            Self::F32(states) => StatesView::F32(states.as_slice()),
            Self::F16(states) => StatesView::F16(states.as_slice()),
        }
    }
}

/// Keys or values to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StatesView<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

impl<'a> StatesView<'a> {
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::F32(states) => states.len(),
            Self::F16(states) => states.len(),
        }
    }

    /// All of them as f32.
    pub(crate) fn wide(self) -> Cow<'a, [f32]> {
        match self {
            Self::F32(states) => Cow::Borrowed(states),
            Self::F16(states) => Cow::Owned(states.to_f32_vec()),
        }
    }
}
