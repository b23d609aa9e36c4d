//! Runs of input channels that are stored the same way.

use serde::{Deserialize, Serialize};

use crate::{Bits, packed_len};

/// How the channels of a segment are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SegmentKind {
    /// Plain f16 values: the salient channels.
    F16,
    /// Integer codes, `value = scale * (code - zero_point)`.
    Int {
        /// Width of a code and of a zero point.
        bits: Bits,
        /// True when every zero point is `2^(bits - 1)` and none is stored.
        symmetric: bool,
    },
    /// Codes into a table of f16 levels, `value = scale * level[code]`.
    Codebook {
        /// Width of a code: 2, 3 or 4.
        bits: Bits,
        /// Index into the codebooks of the model.
        id: u32,
    },
    /// Codes of a bit-shift trellis along the *rows*: each channel is one ring of codes over the
    /// outputs. The last `window` bits of the ring up to a row are its state, and
    /// `value = scale * level[state]`.
    ///
    /// The table has `2^window` levels, or two halves of `2^(window / 2)` whose levels are added:
    /// bits 0, 2, 4, ... of the state index the first, bits 1, 3, 5, ... the second.
    Trellis {
        /// Width of a code: 1 to 6.
        bits: Bits,
        /// Width of a state: at most 12.
        window: u8,
        /// Index of the table among the codebooks of the model.
        id: u32,
    },
}

impl SegmentKind {
    /// The width of a code, `None` for f16.
    #[must_use]
    pub const fn bits(self) -> Option<Bits> {
        match self {
            Self::F16 => None,
            Self::Int { bits, .. } | Self::Codebook { bits, .. } | Self::Trellis { bits, .. } => {
                Some(bits)
            }
        }
    }

    /// The table that codes are looked up in, among the codebooks of the model.
    #[must_use]
    pub const fn table(self) -> Option<u32> {
        match self {
            Self::Codebook { id, .. } | Self::Trellis { id, .. } => Some(id),
            Self::F16 | Self::Int { .. } => None,
        }
    }

    /// True when a zero point is stored with every group.
    #[must_use]
    pub const fn has_zeros(self) -> bool {
        matches!(self, Self::Int { symmetric: false, .. })
    }
}

/// A run of consecutive (ordered) input channels of a linear.
///
/// Its serialized form is flat: `{"channels": 448, "kind": "int", "bits": 4, "symmetric": false,
/// "group_size": 128}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// Number of input channels.
    pub channels: usize,
    /// How they are stored.
    #[serde(flatten)]
    pub kind: SegmentKind,
    /// Channels that share a scale; the last group may be shorter. Zero and unused for f16.
    #[serde(default)]
    pub group_size: usize,
}

impl Segment {
    /// A segment of f16 values.
    #[must_use]
    pub const fn f16(channels: usize) -> Self {
        Self { channels, kind: SegmentKind::F16, group_size: 0 }
    }

    /// A segment of integer codes with stored zero points.
    #[must_use]
    pub const fn asymmetric(channels: usize, bits: Bits, group_size: usize) -> Self {
        Self { channels, kind: SegmentKind::Int { bits, symmetric: false }, group_size }
    }

    /// A segment of integer codes around `2^(bits - 1)`.
    #[must_use]
    pub const fn symmetric(channels: usize, bits: Bits, group_size: usize) -> Self {
        Self { channels, kind: SegmentKind::Int { bits, symmetric: true }, group_size }
    }

    /// A segment of codes into codebook `id`.
    #[must_use]
    pub const fn codebook(channels: usize, bits: Bits, id: u32, group_size: usize) -> Self {
        Self { channels, kind: SegmentKind::Codebook { bits, id }, group_size }
    }

    /// A segment of trellis codes of a `window` into the table `id`.
    #[must_use]
    pub const fn trellis(
        channels: usize,
        bits: Bits,
        window: u8,
        id: u32,
        group_size: usize,
    ) -> Self {
        Self { channels, kind: SegmentKind::Trellis { bits, window, id }, group_size }
    }

    /// Groups in one row, the last one possibly short; zero for f16 and for a group size of zero.
    #[must_use]
    pub const fn n_groups(&self) -> usize {
        match self.kind {
            SegmentKind::F16 => 0,
            _ if self.group_size == 0 => 0,
            _ => self.channels.div_ceil(self.group_size),
        }
    }

    /// Bytes that the codes of one row take; zero for f16.
    #[must_use]
    pub const fn code_bytes_per_row(&self) -> usize {
        match self.kind.bits() {
            Some(bits) => packed_len(self.channels, bits),
            None => 0,
        }
    }

    /// Bytes that the zero points of one row take; zero where none are stored.
    #[must_use]
    pub const fn zero_bytes_per_row(&self) -> usize {
        match self.kind {
            SegmentKind::Int { bits, symmetric: false } => packed_len(self.n_groups(), bits),
            _ => 0,
        }
    }

    /// Information bits of one row: codes, 16 for each scale, `bits` for each stored zero point,
    /// 16 for each f16 value; padding is not counted.
    #[must_use]
    pub const fn weight_bits_per_row(&self) -> u64 {
        let channels = self.channels as u64;
        let n_groups = self.n_groups() as u64;
        match self.kind {
            SegmentKind::F16 => 16 * channels,
            SegmentKind::Int { bits, symmetric: false } => {
                let bits = bits.get() as u64;
                bits * channels + (16 + bits) * n_groups
            }
            SegmentKind::Int { bits, .. }
            | SegmentKind::Codebook { bits, .. }
            | SegmentKind::Trellis { bits, .. } => bits.get() as u64 * channels + 16 * n_groups,
        }
    }
}
