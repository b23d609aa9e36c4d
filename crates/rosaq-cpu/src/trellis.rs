//! What vector kernels need of a trellis code: two added tables of 64 small integers, indexed by the even and the odd bits of a
//! window of 12.

use half::f16;
use rosaq_pack::{Bits, PackedLinear, SegmentKind};

use crate::segment::TrellisSegment;

/// Entries of a table.
pub(crate) const ENTRIES: usize = 64;
/// The window whose even and odd bits index them.
const WINDOW: u8 = 12;

/// A segment of codes into such tables, with one scale for each row.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read by the kernel for AVX2"))]
pub(crate) struct SumTrellis<'a> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) segment_idx: usize,
    pub(crate) bits: Bits,
    pub(crate) channels: usize,
    /// By the even bits of the state.
    pub(crate) even: [i8; ENTRIES],
    /// By the odd bits.
    pub(crate) odd: [i8; ENTRIES],
}

impl<'a> SumTrellis<'a> {
    /// `None` where the code is of another form: its rows are decoded one state after another.
    pub(crate) fn of(segment: &TrellisSegment<'a>) -> Option<Self> {
        let TrellisSegment { linear, segment_idx } = *segment;
        let of_linear = &linear.segments[segment_idx];
        let SegmentKind::Trellis { bits, window: WINDOW, id } = of_linear.kind else { return None };
        let channels = of_linear.channels;
        let levels = linear.codebooks[id as usize].as_slice();
        let (even, odd) = levels.split_at_checked(ENTRIES)?;
        let (even, odd) = (integers(even)?, integers(odd)?);
        let reach = |table: &[i8; ENTRIES], pick: fn(i16, i16) -> i16| {
            table.iter().map(|&entry| i16::from(entry)).reduce(pick).unwrap_or(0)
        };
        // Sums must fit a byte as well.
        let least = reach(&even, i16::min) + reach(&odd, i16::min);
        let most = reach(&even, i16::max) + reach(&odd, i16::max);
        let fits = i8::try_from(least).is_ok() && i8::try_from(most).is_ok();
        (fits && of_linear.group_size >= channels).then_some(Self {
            linear,
            segment_idx,
            bits,
            channels,
            even,
            odd,
        })
    }

    /// Rows before one that its state consists of.
    pub(crate) fn n_warm_up(&self) -> usize {
        usize::from(WINDOW).div_ceil(self.bits.count()) - 1
    }
}

/// The levels as integers; `None` if they are none, or too large, or not 64.
fn integers(levels: &[f16]) -> Option<[i8; ENTRIES]> {
    let mut entries = [0; ENTRIES];
    if levels.len() != ENTRIES {
        return None;
    }
    for (entry, level) in entries.iter_mut().zip(levels) {
        let level = level.to_f32();
        if level.fract() != 0.0 || !(-128.0..=127.0).contains(&level) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number in range")]
        let whole = level as i8;
        *entry = whole;
    }
    Some(entries)
}
