//! Codes for a sequence of numbers: the ring is cut where a short search says, then searched once.

use crate::viterbi::{Boundary, Term, Viterbi};
use crate::{TrellisCode, TrellisError};

/// Windows on either side of the seam of the ring that decide the state there. Decisions of
/// convolutional codes are usually taken after five; with eight, and the mending below, no ring of
/// the tests is worse than the best one.
const GUESS_WINDOWS: usize = 8;

/// Windows on either side of the seam that are searched again at the end.
const MEND_WINDOWS: usize = 4;

/// Targets are cut off at this many times the largest table entry. So far outside, only the largest
/// entry is right, and a larger number would only cost the neighbors their precision.
const FARTHEST: f64 = 16.0;

/// Numbers to be encoded as one ring; all slices are equally long.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// What the decoded values times their scales should come near to.
    pub targets: &'a [f32],
    /// One scale a number, for instance that of its output row; 0 makes the number's code free.
    pub scales: &'a [f32],
    /// Weights of the squared errors, at least 0; all are 1 if there are none.
    pub weights: Option<&'a [f32]>,
}

/// Finds codes for sequences, with memory that is kept from one sequence to the next.
///
/// Encoding `n` values keeps `4 n 2^(window - bits)` bytes: 0.5 MiB for 1,024 values with 3 bits and
/// a window of 10. Runs in one thread; use one encoder a thread.
#[derive(Clone, Debug)]
pub struct Encoder {
    code: TrellisCode,
    viterbi: Viterbi,
    search: RingSearch,
    entries: Vec<i8>,
    farthest: f64,
}

/// Memory of the search along a ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct RingSearch {
    pub(crate) terms: Vec<Term>,
    pub(crate) states: Vec<u16>,
    seam: Vec<Term>,
    seam_states: Vec<u16>,
}

impl Encoder {
    /// An encoder for `code`.
    #[must_use]
    pub fn new(code: &TrellisCode) -> Self {
        let values: Vec<f32> =
            (0..1u16 << code.window()).map(|state| f32::from(code.entry(state))).collect();
        let largest = values.iter().fold(1.0, |largest: f32, value| largest.max(value.abs()));
        Self {
            code: code.clone(),
            viterbi: Viterbi::new(code.bits(), code.window(), values),
            search: RingSearch::default(),
            entries: Vec::new(),
            farthest: FARTHEST * f64::from(largest),
        }
    }

    /// The code that is encoded for.
    #[must_use]
    pub fn code(&self) -> &TrellisCode {
        &self.code
    }

    /// Writes codes whose values make `sum of weight (target - scale value)^2` small, and returns that
    /// sum in f64.
    ///
    /// The path is the best of those that go through one state at the seam of the ring; the state is
    /// that of the best path near the seam. Sequences of no more bits than the window are searched
    /// exhaustively. Metrics are f32: paths that differ by less than about a millionth of the largest
    /// weighted error count as equal. Targets are cut off at 16 times the largest value.
    ///
    /// # Errors
    ///
    /// [`TrellisError::Input`] for NaN, infinities and negative weights.
    ///
    /// # Panics
    ///
    /// If the slices are not equally long.
    pub fn encode(
        &mut self,
        sequence: &Sequence<'_>,
        codes: &mut [u8],
    ) -> Result<f64, TrellisError> {
        sequence.check(codes.len())?;
        let n_bits = codes.len() * usize::from(self.code.bits());
        if n_bits <= usize::from(self.code.window()) {
            return Ok(self.encode_exhaustively(sequence, codes));
        }
        self.set_terms(sequence);
        self.search.run(&mut self.viterbi);
        for (code, &state) in codes.iter_mut().zip(&self.search.states) {
            *code = self.code.newest(state);
        }
        Ok(self.error(sequence, codes))
    }

    /// The cost of each value as a parabola in table entries, the largest weight scaled to 1.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is intended")]
    fn set_terms(&mut self, sequence: &Sequence<'_>) {
        let step = f64::from(self.code.step());
        let heaviest = (0..sequence.len()).map(|i| sequence.weight(i)).fold(0.0, f64::max);
        let unit = if heaviest > 0.0 { 1.0 / heaviest } else { 0.0 };
        self.search.terms.clear();
        self.search.terms.extend((0..sequence.len()).map(|index| {
            let square = unit * sequence.weight(index);
            if square == 0.0 {
                return Term { square: 0.0, linear: 0.0 };
            }
            let target =
                f64::from(sequence.targets[index]) / (f64::from(sequence.scales[index]) * step);
            let linear = -2.0 * square * target.clamp(-self.farthest, self.farthest);
            Term { square: square as f32, linear: linear as f32 }
        }));
    }

