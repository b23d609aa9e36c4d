//! Scale and zero point of one group.

use half::f16;

use crate::Grid;

/// Scale and zero point shared by a group: `value = scale * (code - zero)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupParams {
    /// As stored.
    pub scale: f16,
    /// In `0..2^bits`.
    pub zero: u8,
}

/// Smallest scale: the least positive f16 is 5.96e-8, and a zero scale would make NaN of an all-zero group.
const SCALE_FLOOR: f32 = 6e-8;

/// Fits scale and zero point to a group of weights by its range, which always includes zero.
///
/// Asymmetric: `s = (max - min) / (2^b - 1)`, `z = round(-min / s)`. Symmetric: the smallest `s` for which every weight lies
/// between codes 0 and `2^b - 1`. The zero point is chosen against the f16 scale. Ties round to even.
#[must_use]
pub fn fit_group(group: &[f32], grid: Grid) -> GroupParams {
    fit_group_shrunk(group, grid, 1.0)
}

/// [`fit_group`] to the range of `group` with both its ends multiplied by `shrink`, in `0..=1`: weights beyond the smaller
/// range are clamped, the others meet a finer grid. A factor of 1 changes nothing.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the zero point is clamped to the codes' range first"
)]
pub fn fit_group_shrunk(group: &[f32], grid: Grid, shrink: f32) -> GroupParams {
    let min = shrink * group.iter().fold(0.0_f32, |a, &b| a.min(b));
    let max = shrink * group.iter().fold(0.0_f32, |a, &b| a.max(b));
    let top = f32::from(grid.max_code());
    if grid.symmetric {
        let zero = grid.bits.symmetric_zero();
        let scale = (max / (top - f32::from(zero))).max(-min / f32::from(zero));
        return GroupParams { scale: f16::from_f32(scale.max(SCALE_FLOOR)), zero };
    }
    let scale = f16::from_f32(((max - min) / top).max(SCALE_FLOOR));
    let zero = round_ties_even((-min / scale.to_f32()).min(top)) as u8;
    GroupParams { scale, zero }
}

/// The best of `steps` fits of a group with its range shrunk by `1 - k / (2 steps)`, `k = 0..steps`: 10 steps try 1, 0.95, ..
/// 0.55. Best is the least `sum of importance * (weight - value)²` (f64), `importance` holding one number a weight, in GPTQ
/// the diagonal of the inputs' Gram matrix. Of equals the wider range wins. No steps at all mean [`fit_group`].
///
/// Source: the range search `mse` of GPTQ's public code (IST-DASLab/gptq, `quant.py`), with that weighting in place of its
/// exponent of 2.4.
///
/// # Panics
/// If there is not one importance a weight.
#[must_use]
pub fn search_group(group: &[f32], importance: &[f64], grid: Grid, steps: usize) -> GroupParams {
    assert_eq!(group.len(), importance.len(), "one importance a weight");
    let mut best = (f64::INFINITY, fit_group(group, grid));
    for step in 0..steps {
        let params = fit_group_shrunk(group, grid, 1.0 - step as f32 / (2 * steps) as f32);
        let ladder = params.ladder(grid);
        let loss = group.iter().zip(importance).map(|(&weight, importance)| {
            let error = f64::from(weight - ladder.scale * ladder.nearest(weight));
            importance * error * error
        });
        let loss = loss.sum();
        if loss < best.0 {
            best = (loss, params);
        }
    }
    best.1
}

/// The nearest integer of a number below 2^22 in magnitude, ties to even: adding 1.5 * 2^23 leaves no bits for a fraction.
/// Unlike the library's function it needs no call, so that loops over weights become vector code.
#[inline]
fn round_ties_even(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

impl GroupParams {
    /// The nearest code of `weight`.
    #[must_use]
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the steps are clamped to the codes' range"
    )]
    pub fn code(self, weight: f32, grid: Grid) -> u8 {
        (self.ladder(grid).nearest(weight) + f32::from(self.zero)) as u8
    }

    /// The values of all codes.
    #[inline]
    pub(crate) fn ladder(self, grid: Grid) -> Ladder {
        let zero = f32::from(self.zero);
        Ladder { scale: self.scale.to_f32(), low: -zero, high: f32::from(grid.max_code()) - zero }
    }

    /// The value that `code` stands for.
    #[must_use]
    #[inline]
    pub fn value(self, code: u8) -> f32 {
        self.scale.to_f32() * (f32::from(code) - f32::from(self.zero))
    }
}

