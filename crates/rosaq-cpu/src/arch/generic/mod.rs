//! Kernels written once, over the vector operations of an instruction set.

mod any_group;
mod attention;
mod bytes;
mod f16;
mod packed;
mod simd;
mod tiled;
mod tiled_f16;
mod tiled_trellis;

use std::ops::Range;

use self::any_group::AnyGroupRows;
pub(crate) use self::attention::{AttentionRows, Kept, KeysValues};
pub(crate) use self::bytes::{ByteSimd, TileKernel};
use self::f16::F16Rows;
pub(crate) use self::simd::{Kernel, Simd};
pub(crate) use self::tiled::add_int_tiles;
pub(crate) use self::tiled_f16::add_f16_tiles;
pub(crate) use self::tiled_trellis::add_trellis_tiles;
use crate::prepare::Arranged;
use crate::segment::SegmentRows;

/// Adds the product of rows `rows` of a segment with each token to `out` `[rows, tokens]`.
///
/// `x` holds one slice of the segment's channels a token, and the same arranged for `L` lanes where
/// they fit the segment. Accumulates in f32.
pub(crate) fn add_rows<V: Simd<L>, const L: usize>(
    isa: V,
    segment: &SegmentRows<'_>,
    (x, arranged): (&[&[f32]], Option<&Arranged<L>>),
    rows: Range<usize>,
    out: &mut [f32],
) {
    match (segment, arranged) {
        (SegmentRows::Trellis(segment), _) => super::all::trellis_rows(segment, x, rows, out),
        (SegmentRows::F16(segment), _) => isa.enter::<F16Rows>(segment, x, rows, out),
        (SegmentRows::Codes(segment), None) => isa.enter::<AnyGroupRows>(segment, x, rows, out),
        (SegmentRows::Codes(segment), Some(x)) => packed::add_rows(isa, segment, x, rows, out),
    }
}
