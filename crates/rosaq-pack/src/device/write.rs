//! Codes, scales and zero points to their places in an image.

use half::f16;

use super::fields::{PAIRS, Pair, Run, runs};
use super::{BLOCK_ROWS, DeviceKind, DeviceLinear, DeviceSegment, LANES, PIECE};
use crate::{PackedLinear, SegmentKind, code_at, unpack_into};

/// Channels of a quantum.
pub(super) const QUANTUM_CHANNELS: usize = 32;

impl DeviceLinear {
    /// Fills the image, whose table is there already.
    pub(super) fn write(&mut self, linear: &PackedLinear) {
        for (idx, segment) in self.segments.clone().iter().enumerate() {
            if segment.n_groups > 0 {
                self.write_groups(linear, idx, segment);
            }
            let width = segment.n_units * segment.kind.unit_channels();
            let mut values = vec![[0_u16; BLOCK_ROWS]; width];
            let lead = segment.kind.lead_blocks();
            for block in 0..lead + self.n_blocks() {
                let first_row = first_row(self.out_features, lead, block);
                read_block(linear, idx, first_row, &mut values);
                let bytes = segment.n_units * segment.kind.unit_bytes();
                let codes = &mut self.image[segment.codes + block * bytes..][..bytes];
                write_block(segment.kind, &values, codes);
            }
        }
    }

    fn write_groups(&mut self, linear: &PackedLinear, idx: usize, segment: &DeviceSegment) {
        let integers = match linear.segments[idx].kind {
            SegmentKind::Int { bits, symmetric } => Some((bits, symmetric)),
            _ => None,
        };
        if let Some((bits, true)) = integers {
            self.image[segment.zeros..][..BLOCK_ROWS].fill(bits.symmetric_zero());
        }
        for row in 0..self.out_features {
            let (scales, zeros) = (linear.scales_of(idx, row), linear.zeros_of(idx, row));
            for group in 0..segment.n_units * segment.n_groups {
                let channel = group * segment.group_channels();
                let Some(from) = group_of(linear, idx, channel) else { break };
                let at = row / BLOCK_ROWS * segment.n_units * segment.n_groups + group;
                let at = at * BLOCK_ROWS + row % BLOCK_ROWS;
                let scale = scales[from].to_le_bytes();
                self.image[segment.scales + 2 * at..][..2].copy_from_slice(&scale);
                if let Some((bits, false)) = integers {
                    self.image[segment.zeros + at] = code_at(zeros, bits, from);
                }
            }
        }
    }
}

/// The group that a channel of segment `idx` is in; `None` for padding.
fn group_of(linear: &PackedLinear, idx: usize, channel: usize) -> Option<usize> {
    let segment = &linear.segments[idx];
    (channel < segment.channels).then(|| channel / segment.group_size)
}

/// The row that a block begins with: of those before the first, as many rows of the ring back.
const fn first_row(out_features: usize, lead: usize, block: usize) -> usize {
    match (block * BLOCK_ROWS).checked_sub(lead * BLOCK_ROWS) {
        Some(row) => row,
        None => (out_features * BLOCK_ROWS - BLOCK_ROWS) % out_features,
    }
}

/// Reads the codes (or bits of f16 values) of the block of rows from `first_row` on,
/// `[channels][rows]`. After the last row the ring of a trellis goes on with the first one; other
/// kinds have zeros there. Padding channels are what stands for zero, where anything does.
fn read_block(
    linear: &PackedLinear,
    idx: usize,
    first_row: usize,
    values: &mut [[u16; BLOCK_ROWS]],
) {
    let segment = &linear.segments[idx];
    let is_ring = matches!(segment.kind, SegmentKind::Trellis { .. });
    let mut codes = vec![0; segment.channels];
    for row_of_block in 0..BLOCK_ROWS {
        let row = first_row + row_of_block;
        if row >= linear.out_features && !is_ring {
            values.iter_mut().for_each(|value| value[row_of_block] = 0);
            continue;
        }
        let row = row % linear.out_features;
        if let Some(bits) = segment.kind.bits() {
            unpack_into(linear.codes_of(idx, row), bits, &mut codes);
        }
        let f16s: &[f16] = linear.f16_of(idx, row);
        for (channel, value) in values.iter_mut().enumerate() {
            value[row_of_block] = match segment.kind {
                SegmentKind::F16 => f16s.get(channel).map_or(0, |value| value.to_bits()),
                _ if channel < segment.channels => codes[channel].into(),
                kind => padding(linear, (idx, row), kind).into(),
            };
        }
    }
}

/// The code of a padding channel. The last group's zero point serves: a unit after it has scale zero.
fn padding(linear: &PackedLinear, (idx, row): (usize, usize), kind: SegmentKind) -> u8 {
    match kind {
        SegmentKind::Int { bits, symmetric: true } => bits.symmetric_zero(),
        SegmentKind::Int { bits, .. } => {
            let n_groups = linear.segments[idx].n_groups();
            code_at(linear.zeros_of(idx, row), bits, n_groups - 1)
        }
        _ => 0,
    }
}

/// Lays out the units of one block of rows; `codes` holds zeros before.
fn write_block(kind: DeviceKind, values: &[[u16; BLOCK_ROWS]], codes: &mut [u8]) {
    let places: Vec<(Pair, usize, Vec<Run>)> = (0..2 * PAIRS)
        .map(|number| (Pair::of(number / 2), number % 2))
        .map(|(pair, half)| (pair, half, runs(kind, pair, half)))
        .collect();
    let units = codes.chunks_exact_mut(kind.unit_bytes());
    for (unit, values) in units.zip(values.chunks_exact(kind.unit_channels())) {
        for (quantum, values) in values.chunks_exact(QUANTUM_CHANNELS).enumerate() {
            for lane in 0..LANES {
                for (pair, half, runs) in &places {
                    let code = values[pair.channel(lane) + half][pair.row(lane)];
                    for run in runs {
                        or_word(unit, word_offset(kind, quantum, run.word, lane), run.put(code));
                    }
                }
            }
        }
    }
}

/// Where a word of a lane's quantum stands within its unit.
pub(super) const fn word_offset(
    kind: DeviceKind,
    quantum: usize,
    word: usize,
    lane: usize,
) -> usize {
    let word = quantum * kind.words_per_quantum() + word;
    (word / 4 * LANES + lane) * PIECE + word % 4 * 4
}

fn or_word(unit: &mut [u8], at: usize, word: u32) {
    for (byte, bits) in unit[at..at + 4].iter_mut().zip(word.to_le_bytes()) {
        *byte |= bits;
    }
}
