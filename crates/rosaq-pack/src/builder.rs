//! Packs what a quantizer produced.

use std::sync::Arc;

use half::f16;

use crate::{
    Bits, ChannelOrder, Layout, LinearSpec, PackError, PackedLinear, PackedParts, Segment, pack,
};

/// The numbers of one segment before packing, each row-major with `out_features` rows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SegmentValues {
    /// Values of an f16 segment, `[out, channels]`.
    F16(Vec<f16>),
    /// Codes of an integer or codebook segment.
    Codes {
        /// One code a byte, `[out, channels]`.
        codes: Vec<u8>,
        /// One scale a group, `[out, groups]`.
        scales: Vec<f16>,
        /// One zero point a group, `[out, groups]`; empty unless the segment is asymmetric.
        zeros: Vec<u8>,
    },
}

impl SegmentValues {
    const fn name(&self) -> &'static str {
        match self {
            Self::F16(_) => "f16 values",
            Self::Codes { .. } => "codes",
        }
    }
}

/// Collects the segments of a linear, in stored order, and packs them.
#[derive(Clone, Debug)]
pub struct PackedLinearBuilder {
    out_features: usize,
    order: ChannelOrder,
    codebooks: Arc<Vec<Vec<f16>>>,
    segments: Vec<(Segment, SegmentValues)>,
}

impl PackedLinearBuilder {
    /// Starts a linear of `out_features` rows with identity order and no codebooks.
    #[must_use]
    pub fn new(out_features: usize) -> Self {
        Self {
            out_features,
            order: ChannelOrder::Identity,
            codebooks: Arc::default(),
            segments: Vec::new(),
        }
    }

    /// Sets the channel order.
    #[must_use]
    pub fn order(mut self, order: ChannelOrder) -> Self {
        self.order = order;
        self
    }

    /// Sets the codebooks that codebook segments name.
    #[must_use]
    pub fn codebooks(mut self, codebooks: Arc<Vec<Vec<f16>>>) -> Self {
        self.codebooks = codebooks;
        self
    }

    /// Appends a segment.
    #[must_use]
    pub fn segment(mut self, segment: Segment, values: SegmentValues) -> Self {
        self.segments.push((segment, values));
        self
    }

    /// Checks and packs everything.
    ///
    /// # Errors
    /// A [`PackError`] for values of the wrong kind or length, codes or zero points out of range,
    /// and everything that [`PackedLinear::new`] refuses.
    pub fn build(self) -> Result<PackedLinear, PackError> {
        let segments: Vec<Segment> = self.segments.iter().map(|(segment, _)| *segment).collect();
        let in_features = segments.iter().fold(0, |n: usize, s| n.saturating_add(s.channels));
        let layout = Layout::new(self.out_features, in_features, &segments)?;
        for (idx, (segment, values)) in self.segments.iter().enumerate() {
            check_values(idx, segment, values, self.out_features)?;
        }
        let parts = pack_parts(&self.segments, &layout, self.out_features);
        let spec = LinearSpec {
            out_features: self.out_features,
            in_features,
            segments,
            order: self.order,
        };
        PackedLinear::new(spec, parts, self.codebooks)
    }
}

/// Lengths and ranges of one segment. Products cannot overflow: the layout holds larger ones.
fn check_values(
    idx: usize,
    segment: &Segment,
    values: &SegmentValues,
    out_features: usize,
) -> Result<(), PackError> {
    let n_weights = out_features * segment.channels;
    let n_groups = out_features * segment.n_groups();
    match (segment.kind.bits(), values) {
        (None, SegmentValues::F16(values)) => check_length("f16", n_weights, values.len()),
        (Some(bits), SegmentValues::Codes { codes, scales, zeros }) => {
            let n_zeros = if segment.kind.has_zeros() { n_groups } else { 0 };
            check_length("codes", n_weights, codes.len())?;
            check_length("scales", n_groups, scales.len())?;
            check_length("zeros", n_zeros, zeros.len())?;
            check_range(idx, "code", codes, bits)?;
            check_range(idx, "zero point", zeros, bits)
        }
        (bits, values) => {
            let expected = if bits.is_some() { "codes" } else { "f16 values" };
            Err(PackError::ValueKind { segment: idx, expected, found: values.name() })
        }
    }
}

fn check_length(part: &'static str, expected: usize, found: usize) -> Result<(), PackError> {
    if expected == found { Ok(()) } else { Err(PackError::PartLength { part, expected, found }) }
}

fn check_range(
    segment: usize,
    what: &'static str,
    codes: &[u8],
    bits: Bits,
) -> Result<(), PackError> {
    let max = bits.max_code();
    match codes.iter().position(|&code| code > max) {
        Some(index) => Err(PackError::CodeRange { segment, what, index, max, found: codes[index] }),
        None => Ok(()),
    }
}

fn pack_parts(
    segments: &[(Segment, SegmentValues)],
    layout: &Layout,
    out_features: usize,
) -> PackedParts {
    let mut parts = PackedParts {
        codes: vec![0; layout.code_bytes],
        scales: vec![f16::ZERO; layout.n_scales],
        zeros: vec![0; layout.zero_bytes],
        f16: vec![f16::ZERO; layout.n_f16],
    };
    for ((segment, values), at) in segments.iter().zip(&layout.segments) {
        match (segment.kind.bits(), values) {
            (Some(bits), SegmentValues::Codes { codes, scales, zeros }) => {
                let packed = &mut parts.codes[at.code_offset..][..at.code_stride * out_features];
                pack_rows(codes, segment.channels, bits, packed, at.code_stride);
                let packed = &mut parts.zeros[at.zero_offset..][..at.zero_stride * out_features];
                if segment.kind.has_zeros() {
                    pack_rows(zeros, at.n_groups, bits, packed, at.zero_stride);
                }
                place_columns(
                    scales,
                    at.n_groups,
                    &mut parts.scales,
                    layout.groups_per_row,
                    at.group_start,
                );
            }
            (_, SegmentValues::F16(values)) => {
                place_columns(
                    values,
                    segment.channels,
                    &mut parts.f16,
                    layout.f16_per_row,
                    at.f16_start,
                );
            }
            (None, SegmentValues::Codes { .. }) => {}
        }
    }
    parts
}

fn pack_rows(codes: &[u8], width: usize, bits: Bits, packed: &mut [u8], stride: usize) {
    for (row, packed) in codes.chunks_exact(width).zip(packed.chunks_exact_mut(stride)) {
        pack(row, bits, packed);
    }
}

/// Copies `[rows, width]` into the columns from `start` of `[rows, out_width]`.
fn place_columns(values: &[f16], width: usize, out: &mut [f16], out_width: usize, start: usize) {
    for (row, out) in values.chunks_exact(width).zip(out.chunks_exact_mut(out_width)) {
        out[start..start + width].copy_from_slice(row);
    }
}
