//! Tables by alternating least squares: encode samples, then give each entry the mean of its samples.

use crate::code::check_shape;
use crate::encoder::{RingSearch, check_numbers};
use crate::entries::{Counts, Entries};
use crate::viterbi::{Term, Viterbi};
use crate::{TrellisCode, TrellisError, normal_samples};

/// Samples are encoded in rings of this many, a usual number of outputs of a linear; what remains is
/// left out.
const RING: usize = 1_000;

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
    /// Bits per value, 1 to 6.
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
    /// See [`Table::Whole`](crate::Table::Whole).
    Whole,
    /// See [`Table::Sum`](crate::Table::Sum).
    Sum,
}

/// A code whose table suits `samples`, with entries rounded to a byte and trained again as integers.
///
/// # Errors
///
/// If there is no code with these bits and this window, if a sample is NaN or infinite, or if all
/// samples are zero.
///
/// # Panics
///
/// If there are fewer than 1,000 samples.
pub fn train(training: &Training, samples: &[f32]) -> Result<TrellisCode, TrellisError> {
    assert!(samples.len() >= RING, "{} samples, at least {RING} are needed", samples.len());
    check_shape(training.bits, training.window)?;
    if training.kind == TableKind::Sum && !training.window.is_multiple_of(2) {
        return Err(TrellisError::OddWindow { found: training.window });
    }
    check_numbers("sample", samples, f32::MIN)?;
    let mut trainer = Trainer::new(training);
    let first = &samples[..training.n_first.clamp(RING, samples.len())];
    let mut best: Option<(f64, Entries)> = None;
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
    fn start(&self, seed: u64) -> Entries {
        let numbers = |n: usize, deviation: f64, seed: u64| -> Vec<f64> {
            normal_samples(n, seed)
                .into_iter()
                .map(|number| f64::from(number) * deviation)
                .collect()
        };
        let window = u32::from(self.training.window);
        match self.training.kind {
            TableKind::Whole => Entries::Whole(numbers(1 << window, 1.0, seed)),
            TableKind::Sum => {
                let mut even = numbers(1 << (window / 2 + 1), 0.5_f64.sqrt(), seed);
                let odd = even.split_off(even.len() / 2);
                Entries::Sum { even, odd }
            }
        }
    }

    /// Rounds of encoding and solving; returns the mean squared error of the last encoding.
    ///
    /// With a `seed` the entries are shaken, less from round to round, which leads out of many poor
    /// local optima.
    fn improve(
        &mut self,
        values: &mut Entries,
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

    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is intended")]
    fn encode(&mut self, values: &[f64], samples: &[f32]) -> Counts {
        self.viterbi.set_values(values.iter().map(|&value| value as f32).collect());
        let mut counts = Counts {
            counts: vec![0.0; values.len()],
            sums: vec![0.0; values.len()],
            mean_error: 0.0,
        };
        let n_samples = samples.len() / RING * RING;
        for ring in samples.chunks_exact(RING) {
            self.search.terms.clear();
            let terms = ring.iter().map(|&sample| Term { square: 1.0, linear: -2.0 * sample });
            self.search.terms.extend(terms);
            self.search.run(&mut self.viterbi);
            for (&state, &sample) in self.search.states.iter().zip(ring) {
                let (state, sample) = (usize::from(state), f64::from(sample));
                counts.counts[state] += 1.0;
                counts.sums[state] += sample;
                counts.mean_error += (sample - values[state]).powi(2) / n_samples as f64;
            }
        }
        counts
    }

    /// Rounds entries to bytes, and goes on in integers as long as the error falls.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is intended")]
    fn round(&mut self, values: Entries, samples: &[f32]) -> Result<TrellisCode, TrellisError> {
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
