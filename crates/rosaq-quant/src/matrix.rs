//! A whole weight matrix into a packed linear.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rosaq_pack::{
    ChannelOrder, PackedLinear, PackedLinearBuilder, Segment, SegmentKind, SegmentValues,
};
use rosaq_tensor::Matrix;

use crate::nearest::check_range;
use crate::{Grid, QuantError, quantize_nearest};

/// The columns of `w` in the order `order`: column `i` of the result is column `order[i]` of `w`.
#[must_use]
pub fn reorder_columns(w: &Matrix, order: &[u32]) -> Matrix {
    let mut out = Matrix::zeros(w.rows, w.cols);
    for row_idx in 0..w.rows {
        let from = w.row(row_idx);
        for (to, &channel) in out.row_mut(row_idx).iter_mut().zip(order) {
            *to = from[channel as usize];
        }
    }
    out
}

/// Packs `w` `[out, in]`, given in the model's channel order, into `segments` over its channels in the order `order`: f16
/// segments keep their values, integer segments are rounded to nearest.
///
/// # Errors
/// Weights beyond the f16 range, segments that do not fit the matrix, kinds that nearest rounding cannot fill.
pub fn pack_nearest(
    w: &Matrix,
    segments: &[Segment],
    order: ChannelOrder,
) -> Result<PackedLinear, QuantError> {
    check_range(w)?;
    order.validate(w.cols)?;
    let ordered = order.permutation(w.cols).map(|p| reorder_columns(w, &p));
    let w = ordered.as_ref().unwrap_or(w);
    let mut builder = PackedLinearBuilder::new(w.rows).order(order);
    let mut first = 0;
    for segment in segments {
        let values = match segment.kind {
            SegmentKind::F16 => SegmentValues::F16(f16_columns(w, first, segment.channels)),
            kind => {
                let unsupported = || QuantError::UnsupportedSegment { kind: format!("{kind:?}") };
                let grid = Grid::of(kind).ok_or_else(unsupported)?;
                let quantized =
                    quantize_nearest(w, first, segment.channels, grid, segment.group_size)?;
                let zeros = if grid.symmetric { Vec::new() } else { quantized.zeros };
                SegmentValues::Codes { codes: quantized.codes, scales: quantized.scales, zeros }
            }
        };
        builder = builder.segment(*segment, values);
        first += segment.channels;
    }
    Ok(builder.build()?)
}

fn f16_columns(w: &Matrix, first: usize, channels: usize) -> Vec<f16> {
    let mut values = vec![f16::ZERO; w.rows * channels];
    for (row_idx, row) in values.chunks_exact_mut(channels.max(1)).enumerate() {
        row.convert_from_f32_slice(&w.row(row_idx)[first..first + channels]);
    }
    values
}

/// Rounds every value of `m` to f16 and back, as storing it would.
pub fn round_to_f16(m: &mut Matrix) {
    let mut halves = vec![f16::ZERO; m.data.len()];
    halves.convert_from_f32_slice(&m.data);
    halves.convert_to_f32_slice(&mut m.data);
}
