//! Nearest rounding of rotated weights, with what the gradient has to know about it.

use faer::{Mat, MatRef};
use rayon::prelude::*;
use rosaq_quant::Grid;

/// Smallest scale, as in `rosaq_quant::fit_group`: the least positive f16.
const SCALE_FLOOR: f32 = 6e-8;

/// How the scale of a group depends on its weights: by at most two of them, the largest and the smallest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GroupScale {
    pub(crate) scale: f32,
    /// Channel inside the group, and derivative of the scale by its weight; 0 where zero itself bounds the range.
    pub(crate) extremes: [(usize, f32); 2],
}

/// Weights minus their rounded values, and the scales, both channels x outputs.
#[derive(Debug)]
pub(crate) struct Rounded {
    pub(crate) error: Mat<f32>,
    /// Group after group of one output, output after output.
    pub(crate) scales: Vec<GroupScale>,
}

/// Rounds `v` (channels x outputs) to the nearest value of the grid. Scales stay in f32; the stored ones are rounded to f16,
/// which moves a weight by up to 2^-11 of itself and has no useful gradient.
pub(crate) fn round(v: MatRef<'_, f32>, grid: Grid, group_size: usize) -> Rounded {
    let (channels, outputs) = (v.nrows(), v.ncols());
    let mut error = Mat::zeros(channels, outputs);
    let columns = error.as_mut().par_col_chunks_mut(1).enumerate();
    let scales: Vec<Vec<GroupScale>> = columns
        .map(|(output, column)| {
            let error = column.col_mut(0).try_as_col_major_mut().expect("owned columns are dense");
            let weights = v.col(output).try_as_col_major().expect("owned columns are dense");
            let groups = weights.as_slice().chunks(group_size);
            let errors = error.as_slice_mut().chunks_mut(group_size);
            groups.zip(errors).map(|(group, error)| round_group(group, grid, error)).collect()
        })
        .collect();
    Rounded { error, scales: scales.into_iter().flatten().collect() }
}

/// The range includes zero and every weight, so no code is clamped except for rounding at the ends.
fn round_group(group: &[f32], grid: Grid, error: &mut [f32]) -> GroupScale {
    let (mut largest, mut smallest) = ((0, 0.0_f32), (0, 0.0_f32));
    for (channel, &weight) in group.iter().enumerate() {
        if weight > largest.1 {
            largest = (channel, weight);
        }
        if weight < smallest.1 {
            smallest = (channel, weight);
        }
    }
    let params = fit(largest, smallest, grid);
    let scale = params.scale;
    let top = f32::from(grid.max_code());
    let zero = match grid.symmetric {
        true => f32::from(grid.bits.symmetric_zero()),
        false => (-smallest.1 / scale).round_ties_even().min(top),
    };
    for (error, &weight) in error.iter_mut().zip(group) {
        let steps = (weight / scale).round_ties_even().clamp(-zero, top - zero);
        *error = weight - scale * steps;
    }
    params
}

/// Scale and slopes of a group from its extremes (channel, weight), as `rosaq_quant::fit_group` has it.
fn fit(largest: (usize, f32), smallest: (usize, f32), grid: Grid) -> GroupScale {
    let top = f32::from(grid.max_code());
    let slope = |weight: f32, slope: f32| if weight == 0.0 { 0.0 } else { slope };
    let none = (0, 0.0);
    let (scale, extremes) = if grid.symmetric {
        let zero = f32::from(grid.bits.symmetric_zero());
        let (up, down) = (largest.1 / (top - zero), -smallest.1 / zero);
        if up >= down {
            (up, [(largest.0, slope(largest.1, 1.0 / (top - zero))), none])
        } else {
            (down, [(smallest.0, -1.0 / zero), none])
        }
    } else {
        let extremes =
            [(largest.0, slope(largest.1, 1.0 / top)), (smallest.0, slope(smallest.1, -1.0 / top))];
        ((largest.1 - smallest.1) / top, extremes)
    };
    if scale < SCALE_FLOOR {
        return GroupScale { scale: SCALE_FLOOR, extremes: [none; 2] };
    }
    GroupScale { scale, extremes }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rosaq_quant::fit_group;

    use super::*;

    proptest! {
        #[test]
        fn scales_and_errors_are_those_of_the_quantizer(
            bits in prop::sample::select(vec![2_u8, 3, 4, 8]),
            symmetric: bool,
            group in prop::collection::vec(-3.0_f32..3.0, 1..60),
        ) {
            let grid = if symmetric { Grid::symmetric(bits) } else { Grid::asymmetric(bits) }.unwrap();
            let mut error = vec![0.0; group.len()];
            let found = round_group(&group, grid, &mut error);
            let stored = fit_group(&group, grid);
            let scale = stored.scale.to_f32();
            // The stored scale is the same rounded to f16, 2^-11 relative.
            prop_assert!((found.scale - scale).abs() <= found.scale / 2048.0 + 6e-8);
            for (e, _) in error.iter().zip(&group) {
                prop_assert!(e.abs() <= 0.5001 * found.scale, "{e} of {}", found.scale);
            }
        }

        #[test]
        fn slopes_are_the_derivatives_of_the_scale(
            symmetric: bool,
            group in prop::collection::vec(-3.0_f32..3.0, 2..20),
            channel in 0_usize..20,
        ) {
            let grid = if symmetric { Grid::symmetric(3) } else { Grid::asymmetric(3) }.unwrap();
            let channel = channel % group.len();
            let mut unused = vec![0.0; group.len()];
            let mut scale = |shift: f32| {
                let mut shifted = group.clone();
                shifted[channel] += shift;
                round_group(&shifted, grid, &mut unused)
            };
            // A shift of 2^-10 may change which weight is extreme; then the slope lies between the two one-sided ones.
            let step = 1.0 / 1024.0;
            let (before, at, after) = (scale(-step), scale(0.0), scale(step));
            let slope: f32 = at.extremes.iter().filter(|e| e.0 == channel).map(|e| e.1).sum();
            let sides = [(at.scale - before.scale) / step, (after.scale - at.scale) / step];
            // Differences of numbers near 1 in f32 over 2^-10.
            prop_assert!(sides[0].min(sides[1]) - 1e-3 <= slope && slope <= sides[0].max(sides[1]) + 1e-3);
        }
    }

    #[test]
    fn groups_of_zeros_have_no_slope() {
        let mut error = [1.0; 3];
        let found = round_group(&[0.0; 3], Grid::asymmetric(4).unwrap(), &mut error);
        assert_eq!(found, GroupScale { scale: SCALE_FLOOR, extremes: [(0, 0.0); 2] });
        assert_eq!(error, [0.0; 3]);
    }
}
