//! The table at the beginning of an image.

use super::{BLOCK_ROWS, F16_UNIT_CHANNELS, PIECE, UNIT_CHANNELS};
use crate::Bits;

/// What the weights of a device segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// f16 values.
    F16,
    /// Integer codes with zero points.
    Int(Bits),
    /// Codes into a table of `2^bits` levels.
    Codebook(Bits),
    /// Trellis codes, with states of 12 bits.
    Trellis(Bits),
}

impl DeviceKind {
    /// The number that kernels know the kind by.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::F16 => 0,
            Self::Int(bits) => bits.get() as u32,
            Self::Codebook(bits) => 16 + bits.get() as u32,
            Self::Trellis(bits) => 32 + bits.get() as u32,
        }
    }

    /// Width of a code, `None` for f16.
    #[must_use]
    pub const fn bits(self) -> Option<Bits> {
        match self {
            Self::F16 => None,
            Self::Int(bits) | Self::Codebook(bits) | Self::Trellis(bits) => Some(bits),
        }
    }

    /// 16-byte pieces of a lane's unit.
    #[must_use]
    pub const fn pieces(self) -> usize {
        match self.bits() {
            None => 4,
            Some(bits) => bits.count(),
        }
    }

    /// Input channels of a unit.
    #[must_use]
    pub const fn unit_channels(self) -> usize {
        if matches!(self, Self::F16) { F16_UNIT_CHANNELS } else { UNIT_CHANNELS }
    }

    /// Blocks of rows before the first one: a trellis begins with the end of its ring.
    #[must_use]
    pub const fn lead_blocks(self) -> usize {
        matches!(self, Self::Trellis(_)) as usize
    }

    /// Bytes of a unit.
    #[must_use]
    pub const fn unit_bytes(self) -> usize {
        self.pieces() * PIECE * super::LANES
    }

    /// 32-bit words that 32 weights of a lane take.
    pub(super) const fn words_per_quantum(self) -> usize {
        match self.bits() {
            None => 16,
            Some(bits) => bits.count(),
        }
    }
}

/// One entry of the table: where a segment's parts lie, in bytes from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSegment {
    /// What the weights are.
    pub kind: DeviceKind,
    /// First input channel.
    pub channel_start: usize,
    /// Input channels, without padding.
    pub channels: usize,
    /// Units along the channels, the last one padded.
    pub n_units: usize,
    /// Groups of a unit: 1, 2, 4 or 8; 0 for f16.
    pub n_groups: usize,
    /// Codes or values, `[blocks][units][pieces][32 lanes][16 bytes]`.
    pub codes: usize,
    /// f16 scales, `[blocks][units][groups][32 rows]`.
    pub scales: usize,
    /// Zero points, a byte each, `[blocks][units][groups][32 rows]`, or 32 for all groups.
    pub zeros: usize,
    /// Bytes from one group's zero points to the next one's: 32, or 0 if one serves all.
    pub zero_stride: usize,
    /// Levels: of a codebook 16 low and 16 high bytes, of a trellis f16.
    pub table: usize,
    /// Levels of a trellis: 128 that are added by twos, or 4096.
    pub n_levels: usize,
}

impl DeviceSegment {
    /// Bytes of an entry.
    pub const BYTES: usize = 64;

    /// Channels of a group.
    pub(super) const fn group_channels(&self) -> usize {
        UNIT_CHANNELS / self.n_groups
    }

    /// Bytes of codes, scales, stored zero points and levels for `n_blocks` blocks of rows.
    pub(super) fn part_bytes(&self, n_blocks: usize) -> Option<[usize; 4]> {
        let units = n_blocks.checked_mul(self.n_units)?;
        let groups = units.checked_mul(self.n_groups)?;
        let zeros = match (self.kind, self.zero_stride) {
            (DeviceKind::Int(_), 0) => BLOCK_ROWS,
            (_, stride) => groups.checked_mul(stride)?,
        };
        let units = units.checked_add(self.kind.lead_blocks() * self.n_units)?;
        let codes = units.checked_mul(self.kind.unit_bytes())?;
        let scales = groups.checked_mul(size_of::<u16>() * BLOCK_ROWS)?;
        let table = match self.kind {
            DeviceKind::Codebook(_) => 32,
            _ => size_of::<u16>() * self.n_levels,
        };
        Some([codes, scales, zeros, table])
    }

    /// The entry as kernels read it; `None` where a number does not fit.
    pub(super) fn to_bytes(self) -> Option<[u8; Self::BYTES]> {
        let mut bytes = [0; Self::BYTES];
        let words = [self.channel_start, self.n_units, self.n_groups];
        bytes[..4].copy_from_slice(&self.kind.number().to_le_bytes());
        for (at, word) in bytes[4..16].chunks_exact_mut(4).zip(words) {
            at.copy_from_slice(&u32::try_from(word).ok()?.to_le_bytes());
        }
        let offsets = [self.codes, self.scales, self.zeros, self.table];
        for (at, offset) in bytes[16..48].chunks_exact_mut(8).zip(offsets) {
            at.copy_from_slice(&u64::try_from(offset).ok()?.to_le_bytes());
        }
        let words = [self.zero_stride, self.n_levels, self.channels];
        for (at, word) in bytes[48..60].chunks_exact_mut(4).zip(words) {
            at.copy_from_slice(&u32::try_from(word).ok()?.to_le_bytes());
        }
        Some(bytes)
    }
}
