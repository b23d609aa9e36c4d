//! The tables that come with the crate, trained on a unit Gaussian.

use crate::{Table, TrellisCode, TrellisError};

/// Which of the trained tables for a unit Gaussian; the step is in standard deviations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaussianTable {
    /// A window of 8 bits, 256 entries.
    Whole8,
    /// A window of 12 bits, two added tables of 64 entries.
    Sum12,
    /// A window of 12 bits, 4,096 entries: the least error, and the dearest to look up.
    Whole12,
}

impl GaussianTable {
    /// All of them, from the cheapest to the most exact.
    pub const ALL: [Self; 3] = [Self::Whole8, Self::Sum12, Self::Whole12];

    /// Bits of the state.
    #[must_use]
    pub fn window(self) -> u8 {
        match self {
            Self::Whole8 => 8,
            Self::Sum12 | Self::Whole12 => 12,
        }
    }

    /// The widths that there are tables for: 1 to this many bits per value.
    #[must_use]
    pub fn most_bits(self) -> u8 {
        u8::try_from(self.files().len()).expect("a handful of files")
    }

    /// The file for each number of bits: the step (f32, little endian), then the entries, even
    /// before odd ones.
    fn files(self) -> &'static [&'static [u8]] {
        match self {
            Self::Whole8 => &[
                include_bytes!("../tables/whole8-b1.bin"),
                include_bytes!("../tables/whole8-b2.bin"),
                include_bytes!("../tables/whole8-b3.bin"),
                include_bytes!("../tables/whole8-b4.bin"),
            ],
            Self::Sum12 => &[
                include_bytes!("../tables/sum12-b1.bin"),
                include_bytes!("../tables/sum12-b2.bin"),
                include_bytes!("../tables/sum12-b3.bin"),
                include_bytes!("../tables/sum12-b4.bin"),
                include_bytes!("../tables/sum12-b5.bin"),
                include_bytes!("../tables/sum12-b6.bin"),
            ],
            Self::Whole12 => &[
                include_bytes!("../tables/whole12-b1.bin"),
                include_bytes!("../tables/whole12-b2.bin"),
                include_bytes!("../tables/whole12-b3.bin"),
                include_bytes!("../tables/whole12-b4.bin"),
            ],
        }
    }
}

impl TrellisCode {
    /// The code trained on a unit Gaussian with `bits` bits per value: 1 to 6 for
    /// [`GaussianTable::Sum12`], 1 to 4 for the others.
    ///
    /// # Errors
    ///
    /// [`TrellisError::Bits`] for other numbers of bits.
    pub fn gaussian(bits: u8, table: GaussianTable) -> Result<Self, TrellisError> {
        let index = usize::from(bits).checked_sub(1);
        let file = index.and_then(|index| table.files().get(index).copied());
        let (step, entries) =
            file.and_then(<[u8]>::split_first_chunk).ok_or(TrellisError::Bits { found: bits })?;
        let mut entries: Vec<i8> = entries.iter().map(|&byte| byte.cast_signed()).collect();
        let values = match table {
            GaussianTable::Whole8 | GaussianTable::Whole12 => Table::Whole(entries),
            GaussianTable::Sum12 => {
                let odd = entries.split_off(entries.len() / 2);
                Table::Sum { even: entries, odd }
            }
        };
        Self::new(bits, table.window(), f32::from_le_bytes(*step), values)
    }
}
