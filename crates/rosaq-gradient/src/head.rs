//! Final norm, head and loss: the gradient with which the way back begins.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use rosaq_model::{ModelConfig, ModelEnds};
use rosaq_runtime::LinearOp;

use crate::products::view;
use crate::rms_norm::Normalized;

/// Tokens whose logits are held at once: 150 MB for a vocabulary of 150,000.
const HEAD_TOKENS: usize = 256;

/// Columns of a tile of the gradient. The tiling is fixed, and each tile is computed by one thread.
const TILE_COLUMNS: usize = 96;

/// Chooses the label of a token, by its index, from the probabilities of all labels; `None` if these are not finite.
pub(crate) type ChooseLabel<'a> = dyn Fn(usize, &[f32]) -> Option<usize> + Sync + 'a;

/// Turns `hidden`, row-major `[tokens, hidden_size]`, the states behind the last block, into the gradients of the sum of all
/// tokens' cross entropies against the labels that `choose` gives. `progress` hears the share done.
///
/// # Errors
/// The index of the first token whose logits are not finite.
pub(crate) fn head_backward(
    config: &ModelConfig,
    ends: &ModelEnds,
    hidden: &mut [f32],
    choose: &ChooseLabel<'_>,
    progress: &dyn Fn(f64),
) -> Result<(), usize> {
    let d = config.hidden_size;
    let table = ends.head_table();
    let total = hidden.len() / d;
    let mut logits = vec![0.0; HEAD_TOKENS.min(total) * table.rows];
    for (chunk_idx, chunk) in hidden.chunks_mut(HEAD_TOKENS * d).enumerate() {
        let (first, tokens) = (chunk_idx * HEAD_TOKENS, chunk.len() / d);
        let logits = &mut logits[..tokens * table.rows];
        let norm = Normalized::of(chunk, d, config.rms_norm_eps);
        table.apply(tokens, &norm.with_gain(&ends.final_norm), logits);
        loss_gradients(logits, table.rows, first, choose)?;
        let logits = MatRef::from_row_major_slice(logits, tokens, table.rows);
        let out = MatMut::from_row_major_slice_mut(chunk, tokens, d);
        out.par_col_chunks_mut(TILE_COLUMNS).enumerate().for_each(|(tile_idx, tile)| {
            let columns = view(table).subcols(tile_idx * TILE_COLUMNS, tile.ncols());
            matmul(tile, Accum::Replace, logits, columns, 1.0, Par::Seq);
        });
        norm.backward(&ends.final_norm, chunk);
        progress((first + tokens) as f64 / total as f64);
    }
    Ok(())
}

/// Turns rows of logits into the gradients of their cross entropies: the probabilities, less one at the label.
fn loss_gradients(
    logits: &mut [f32],
    vocab_size: usize,
    first: usize,
    choose: &ChooseLabel<'_>,
) -> Result<(), usize> {
    let rows = logits.par_chunks_exact_mut(vocab_size).enumerate();
    let bad: Vec<usize> = rows
        .filter_map(|(row_idx, row)| {
            rosaq_cpu::softmax(row);
            match choose(first + row_idx, row) {
                Some(label) => {
                    row[label] -= 1.0;
                    None
                }
                None => Some(first + row_idx),
            }
        })
        .collect();
    bad.first().map_or(Ok(()), |&token| Err(token))
}

/// Draws a label from `probabilities`, summed in f64. A token has a stream of random numbers of its own, so its draw depends on
/// nothing but the seed, its index, and the probabilities.
pub(crate) fn sample_label(seed: u64, token: usize, probabilities: &[f32]) -> Option<usize> {
    let total: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
    if !total.is_finite() {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(token as u64);
    let mut left = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * total;
    for (label, &p) in probabilities.iter().enumerate() {
        left -= f64::from(p);
        if left < 0.0 {
            return Some(label);
        }
    }
    // Rounding can leave a rest behind the last label that is possible at all.
    probabilities.iter().rposition(|&p| p > 0.0)
}