/// The values `scale * step` for the whole numbers `low..=high`, where `step` is a code minus the zero point. Made once for
/// loops over many weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ladder {
    pub(crate) scale: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Ladder {
    /// The step nearest to `weight`.
    #[inline]
    pub(crate) fn nearest(self, weight: f32) -> f32 {
        // Clamping first has the same effect as clamping last, since the bounds are integers.
        round_ties_even((weight / self.scale).max(self.low).min(self.high))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grids() -> impl Strategy<Value = Grid> {
        (prop::sample::select(vec![2_u8, 3, 4, 5, 6, 8]), any::<bool>()).prop_map(
            |(bits, symmetric)| {
                if symmetric {
                    Grid::symmetric(bits).unwrap()
                } else {
                    Grid::asymmetric(bits).unwrap()
                }
            },
        )
    }

    proptest! {
        #[test]
        fn error_is_at_most_a_step(grid in grids(), group in prop::collection::vec(-10.0_f32..10.0, 1..150)) {
            let params = fit_group(&group, grid);
            let scale = params.scale.to_f32();
            // Half a step inside the range. At its two ends the f16 rounding of the scale (2^-11 relative over 2^b steps)
            // and the rounding of the zero point (half a step) add up.
            let ends = f32::from(grid.max_code()) / 2048.0 + 0.5;
            for &w in &group {
                let error = (params.value(params.code(w, grid)) - w).abs();
                prop_assert!(error <= scale * (0.501 + ends), "{w} off by {error}, scale {scale}");
            }
        }

        #[test]
        fn representable_values_come_back(grid in grids(), group in prop::collection::vec(-3.0_f32..3.0, 1..40)) {
            let params = fit_group(&group, grid);
            for code in 0..=grid.max_code() {
                prop_assert_eq!(params.code(params.value(code), grid), code);
            }
        }

        #[test]
        fn zero_is_exact(grid in grids(), group in prop::collection::vec(-3.0_f32..3.0, 1..40)) {
            let params = fit_group(&group, grid);
            prop_assert_eq!(params.value(params.code(0.0, grid)), 0.0);
        }
    }

    fn weighted_error(group: &[f32], importance: &[f64], grid: Grid, params: GroupParams) -> f64 {
        let errors = group.iter().map(|&w| f64::from(w - params.value(params.code(w, grid))));
        errors.zip(importance).map(|(e, i)| i * e * e).sum()
    }

    proptest! {
        #[test]
        fn the_search_never_raises_the_weighted_error(
            grid in grids(),
            steps in 0_usize..14,
            weighted in prop::collection::vec((-3.0_f32..3.0, 0.0_f64..9.0), 1..80),
        ) {
            let (group, importance): (Vec<f32>, Vec<f64>) = weighted.into_iter().unzip();
            let found = search_group(&group, &importance, grid, steps);
            let found = weighted_error(&group, &importance, grid, found);
            prop_assert!(found <= weighted_error(&group, &importance, grid, fit_group(&group, grid)));
            for shrink in [1.0, 1.0 - 1.0 / steps.max(1) as f32 * 0.5] {
                let other = fit_group_shrunk(&group, grid, shrink);
                prop_assert!(steps < 2 || found <= weighted_error(&group, &importance, grid, other));
            }
        }
    }

    #[test]
    fn the_search_sacrifices_an_outlier_that_does_not_matter() {
        let grid = Grid::asymmetric(3).unwrap();
        let group = [0.1, 0.23, -0.31, 0.42, -0.17, 1.0];
        let importance = [1.0, 1.0, 1.0, 1.0, 1.0, 1e-6];
        let params = search_group(&group, &importance, grid, 10);
        assert!(params.scale < fit_group(&group, grid).scale);
        assert_eq!(search_group(&group, &[0.0; 6], grid, 10), fit_group(&group, grid));
    }

    #[test]
    fn rounding_is_to_the_nearest_and_to_even() {
        for i in -1024..=1024_i16 {
            let x = f32::from(i) / 4.0;
            assert_eq!(round_ties_even(x), x.round_ties_even(), "{x}");
        }
    }

    #[test]
    fn degenerate_groups_are_finite_and_near() {
        let grid = Grid::asymmetric(3).unwrap();
        for value in [0.0, 1e-30, 1e-8, -1e-8, 0.25, -0.25, 1e4] {
            let group = [value; 5];
            let params = fit_group(&group, grid);
            let back = params.value(params.code(value, grid));
            assert!((back - value).abs() <= value.abs() * 1e-3 + 3e-8, "{value} became {back}");
        }
    }
}
