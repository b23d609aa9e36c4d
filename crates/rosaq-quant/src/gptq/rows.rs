//! Rounds a few rows, channel after channel.
//!
//! Work arrays are `[positions][rows]`: all rows of a position are consecutive, so that loops over rows become vector code.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_unit_upper_triangular_in_place;
use faer::{Accum, MatMut, MatRef, Par};
use half::f16;
use rosaq_tensor::Matrix;
use rosaq_trellis::TrellisCode;

use super::GptqOptions;
use super::feedback::Feedback;
use super::rings::{Rings, Sample, trellis_scale};
use super::schedule::{Block, Coder, Schedule, Slot};
use crate::group::Ladder;
use crate::{QuantError, search_group};

/// What all rows have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    /// Weights in stored order.
    pub(super) w: &'a Matrix,
    pub(super) feedback: &'a Feedback,
    /// Diagonal of the Gram matrix in stored order.
    pub(super) energies: &'a [f64],
    pub(super) schedule: &'a Schedule<'a>,
    pub(super) options: &'a GptqOptions,
    /// What the squared error of each row counts; all alike if there are none.
    pub(super) row_weights: Option<&'a [f32]>,
}

/// Some rows, rounded; every part row-major in stored order.
#[derive(Debug)]
pub(super) struct RoundedRows {
    /// All input channels: the width of `codes`.
    pub(super) n_channels: usize,
    /// Meaningless at f16 channels.
    pub(super) codes: Vec<u8>,
    pub(super) scales: Vec<f16>,
    pub(super) zeros: Vec<u8>,
    pub(super) f16: Vec<f16>,
}

/// Rounds the rows `range` of the weights.
pub(super) fn round_rows(
    problem: &Problem<'_>,
    range: Range<usize>,
) -> Result<RoundedRows, QuantError> {
    let mut rows = Rows::load(*problem, range);
    if problem.options.act_order {
        rows.fit_given()?;
    }
    for block in &problem.schedule.blocks {
        rows.round_block(block)?;
    }
    Ok(rows.out)
}

struct Rows<'a> {
    problem: Problem<'a>,
    range: Range<usize>,
    /// The weights as given.
    weights: Vec<f32>,
    /// The weights plus what they took over so far.
    targets: Vec<f64>,
    /// Weights as given minus values, where they are rounded.
    errors: Vec<f64>,
    /// The values that each group of a grid allows, `[groups][rows]`, once it is fitted.
    ladders: Vec<Ladder>,
    rings: Rings,
    out: RoundedRows,
}

impl<'a> Rows<'a> {
    fn load(problem: Problem<'a>, range: Range<usize>) -> Self {
        let (n, n_rows) = (problem.w.cols, range.len());
        let Schedule { channels, groups, n_f16, .. } = problem.schedule;
        let mut weights = vec![0.0; n * n_rows];
        for (row, row_idx) in range.clone().enumerate() {
            let from = problem.w.row(row_idx);
            for (to, &channel) in weights[row..].iter_mut().step_by(n_rows).zip(channels) {
                *to = from[channel];
            }
        }
        let out = RoundedRows {
            n_channels: n,
            codes: vec![0; n * n_rows],
            scales: vec![f16::ZERO; groups.len() * n_rows],
            zeros: vec![0; groups.len() * n_rows],
            f16: vec![f16::ZERO; n_f16 * n_rows],
        };
        let targets = weights.iter().map(|&w| f64::from(w)).collect();
        let errors = vec![0.0; n * n_rows];
        let ladders = vec![Ladder { scale: 1.0, low: 0.0, high: 0.0 }; groups.len() * n_rows];
        let rings = Rings::new(n_rows);
        Self { problem, range, weights, targets, errors, ladders, rings, out }
    }

    /// Fits all groups on the weights as given.
    fn fit_given(&mut self) -> Result<(), QuantError> {
        for (idx, group) in self.problem.schedule.groups.iter().enumerate() {
            for (row, row_idx) in self.range.clone().enumerate() {
                let weights = &self.problem.w.row(row_idx)[group.channels.clone()];
                self.fit(idx, row, weights)?;
            }
            if let Coder::Trellis(code) = group.coder {
                let (n, n_rows) = (group.channels.len(), self.range.len());
                let column = |at: usize| {
                    let rows = (0..n_rows).map(|row| self.range.start + row);
                    let channel = group.channels.start + at;
                    let targets = rows.map(|row| f64::from(self.problem.w.row(row)[channel]));
                    Sample { targets: targets.collect(), weight: self.problem.energies[channel] }
                };
                let sample: Vec<Sample> = sampled(n).map(column).collect();
                self.widen(idx, code, 0.0, &sample)?;
            }
        }
        Ok(())
    }

