//! Table entries while they are trained: real numbers, later whole ones.

use crate::code::every_other_bit;
use crate::{Table, normal_samples};

/// Sweeps over both added tables when their entries are solved for: far more than convergence takes.
const SWEEPS: usize = 30;

/// Real entries, before they are rounded.
#[derive(Clone, Debug)]
pub(crate) enum Entries {
    Whole(Vec<f64>),
    Sum { even: Vec<f64>, odd: Vec<f64> },
}

/// Number and sum of the samples of each state, and the error of encoding them all.
pub(crate) struct Counts {
    pub(crate) counts: Vec<f64>,
    pub(crate) sums: Vec<f64>,
    pub(crate) mean_error: f64,
}

impl Entries {
    /// The value of each state.
    pub(crate) fn by_state(&self) -> Vec<f64> {
        match self {
            Self::Whole(entries) => entries.clone(),
            Self::Sum { even, odd } => {
                let n_states = even.len() * odd.len();
                (0..n_states)
                    .map(|s| even[every_other_bit(s)] + odd[every_other_bit(s >> 1)])
                    .collect()
            }
        }
    }

    /// The least-squares entries for the samples of each state; entries without samples stay.
    pub(crate) fn solve(&mut self, counts: &Counts) {
        match self {
            Self::Whole(entries) => {
                for (state, entry) in entries.iter_mut().enumerate() {
                    if counts.counts[state] > 0.0 {
                        *entry = counts.sums[state] / counts.counts[state];
                    }
                }
            }
            Self::Sum { even, odd } => {
                for _ in 0..SWEEPS {
                    sweep(even, odd, counts, 0);
                    sweep(odd, even, counts, 1);
                }
            }
        }
    }

    /// The same in integers, each entry rounded as it is solved for and kept in range.
    pub(crate) fn solve_in_integers(&mut self, counts: &Counts) {
        match self {
            Self::Whole(_) => {
                self.solve(counts);
                let Self::Whole(entries) = self else { return };
                entries.iter_mut().for_each(|entry| *entry = entry.round().clamp(-127.0, 127.0));
            }
            Self::Sum { even, odd } => {
                for _ in 0..SWEEPS {
                    sweep(even, odd, counts, 0);
                    round_beside(even, odd);
                    sweep(odd, even, counts, 1);
                    round_beside(odd, even);
                }
            }
        }
    }

    pub(crate) fn shake(&mut self, deviation: f64, seed: u64) {
        let add = |entries: &mut [f64], seed| {
            let noise = normal_samples(entries.len(), seed);
            for (entry, noise) in entries.iter_mut().zip(noise) {
                *entry += deviation * f64::from(noise);
            }
        };
        match self {
            Self::Whole(entries) => add(entries, seed),
            Self::Sum { even, odd } => {
                add(even, seed);
                add(odd, !seed);
            }
        }
    }

    /// The largest magnitude of a value.
    pub(crate) fn largest(&self) -> f64 {
        self.by_state().iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
    }

    /// Entries in steps, rounded.
    pub(crate) fn in_units_of(self, step: f64) -> Self {
        let round = |entries: Vec<f64>, shift: f64| {
            entries.into_iter().map(|entry| ((entry - shift) / step).round()).collect()
        };
        match self {
            Self::Whole(entries) => Self::Whole(round(entries, 0.0)),
            Self::Sum { even, odd } => {
                // What one table gains the other may lose: center both, so that each fits a byte.
                let (least, largest) = extremes(&even);
                let shift = 0.5 * (least + largest);
                Self::Sum { even: round(even, shift), odd: round(odd, -shift) }
            }
        }
    }

    pub(crate) fn into_table(self) -> Table {
        #[expect(clippy::cast_possible_truncation, reason = "entries were rounded and clamped")]
        let bytes = |entries: Vec<f64>| entries.into_iter().map(|entry| entry as i8).collect();
        match self {
            Self::Whole(entries) => Table::Whole(bytes(entries)),
            Self::Sum { even, odd } => Table::Sum { even: bytes(even), odd: bytes(odd) },
        }
    }
}

/// Gives each entry of one of two added tables its best value beside the other, whose bits begin at
/// the other parity.
fn sweep(entries: &mut [f64], others: &[f64], counts: &Counts, parity: u32) {
    let mut number = vec![0.0; entries.len()];
    let mut rest = vec![0.0; entries.len()];
    for (state, (count, sum)) in counts.counts.iter().zip(&counts.sums).enumerate() {
        let index = every_other_bit(state >> parity);
        number[index] += count;
        rest[index] += sum - count * others[every_other_bit(state >> (1 - parity))];
    }
    for (entry, (number, rest)) in entries.iter_mut().zip(number.iter().zip(rest)) {
        if *number > 0.0 {
            *entry = rest / number;
        }
    }
}

/// Rounds entries, so that their sums with `others` fit a byte.
fn round_beside(entries: &mut [f64], others: &[f64]) {
    let (least, largest) = extremes(others);
    for entry in entries {
        *entry = entry.round().clamp(-127.0 - least, 127.0 - largest);
    }
}

fn extremes(entries: &[f64]) -> (f64, f64) {
    let least = entries.iter().copied().fold(f64::INFINITY, f64::min);
    (least, entries.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}
