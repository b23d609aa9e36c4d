//! A segment of a packed linear as the kernels see it.

use half::f16;
use rosaq_pack::{Bits, PackedLinear, SegmentKind};

/// All rows of one segment of codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeSegment<'a> {
    pub(crate) bits: Bits,
    /// Input channels of the segment.
    pub(crate) channels: usize,
    pub(crate) group_size: usize,
    pub(crate) n_groups: usize,
    pub(crate) n_rows: usize,
    /// Packed codes of row 0, row 1, ...; a row takes `code_stride` bytes.
    pub(crate) codes: &'a [u8],
    pub(crate) code_stride: usize,
    /// Scales of row `r` start at `r * scale_stride`.
    pub(crate) scales: &'a [f16],
    pub(crate) scale_stride: usize,
    pub(crate) values: Values<'a>,
}

/// What a code stands for before it is scaled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    /// `code - zero_point`, one zero point for all.
    Symmetric(u8),
    /// `code - zero_point`, packed zero points of row 0, row 1, ..., `stride` bytes each.
    Asymmetric { zeros: &'a [u8], stride: usize },
    /// `levels[code]`.
    Levels(&'a [f16]),
}

/// All rows of one segment of f16 values; row `r` starts at `r * stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F16Segment<'a> {
    pub(crate) channels: usize,
    pub(crate) values: &'a [f16],
    pub(crate) stride: usize,
}

/// One segment of trellis codes, which `linear` decodes row after row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrellisSegment<'a> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) segment_idx: usize,
}

/// A segment of any sort.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SegmentRows<'a> {
    F16(F16Segment<'a>),
    Codes(CodeSegment<'a>),
    Trellis(TrellisSegment<'a>),
}

impl<'a> SegmentRows<'a> {
    /// Segment `idx` of `linear`.
    pub(crate) fn of(linear: &'a PackedLinear, idx: usize) -> Self {
        let segment = &linear.segments[idx];
        let layout = linear.layout();
        let at = &layout.segments[idx];
        let n_rows = linear.out_features;
        let Some(bits) = segment.kind.bits() else {
            return Self::F16(F16Segment {
                channels: segment.channels,
                values: &linear.f16[at.f16_start..],
                stride: layout.f16_per_row,
            });
        };
        if let SegmentKind::Trellis { .. } = segment.kind {
            return Self::Trellis(TrellisSegment { linear, segment_idx: idx });
        }
        let values = match segment.kind {
            SegmentKind::Codebook { id, .. } => Values::Levels(&linear.codebooks[id as usize]),
            SegmentKind::Int { symmetric: true, .. } => Values::Symmetric(bits.symmetric_zero()),
            _ => Values::Asymmetric {
                zeros: &linear.zeros[at.zero_offset..][..at.zero_stride * n_rows],
                stride: at.zero_stride,
            },
        };
        Self::Codes(CodeSegment {
            bits,
            channels: segment.channels,
            group_size: segment.group_size,
            n_groups: at.n_groups,
            n_rows,
            codes: &linear.codes[at.code_offset..][..at.code_stride * n_rows],
            code_stride: at.code_stride,
            scales: &linear.scales[at.group_start..],
            scale_stride: layout.groups_per_row,
            values,
        })
    }
}

impl<'a> CodeSegment<'a> {
    /// The packed codes of one row.
    pub(crate) fn codes_of(&self, row: usize) -> &'a [u8] {
        &self.codes[row * self.code_stride..][..self.code_stride]
    }

    /// The scales of one row.
    pub(crate) fn scales_of(&self, row: usize) -> &'a [f16] {
        &self.scales[row * self.scale_stride..][..self.n_groups]
    }

    /// The channels of group `group`.
    pub(crate) fn group_range(&self, group: usize) -> std::ops::Range<usize> {
        let start = group * self.group_size;
        start..start.saturating_add(self.group_size).min(self.channels)
    }
}

impl<'a> F16Segment<'a> {
    /// The values of one row.
    pub(crate) fn row(&self, row: usize) -> &'a [f16] {
        &self.values[row * self.stride..][..self.channels]
    }
}

/// Rows at the end of a segment, copied so that a vector load past their end reads zeros.
#[derive(Debug)]
pub(crate) struct PaddedTail<'a> {
    source: CodeSegment<'a>,
    first_row: usize,
    codes: Vec<u8>,
    scales: Vec<f16>,
    zeros: Vec<u8>,
}

/// What a vector kernel may read from the start of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowReach {
    pub(crate) code_bytes: usize,
    pub(crate) n_scales: usize,
    pub(crate) zero_bytes: usize,
}

impl<'a> CodeSegment<'a> {
    /// Leading rows from which a kernel can read that far without leaving the segment.
    pub(crate) fn n_rows_within(&self, reach: RowReach) -> usize {
        let within = |len: usize, reach: usize, stride: usize| match len.checked_sub(reach) {
            Some(room) => room / stride + 1,
            None => 0,
        };
        let by_codes = within(self.codes.len(), reach.code_bytes, self.code_stride);
        let by_scales = within(self.scales.len(), reach.n_scales, self.scale_stride);
        let by_zeros = match self.values {
            Values::Asymmetric { zeros, stride } => within(zeros.len(), reach.zero_bytes, stride),
            _ => self.n_rows,
        };
        by_codes.min(by_scales).min(by_zeros).min(self.n_rows)
    }

    /// A copy of the rows from `first_row` on, padded with zeros to `reach`.
    pub(crate) fn padded_tail(&self, first_row: usize, reach: RowReach) -> PaddedTail<'a> {
        let rows = first_row..self.n_rows;
        let mut codes = self.codes[first_row * self.code_stride..].to_vec();
        codes.resize(codes.len() + reach.code_bytes, 0);
        let mut scales: Vec<f16> =
            rows.flat_map(|row| self.scales_of(row).iter().copied()).collect();
        scales.resize(scales.len() + reach.n_scales, f16::ZERO);
        let mut zeros = Vec::new();
        if let Values::Asymmetric { zeros: packed, stride } = self.values {
            zeros.extend_from_slice(&packed[first_row * stride..]);
            zeros.resize(zeros.len() + reach.zero_bytes, 0);
        }
        PaddedTail { source: *self, codes, first_row, scales, zeros }
    }
}

impl PaddedTail<'_> {
    /// The copied rows as a segment, row 0 being the first one copied.
    pub(crate) fn segment(&self) -> CodeSegment<'_> {
        let values = match self.source.values {
            Values::Asymmetric { stride, .. } => Values::Asymmetric { zeros: &self.zeros, stride },
            values => values,
        };
        CodeSegment {
            n_rows: self.source.n_rows - self.first_row,
            codes: &self.codes,
            scales: &self.scales,
            scale_stride: self.source.n_groups,
            values,
            ..self.source
        }
    }
}
