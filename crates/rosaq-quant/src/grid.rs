//! Bits and symmetry: the set of codes.

use rosaq_pack::{Bits, PackError, SegmentKind};

/// An integer grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Width of a code.
    pub bits: Bits,
    /// True when the zero point is fixed at `2^(bits - 1)`.
    pub symmetric: bool,
}

impl Grid {
    /// A grid with a zero point per group.
    ///
    /// # Errors
    /// If `bits` is none of 2, 3, 4, 5, 6, 8.
    pub fn asymmetric(bits: u8) -> Result<Self, PackError> {
        Ok(Self { bits: Bits::of_grid(bits)?, symmetric: false })
    }

    /// A grid around zero.
    ///
    /// # Errors
    /// If `bits` is none of 2, 3, 4, 5, 6, 8.
    pub fn symmetric(bits: u8) -> Result<Self, PackError> {
        Ok(Self { bits: Bits::of_grid(bits)?, symmetric: true })
    }

    /// Largest code, `2^bits - 1`.
    #[must_use]
    pub fn max_code(self) -> u8 {
        self.bits.max_code()
    }

    /// The grid of an integer segment.
    #[must_use]
    pub fn of(kind: SegmentKind) -> Option<Self> {
        match kind {
            SegmentKind::Int { bits, symmetric } => Some(Self { bits, symmetric }),
            _ => None,
        }
    }
}
