//! Where each segment's parts lie, with every size computed in checked arithmetic.

use crate::{Bits, PackError, Segment, SegmentKind};

/// Offsets of every segment and total lengths of every part of a packed linear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// One entry a segment, in the order of the segments.
    pub segments: Vec<SegmentLayout>,
    /// Bytes of all codes.
    pub code_bytes: usize,
    /// Bytes of all zero points.
    pub zero_bytes: usize,
    /// Scales of one row, over all segments: the width of `scales`.
    pub groups_per_row: usize,
    /// f16 values of one row, over all segments: the width of `f16`.
    pub f16_per_row: usize,
    /// Number of all scales, `out_features * groups_per_row`.
    pub n_scales: usize,
    /// Number of all f16 values, `out_features * f16_per_row`.
    pub n_f16: usize,
}

/// Where one segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLayout {
    /// First stored channel.
    pub channel_start: usize,
    /// Offset of the first row's codes, in bytes.
    pub code_offset: usize,
    /// Bytes from one row's codes to the next row's.
    pub code_stride: usize,
    /// Offset of the first row's zero points, in bytes.
    pub zero_offset: usize,
    /// Bytes from one row's zero points to the next row's; zero where none are stored.
    pub zero_stride: usize,
    /// First group within a row of `scales`.
    pub group_start: usize,
    /// Groups in a row; zero for f16.
    pub n_groups: usize,
    /// First value within a row of `f16`.
    pub f16_start: usize,
}

impl Layout {
    /// Lays out a linear of `out_features x in_features` with these segments.
    ///
    /// # Errors
    /// A [`PackError`] when the linear is empty, a segment is, a width is none for its kind, the
    /// channels do not add up to `in_features`, or a size overflows.
    pub fn new(
        out_features: usize,
        in_features: usize,
        segments: &[Segment],
    ) -> Result<Self, PackError> {
        if out_features == 0 || in_features == 0 {
            return Err(PackError::Empty { out_features, in_features });
        }
        check_segments(in_features, segments)?;
        let too_large = PackError::TooLarge { out_features, in_features };
        lay_out(out_features, in_features, segments).ok_or(too_large)
    }
}

fn check_segments(in_features: usize, segments: &[Segment]) -> Result<(), PackError> {
    let mut channels = 0usize;
    for (idx, segment) in segments.iter().enumerate() {
        if segment.channels == 0 {
            return Err(PackError::ZeroField { segment: idx, field: "channels" });
        }
        if segment.kind.bits().is_some() && segment.group_size == 0 {
            return Err(PackError::ZeroField { segment: idx, field: "group_size" });
        }
        if let SegmentKind::Int { bits, .. } | SegmentKind::Codebook { bits, .. } = segment.kind {
            Bits::of_grid(bits.get())?;
        }
        channels = channels.saturating_add(segment.channels);
    }
    if channels != in_features {
        return Err(PackError::ChannelCount { expected: in_features, found: channels });
    }
    Ok(())
}

/// `None` when a size overflows. Sums over segments cannot: they are bounded by `in_features`.
fn lay_out(out_features: usize, in_features: usize, segments: &[Segment]) -> Option<Layout> {
    // The dense f32 matrix must be addressable too, since it can be asked for.
    out_features.checked_mul(in_features)?.checked_mul(size_of::<f32>())?;
    let mut at = SegmentLayout {
        channel_start: 0,
        code_offset: 0,
        code_stride: 0,
        zero_offset: 0,
        zero_stride: 0,
        group_start: 0,
        n_groups: 0,
        f16_start: 0,
    };
    let mut laid_out = Vec::with_capacity(segments.len());
    for segment in segments {
        at.code_stride = segment.code_bytes_per_row();
        at.zero_stride = segment.zero_bytes_per_row();
        at.n_groups = segment.n_groups();
        laid_out.push(at);
        at.channel_start += segment.channels;
        at.code_offset = at.code_offset.checked_add(at.code_stride.checked_mul(out_features)?)?;
        at.zero_offset = at.zero_offset.checked_add(at.zero_stride.checked_mul(out_features)?)?;
        at.group_start += at.n_groups;
        at.f16_start += if segment.kind.bits().is_none() { segment.channels } else { 0 };
    }
    Some(Layout {
        segments: laid_out,
        code_bytes: at.code_offset,
        zero_bytes: at.zero_offset,
        groups_per_row: at.group_start,
        f16_per_row: at.f16_start,
        n_scales: out_features.checked_mul(at.group_start)?,
        n_f16: out_features.checked_mul(at.f16_start)?,
    })
}
