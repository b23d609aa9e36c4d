//! Root-mean-square normalization, without and with its gain.

use rayon::prelude::*;

/// Rows handled by one task.
const ROWS: usize = 64;

/// Writes the rows of `x` (row-major `[tokens, channels]`) divided by `sqrt(mean(x²) + eps)` to `out`; f32 throughout.
///
/// Source: `RMSNorm` (arXiv 1910.07467), eq. 4, with the gain left out.
pub(crate) fn normalize(x: &[f32], channels: usize, eps: f32, out: &mut [f32]) {
    let piece = ROWS * channels;
    out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
        out.copy_from_slice(x);
        normalize_in_place(out, channels, eps);
    });
}

/// As [`normalize`], in place and on the calling thread.
pub(crate) fn normalize_in_place(x: &mut [f32], channels: usize, eps: f32) {
    for row in x.chunks_exact_mut(channels) {
        let mean_square = sum_of_squares(row) / channels as f32;
        let factor = 1.0 / (mean_square + eps).sqrt();
        for value in row {
            *value *= factor;
        }
    }
}

/// Multiplies every row of `x` with `gain`.
pub(crate) fn apply_gain(x: &mut [f32], gain: &[f32]) {
    if gain.iter().all(|&g| g == 1.0) {
        return; // norms of rotated models have been fused into the next linear
    }
    x.par_chunks_mut(ROWS * gain.len()).for_each(|rows| {
        for row in rows.chunks_exact_mut(gain.len()) {
            for (value, g) in row.iter_mut().zip(gain) {
                *value *= g;
            }
        }
    });
}

/// Normalizes each head of each row by itself and applies the per-head gain, as Qwen3 does to queries and keys.
pub(crate) fn normalize_heads(x: &mut [f32], gain: &[f32], eps: f32) {
    let head_dim = gain.len();
    x.par_chunks_mut(ROWS * head_dim).for_each(|heads| {
        normalize_in_place(heads, head_dim, eps);
        for head in heads.chunks_exact_mut(head_dim) {
            for (value, g) in head.iter_mut().zip(gain) {
                *value *= g;
            }
        }
    });
}

/// Sum of squares in eight f32 lanes, so that the compiler can use vector registers.
fn sum_of_squares(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value * value;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|v| v * v).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_unit_mean_square() {
        let x: Vec<f32> = (0..3 * 50).map(|i| ((i * 7919) % 101) as f32 - 50.0).collect();
        let mut out = vec![0.0; x.len()];
        normalize(&x, 50, 1e-6, &mut out);
        for row in out.chunks_exact(50) {
            let mean: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 50.0;
            assert!((mean - 1.0).abs() < 1e-5); // f32 sums of 50 terms
        }
    }
}
