//! Curves as SVG paths of bounded length.

use std::fmt::Write as _;
use std::ops::Range;

use super::px;
use super::scale::Scale;

/// Points of all curves of one kind in a page, which keeps the page under about a megabyte.
const POINTS_OF_A_PAGE: usize = 40_000;

/// Points that one of `n_curves` may take.
pub(crate) fn points_of_a_curve(n_curves: usize) -> usize {
    (POINTS_OF_A_PAGE / n_curves.max(1)).clamp(50, 1000)
}

/// A curve through the values at positions `range`, drawn at x = position + 1. If there are more than `max_points`, each
/// run of neighbors is drawn by its smallest and its largest value, so that no peak is lost. What has no place on the axes
/// is left out.
pub(crate) fn curve(
    values: &[f64],
    range: Range<usize>,
    max_points: usize,
    x: &Scale,
    y: &Scale,
) -> String {
    let mut d = String::new();
    for idx in thin(values, range, max_points) {
        if let (Some(x), Some(y)) = (x.place(idx as f64 + 1.0), y.place(values[idx])) {
            let command = if d.is_empty() { 'M' } else { 'L' };
            write!(d, "{command}{},{}", px(x), px(y)).expect("a string takes all");
        }
    }
    d
}

/// Positions of `range` to draw, ascending, at most about `max_points`.
fn thin(values: &[f64], range: Range<usize>, max_points: usize) -> Vec<usize> {
    let range = range.start.min(values.len())..range.end.min(values.len());
    if range.len() <= max_points {
        return range.collect();
    }
    let run = range.len().div_ceil((max_points / 2).max(1));
    let mut kept = Vec::with_capacity(max_points + 2);
    for start in range.clone().step_by(run) {
        let by_value = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        let drawable = || {
            (start..range.end.min(start + run))
                .filter(|i| values[*i].is_finite() && values[*i] > 0.0)
        };
        let (low, high) = (drawable().min_by(by_value), drawable().max_by(by_value));
        kept.extend([low.min(high), low.max(high)].into_iter().flatten());
    }
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_peaks_and_ends_in_order() {
        let mut values = vec![1.0; 10_000];
        values[7_777] = 50.0;
        values[3_210] = 0.01;
        values[5_000] = f64::NAN;
        let kept = thin(&values, 0..10_000, 100);
        assert!(kept.len() <= 102);
        assert!(kept.is_sorted());
        assert!(kept.contains(&7_777) && kept.contains(&3_210) && !kept.contains(&5_000));
    }

    #[test]
    fn short_curves_are_drawn_whole() {
        let x = Scale::linear(1.0, 3.0, (0.0, 20.0));
        let y = Scale::linear(0.0, 1.0, (10.0, 0.0));
        assert_eq!(curve(&[0.0, 1.0, 0.5], 0..3, 10, &x, &y), "M0,10L10,0L20,5");
        assert_eq!(curve(&[0.0, f64::NAN, 0.5], 0..9, 10, &x, &y), "M0,10L20,5");
        assert_eq!(curve(&[], 0..9, 10, &x, &y), "");
    }
}
