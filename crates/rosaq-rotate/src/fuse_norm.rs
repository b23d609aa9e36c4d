//! Multiplies the gains of norms into the linears that read them, so that the norms commute with rotations.

use rosaq_model::{BlockWeights, ModelEnds};
use rosaq_tensor::Matrix;

/// Fuses both norms of a block and sets their gains to one. Source: `SliceGPT` (arXiv 2401.15024), section 3.2.
pub fn fuse_norms(block: &mut BlockWeights) {
    for linear in [&mut block.query, &mut block.key, &mut block.value] {
        scale_columns(&mut linear.weight, &block.attention_norm);
    }
    for linear in [&mut block.gate, &mut block.up] {
        scale_columns(&mut linear.weight, &block.mlp_norm);
    }
    block.attention_norm.fill(1.0);
    block.mlp_norm.fill(1.0);
}

/// Fuses the last norm into a head of its own.
///
/// # Panics
/// If the head is tied to the embedding; such a head gets an input matrix instead, see [`crate::rotate_ends`].
pub fn fuse_final_norm(ends: &mut ModelEnds) {
    let head = ends.head.as_mut().expect("a tied head cannot take the gain of the norm");
    scale_columns(head, &ends.final_norm);
    ends.final_norm.fill(1.0);
}

fn scale_columns(w: &mut Matrix, gain: &[f32]) {
    for row in w.data.chunks_exact_mut(gain.len()) {
        for (value, g) in row.iter_mut().zip(gain) {
            *value *= g;
        }
    }
}
