//! Rows rounded to bf16, in the order in which a product reads them.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::bf16::Avx512Bf16;

/// Rows that stand side by side.
pub(crate) const PANEL: usize = 16;

/// One pair of consecutive values of each of [`PANEL`] rows: the first in the low half.
pub(crate) type Panel = [u32; PANEL];

/// Pairs of all columns that are turned at once: what is read stays in the second-level cache.
const BLOCK_PAIRS: usize = 16;

/// A matrix rounded to bf16 (to nearest, ties to even), in panels of 16 rows; either factor of a product.
///
/// A panel holds pair after pair of its rows' values, of each pair all 16 rows. Rows and values that are missing at the end are
/// zeros.
#[derive(Debug, Clone, Default)]
pub struct Bf16Panels {
    rows: usize,
    pairs: usize,
    values: Vec<Panel>,
}

impl Bf16Panels {
    /// Takes the rows of `x`, row-major `[rows, len]`.
    ///
    /// # Panics
    /// If `x` does not consist of whole rows.
    pub fn set_rows(&mut self, len: usize, x: &[f32]) {
        self.resize(x.len() / len.max(1), len);
        assert_eq!(x.len(), self.rows * len, "rows of {len} values");
        if x.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = Avx512Bf16::new() {
            return isa.run(|| self.fill_rows(len, x));
        }
        self.fill_rows(len, x);
    }

    /// Takes the columns of `x`, row-major `[len, rows]`, as rows.
    ///
    /// # Panics
    /// If `x` does not consist of whole columns.
    pub fn set_columns(&mut self, rows: usize, x: &[f32]) {
        let len = x.len() / rows.max(1);
        assert_eq!(x.len(), rows * len, "columns of {rows} values");
        self.resize(rows, len);
        if x.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = Avx512Bf16::new() {
            return isa.run(|| self.fill_columns(x));
        }
        self.fill_columns(x);
    }

    /// Rows of the matrix.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Pairs of values in a row.
    pub(crate) fn pairs(&self) -> usize {
        self.pairs
    }

    /// All pairs of one panel.
    pub(crate) fn panel(&self, idx: usize) -> &[Panel] {
        self.panels(idx, 1)
    }

    /// All pairs of `n` panels, panel after panel.
    pub(crate) fn panels(&self, first: usize, n: usize) -> &[Panel] {
        &self.values[first * self.pairs..(first + n) * self.pairs]
    }

    /// All values, panel after panel.
    #[cfg(test)]
    pub(crate) fn values(&self) -> &[Panel] {
        &self.values
    }

    fn resize(&mut self, rows: usize, len: usize) {
        (self.rows, self.pairs) = (rows, len.div_ceil(2));
        self.values.resize(rows.div_ceil(PANEL) * self.pairs, [0; PANEL]);
    }

    #[inline(always)]
    fn fill_rows(&mut self, len: usize, x: &[f32]) {
        let panels = self.values.chunks_exact_mut(self.pairs.max(1));
        for (panel, rows) in panels.zip(x.chunks(PANEL * len)) {
            if rows.len() < PANEL * len {
                panel.fill([0; PANEL]);
            }
            for (start, square) in panel.chunks_mut(PANEL).enumerate() {
                let from = start * 2 * PANEL;
                for (row_idx, row) in rows.chunks_exact(len).enumerate() {
                    let row = &row[from..];
                    let pairs = row_pairs(row);
                    for (to, pair) in square.iter_mut().zip(pairs) {
                        to[row_idx] = pair;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn fill_columns(&mut self, x: &[f32]) {
        let (rows, pairs) = (self.rows, self.pairs);
        for (block_idx, block) in x.chunks(2 * BLOCK_PAIRS * rows).enumerate() {
            let panels = self.values.chunks_exact_mut(pairs);
            for (panel_idx, panel) in panels.enumerate() {
                let first = panel_idx * PANEL;
                let width = PANEL.min(rows - first);
                let panel = &mut panel[block_idx * BLOCK_PAIRS..];
                for (to, two) in panel.iter_mut().zip(block.chunks(2 * rows)) {
                    let mut pair = [[0.0; PANEL]; 2];
                    for (values, row) in pair.iter_mut().zip(two.chunks_exact(rows)) {
                        values[..width].copy_from_slice(&row[first..first + width]);
                    }
                    for (to, (low, high)) in to.iter_mut().zip(pair[0].iter().zip(pair[1])) {
                        *to = rounded(*low) | rounded(high) << 16;
                    }
                }
            }
        }
    }
}

/// The first [`PANEL`] pairs of a row, or as many as there are before zeros.
#[inline(always)]
fn row_pairs(row: &[f32]) -> Panel {
    let mut values = [0.0; 2 * PANEL];
    let n = row.len().min(2 * PANEL);
    values[..n].copy_from_slice(&row[..n]);
    let mut pairs = [0; PANEL];
    for (pair, two) in pairs.iter_mut().zip(values.as_chunks::<2>().0) {
        *pair = rounded(two[0]) | rounded(two[1]) << 16;
    }
    pairs
}

/// The bits of `value` rounded to bf16, to nearest, ties to even; infinity where that is nearest, and NaN for NaN.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    let nearest = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
    if value.is_nan() { 0x7fc0 } else { nearest }
}
