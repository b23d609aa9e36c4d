//! Tables by alternating least squares: encode samples, then give each entry the mean of its samples.

use crate::code::{check_shape, every_other_bit};
use crate::encoder::RingSearch;
use crate::viterbi::{Term, Viterbi};
use crate::{Table, TrellisCode, TrellisError, normal_samples};

/// Samples are encoded in rings of this many, a usual number of outputs of a linear.
const RING: usize = 1_000;

/// Sweeps over both added tables when their entries are solved for: far more than convergence takes.
const SWEEPS: usize = 30;

/// The largest table entry in steps; 127 would leave no room for entries that move when rounded.
const LARGEST: f64 = 126.0;

/// Rounds of training in integers. The error settles within three or four.
const ROUNDS_IN_INTEGERS: usize = 8;

/// Rounds on all samples, of which ten usually suffice.
const FINAL_ROUNDS: usize = 25;

/// Standard deviation of the first shake over the root of the mean squared error; 0.35 and 2 end in
/// worse tables.
const SHAKE: f64 = 0.7;

/// Share of the rounds in which entries are shaken; they settle in the rest.
const SHAKEN: f64 = 0.7;

/// What table is to be trained, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Bits per value, 1 to 4.
    pub bits: u8,
    /// Bits of the state, 2 `bits` to 12.
    pub window: u8,
    /// One table or two added ones.
    pub kind: TableKind,
    /// Random tables to start from; the best after `rounds` rounds goes on.
    pub n_starts: usize,
    /// Rounds of encoding and solving for each start.
    pub rounds: usize,
    /// Samples that the starts compete on; all are used after that.
    pub n_first: usize,
    /// Seed of the starts.
    pub seed: u64,
}

/// How a table is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// See [`Table::Whole`].
    Whole,
    /// See [`Table::Sum`].
    Sum,
}

/// A code whose table suits `samples`, with entries rounded to a byte and trained again as integers.
///
/// # Errors
///
/// If there is no code with these bits and this window.
///
/// # Panics
///
/// If there are no samples.
pub fn train(training: &Training, samples: &[f32]) -> Result<TrellisCode, TrellisError> {
    assert!(!samples.is_empty(), "no samples to train a table on");
    check_shape(training.bits, training.window)?;
    if training.kind == TableKind::Sum && !training.window.is_multiple_of(2) {
        return Err(TrellisError::OddWindow { found: training.window });
    }
    let mut trainer = Trainer::new(training);
    let first = &samples[..training.n_first.clamp(1, samples.len())];
    let mut best: Option<(f64, Values)> = None;
    for start in 0..training.n_starts.max(1) as u64 {
        let seed = training.seed.wrapping_mul(1_000).wrapping_add(start);
        let mut values = trainer.start(seed);
        let error = trainer.improve(&mut values, first, training.rounds, Some(seed));
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, values));
        }
    }
    let (_, mut values) = best.expect("there is at least one start");
    trainer.improve(&mut values, samples, FINAL_ROUNDS, None);
    trainer.round(values, samples)
}

/// Real entries, before they are rounded.
#[derive(Clone, Debug)]
enum Values {
    Whole(Vec<f64>),
    Sum { even: Vec<f64>, odd: Vec<f64> },
}

/// Number and sum of the samples of each state, and the error of encoding them all.
struct Counts {
    counts: Vec<f64>,
    sums: Vec<f64>,
    mean_error: f64,
}

struct Trainer {
    training: Training,
    viterbi: Viterbi,
    search: RingSearch,
}

impl Trainer {
    fn new(training: &Training) -> Self {
        let values = vec![0.0; 1 << training.window];
        let viterbi = Viterbi::new(training.bits, training.window, values);
        Self { training: *training, viterbi, search: RingSearch::default() }
    }

    /// Random entries whose values have unit variance.
    fn start(&self, seed: u64) -> Values {
        let numbers = |n: usize, deviation: f64, seed: u64| -> Vec<f64> {
            normal_samples(n, seed)
                .into_iter()
                .map(|number| f64::from(number) * deviation)
                .collect()
        };
        let window = u32::from(self.training.window);
        match self.training.kind {
            TableKind::Whole => Values::Whole(numbers(1 << window, 1.0, seed)),
            TableKind::Sum => {
                let mut even = numbers(1 << (window / 2 + 1), 0.5_f64.sqrt(), seed);
                let odd = even.split_off(even.len() / 2);
                Values::Sum { even, odd }
            }
        }
    }

    /// Rounds of encoding and solving; returns the mean squared error of the last encoding.
    ///
    /// With a `seed` the entries are shaken, less from round to round, which leads out of many poor
    /// local optima.
    fn improve(
        &mut self,
        values: &mut Values,
        samples: &[f32],
        rounds: usize,
        seed: Option<u64>,
    ) -> f64 {
        let mut error = f64::INFINITY;
        for round in 0..rounds {
            let counts = self.encode(&values.by_state(), samples);
            values.solve(&counts);
            error = counts.mean_error;
            if let Some(seed) = seed {
                let left = 1.0 - (round as f64 + 1.0) / (SHAKEN * rounds as f64);
                values.shake(SHAKE * error.sqrt() * left.max(0.0), seed ^ (round as u64 + 1) << 32);
            }
        }
        error
    }

    fn encode(&mut self, values: &[f64], samples: &[f32]) -> Counts {
        self.viterbi.set_values(values.iter().map(|&value| value as f32).collect());
        let mut counts = Counts {
            counts: vec![0.0; values.len()],
            sums: vec![0.0; values.len()],
            mean_error: 0.0,
        };
        for ring in samples.chunks(RING) {
            self.search.terms.clear();
            let terms = ring.iter().map(|&sample| Term { square: 1.0, linear: -2.0 * sample });
            self.search.terms.extend(terms);
            self.search.run(&mut self.viterbi);
            for (&state, &sample) in self.search.states.iter().zip(ring) {
                let (state, sample) = (usize::from(state), f64::from(sample));
                counts.counts[state] += 1.0;
                counts.sums[state] += sample;
                counts.mean_error += (sample - values[state]).powi(2) / samples.len() as f64;
            }
        }
        counts
    }

    /// Rounds entries to bytes, and goes on in integers as long as the error falls.
    fn round(&mut self, values: Values, samples: &[f32]) -> Result<TrellisCode, TrellisError> {
        let step = values.largest() / LARGEST;
        let mut values = values.in_units_of(step);
        let samples: Vec<f32> =
            samples.iter().map(|&sample| (f64::from(sample) / step) as f32).collect();
        let mut best = (f64::INFINITY, values.clone());
        for _ in 0..ROUNDS_IN_INTEGERS {
            let counts = self.encode(&values.by_state(), &samples);
            if counts.mean_error < best.0 {
                best = (counts.mean_error, values.clone());
            }
            values.solve_in_integers(&counts);
        }
        TrellisCode::new(self.training.bits, self.training.window, step as f32, best.1.into_table())
    }
}

impl Values {
    /// The value of each state.
    fn by_state(&self) -> Vec<f64> {
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
    fn solve(&mut self, counts: &Counts) {
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
    fn solve_in_integers(&mut self, counts: &Counts) {
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

    fn shake(&mut self, deviation: f64, seed: u64) {
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
    fn largest(&self) -> f64 {
        self.by_state().iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
    }

    /// Entries in steps, rounded.
    fn in_units_of(self, step: f64) -> Self {
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

    fn into_table(self) -> Table {
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
