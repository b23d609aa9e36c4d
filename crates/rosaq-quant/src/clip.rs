//! AWQ's search for clipping limits: a group rounds better when its few largest weights are cut.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;
use rosaq_tensor::Matrix;

use crate::{Grid, fit_group};

/// What a group's limits are shares of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clip {
    /// The largest magnitude, on both sides of zero, as in AWQ's public code.
    Magnitude,
    /// The least and the largest weight, each on its side of zero: a range that is not symmetric shrinks on both.
    Range,
}

impl Clip {
    /// The limits of a whole group.
    fn limits(self, group: &[f32]) -> [f32; 2] {
        let least = group.iter().fold(0.0, |m: f32, &v| m.min(v));
        let largest = group.iter().fold(0.0, |m: f32, &v| m.max(v));
        match self {
            Self::Magnitude => [-largest.max(-least), largest.max(-least)],
            Self::Range => [least, largest],
        }
    }
}

/// Limits tried: `1, 0.95, .. 0.55` of the whole ones (`n_grid = 20`, `max_shrink = 0.5` in AWQ's public code).
const N_STEPS: usize = 10;
const STEP: f32 = 1.0 / 20.0;

/// Clamps every group of `w` `[out, in]` to those limits under which rounding it to `grid` leaves the least error in
/// the group's own share of the output, `e H_gg eᵀ` with the diagonal block `H_gg` of the inputs' Gram matrix. Products in
/// f32. Source: AWQ (arXiv 2306.00978), public code `auto_clip`.
///
/// # Panics
/// If `gram` is not square of the input channels, or the group size is zero.
pub fn clip_groups(
    w: &mut Matrix,
    gram: MatRef<'_, f64>,
    grid: Grid,
    group_size: usize,
    clip: Clip,
) {
    let n = w.cols;
    assert_eq!((gram.nrows(), gram.ncols()), (n, n), "a square gram of {n}");
    let starts: Vec<usize> = (0..n).step_by(group_size).collect();
    let limits: Vec<Vec<[f32; 2]>> = starts
        .into_par_iter()
        .map(|first| {
            let channels = group_size.min(n - first);
            let block = gram.submatrix(first, first, channels, channels);
            group_limits(w, first, block, grid, clip)
        })
        .collect();
    for (row_idx, row) in w.data.chunks_exact_mut(n).enumerate() {
        for (group, limits) in row.chunks_mut(group_size).zip(&limits) {
            let [least, largest] = limits[row_idx];
            for value in group {
                *value = value.clamp(least, largest);
            }
        }
    }
}

/// The best limits of every row, for the group that begins at channel `first`.
#[expect(clippy::cast_possible_truncation, reason = "the loss is measured in f32")]
fn group_limits(
    w: &Matrix,
    first: usize,
    gram: MatRef<'_, f64>,
    grid: Grid,
    clip: Clip,
) -> Vec<[f32; 2]> {
    let channels = gram.nrows();
    let gram = Mat::from_fn(channels, channels, |i, j| gram[(i, j)] as f32);
    let group_of = |row: usize| &w.row(row)[first..first + channels];
    let whole: Vec<[f32; 2]> = (0..w.rows).map(|row| clip.limits(group_of(row))).collect();
    let mut best = vec![(f64::INFINITY, [0.0; 2]); w.rows];
    let mut errors = vec![0.0_f32; w.rows * channels];
    let mut through = vec![0.0_f32; w.rows * channels];
    let mut clipped = vec![0.0; channels];
    for step in 0..N_STEPS {
        let share = 1.0 - step as f32 * STEP;
        for (row, errors) in errors.chunks_exact_mut(channels).enumerate() {
            let ([least, largest], group) = (whole[row].map(|limit| limit * share), group_of(row));
            for (to, &v) in clipped.iter_mut().zip(group) {
                *to = v.clamp(least, largest);
            }
            let ladder = fit_group(&clipped, grid).ladder(grid);
            for ((error, &c), &v) in errors.iter_mut().zip(&clipped).zip(group) {
                *error = v - ladder.scale * ladder.nearest(c);
            }
        }
        let e = MatRef::from_column_major_slice(&errors, channels, w.rows);
        let dst = MatMut::from_column_major_slice_mut(&mut through, channels, w.rows);
        matmul(dst, Accum::Replace, &gram, e, 1.0, Par::Seq);
        let rows = errors.chunks_exact(channels).zip(through.chunks_exact(channels));
        for ((row, (errors, through)), best) in rows.enumerate().zip(&mut best) {
            let loss: f64 =
                errors.iter().zip(through).map(|(e, t)| f64::from(*e) * f64::from(*t)).sum();
            if loss < best.0 {
                *best = (loss, whole[row].map(|limit| limit * share));
            }
        }
    }
    best.into_iter().map(|(_, limits)| limits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(w: &Matrix, original: &Matrix, gram: MatRef<'_, f64>, grid: Grid, group: usize) -> f64 {
        let mut total = 0.0;
        for row in 0..w.rows {
            for (g, chunk) in w.row(row).chunks(group).enumerate() {
                let params = fit_group(chunk, grid);
                let value = |i: usize| f64::from(params.value(params.code(chunk[i], grid)));
                let e: Vec<f64> = (0..chunk.len())
                    .map(|i| f64::from(original.row(row)[g * group + i]) - value(i))
                    .collect();
                for i in 0..e.len() {
                    for j in 0..e.len() {
                        total += e[i] * gram[(g * group + i, g * group + j)] * e[j];
                    }
                }
            }
        }
        total
    }

    #[test]
    fn clipping_never_raises_the_loss_and_cuts_outliers() {
        let mut original =
            Matrix::new(6, 40, (0..240).map(|i| ((i * 37 % 101) as f32 - 50.0) / 400.0).collect());
        for row in 0..6 {
            original.row_mut(row)[row * 5] = 1.5;
        }
        // The outliers' channels are quiet, so that precision elsewhere is worth more.
        let gram = Mat::<f64>::from_fn(40, 40, |i, j| match (i == j, i % 5 == 0) {
            (true, true) => 0.01,
            (true, false) => 1.0,
            _ => 0.001,
        });
        let grid = Grid::asymmetric(3).unwrap();
        let before = loss(&original, &original, gram.as_ref(), grid, 16);
        let after = [Clip::Magnitude, Clip::Range].map(|clip| {
            let mut clipped = original.clone();
            clip_groups(&mut clipped, gram.as_ref(), grid, 16, clip);
            assert!(clipped.data.iter().all(|v| v.abs() < 1.5));
            loss(&clipped, &original, gram.as_ref(), grid, 16)
        });
        assert!(after.iter().all(|&after| after < 0.8 * before), "{before} became {after:?}");
    }
}