    /// Fits a group whose first channel is next, on its compensated weights: those that would cancel all errors so far if
    /// they needed no rounding. With `b` the feedback that has arrived at the group's channels, they exceed the weights by the
    /// solution of `x L_gg = b`.
    fn fit_compensated(&mut self, idx: usize, end: usize) -> Result<(), QuantError> {
        let (group, n_rows) = (&self.problem.schedule.groups[idx], self.range.len());
        let n = group.channels.len();
        let positions = end - n..end;
        let weights = &self.weights[positions.start * n_rows..end * n_rows];
        let targets = &self.targets[positions.start * n_rows..end * n_rows];
        let mut excess: Vec<f64> =
            targets.iter().zip(weights).map(|(t, &w)| t - f64::from(w)).collect();
        let factor = self.problem.feedback.factor();
        let factor = factor.submatrix(positions.start, positions.start, n, n);
        let rhs = MatMut::from_column_major_slice_mut(&mut excess, n_rows, n).transpose_mut();
        solve_unit_upper_triangular_in_place(factor.transpose(), rhs, Par::Seq);
        let mut compensated = excess;
        for (to, &w) in compensated.iter_mut().zip(weights) {
            *to += f64::from(w);
        }
        let mut of_row = vec![0.0; n];
        for row in 0..n_rows {
            // Positions descend as channels ascend.
            let from = compensated[row..].iter().step_by(n_rows).rev();
            of_row.iter_mut().zip(from).for_each(|(to, &from)| *to = to_f32(from));
            self.fit(idx, row, &of_row)?;
        }
        if let Coder::Trellis(code) = group.coder {
            let growth = self.problem.feedback.growth(positions);
            let column = |at: usize| Sample {
                targets: compensated[at * n_rows..][..n_rows].to_vec(),
                weight: self.problem.feedback.pivots()[end - n + at],
            };
            let sample: Vec<Sample> = sampled(n).map(column).collect();
            self.widen(idx, code, growth, &sample)?;
        }
        Ok(())
    }

    /// Stretches the scales of a group of trellis codes by what lowers the error of `sample`, the weights of some of its channels,
    /// most, and by what feedback will add to the weights: a share of `growth` of the errors' own variance.
    fn widen(
        &mut self,
        idx: usize,
        code: &TrellisCode,
        growth: f64,
        sample: &[Sample],
    ) -> Result<(), QuantError> {
        let n_groups = self.problem.schedule.groups.len();
        let scales: Vec<f16> = self.out.scales[idx..].iter().step_by(n_groups).copied().collect();
        let weights = self.problem.row_weights.map(|weights| &weights[self.range.clone()]);
        let stretch = self.rings.best_stretch(code, sample, &scales, weights)?;
        let fed_back = (fed_back_share(code.bits()) * growth).min(MOST_FED_BACK);
        let stretch = stretch / (1.0 - fed_back).sqrt();
        let stored = self.out.scales[idx..].iter_mut().step_by(n_groups);
        for (to, scale) in stored.zip(&scales) {
            let wider = f16::from_f64(scale.to_f64() * stretch);
            *to = if wider.is_finite() { wider } else { *scale };
        }
        Ok(())
    }

    fn fit(&mut self, idx: usize, row: usize, weights: &[f32]) -> Result<(), QuantError> {
        let Problem { schedule, energies, options, .. } = self.problem;
        let group = &schedule.groups[idx];
        let energies = &energies[group.channels.clone()];
        let at = row * schedule.groups.len() + idx;
        let grid = match group.coder {
            Coder::Grid(grid) => grid,
            Coder::Trellis(code) => {
                self.out.scales[at] = trellis_scale(weights, code);
                let magnitude = f64::from(self.out.scales[at]);
                return if magnitude.is_finite() {
                    Ok(())
                } else {
                    Err(self.beyond_f16(magnitude))
                };
            }
        };
        let params = search_group(weights, energies, grid, options.scale_steps);
        if !params.scale.is_finite() {
            let magnitude = weights.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
            return Err(self.beyond_f16(f64::from(magnitude)));
        }
        (self.out.scales[at], self.out.zeros[at]) = (params.scale, params.zero);
        self.ladders[idx * self.range.len() + row] = params.ladder(grid);
        Ok(())
    }

    fn round_block(&mut self, block: &Block) -> Result<(), QuantError> {
        for piece in &block.pieces {
            if let Some(idx) = piece.fit {
                self.fit_compensated(idx, piece.positions.end)?;
            }
            for position in piece.positions.clone().rev() {
                self.take_over(position, piece.positions.end);
                self.round_channel(position)?;
            }
            self.pass_on(&piece.positions, block.positions.start..piece.positions.start);
        }
        self.pass_on(&block.positions, 0..block.positions.start);
        Ok(())
    }

    /// Adds the feedback from the positions between `position` and `end`.
    fn take_over(&mut self, position: usize, end: usize) {
        let n_rows = self.range.len();
        let target = &mut self.targets[position * n_rows..][..n_rows];
        let factor = self.problem.feedback.factor().col(position);
        let errors = self.errors[(position + 1) * n_rows..end * n_rows].chunks_exact(n_rows);
        for (errors, later) in errors.zip(position + 1..) {
            let share = factor[later];
            for (t, e) in target.iter_mut().zip(errors) {
                *t += share * e;
            }
        }
    }