    /// The best of all codes of a sequence of at most 12 bits.
    fn encode_exhaustively(&mut self, sequence: &Sequence<'_>, codes: &mut [u8]) -> f64 {
        let code = self.code.clone();
        let set = |codes: &mut [u8], word: u16| {
            for (index, digit) in codes.iter_mut().enumerate() {
                *digit = code.newest(word >> (index * usize::from(code.bits())));
            }
        };
        let mut best = (f64::INFINITY, 0);
        for word in 0..1_u16 << (codes.len() * usize::from(self.code.bits())) {
            set(codes, word);
            let error = self.error(sequence, codes);
            if error < best.0 {
                best = (error, word);
            }
        }
        set(codes, best.1);
        best.0
    }

    /// The weighted squared error of codes, in f64.
    fn error(&mut self, sequence: &Sequence<'_>, codes: &[u8]) -> f64 {
        self.entries.resize(codes.len(), 0);
        self.code.decode(codes, &mut self.entries);
        let step = f64::from(self.code.step());
        let errors = self.entries.iter().enumerate().map(|(index, &entry)| {
            let value = f64::from(sequence.scales[index]) * step * f64::from(entry);
            let weight = sequence.weights.map_or(1.0, |weights| f64::from(weights[index]));
            weight * (f64::from(sequence.targets[index]) - value).powi(2)
        });
        errors.sum()
    }
}

impl RingSearch {
    /// States of a good ring for `self.terms`, which hold at least as many bits as the window.
    ///
    /// The free path through the surroundings of the seam gives the state there; the best ring through
    /// this state follows; last, its surroundings of the seam are searched again between what the ring
    /// holds at their ends, which mends most of what a wrong guess has spoiled.
    pub(crate) fn run(&mut self, viterbi: &mut Viterbi) {
        let n = self.terms.len();
        let n_near = GUESS_WINDOWS * viterbi.reach();
        self.search_seam(viterbi, n_near, [Boundary::Free; 2]);
        let class = Boundary::Class(viterbi.class(self.seam_states[n_near - 1]));
        self.states.resize(n, 0);
        viterbi.search(&self.terms, [class; 2], &mut self.states);

        let n_near = (MEND_WINDOWS * viterbi.reach()).min(n / 2);
        let before = viterbi.class(self.states[n - n_near - 1]);
        let last = viterbi.class(self.states[n_near - 1]);
        self.search_seam(viterbi, n_near, [Boundary::Class(before), Boundary::Class(last)]);
        let (old, new) = self.seam_states.split_at(n_near);
        self.states[n - n_near..].copy_from_slice(old);
        self.states[..n_near].copy_from_slice(new);
    }

    /// States of the best path through the last and the first `n_near` values of the ring.
    fn search_seam(&mut self, viterbi: &mut Viterbi, n_near: usize, ends: [Boundary; 2]) {
        let n = self.terms.len();
        self.seam.clear();
        let places = (0..2 * n_near).map(|place| (n_near * n - n_near + place) % n);
        self.seam.extend(places.map(|place| self.terms[place]));
        self.seam_states.resize(2 * n_near, 0);
        viterbi.search(&self.seam, ends, &mut self.seam_states);
    }
}

impl Sequence<'_> {
    fn len(&self) -> usize {
        self.targets.len()
    }

    /// Weight of the squared error of a table value.
    fn weight(&self, index: usize) -> f64 {
        let scale = f64::from(self.scales[index]);
        self.weights.map_or(1.0, |weights| f64::from(weights[index])) * scale * scale
    }

    fn check(&self, n_codes: usize) -> Result<(), TrellisError> {
        let n = self.len();
        assert_eq!(n, self.scales.len(), "{n} targets, {} scales", self.scales.len());
        assert_eq!(n, n_codes, "{n} targets, room for {n_codes} codes");
        check_numbers("target", self.targets, f32::MIN)?;
        check_numbers("scale", self.scales, f32::MIN)?;
        let Some(weights) = self.weights else { return Ok(()) };
        assert_eq!(n, weights.len(), "{n} targets, {} weights", weights.len());
        check_numbers("weight", weights, 0.0)
    }
}

/// Refuses numbers that are not finite or below `least`.
pub(crate) fn check_numbers(
    what: &'static str,
    numbers: &[f32],
    least: f32,
) -> Result<(), TrellisError> {
    match numbers.iter().position(|number| !number.is_finite() || *number < least) {
        None => Ok(()),
        Some(index) => Err(TrellisError::Input { what, index, found: numbers[index] }),
    }
}
