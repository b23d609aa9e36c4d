//! GPTQ rounding: every channel's rounding error is made good by the channels that are rounded after it.

mod feedback;
mod rings;
mod rows;
mod schedule;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trellis_tests;

use std::sync::Arc;

use faer::MatRef;
use rayon::prelude::*;
use rosaq_pack::{
    ChannelOrder, Layout, PackedLinear, PackedLinearBuilder, Segment, SegmentKind, SegmentLayout,
    SegmentValues,
};
use rosaq_tensor::Matrix;

use crate::nearest::check_range;
use crate::{QuantError, TrellisCodes, reorder_columns};
use feedback::{Feedback, channel_energies};
use rows::{Problem, RoundedRows, round_rows};
use schedule::{Group, Schedule};

/// How GPTQ rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GptqOptions {
    /// Multiple of the Gram matrix's mean diagonal that is added to its diagonal, at least 0.
    pub damping: f64,
    /// False: channels are rounded as they are stored, and a group is fitted when its first channel is reached, on weights
    /// that carry all compensation so far. True: all groups are fitted on the given weights, then the channels are rounded by
    /// descending diagonal of the Gram matrix (of equals the first stored one goes first).
    pub act_order: bool,
    /// Ranges tried for each group by [`crate::search_group`], weighted by the diagonal of the Gram matrix; 0 takes the
    /// group's whole range.
    pub scale_steps: usize,
}

impl Default for GptqOptions {
    fn default() -> Self {
        Self { damping: 0.01, act_order: false, scale_steps: 0 } // `percdamp` in gptq.py of IST-DASLab/gptq
    }
}

/// How trellis segments are rounded.
#[derive(Debug, Clone, Copy)]
pub struct TrellisOptions<'a> {
    /// The codes that they name.
    pub codes: &'a TrellisCodes,
    /// What the squared error of each row counts; all alike if there are none.
    pub row_weights: Option<&'a [f32]>,
}

impl<'a> TrellisOptions<'a> {
    /// All rows count alike.
    #[must_use]
    pub fn new(codes: &'a TrellisCodes) -> Self {
        Self { codes, row_weights: None }
    }
}

/// Rows that are rounded together. Fixed, so that results do not depend on the number of threads; small, so that a linear of
/// 192 outputs still feeds several.
const ROWS: usize = 64;