    /// Adds the feedback from the positions `from` to all of `to`.
    fn pass_on(&mut self, from: &Range<usize>, to: Range<usize>) {
        if to.is_empty() {
            return;
        }
        let n_rows = self.range.len();
        let errors = &self.errors[from.start * n_rows..from.end * n_rows];
        let targets = &mut self.targets[to.start * n_rows..to.end * n_rows];
        let errors = MatRef::from_column_major_slice(errors, n_rows, from.len());
        let targets = MatMut::from_column_major_slice_mut(targets, n_rows, to.len());
        let factor = self.problem.feedback.factor();
        let factor = factor.submatrix(from.start, to.start, from.len(), to.len());
        matmul(targets, Accum::Add, errors, factor, 1.0, Par::Seq);
    }

    /// Rounds every row of a position and notes the errors.
    fn round_channel(&mut self, position: usize) -> Result<(), QuantError> {
        let channel = self.problem.schedule.channels[position];
        match self.problem.schedule.slots[channel] {
            Slot::F16(idx) => self.round_to_f16(position, idx),
            Slot::Group(idx) => match self.problem.schedule.groups[idx].coder {
                Coder::Grid(_) => {
                    self.round_to_grid(position, channel, idx);
                    Ok(())
                }
                Coder::Trellis(code) => self.round_to_trellis(position, channel, idx, code),
            },
        }
    }

    fn round_to_f16(&mut self, position: usize, idx: usize) -> Result<(), QuantError> {
        let (n_rows, n_f16) = (self.range.len(), self.problem.schedule.n_f16);
        for row in 0..n_rows {
            let at = position * n_rows + row;
            let value = f16::from_f64(self.targets[at]);
            if !value.is_finite() {
                return Err(self.beyond_f16(self.targets[at].abs()));
            }
            self.errors[at] = f64::from(self.weights[at]) - value.to_f64();
            self.out.f16[row * n_f16 + idx] = value;
        }
        Ok(())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "steps lie within the codes' range"
    )]
    fn round_to_grid(&mut self, position: usize, channel: usize, idx: usize) {
        let (n_rows, n) = (self.range.len(), self.out.n_channels);
        let positions = position * n_rows..(position + 1) * n_rows;
        let ladders = &self.ladders[idx * n_rows..][..n_rows];
        let codes = &mut self.rings.codes;
        let errors = self.errors[positions.clone()].iter_mut().zip(codes.iter_mut());
        let weights = self.weights[positions.clone()].iter().zip(&self.targets[positions]);
        for (((error, code), (&weight, &target)), ladder) in errors.zip(weights).zip(ladders) {
            let step = ladder.nearest(to_f32(target));
            *error = f64::from(weight) - f64::from(ladder.scale * step);
            *code = (step - ladder.low) as u8;
        }
        for (to, &code) in self.out.codes[channel..].iter_mut().step_by(n).zip(&*codes) {
            *to = code;
        }
    }

    /// Finds the ring of codes of a position.
    fn round_to_trellis(
        &mut self,
        position: usize,
        channel: usize,
        idx: usize,
        code: &TrellisCode,
    ) -> Result<(), QuantError> {
        let (n_rows, n) = (self.range.len(), self.out.n_channels);
        let n_groups = self.problem.schedule.groups.len();
        let positions = position * n_rows..(position + 1) * n_rows;
        let scales = self.out.scales[idx..].iter().step_by(n_groups);
        let row_weights = self.problem.row_weights.map(|weights| &weights[self.range.clone()]);
        self.rings.encode(code, &self.targets[positions.clone()], scales, row_weights)?;
        let values = self.rings.values().zip(&self.weights[positions.clone()]);
        for (error, (value, &weight)) in self.errors[positions].iter_mut().zip(values) {
            *error = f64::from(weight) - f64::from(value);
        }
        for (to, &code) in self.out.codes[channel..].iter_mut().step_by(n).zip(&self.rings.codes) {
            *to = code;
        }
        Ok(())
    }

    fn beyond_f16(&self, magnitude: f64) -> QuantError {
        QuantError::Compensation { magnitude, damping: self.problem.options.damping }
    }
}

/// Some of `n` channels, evenly spread.
fn sampled(n: usize) -> impl Iterator<Item = usize> {
    const MOST: usize = 16;
    let count = n.min(MOST);
    (0..count).map(move |i| (2 * i + 1) * n / (2 * count))
}

/// Feedback is taken to make up no more than this share of the variance of what is rounded: beyond it, its estimate explodes.
const MOST_FED_BACK: f64 = 0.75;

/// What the errors of trellis codes are taken to add to the variance of later targets, as a share of it and for a growth of 1. A unit
/// Gaussian's mean squared error is 1.1 to 1.3 of `4^-bits`. The factor was chosen by trial on the two bundled models, of 1.2 and
/// 4, and is not a fitted optimum.
fn fed_back_share(bits: u8) -> f64 {
    4.0 * 0.25_f64.powi(i32::from(bits))
}

#[expect(clippy::cast_possible_truncation, reason = "grids are fitted and met in f32")]
fn to_f32(x: f64) -> f32 {
    x as f32
}
