//! A linear layer in its canonical packed form.

use std::ops::Range;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::codebook::{check_codebooks, check_finite};
use crate::dequantize::GroupedCodes;
use crate::trellis::trellis_rows;
use crate::{ChannelOrder, Layout, PackError, Segment, SegmentKind, code_at};

/// The description of a packed linear: everything but its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearSpec {
    /// Rows of the stored weight.
    pub out_features: usize,
    /// Columns of the stored weight: input channels.
    pub in_features: usize,
    /// How runs of stored channels are kept; their channels add up to `in_features`.
    pub segments: Vec<Segment>,
    /// Which original channel stands at which stored position.
    #[serde(default)]
    pub order: ChannelOrder,
}

/// The numbers of a packed linear, laid out as [`PackedLinear`] describes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedParts {
    /// Packed codes.
    pub codes: Vec<u8>,
    /// Scales, `[out, groups of all segments]`.
    pub scales: Vec<f16>,
    /// Packed zero points.
    pub zeros: Vec<u8>,
    /// Values of the f16 segments, `[out, channels of all f16 segments]`.
    pub f16: Vec<f16>,
}

/// A weight matrix `[out, in]` whose input channels are split into segments.
///
/// The fields are public to be read. [`PackedLinear::new`] and [`crate::PackedLinearBuilder`] are
/// the only ways to make one, and both check all of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PackedLinear {
    /// Rows of the stored weight.
    pub out_features: usize,
    /// Columns of the stored weight: input channels.
    pub in_features: usize,
    /// How runs of stored channels are kept.
    pub segments: Vec<Segment>,
    /// Which original channel stands at which stored position.
    pub order: ChannelOrder,
    /// Codes: segment after segment, within a segment row after row, each row packed densely
    /// (little-endian, low bits first) from a byte boundary.
    pub codes: Vec<u8>,
    /// Scales, row-major `[out, groups of all segments that are not f16]`.
    pub scales: Vec<f16>,
    /// Zero points of asymmetric segments, one for each group, laid out like the codes.
    pub zeros: Vec<u8>,
    /// Values of the f16 segments, row-major `[out, channels of all f16 segments]`.
    pub f16: Vec<f16>,
    /// Level tables that codebook segments name by index; shared by the linears of a model.
    pub codebooks: Arc<Vec<Vec<f16>>>,
    layout: Layout,
}

impl PackedLinear {
    /// Puts a linear together from parts that may come from a file.
    ///
    /// Codes and zero points need no range check: a field of `b` bits holds nothing above
    /// `2^b - 1`.
    ///
    /// # Errors
    /// A [`PackError`] when a size, a length, the channel order, a scale, an f16 value or a codebook
    /// is illegal. Nothing is allocated from a size that was not checked against the parts.
    pub fn new(
        spec: LinearSpec,
        parts: PackedParts,
        codebooks: Arc<Vec<Vec<f16>>>,
    ) -> Result<Self, PackError> {
        let LinearSpec { out_features, in_features, segments, order } = spec;
        let PackedParts { codes, scales, zeros, f16 } = parts;
        let layout = Layout::new(out_features, in_features, &segments)?;
        let linear = Self {
            out_features,
            in_features,
            segments,
            order,
            codes,
            scales,
            zeros,
            f16,
            codebooks,
            layout,
        };
        linear.validate()?;
        Ok(linear)
    }

    /// Checks lengths, channel order, codebooks, and that every scale and value is finite.
    ///
    /// # Errors
    /// The first [`PackError`] found.
    pub fn validate(&self) -> Result<(), PackError> {
        let layout = Layout::new(self.out_features, self.in_features, &self.segments)?;
        let lengths = [
            ("codes", layout.code_bytes, self.codes.len()),
            ("scales", layout.n_scales, self.scales.len()),
            ("zeros", layout.zero_bytes, self.zeros.len()),
            ("f16", layout.n_f16, self.f16.len()),
        ];
        for (part, expected, found) in lengths {
            if expected != found {
                return Err(PackError::PartLength { part, expected, found });
            }
        }
        self.order.validate(self.in_features)?;
        check_codebooks(&self.segments, &self.codebooks)?;
        check_finite(&self.scales, "scales")?;
        check_finite(&self.f16, "f16")
    }

    /// Where each segment's parts lie.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Shape, segments and order, without the numbers.
    #[must_use]
    pub fn spec(&self) -> LinearSpec {
        LinearSpec {
            out_features: self.out_features,
            in_features: self.in_features,
            segments: self.segments.clone(),
            order: self.order.clone(),
        }
    }

    /// Information bits of the whole linear: codes, f16 scales, `bits`-wide zero points and f16
    /// values, without padding, codebooks or a stored order.
    #[must_use]
    pub fn weight_bits(&self) -> u64 {
        let per_row: u64 = self.segments.iter().map(Segment::weight_bits_per_row).sum();
        per_row * self.out_features as u64
    }

