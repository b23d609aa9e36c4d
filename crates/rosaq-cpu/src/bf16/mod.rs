//! Products of matrices whose values are rounded to bf16: twice the rate of f32 where a processor multiplies pairs of them.

mod gram;
mod linear;
mod panels;

pub use gram::add_gram_bf16;
pub use linear::Bf16Linear;
pub use panels::Bf16Panels;

use std::ops::Range;

use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::bf16::Avx512Bf16;
use panels::PANEL;
pub(crate) use panels::Panel;

/// True where products of bf16 are faster than those of f32: with AVX-512 BF16, unless a narrower instruction set is forced.
#[must_use]
pub fn bf16_is_fast() -> bool {
    match Isa::detect() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni => Avx512Bf16::new().is_some(),
        _ => false,
    }
}

/// Rows of the left factor in a tile of the product.
pub(crate) const TILE_ROWS: usize = 8;
/// Panels of the right factor in a tile at most: 24 vectors of sums, which leaves the 32 registers room for the factors.
pub(crate) const TILE_PANELS: usize = 3;

/// The sums of a tile: those of each row of the left factor with all rows of up to three panels of the right one.
pub(crate) type Sums = [[[f32; PANEL]; TILE_PANELS]; TILE_ROWS];

/// Calls `each` with `(row, column, sums)` for `sums` of up to 48 columns, for every row of `rows` of `left` with every row
/// (a column of the product) of `columns` of `right`; those that pad the last panels are left out. In f32.
///
/// # Panics
/// If the factors' rows are not of the same length, or a range does not begin with a panel.
fn for_each_row(
    (left, rows): (&Bf16Panels, Range<usize>),
    (right, columns): (&Bf16Panels, Range<usize>),
    mut each: impl FnMut(usize, usize, &[f32]),
) {
    assert_eq!(left.pairs(), right.pairs(), "rows of two lengths");
    assert!(rows.start.is_multiple_of(PANEL) && columns.start.is_multiple_of(PANEL), "in a panel");
    for column in columns.clone().step_by(TILE_PANELS * PANEL) {
        let width = (columns.end - column).min(TILE_PANELS * PANEL);
        let right = right.panels(column / PANEL, width.div_ceil(PANEL));
        for row in rows.clone().step_by(TILE_ROWS) {
            let half = row % PANEL / TILE_ROWS;
            let sums = tile(left.panel(row / PANEL), half, right);
            for (idx, sums) in sums.iter().enumerate().take(rows.end - row) {
                each(row + idx, column, &sums.as_flattened()[..width]);
            }
        }
    }
}

/// One tile: half of `left`, its first rows or its last, with up to three panels, which stand one after another.
fn tile(left: &[Panel], half: usize, right: &[Panel]) -> Sums {
    #[cfg(target_arch = "x86_64")]
    if let Some(isa) = Avx512Bf16::new() {
        return isa.tile(left, half, right);
    }
    plain_tile(left, half, right)
}

/// [`tile`] in plain Rust.
fn plain_tile(left: &[Panel], half: usize, right: &[Panel]) -> Sums {
    let mut sums = Sums::default();
    // No values at all are panels of nothing.
    for (panel_idx, panel) in right.chunks_exact(left.len().max(1)).enumerate() {
        for (a, b) in left.iter().zip(panel) {
            for (row, a) in sums.iter_mut().zip(&a[half * TILE_ROWS..]) {
                for (sum, b) in row[panel_idx].iter_mut().zip(b) {
                    *sum += high(*a) * high(*b) + low(*a) * low(*b);
                }
            }
        }
    }
    sums
}

/// The first value of a pair.
fn low(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

/// The second one.
fn high(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

#[cfg(test)]
mod tests;