/// Packs `w` `[out, in]`, given in the model's channel order, into `segments` over its channels in the order `order`, rounding
/// such that the output error `tr(E H Eᵀ)` is small; `H` is `gram`, the inputs' Gram matrix `xᵀx` `[in, in]` in the model's
/// channel order, of any scale, symmetrized here.
///
/// The channels of f16 segments are rounded last whatever the order, so that they absorb the others' errors; their values
/// change. A channel without energy (`H_ii` not above 0) is decoupled: its weights are neither compensated nor zeroed (as
/// GPTQ's public code does) but rounded to nearest, since it may well carry something outside the calibration set.
///
/// With `Λ` the damped `H` in rounding order, `Λ = M D Mᵀ` with `M` unit upper triangular (the Cholesky factor of the reversed
/// matrix) gives `e Λ eᵀ = Σ d_i (e_i + Σ_{j<i} e_j M_ji)²` for an error row `e = w - q`. So channel `i` is rounded to nearest
/// from `w_i + Σ_{j<i} e_j M_ji`. GPTQ's update by `U_ij / U_ii`, `Λ⁻¹ = UᵀU`, reaches the same number, because
/// `U = D^{-1/2} M⁻¹`; nothing is inverted here. Everything is accumulated in f64; values to be rounded and groups to be fitted
/// are cast to f32.
///
/// When the damped matrix is not positive definite in f64, damping is raised tenfold (at least to 1e-6) up to 1.
///
/// Trellis segments name one of `trellis.codes`. Their codes run down the rows of a channel, so that the feedback along the channels
/// stays what it is; a group's scale is fitted to the root mean square of its weights, and that of all rows stretched by what
/// lowers the errors of a sample of channels and by what feedback will add to the weights. Since they share the bits of their
/// windows, a row's error can be lowered at the cost of its neighbours': the sum over all rows of the output error times
/// `trellis.row_weights` is made small (rows that are rounded by themselves do not heed them). With mean squared errors at liberty
/// to differ, that sum is proportional to the geometric mean of the weights, not to their mean.
///
/// Source: GPTQ (arXiv 2210.17323), algorithm 1 and section 3.3; the reading as successive rounding: arXiv 2507.18553.
///
/// # Errors
/// As [`crate::pack_nearest`]; a damping below 0, a Gram matrix that is not finite or that no damping makes positive definite,
/// and compensated weights beyond the f16 range.
///
/// # Panics
/// If `gram` is not square of the input channels, or there is not one row weight for each row.
pub fn pack_gptq(
    w: &Matrix,
    gram: MatRef<'_, f64>,
    segments: &[Segment],
    order: ChannelOrder,
    options: &GptqOptions,
    trellis: TrellisOptions<'_>,
) -> Result<PackedLinear, QuantError> {
    assert_eq!((gram.nrows(), gram.ncols()), (w.cols, w.cols), "a square gram of {}", w.cols);
    let TrellisOptions { codes, row_weights } = trellis;
    assert!(row_weights.is_none_or(|weights| weights.len() == w.rows), "a weight a row");
    check_range(w)?;
    order.validate(w.cols)?;
    let layout = Layout::new(w.rows, w.cols, segments)?;
    let permutation = order.permutation(w.cols);
    let ordered = permutation.as_ref().map(|p| reorder_columns(w, p));
    let original = |stored: usize| permutation.as_ref().map_or(stored, |p| p[stored] as usize);

    let energies = channel_energies(gram)?;
    let stored_energies: Vec<f64> = (0..w.cols).map(|i| energies[original(i)]).collect();
    let schedule = Schedule::new(segments, &stored_energies, options.act_order, codes)?;
    let channels: Vec<usize> = schedule.channels.iter().map(|&i| original(i)).collect();
    let problem = Problem {
        w: ordered.as_ref().unwrap_or(w),
        feedback: &Feedback::new(gram, &energies, &channels, options.damping)?,
        energies: &stored_energies,
        schedule: &schedule,
        options,
        row_weights,
    };
    // A ring of trellis codes runs through all rows.
    let n_rows = if schedule.groups.iter().any(Group::is_trellis) { w.rows } else { ROWS };
    let chunks: Vec<Result<RoundedRows, QuantError>> = (0..w.rows.div_ceil(n_rows))
        .into_par_iter()
        .map(|chunk| round_rows(&problem, chunk * n_rows..w.rows.min((chunk + 1) * n_rows)))
        .collect();
    let chunks = chunks.into_iter().collect::<Result<Vec<_>, _>>()?;

    let mut builder =
        PackedLinearBuilder::new(w.rows).order(order).codebooks(Arc::clone(codes.levels()));
    for (segment, at) in segments.iter().zip(&layout.segments) {
        builder = builder.segment(*segment, segment_values(segment, at, &layout, &chunks));
    }
    Ok(builder.build()?)
}

/// What GPTQ leaves of rounding errors of variance 1: they add `channels` times this to the squared error of one output. It is
/// the mean pivot of `gram`, the inputs' Gram matrix `xᵀx` `[in, in]`, damped as [`pack_gptq`] damps it, for channels that
/// are rounded in their order.
///
/// # Errors
/// As [`pack_gptq`] for the Gram matrix and the damping.
pub fn mean_pivot(gram: MatRef<'_, f64>, damping: f64) -> Result<f64, QuantError> {
    let energies = channel_energies(gram)?;
    let last_first: Vec<usize> = (0..energies.len()).rev().collect();
    Ok(Feedback::new(gram, &energies, &last_first, damping)?.mean_pivot())
}

/// Collects one segment's columns from all rows.
fn segment_values(
    segment: &Segment,
    at: &SegmentLayout,
    layout: &Layout,
    chunks: &[RoundedRows],
) -> SegmentValues {
    let n_channels = chunks[0].n_channels;
    if segment.kind == SegmentKind::F16 {
        let all = chunks.iter().map(|chunk| chunk.f16.as_slice());
        return SegmentValues::F16(columns(
            all,
            layout.f16_per_row,
            at.f16_start,
            segment.channels,
        ));
    }
    let codes = chunks.iter().map(|chunk| chunk.codes.as_slice());
    let scales = chunks.iter().map(|chunk| chunk.scales.as_slice());
    let zeros = chunks.iter().map(|chunk| chunk.zeros.as_slice());
    SegmentValues::Codes {
        codes: columns(codes, n_channels, at.channel_start, segment.channels),
        scales: columns(scales, layout.groups_per_row, at.group_start, at.n_groups),
        zeros: match segment.kind.has_zeros() {
            true => columns(zeros, layout.groups_per_row, at.group_start, at.n_groups),
            false => Vec::new(),
        },
    }
}

/// Columns `first..first + count` of the row-major `chunks`, all `width` wide.
fn columns<'a, T: Copy + 'a>(
    chunks: impl Iterator<Item = &'a [T]>,
    width: usize,
    first: usize,
    count: usize,
) -> Vec<T> {
    let rows = chunks.flat_map(|chunk| chunk.chunks_exact(width));
    rows.flat_map(|row| &row[first..first + count]).copied().collect()
}
