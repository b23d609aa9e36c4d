//! Rows of trellis codes back to numbers.

use std::ops::Range;

use half::f16;

use crate::{Bits, PackedLinear, SegmentKind, unpack_into};

/// The states of all channels of one trellis segment, which run down the rows.
#[derive(Clone, Debug)]
pub struct TrellisRows<'a> {
    linear: &'a PackedLinear,
    segment_idx: usize,
    bits: Bits,
    group_size: usize,
    /// The level of every state, before it is scaled.
    levels: Vec<f32>,
    /// `[channels]`, after the row before the next one.
    states: Vec<u16>,
    codes: Vec<u8>,
    next_row: usize,
}

impl<'a> TrellisRows<'a> {
    /// Stands before row `first_row` of a segment; `None` if it holds no trellis codes.
    ///
    /// Reads the codes of the rows before it that its first states consist of.
    ///
    /// # Panics
    /// If the segment or the row does not exist.
    #[must_use]
    pub fn new(linear: &'a PackedLinear, segment_idx: usize, first_row: usize) -> Option<Self> {
        let segment = &linear.segments[segment_idx];
        let SegmentKind::Trellis { bits, window, id } = segment.kind else { return None };
        let levels = state_levels(&linear.codebooks[id as usize], window);
        let mut rows = Self {
            linear,
            segment_idx,
            bits,
            group_size: segment.group_size,
            levels,
            states: vec![0; segment.channels],
            codes: vec![0; segment.channels],
            next_row: first_row,
        };
        let n_rows = linear.out_features;
        let reach = usize::from(window).div_ceil(bits.count());
        for back in (1..=reach).rev() {
            // The ring may be shorter than the window.
            rows.shift_in((first_row + n_rows * reach - back) % n_rows);
        }
        Some(rows)
    }

    /// Writes the next row's values, one for each channel of the segment.
    ///
    /// # Panics
    /// If there is no such row or `values` is not as long as the segment.
    pub fn next_into(&mut self, values: &mut [f32]) {
        assert_eq!(values.len(), self.states.len(), "one value a channel of the segment");
        let scales = self.linear.scales_of(self.segment_idx, self.next_row);
        self.shift_in(self.next_row);
        self.next_row += 1;
        let groups = values.chunks_mut(self.group_size).zip(self.states.chunks(self.group_size));
        for ((values, states), scale) in groups.zip(scales) {
            let scale = scale.to_f32();
            for (value, &state) in values.iter_mut().zip(states) {
                *value = scale * self.levels[usize::from(state)];
            }
        }
    }

    fn shift_in(&mut self, row: usize) {
        unpack_into(self.linear.codes_of(self.segment_idx, row), self.bits, &mut self.codes);
        let (bits, mask) = (self.bits.get(), self.levels.len() - 1);
        #[expect(clippy::cast_possible_truncation, reason = "a window has at most 12 bits")]
        let mask = mask as u16;
        for (state, &code) in self.states.iter_mut().zip(&self.codes) {
            *state = (*state << bits | u16::from(code)) & mask;
        }
    }
}

/// The level of every state of `window` bits.
pub(crate) fn state_levels(table: &[f16], window: u8) -> Vec<f32> {
    if table.len() == 1 << window {
        return table.iter().map(|level| level.to_f32()).collect();
    }
    let (even, odd) = table.split_at(table.len() / 2);
    let sum = |state: usize| {
        even[every_other_bit(state)].to_f32() + odd[every_other_bit(state >> 1)].to_f32()
    };
    (0..1 << window).map(sum).collect()
}

/// Bits 0, 2, 4, ... moved together.
fn every_other_bit(state: usize) -> usize {
    (0..6).fold(0, |index, bit| index | (state >> (2 * bit) & 1) << bit)
}

/// The trellis segments of some rows, one entry a segment.
pub(crate) fn trellis_rows<'a>(
    linear: &'a PackedLinear,
    rows: &Range<usize>,
) -> Vec<Option<TrellisRows<'a>>> {
    if rows.is_empty() {
        return vec![None; linear.segments.len()];
    }
    (0..linear.segments.len()).map(|idx| TrellisRows::new(linear, idx, rows.start)).collect()
}
