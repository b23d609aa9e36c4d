//! Rotary position embedding of queries and keys.

use rayon::prelude::*;
use rosaq_model::{ModelConfig, inverse_frequencies};

/// Tokens that one task turns at least.
const ROWS: usize = 32;

/// Cosines and sines of all positions up to a bound.
#[derive(Debug, Clone)]
pub struct RopeTable {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// Angles for positions `0..positions`; computed in f64, kept in f32.
    #[must_use]
    pub fn new(config: &ModelConfig, positions: usize) -> Self {
        let mut table = Self { half: config.head_dim / 2, cos: Vec::new(), sin: Vec::new() };
        table.extend(config, positions);
        table
    }

    /// Adds the angles that are missing for positions `0..positions` of the same model.
    #[expect(clippy::cast_possible_truncation, reason = "angles are applied in f32")]
    pub(crate) fn extend(&mut self, config: &ModelConfig, positions: usize) {
        if positions <= self.positions() {
            return;
        }
        let frequencies =
            inverse_frequencies(config.head_dim, config.rope_theta, &config.rope_scaling);
        for position in self.positions()..positions {
            for frequency in &frequencies {
                // As the reference software: the frequency and the angle are f32.
                let angle = position as f32 * *frequency as f32;
                self.cos.push(f64::from(angle).cos() as f32);
                self.sin.push(f64::from(angle).sin() as f32);
            }
        }
    }

    /// Positions covered.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Cosines and sines, row-major `[positions, head_dim / 2]`.
    #[must_use]
    pub fn angles(&self) -> [&[f32]; 2] {
        [&self.cos, &self.sin]
    }

    /// Rotates all heads of `x`, row-major `[tokens, heads * head_dim]`; row `t` stands at `positions[t]`.
    /// Channel `i` of a head pairs with `i + head_dim / 2`.
    pub fn apply(&self, x: &mut [f32], positions: &[usize]) {
        let channels = x.len() / positions.len().max(1);
        x.par_chunks_mut(channels.max(1))
            .zip(positions)
            .with_min_len(ROWS)
            .for_each(|(row, &position)| self.rotate(row, position));
    }

    /// Rotates the heads of one token, `[heads * head_dim]`, which stands at `position`; on the calling thread.
    pub fn rotate(&self, row: &mut [f32], position: usize) {
        let cos = &self.cos[position * self.half..][..self.half];
        let sin = &self.sin[position * self.half..][..self.half];
        for head in row.chunks_exact_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
            }
        }
    }

    /// Undoes [`Self::rotate`]: the transposed rotation, which also takes gradients back.
    pub fn rotate_back(&self, row: &mut [f32], position: usize) {
        let cos = &self.cos[position * self.half..][..self.half];
        let sin = &self.sin[position * self.half..][..self.half];
        for head in row.chunks_exact_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * c + *b * s, *b * c - *a * s);
            }
        }
    }
}
