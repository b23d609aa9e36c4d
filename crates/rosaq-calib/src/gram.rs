//! The Gram matrix of a stream of activations.

use faer::{MatMut, MatRef};

use rosaq_cpu::{Bf16Panels, add_gram_bf16};

use crate::Products;
use crate::lower_product::{TRANSPOSED_TOKENS, Transposed, add_lower_product};

/// Tokens whose products of bf16 are added in f32 before they are added in f64.
const BF16_TOKENS: usize = 512;

/// What is used again from one chunk of activations to the next.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    transposed: Transposed,
    panels: Bf16Panels,
}

/// `H = XᵀX` over tokens, in f64; symmetric, `dim x dim`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    dim: usize,
    tokens: u64,
    /// Column-major. The lower triangle is accumulated; [`Gram::mirror`] fills the upper one.
    values: Vec<f64>,
}

impl Gram {
    /// The Gram matrix of no tokens.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim, tokens: 0, values: vec![0.0; dim * dim] }
    }

    /// A Gram matrix from its packed lower triangle, column after column, `dim (dim + 1) / 2` values.
    #[must_use]
    pub(crate) fn from_packed(dim: usize, tokens: u64, packed: &[f64]) -> Option<Self> {
        if Some(packed.len()) != packed_len(dim) {
            return None;
        }
        let mut gram = Self { tokens, ..Self::new(dim) };
        let mut rest = packed;
        for (col, column) in gram.values.chunks_exact_mut(dim).enumerate() {
            let (head, tail) = rest.split_at(dim - col);
            column[col..].copy_from_slice(head);
            rest = tail;
        }
        gram.mirror();
        Some(gram)
    }

    /// The lower triangle, column after column.
    pub(crate) fn to_packed(&self) -> Vec<f64> {
        let columns = self.values.chunks_exact(self.dim).enumerate();
        columns.flat_map(|(col, column)| &column[col..]).copied().collect()
    }

    /// Channels.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Tokens accumulated.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Adds `tokens` rows of `x`, row-major `[tokens, dim]`. The upper triangle is stale until [`Self::mirror`].
    ///
    /// # Panics
    /// If `x` is not `tokens * dim` long.
    pub fn accumulate(&mut self, tokens: usize, x: &[f32]) {
        self.accumulate_in(tokens, x, Products::F32, &mut Buffers::default());
    }

    /// As [`Self::accumulate`], in some precision and with buffers that are used again.
    pub(crate) fn accumulate_in(
        &mut self,
        tokens: usize,
        x: &[f32],
        products: Products,
        buffers: &mut Buffers,
    ) {
        let dim = self.dim;
        assert_eq!(x.len(), tokens * dim, "{tokens} tokens of {dim} channels");
        match products {
            Products::F32 => {
                for chunk in x.chunks(TRANSPOSED_TOKENS * dim) {
                    buffers.transposed.set(dim, chunk);
                    let lower = MatMut::from_column_major_slice_mut(&mut self.values, dim, dim);
                    add_lower_product(lower, &buffers.transposed, 0);
                }
            }
            Products::Bf16 => {
                for chunk in x.chunks(BF16_TOKENS * dim) {
                    add_gram_bf16(dim, chunk, &mut buffers.panels, &mut self.values);
                }
            }
        }
        self.tokens += tokens as u64;
    }

    /// Adds the tokens of `other`.
    ///
    /// # Panics
    /// If the dimensions differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.dim, other.dim, "grams of {} and {} channels", self.dim, other.dim);
        for (a, b) in self.values.iter_mut().zip(&other.values) {
            *a += b;
        }
        self.tokens += other.tokens;
    }

    /// Copies the lower triangle onto the upper one.
    pub fn mirror(&mut self) {
        for col in 1..self.dim {
            for row in 0..col {
                self.values[col * self.dim + row] = self.values[row * self.dim + col];
            }
        }
    }

    /// The matrix; symmetric after [`Self::mirror`].
    #[must_use]
    pub fn view(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.values, self.dim, self.dim)
    }

    /// The sum of squares of each channel.
    #[must_use]
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.dim).map(|i| self.values[i * self.dim + i]).collect()
    }

    /// Sum of the diagonal: the energy of all channels.
    #[must_use]
    pub fn trace(&self) -> f64 {
        self.diagonal().iter().sum()
    }

    /// Multiplies the whole matrix by `factor`.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.values.iter_mut().for_each(|value| *value *= factor);
    }

    /// The Gram matrix of inputs whose channel `i` is multiplied by `gain[i]`: `diag(g) H diag(g)`.
    ///
    /// # Panics
    /// If there is not one gain a channel.
    #[must_use]
    pub fn scaled(&self, gain: &[f32]) -> Self {
        assert_eq!(gain.len(), self.dim, "one gain a channel");
        let mut scaled = self.clone();
        for (column, &g_col) in scaled.values.chunks_exact_mut(self.dim).zip(gain) {
            for (value, &g_row) in column.iter_mut().zip(gain) {
                *value *= f64::from(g_row) * f64::from(g_col);
            }
        }
        scaled
    }
}

