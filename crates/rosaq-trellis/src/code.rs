//! What a trellis code is, and the reference decoder.

use crate::TrellisError;

/// The most bits per value: two values fill the longest window.
const MAX_BITS: u8 = 6;
/// The longest window: the metrics of 2^12 states still fit a first-level cache.
const MAX_WINDOW: u8 = 12;

/// The integers that states stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// One entry a state, `2^window` in all.
    Whole(Vec<i8>),
    /// The sum of two entries, `2^(window / 2)` in each table.
    Sum {
        /// Indexed by bits 0, 2, 4, ... of the state, bit 0 lowest.
        even: Vec<i8>,
        /// Indexed by bits 1, 3, 5, ... of the state, bit 1 lowest.
        odd: Vec<i8>,
    },
}

/// A bit-shift trellis code: each value shifts `bits` new bits into a state of `window` bits, and
/// the state stands for the value.
///
/// `state = ((previous state << bits) | code) mod 2^window`, `value = step * entry(state)`. The
/// codes are read as a ring: the state before the first value consists of the last bits of the
/// sequence, so no start state is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TrellisCode {
    bits: u8,
    window: u8,
    step: f32,
    table: Table,
}

impl TrellisCode {
    /// A code of `bits` (1 to 6) bits per value with `window` (2 `bits` to 12) bits of state, whose
    /// table entries are multiples of `step`.
    ///
    /// # Errors
    ///
    /// Every combination that the other functions could not work with; see [`TrellisError`].
    pub fn new(bits: u8, window: u8, step: f32, table: Table) -> Result<Self, TrellisError> {
        check_shape(bits, window)?;
        if !(step.is_finite() && step > 0.0) {
            return Err(TrellisError::Step { found: step });
        }
        match &table {
            Table::Whole(entries) => check_len(window, "whole", entries, window)?,
            Table::Sum { even, odd } => {
                if !window.is_multiple_of(2) {
                    return Err(TrellisError::OddWindow { found: window });
                }
                check_len(window, "even", even, window / 2)?;
                check_len(window, "odd", odd, window / 2)?;
                let min = least(even) + least(odd);
                let max = largest(even) + largest(odd);
                if min < i16::from(i8::MIN) || max > i16::from(i8::MAX) {
                    return Err(TrellisError::SumRange { min, max });
                }
            }
        }
        Ok(Self { bits, window, step, table })
    }

    /// Bits per value.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Bits of the state.
    #[must_use]
    pub fn window(&self) -> u8 {
        self.window
    }

    /// The value of a table entry of 1.
    #[must_use]
    pub fn step(&self) -> f32 {
        self.step
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The integer that a state stands for; bits above the window are ignored.
    #[must_use]
    pub fn entry(&self, state: u16) -> i8 {
        let state = usize::from(state) & ((1 << self.window) - 1);
        match &self.table {
            Table::Whole(entries) => entries[state],
            Table::Sum { even, odd } => {
                even[every_other_bit(state)] + odd[every_other_bit(state >> 1)]
            }
        }
    }

    /// The state before the first value: the last `window` bits of the codes, read as a ring.
    ///
    /// A sequence with fewer bits than the window goes round more than once.
    #[must_use]
    pub fn start_state(&self, codes: &[u8]) -> u16 {
        let n_codes = usize::from(self.window.div_ceil(self.bits));
        let warm_up = codes.iter().rev().cycle().take(if codes.is_empty() { 0 } else { n_codes });
        let warm_up: Vec<u8> = warm_up.copied().collect();
        warm_up.iter().rev().fold(0, |state, &code| self.next_state(state, code))
    }

    /// The state after `code` was shifted into `state`; bits of the code above its width are ignored.
    #[must_use]
    pub fn next_state(&self, state: u16, code: u8) -> u16 {
        let code = u16::from(code) & ((1 << self.bits) - 1);
        ((state << self.bits) | code) & ((1 << self.window) - 1)
    }

    /// The code that was shifted into a state last.
    #[expect(clippy::cast_possible_truncation, reason = "a code has at most six bits")]
    pub(crate) fn newest(&self, state: u16) -> u8 {
        (state & ((1 << self.bits) - 1)) as u8
    }

    /// Table entries of a sequence of codes, to be multiplied by the step and the scale of their row.
    ///
    /// This plain form is what every other decoder is compared with.
    ///
    /// # Panics
    ///
    /// If `out` is not as long as `codes`.
    pub fn decode(&self, codes: &[u8], out: &mut [i8]) {
        assert_eq!(codes.len(), out.len(), "{} codes, room for {} values", codes.len(), out.len());
        let mut state = self.start_state(codes);
        for (out, &code) in out.iter_mut().zip(codes) {
            state = self.next_state(state, code);
            *out = self.entry(state);
        }
    }
}

/// Refuses bits and windows without an encoder.
pub(crate) fn check_shape(bits: u8, window: u8) -> Result<(), TrellisError> {
    if !(1..=MAX_BITS).contains(&bits) {
        return Err(TrellisError::Bits { found: bits });
    }
    // The encoder takes the oldest and the newest bits of a state for disjoint.
    if !(2 * bits..=MAX_WINDOW).contains(&window) {
        return Err(TrellisError::Window { bits, max: MAX_WINDOW, found: window });
    }
    Ok(())
}

/// Bits 0, 2, 4, ... of up to 12 bits, moved together.
pub(crate) fn every_other_bit(state: usize) -> usize {
    (0..6).fold(0, |index, bit| index | ((state >> (2 * bit)) & 1) << bit)
}

fn check_len(
    window: u8,
    table: &'static str,
    entries: &[i8],
    index_bits: u8,
) -> Result<(), TrellisError> {
    let expected = 1 << index_bits;
    if entries.len() == expected {
        return Ok(());
    }
    Err(TrellisError::TableLength { window, table, expected, found: entries.len() })
}

fn least(entries: &[i8]) -> i16 {
    entries.iter().min().map_or(0, |&entry| i16::from(entry))
}

fn largest(entries: &[i8]) -> i16 {
    entries.iter().max().map_or(0, |&entry| i16::from(entry))
}