    /// Bytes of all parts as stored, padding and an explicit order included, shared codebooks not.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        self.codes.len()
            + size_of_val(self.scales.as_slice())
            + self.zeros.len()
            + size_of_val(self.f16.as_slice())
            + self.order.stored_bytes()
    }

    /// The packed codes of one row of one segment.
    ///
    /// # Panics
    /// If `segment_idx` or `row` is out of range.
    #[must_use]
    pub fn codes_of(&self, segment_idx: usize, row: usize) -> &[u8] {
        assert!(row < self.out_features, "row {row} of {}", self.out_features);
        let at = &self.layout.segments[segment_idx];
        &self.codes[at.code_offset + row * at.code_stride..][..at.code_stride]
    }

    /// The packed zero points of one row of one segment; empty where none are stored.
    ///
    /// # Panics
    /// If `segment_idx` or `row` is out of range.
    #[must_use]
    pub fn zeros_of(&self, segment_idx: usize, row: usize) -> &[u8] {
        assert!(row < self.out_features, "row {row} of {}", self.out_features);
        let at = &self.layout.segments[segment_idx];
        &self.zeros[at.zero_offset + row * at.zero_stride..][..at.zero_stride]
    }

    /// The scales of one row of one segment, one for each group; empty for f16.
    ///
    /// # Panics
    /// If `segment_idx` or `row` is out of range.
    #[must_use]
    pub fn scales_of(&self, segment_idx: usize, row: usize) -> &[f16] {
        let at = &self.layout.segments[segment_idx];
        &self.scales[row * self.layout.groups_per_row + at.group_start..][..at.n_groups]
    }

    /// The f16 values of one row of one segment; empty for segments of codes.
    ///
    /// # Panics
    /// If `segment_idx` or `row` is out of range.
    #[must_use]
    pub fn f16_of(&self, segment_idx: usize, row: usize) -> &[f16] {
        let segment = &self.segments[segment_idx];
        let at = &self.layout.segments[segment_idx];
        let n = if segment.kind.bits().is_none() { segment.channels } else { 0 };
        &self.f16[row * self.layout.f16_per_row + at.f16_start..][..n]
    }

    /// Dequantizes one row into `out`, one f32 for each stored channel, in stored order.
    ///
    /// Rows one after another are cheaper through [`Self::dequantize_rows_into`]: a row of trellis
    /// codes needs those before it.
    ///
    /// # Panics
    /// If `row` is out of range or `out` is not `in_features` long.
    pub fn dequantize_row_into(&self, row: usize, out: &mut [f32]) {
        self.dequantize_rows_into(row..row + 1, out);
    }

    /// Dequantizes consecutive rows into `out`, row-major `[rows, in]`, in stored order.
    ///
    /// # Panics
    /// If `rows` is out of range or `out` is not `rows.len() * in_features` long.
    pub fn dequantize_rows_into(&self, rows: Range<usize>, out: &mut [f32]) {
        let expected = rows.len() * self.in_features;
        assert_eq!(out.len(), expected, "rows {rows:?} of {} channels", self.in_features);
        let mut trellises = trellis_rows(self, &rows);
        for (row, out) in rows.zip(out.chunks_exact_mut(self.in_features)) {
            let segments = self.segments.iter().zip(&self.layout.segments);
            for (idx, ((segment, at), trellis)) in segments.zip(&mut trellises).enumerate() {
                let values = &mut out[at.channel_start..at.channel_start + segment.channels];
                match trellis {
                    Some(trellis) => trellis.next_into(values),
                    None => self.dequantize_segment_into(idx, row, values),
                }
            }
        }
    }

    /// Dequantizes one row of a segment whose rows stand by themselves.
    fn dequantize_segment_into(&self, idx: usize, row: usize, values: &mut [f32]) {
        let segment = &self.segments[idx];
        let (scales, codes) = (self.scales_of(idx, row), self.codes_of(idx, row));
        match segment.kind {
            SegmentKind::F16 => self.f16_of(idx, row).convert_to_f32_slice(values),
            SegmentKind::Int { bits, symmetric: true } => {
                let groups = GroupedCodes { codes, bits, group_size: segment.group_size };
                let zero = bits.symmetric_zero();
                groups.dequantize_int(scales, |_| zero, values);
            }
            SegmentKind::Int { bits, symmetric: false } => {
                let zeros = self.zeros_of(idx, row);
                let groups = GroupedCodes { codes, bits, group_size: segment.group_size };
                groups.dequantize_int(scales, |group| code_at(zeros, bits, group), values);
            }
            SegmentKind::Codebook { bits, id } => {
                let groups = GroupedCodes { codes, bits, group_size: segment.group_size };
                groups.dequantize_levels(scales, &self.codebooks[id as usize], values);
            }
            SegmentKind::Trellis { .. } => unreachable!("trellis rows depend on those before"),
        }
    }

    /// Dequantizes the whole matrix, row-major `[out, in]`, in stored order.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.out_features * self.in_features];
        self.dequantize_rows_into(0..self.out_features, &mut values);
        values
    }
}
