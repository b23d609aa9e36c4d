//! Levels of codebooks and trellises, as kernels look them up.

use half::f16;

use super::{DeviceKind, DeviceSegment};
use crate::trellis::state_levels;
use crate::{PackedLinear, Segment, SegmentKind};

/// Levels of a codebook's table, filled up with zeros.
const CODEBOOK: usize = 16;
/// Width of a state in kernels. A shorter window repeats its levels.
const WINDOW: u8 = 12;

/// The bytes of a segment's table; none where it has no table.
pub(super) fn table_of(linear: &PackedLinear, segment: &Segment) -> Vec<u8> {
    let Some(id) = segment.kind.table() else { return Vec::new() };
    let levels = &linear.codebooks[id as usize];
    match segment.kind {
        SegmentKind::Trellis { window, .. } => trellis(levels, window),
        _ => {
            let byte =
                |at: usize, high| levels.get(at).map_or(0, |level| level.to_le_bytes()[high]);
            let low = (0..CODEBOOK).map(|at| byte(at, 0));
            low.chain((0..CODEBOOK).map(|at| byte(at, 1))).collect()
        }
    }
}

/// Levels that the table of a trellis holds, for the kernel; zero for other kinds.
pub(super) const fn n_levels(kind: DeviceKind, table: &[u8]) -> usize {
    if matches!(kind, DeviceKind::Trellis(_)) { table.len() / size_of::<f16>() } else { 0 }
}

/// The level of each code (of a codebook) or state (of a trellis), from the table of a segment.
pub(super) fn levels(segment: &DeviceSegment, image: &[u8]) -> Vec<f32> {
    let table = &image[segment.table..];
    let level = |low, high| f16::from_le_bytes([table[low], table[high]]);
    match segment.kind {
        DeviceKind::Trellis(_) => {
            let n = segment.n_levels;
            let levels: Vec<f16> = (0..n).map(|at| level(2 * at, 2 * at + 1)).collect();
            state_levels(&levels, WINDOW)
        }
        DeviceKind::Codebook(_) => {
            (0..CODEBOOK).map(|at| level(at, CODEBOOK + at).to_f32()).collect()
        }
        _ => Vec::new(),
    }
}

/// Two tables of 64 as they are; all others as the level of each state of 12 bits.
fn trellis(levels: &[f16], window: u8) -> Vec<u8> {
    let is_sum = levels.len() != 1 << window;
    if is_sum && window == WINDOW {
        return levels.iter().flat_map(|level| level.to_le_bytes()).collect();
    }
    let states = state_levels(levels, window);
    let all = states.iter().cycle().take(1 << WINDOW);
    all.flat_map(|&level| f16::from_f32(level).to_le_bytes()).collect()
}
