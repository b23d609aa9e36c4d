//! Nearest rounding of a run of columns.

use half::f16;
use rayon::prelude::*;
use rosaq_tensor::Matrix;

use crate::{Grid, QuantError, fit_group};

/// Codes, scales and zero points of a run of input channels, row-major, before packing.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMatrix {
    /// One code a weight, `[out, channels]`.
    pub codes: Vec<u8>,
    /// One scale a group, `[out, groups]`.
    pub scales: Vec<f16>,
    /// One zero point a group, `[out, groups]`.
    pub zeros: Vec<u8>,
}

/// Rounds columns `first..first + channels` of `w` to the nearest codes, in groups of `group_size`; the last group may be
/// short.
///
/// # Errors
/// [`QuantError::OutOfRange`] for weights that are not finite or whose scale would overflow f16.
///
/// # Panics
/// If the columns are out of range or the group size is zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the steps are clamped to the codes' range"
)]
pub fn quantize_nearest(
    w: &Matrix,
    first: usize,
    channels: usize,
    grid: Grid,
    group_size: usize,
) -> Result<QuantizedMatrix, QuantError> {
    assert!(
        first + channels <= w.cols && group_size > 0,
        "columns {first}+{channels} of {}",
        w.cols
    );
    check_range(w)?;
    let groups = channels.div_ceil(group_size);
    let mut out = QuantizedMatrix {
        codes: vec![0; w.rows * channels],
        scales: vec![f16::ZERO; w.rows * groups],
        zeros: vec![0; w.rows * groups],
    };
    if channels == 0 {
        return Ok(out);
    }
    let rows = out
        .codes
        .par_chunks_mut(channels)
        .zip(out.scales.par_chunks_mut(groups))
        .zip(out.zeros.par_chunks_mut(groups))
        .enumerate();
    rows.for_each(|(row_idx, ((codes, scales), zeros))| {
        let row = &w.row(row_idx)[first..first + channels];
        let groups = row.chunks(group_size).zip(codes.chunks_mut(group_size));
        for ((group, codes), (scale, zero)) in groups.zip(scales.iter_mut().zip(zeros)) {
            let params = fit_group(group, grid);
            let (ladder, offset) = (params.ladder(grid), f32::from(params.zero));
            for (code, &weight) in codes.iter_mut().zip(group) {
                *code = (ladder.nearest(weight) + offset) as u8;
            }
            (*scale, *zero) = (params.scale, params.zero);
        }
    });
    Ok(out)
}

/// Weights past the f16 range give scales or salient values that cannot be stored.
pub(crate) fn check_range(w: &Matrix) -> Result<(), QuantError> {
    let largest = f16::MAX.to_f32(); // a call, as far as the compiler knows
    let bad = w.data.iter().find(|v| !v.is_finite() || v.abs() > largest);
    bad.map_or(Ok(()), |&v| Err(QuantError::OutOfRange { magnitude: v.abs() }))
}
