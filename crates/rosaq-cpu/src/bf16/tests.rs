//! Against f64, over shapes that fit no tile.

use half::bf16;
use proptest::prelude::*;

use super::*;

/// Values of 24 bits in -1..1.
fn noise(len: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// `values` as products see them.
fn seen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(bf16::from_f32(value).to_f32())).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `‖found - expected‖ / ‖expected‖`.
fn relative(found: &[f64], expected: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let off = norm(&mut found.iter().zip(expected).map(|(f, e)| f - e));
    off / norm(&mut expected.iter().copied()).max(f64::MIN_POSITIVE)
}

/// What f32 sums of up to a few hundred products may lose.
const SUMS: f64 = 1e-6;

fn product(tokens: usize, n_in: usize, x: &[f32], w: &[f32]) -> Vec<f64> {
    let linear = Bf16Linear::new(n_in, w);
    let mut y = vec![f32::NAN; tokens * linear.out_features];
    linear.multiply(x, &mut y);
    y.into_iter().map(f64::from).collect()
}

fn exact_product(n_in: usize, x: &[f64], w: &[f64]) -> Vec<f64> {
    let rows = x.chunks_exact(n_in);
    rows.flat_map(|x| w.chunks_exact(n_in).map(|w| dot(x, w))).collect()
}

fn exact_gram(dim: usize, x: &[f64]) -> Vec<f64> {
    let mut gram = vec![0.0; dim * dim];
    for row in x.chunks_exact(dim) {
        for (column, &a) in gram.chunks_exact_mut(dim).zip(row) {
            column.iter_mut().zip(row).for_each(|(sum, b)| *sum += a * b);
        }
    }
    gram
}

/// The lower triangle, which is all that stands for anything.
fn lower(dim: usize, gram: &[f64]) -> Vec<f64> {
    gram.chunks_exact(dim).enumerate().flat_map(|(col, column)| &column[col..]).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_product_is_that_of_the_rounded_factors(
        tokens in 1_usize..150, n_in in 1_usize..90, n_out in 1_usize..120, seed: u64,
    ) {
        let (x, w) = (noise(tokens * n_in, seed), noise(n_out * n_in, !seed));
        let found = product(tokens, n_in, &x, &w);
        prop_assert!(relative(&found, &exact_product(n_in, &seen(&x), &seen(&w))) < SUMS);
    }

    #[test]
    fn a_gram_is_that_of_the_rounded_inputs(
        tokens in 1_usize..70, dim in 1_usize..230, seed: u64,
    ) {
        let x = noise(tokens * dim, seed);
        let mut gram = vec![0.0; dim * dim];
        let (first, second) = x.split_at(tokens / 2 * dim);
        for part in [first, second] {
            add_gram_bf16(dim, part, &mut Bf16Panels::default(), &mut gram);
        }
        let expected = exact_gram(dim, &seen(&x));
        prop_assert!(relative(&lower(dim, &gram), &lower(dim, &expected)) < SUMS);
    }

    #[test]
    fn tiles_of_this_processor_are_those_of_the_plain_loops(
        pairs in 0_usize..60, panels in 1_usize..4, half in 0_usize..2, seed: u64,
    ) {
        let (mut left, mut right) = (Bf16Panels::default(), Bf16Panels::default());
        left.set_rows(2 * pairs, &noise(PANEL * 2 * pairs, seed));
        right.set_rows(2 * pairs, &noise(panels * PANEL * 2 * pairs, !seed));
        let of = |sums: Sums| -> Vec<f64> {
            sums.iter().flatten().flatten().map(|&sum| f64::from(sum)).collect()
        };
        let right = right.panels(0, panels);
        let expected = of(plain_tile(left.panel(0), half, right));
        prop_assert!(relative(&of(tile(left.panel(0), half, right)), &expected) < SUMS);
    }
}

#[test]
fn nothing_adds_nothing() {
    let mut panels = Bf16Panels::default();
    for (rows, len) in [(0, 4), (4, 0), (0, 0)] {
        panels.set_rows(len, &[]);
        assert!(panels.values().is_empty(), "{rows} rows of {len}");
        panels.set_columns(rows, &[]);
        assert!(panels.values().is_empty(), "{rows} columns of {len}");
    }
    let mut gram = vec![1.0; 9];
    add_gram_bf16(3, &[], &mut panels, &mut gram);
    assert_eq!(gram, [1.0; 9]);
    for half in 0..2 {
        let tiles = [tile(&[], half, &[]), plain_tile(&[], half, &[])];
        assert!(tiles.as_flattened().as_flattened().as_flattened().iter().all(|&sum| sum == 0.0));
    }
}

/// A value of 8 bits is off by `2^-9` at most and by `0.29 * 2^-8` of itself in the mean over all; so is a product's, times the
/// root of two.
#[test]
fn rounding_costs_what_eight_bits_cost() {
    let (tokens, n_in, n_out) = (64, 512, 64);
    let (x, w) = (noise(tokens * n_in, 1), noise(n_out * n_in, 2));
    let exact = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| f64::from(v)).collect() };
    let off =
        relative(&product(tokens, n_in, &x, &w), &exact_product(n_in, &exact(&x), &exact(&w)));
    assert!((5e-4..3e-3).contains(&off), "{off}");
}

#[test]
fn buffers_forget_what_they_held() {
    let mut panels = Bf16Panels::default();
    panels.set_rows(40, &noise(30 * 40, 1));
    for (rows, len) in [(5, 9), (17, 33), (3, 2)] {
        let x = noise(rows * len, 3);
        let mut fresh = Bf16Panels::default();
        fresh.set_rows(len, &x);
        panels.set_rows(len, &x);
        assert_eq!(panels.values(), fresh.values(), "{rows} rows of {len}");
        let turned: Vec<f32> =
            (0..len).flat_map(|c| x.iter().skip(c).step_by(len)).copied().collect();
        panels.set_columns(rows, &turned);
        assert_eq!(panels.values(), fresh.values(), "{rows} columns of {len}");
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for (value, expected) in
        [(f32::NAN, f64::NAN), (f32::INFINITY, f64::INFINITY), (3.4e38, f64::INFINITY)]
    {
        let found = product(1, 2, &[value, 0.0], &[1.0, 1.0])[0];
        assert!(found == expected || found.is_nan(), "{value} became {found}");
    }
}

#[test]
fn threads_do_not_matter() {
    let (tokens, dim) = (300, 250);
    let x = noise(tokens * dim, 5);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut gram = vec![0.0; dim * dim];
            add_gram_bf16(dim, &x, &mut Bf16Panels::default(), &mut gram);
            (product(tokens, dim, &x, &x[..100 * dim]), gram)
        })
    };
    assert_eq!(run(1), run(3));
}
