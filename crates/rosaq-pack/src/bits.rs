//! The widths a quantization code may have.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PackError;

/// Width of a code in bits: 2, 3, 4, 5, 6 or 8, or 1 where a trellis gives the other bits of a value.
///
/// Seven is left out on purpose: it saves an eighth of an 8-bit row and no kernel unpacks it well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bits(u8);

impl Bits {
    /// Every width of codes that stand by themselves, ascending.
    pub const ALL: [Self; 6] = [Self(2), Self(3), Self(4), Self(5), Self(6), Self(8)];

    /// One bit, codes 0 and 1; of trellis codes only.
    pub const ONE: Self = Self(1);
    /// Two bits, codes 0 to 3.
    pub const TWO: Self = Self(2);
    /// Three bits, codes 0 to 7.
    pub const THREE: Self = Self(3);
    /// Four bits, codes 0 to 15.
    pub const FOUR: Self = Self(4);
    /// Five bits, codes 0 to 31.
    pub const FIVE: Self = Self(5);
    /// Six bits, codes 0 to 63.
    pub const SIX: Self = Self(6);
    /// Eight bits, codes 0 to 255.
    pub const EIGHT: Self = Self(8);

    /// A width of codes that stand by themselves.
    ///
    /// # Errors
    /// [`PackError::UnsupportedBits`] for any that [`Self::ALL`] does not hold.
    pub fn of_grid(found: u8) -> Result<Self, PackError> {
        let unsupported = PackError::UnsupportedBits { found };
        Self::ALL.into_iter().find(|bits| bits.0 == found).ok_or(unsupported)
    }

    /// The width as a number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The width as a count, for arithmetic on lengths.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0 as usize
    }

    /// The largest code, `2^bits - 1`.
    #[must_use]
    pub const fn max_code(self) -> u8 {
        u8::MAX >> (8 - self.0)
    }

    /// The number of codes, `2^bits`.
    #[must_use]
    pub const fn n_codes(self) -> usize {
        1 << self.0
    }

    /// The zero point of the symmetric grid, `2^(bits - 1)`.
    #[must_use]
    pub const fn symmetric_zero(self) -> u8 {
        1 << (self.0 - 1)
    }
}

impl TryFrom<u8> for Bits {
    type Error = PackError;

    fn try_from(found: u8) -> Result<Self, PackError> {
        match found {
            1..=6 | 8 => Ok(Self(found)),
            _ => Err(PackError::UnsupportedBits { found }),
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
