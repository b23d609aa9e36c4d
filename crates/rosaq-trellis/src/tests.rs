//! The search against brute force.

use proptest::prelude::*;
use pulp::Arch;

use crate::encoder::RingSearch;
use crate::normal_samples;
use crate::viterbi::{Boundary, Term, Viterbi};

fn terms(targets: &[f32], weights: &[f32]) -> Vec<Term> {
    let pairs = targets.iter().zip(weights);
    pairs.map(|(target, &square)| Term { square, linear: -2.0 * square * target }).collect()
}

/// Cost of a path in f64.
fn cost(terms: &[Term], values: &[f32], states: impl IntoIterator<Item = usize>) -> f64 {
    let costs = terms.iter().zip(states).map(|(term, state)| {
        let value = f64::from(values[state]);
        value * (f64::from(term.square) * value + f64::from(term.linear))
    });
    costs.sum()
}

/// The states that a word of codes (first code lowest) leads through from `start`.
fn path(bits: u8, window: u8, start: usize, word: usize, n: usize) -> Vec<usize> {
    let (bits, mask) = (usize::from(bits), (1 << window) - 1);
    let codes = (0..n).map(|index| (word >> (index * bits)) & ((1 << bits) - 1));
    codes
        .scan(start, |state, code| {
            *state = ((*state << bits) | code) & mask;
            Some(*state)
        })
        .collect()
}

fn to_usize(states: &[u16]) -> Vec<usize> {
    states.iter().map(|&state| usize::from(state)).collect()
}

#[derive(Clone, Debug)]
struct Case {
    bits: u8,
    window: u8,
    values: Vec<f32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    start: usize,
}

/// Codes of at most 12 bits in all, so that brute force tries at most 4,096 of them.
fn cases() -> impl Strategy<Value = Case> {
    let shapes =
        (1_u8..=3).prop_flat_map(|bits| (Just(bits), 2 * bits..=7, 1..=usize::from(12 / bits)));
    shapes.prop_flat_map(|(bits, window, n)| {
        let number = (-60_i16..=60).prop_map(|number| f32::from(number) / 4.0);
        let weight = (0_u8..=8).prop_map(|weight| f32::from(weight) / 8.0);
        (
            prop::collection::vec((-127_i8..=127).prop_map(f32::from), 1 << window),
            prop::collection::vec(number, n),
            prop::collection::vec(weight, n),
            0_usize..1 << window,
        )
            .prop_map(move |(values, targets, weights, start)| Case {
                bits,
                window,
                values,
                targets,
                weights,
                start,
            })
    })
}

proptest! {
    #[test]
    fn a_search_is_as_good_as_trying_all_codes(case in cases()) {
        let Case { bits, window, values, targets, weights, start } = case;
        let terms = terms(&targets, &weights);
        let n = terms.len();
        let mut viterbi = Viterbi::new(bits, window, values.clone());
        let mut states = vec![0; n];
        let class = viterbi.class(u16::try_from(start).expect("a state has at most 12 bits"));
        let all = |end: Option<usize>| {
            (0..1_usize << (usize::from(bits) * n))
                .map(|word| path(bits, window, start, word, n))
                .filter(|path| end.is_none_or(|end| path[n - 1] % (1 << (window - bits)) == end))
                .map(|path| cost(&terms, &values, path))
                .fold(f64::INFINITY, f64::min)
        };
        // Up to 12 values cost up to 127 (127 + 30), in f32: two parts in 2^24 of each partial sum.
        let tolerance = 0.05;

        viterbi.search(&terms, [Boundary::Class(class), Boundary::Free], &mut states);
        let found = cost(&terms, &values, to_usize(&states));
        prop_assert!((found - all(None)).abs() < tolerance, "{found} {}", all(None));

        // Any path's end can be reached again.
        let end = usize::from(states[n / 2]) % (1 << (window - bits));
        if n * usize::from(bits) >= usize::from(window) {
            viterbi.search(&terms, [Boundary::Class(class), Boundary::Class(end)], &mut states);
            let found = cost(&terms, &values, to_usize(&states));
            prop_assert!((found - all(Some(end))).abs() < tolerance, "{found} {}", all(Some(end)));
            prop_assert_eq!(viterbi.class(states[n - 1]), end);
        }
        let mut state = start;
        for &next in &states {
            prop_assert_eq!((state << bits) & ((1 << window) - 1) & !((1 << bits) - 1),
                usize::from(next) & !((1 << bits) - 1));
            state = usize::from(next);
        }
    }
}

#[test]
fn every_instruction_set_finds_the_same_path() {
    for (bits, window) in
        [(1, 2), (1, 8), (2, 8), (3, 8), (4, 8), (2, 10), (3, 12), (5, 10), (5, 12), (6, 12)]
    {
        let values = normal_samples(1 << window, 3);
        let mut fast = Viterbi::new(bits, window, values);
        let mut plain = fast.clone();
        plain.set_arch(Arch::Scalar);
        let targets = normal_samples(40, 8);
        let terms = terms(&targets, &[1.0; 40]);
        let (mut expected, mut found) = (vec![0; 40], vec![0; 40]);
        plain.search(&terms, [Boundary::Free, Boundary::Free], &mut expected);
        fast.search(&terms, [Boundary::Free, Boundary::Free], &mut found);
        assert_eq!(expected, found, "{bits} bits, window {window}");
    }
}

/// Mean excess of the two-pass ring over the best of all rings, relative to the latter.
fn excess(bits: u8, window: u8, n: usize) -> f64 {
    let (mut found, mut least) = (0.0, 0.0);
    for trial in 0..30 {
        let values = normal_samples(1 << window, trial);
        let targets = normal_samples(n, 1_000 + trial);
        let terms = terms(&targets, &vec![1.0; n]);
        let energy: f64 = targets.iter().map(|&target| f64::from(target).powi(2)).sum();
        let mut viterbi = Viterbi::new(bits, window, values.clone());
        let mut search = RingSearch::default();
        search.terms.clone_from(&terms);
        search.run(&mut viterbi);
        let ring = cost(&terms, &values, to_usize(&search.states));
        let mut states = vec![0; n];
        let mut best = f64::INFINITY;
        for class in 0..1 << (window - bits) {
            viterbi.search(&terms, [Boundary::Class(class), Boundary::Class(class)], &mut states);
            best = best.min(cost(&terms, &values, to_usize(&states)));
        }
        assert!(ring > best - 1e-3, "a ring of {ring}, better than the best, {best}");
        found += energy + ring;
        least += energy + best;
    }
    found / least - 1.0
}

#[test]
fn the_seam_costs_next_to_nothing() {
    #[track_caller]
    fn check(bits: u8, window: u8, n: usize, bound: f64) {
        let excess = excess(bits, window, n);
        assert!(excess < bound, "{bits} bits, window {window}, {n} values: {excess}");
    }
    // Found: 0.0003 for the first, and no ring worse than the best one for the others.
    check(2, 8, 100, 0.001);
    check(3, 8, 100, 0.001);
    check(4, 8, 100, 0.001);
    check(1, 6, 60, 0.001);
    check(2, 8, 24, 0.001);
    // Found: 0.006. A ring of three windows is little more than its seam.
    check(2, 8, 12, 0.02);
}
