//! A packed linear as one run of bytes for a device.

use super::table::{n_levels, table_of};
use super::{BLOCK_ROWS, DeviceError, DeviceKind, DeviceSegment, F16_UNIT_CHANNELS, UNIT_CHANNELS};
use crate::{Bits, PackedLinear, Segment, SegmentKind};

/// Parts of an image begin at multiples of this: a line of the second-level cache.
const ALIGN: usize = 128;

/// A packed linear in the layout of the CUDA kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLinear {
    /// Rows of the weight.
    pub out_features: usize,
    /// Channels of the weight.
    pub in_features: usize,
    /// The table that the image begins with.
    pub segments: Vec<DeviceSegment>,
    /// What goes to the device, to an address that is a multiple of 128.
    pub image: Vec<u8>,
}

impl DeviceLinear {
    /// Rearranges a packed linear. Rows are padded to 32, the channels of each segment to a whole
    /// unit (128, or 32 of f16), with weights of zero.
    ///
    /// # Errors
    /// A [`DeviceError`] for kinds, starts and group sizes that no kernel reads, and for sizes that
    /// overflow.
    pub fn new(linear: &PackedLinear) -> Result<Self, DeviceError> {
        let (out_features, in_features) = (linear.out_features, linear.in_features);
        let too_large = DeviceError::TooLarge { out_features, in_features };
        let starts = linear.layout().segments.iter().map(|at| at.channel_start);
        let mut segments = Vec::with_capacity(linear.segments.len());
        for (idx, (segment, start)) in linear.segments.iter().zip(starts).enumerate() {
            segments.push(describe(idx, segment, start)?);
        }
        let tables: Vec<Vec<u8>> = linear.segments.iter().map(|s| table_of(linear, s)).collect();
        for (segment, table) in segments.iter_mut().zip(&tables) {
            segment.n_levels = n_levels(segment.kind, table);
        }
        let n_blocks = out_features.div_ceil(BLOCK_ROWS);
        let image = allocate(&mut segments, n_blocks).ok_or(too_large)?;
        let mut device = Self { out_features, in_features, segments, image };
        for (segment, table) in device.segments.iter().zip(&tables) {
            device.image[segment.table..][..table.len()].copy_from_slice(table);
        }
        device.write(linear);
        Ok(device)
    }

    /// Blocks of rows, the last one padded.
    #[must_use]
    pub const fn n_blocks(&self) -> usize {
        self.out_features.div_ceil(BLOCK_ROWS)
    }
}

/// Everything about a segment but its offsets.
fn describe(idx: usize, segment: &Segment, start: usize) -> Result<DeviceSegment, DeviceError> {
    if !start.is_multiple_of(8) {
        return Err(DeviceError::Start { segment: idx, start });
    }
    let kind = kind_of(idx, segment.kind)?;
    let n_groups = if kind == DeviceKind::F16 { 0 } else { groups_of_unit(idx, segment)? };
    Ok(DeviceSegment {
        kind,
        channel_start: start,
        channels: segment.channels,
        n_units: segment.channels.div_ceil(kind.unit_channels()),
        n_groups,
        codes: 0,
        scales: 0,
        zeros: 0,
        zero_stride: if segment.kind.has_zeros() { BLOCK_ROWS } else { 0 },
        table: 0,
        n_levels: 0,
    })
}

fn kind_of(idx: usize, kind: SegmentKind) -> Result<DeviceKind, DeviceError> {
    match kind {
        SegmentKind::F16 => Ok(DeviceKind::F16),
        SegmentKind::Int { bits, .. } if bits > Bits::ONE => Ok(DeviceKind::Int(bits)),
        SegmentKind::Codebook { bits, .. } => Ok(DeviceKind::Codebook(bits)),
        SegmentKind::Trellis { bits, .. } if bits < Bits::EIGHT => Ok(DeviceKind::Trellis(bits)),
        kind => Err(DeviceError::Kind { segment: idx, kind: format!("{kind:?}") }),
    }
}

/// Groups of a unit of 128 channels: the most channels that divide both it and the group.
fn groups_of_unit(idx: usize, segment: &Segment) -> Result<usize, DeviceError> {
    let group_size = segment.group_size;
    let one_group = group_size >= segment.channels;
    let divisor = if one_group { UNIT_CHANNELS } else { 1 << group_size.trailing_zeros().min(7) };
    if divisor < 16 {
        return Err(DeviceError::GroupSize { segment: idx, group_size });
    }
    Ok(UNIT_CHANNELS / divisor)
}

/// Gives every part its place, and makes an image of zeros that begins with the table.
fn allocate(segments: &mut [DeviceSegment], n_blocks: usize) -> Option<Vec<u8>> {
    let mut end = DeviceSegment::BYTES.checked_mul(segments.len())?;
    for segment in &mut *segments {
        let parts = segment.part_bytes(n_blocks)?;
        let places =
            [&mut segment.codes, &mut segment.scales, &mut segment.zeros, &mut segment.table];
        for (place, bytes) in places.into_iter().zip(parts) {
            *place = end.checked_next_multiple_of(ALIGN)?;
            end = place.checked_add(bytes)?;
        }
    }
    let mut image = vec![0; end.checked_next_multiple_of(ALIGN)?];
    for (entry, segment) in image.chunks_exact_mut(DeviceSegment::BYTES).zip(segments) {
        entry.copy_from_slice(&segment.to_bytes()?);
    }
    Some(image)
}

const _: () = assert!(UNIT_CHANNELS.is_multiple_of(F16_UNIT_CHANNELS), "units nest");