/// Values in a packed triangle, `None` on overflow.
fn packed_len(dim: usize) -> Option<usize> {
    dim.checked_mul(dim.checked_add(1)?).map(|n| n / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(dim: usize, x: &[f32]) -> Vec<f64> {
        let mut h = vec![0.0; dim * dim];
        for row in x.chunks_exact(dim) {
            for i in 0..dim {
                for j in 0..dim {
                    h[i * dim + j] += f64::from(row[i]) * f64::from(row[j]);
                }
            }
        }
        h
    }

    fn relative(a: &[f64], b: &[f64]) -> f64 {
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        norm(&mut a.iter().zip(b).map(|(x, y)| x - y)) / norm(&mut b.iter().copied()).max(1e-300)
    }

    fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).max(1);
        let next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.5
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn equals_the_f64_sum_and_is_symmetric(dim in 1_usize..40, tokens in 1_usize..60, seed: u32) {
            let x = noise(dim * tokens, seed);
            let mut gram = Gram::new(dim);
            gram.accumulate(tokens, &x);
            gram.mirror();
            // f32 products of under 60 tokens: a few units in the last place.
            prop_assert!(relative(&gram.values, &reference(dim, &x)) < 1e-6);
            prop_assert!(gram.diagonal().iter().all(|&d| d >= 0.0));
            prop_assert_eq!(gram.view().to_owned(), gram.view().transpose().to_owned());
        }

        #[test]
        fn merging_parts_equals_one_pass(dim in 1_usize..20, a in 1_usize..30, b in 1_usize..30, seed: u32) {
            let x = noise(dim * (a + b), seed);
            let (mut whole, mut first, mut second) = (Gram::new(dim), Gram::new(dim), Gram::new(dim));
            whole.accumulate(a + b, &x);
            first.accumulate(a, &x[..a * dim]);
            second.accumulate(b, &x[a * dim..]);
            first.merge(&second);
            prop_assert!(relative(&first.values, &whole.values) < 1e-6);
            prop_assert_eq!(first.tokens(), whole.tokens());
        }
    }

    #[test]
    fn wide_matrices_and_long_chunks_agree_with_f64() {
        let (dim, tokens) = (400, 2500);
        let x = noise(dim * tokens, 7);
        let mut gram = Gram::new(dim);
        gram.accumulate(tokens, &x);
        gram.mirror();
        assert!(relative(&gram.values, &reference(dim, &x)) < 1e-6);
    }

    /// Factors off by up to `2^-9`, independently of each other.
    #[test]
    fn products_of_bf16_agree_with_f64() {
        let (dim, tokens) = (230, 1300);
        let x = noise(dim * tokens, 7);
        let mut gram = Gram::new(dim);
        gram.accumulate_in(tokens, &x, Products::Bf16, &mut Buffers::default());
        gram.mirror();
        let off = relative(&gram.values, &reference(dim, &x));
        assert!((1e-6..1e-3).contains(&off), "{off}");
        assert_eq!(gram.tokens(), tokens as u64);
    }

    #[test]
    fn threads_do_not_matter() {
        let (dim, tokens) = (500, 300);
        let x = noise(dim * tokens, 3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut gram = Gram::new(dim);
                gram.accumulate(tokens, &x);
                gram
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn scaling_equals_scaled_inputs() {
        let x = noise(6 * 5, 1);
        let gain = [2.0, 0.0, -1.0, 0.5, 1.0, 3.0];
        let scaled: Vec<f32> = x.iter().enumerate().map(|(i, v)| v * gain[i % 6]).collect();
        let (mut a, mut b) = (Gram::new(6), Gram::new(6));
        a.accumulate(5, &x);
        b.accumulate(5, &scaled);
        assert!(relative(&a.scaled(&gain).values, &b.values) < 1e-6);
    }

    #[test]
    fn packing_round_trips() {
        let mut gram = Gram::new(7);
        gram.accumulate(4, &noise(28, 9));
        gram.mirror();
        assert_eq!(Gram::from_packed(7, 4, &gram.to_packed()), Some(gram));
        assert_eq!(Gram::from_packed(7, 4, &[0.0; 27]), None);
    }
}
