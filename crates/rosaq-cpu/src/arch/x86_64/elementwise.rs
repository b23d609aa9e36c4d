//! The plain loops of [`crate::arch::elementwise`], compiled for wider registers.

use crate::AttentionShape;
use crate::arch::{attention, elementwise};

/// See [`elementwise::softmax`].
#[target_feature(enable = "avx2")]
pub(crate) fn softmax(row: &mut [f32]) {
    elementwise::softmax(row);
}

/// See [`elementwise::walsh_hadamard`].
#[target_feature(enable = "avx2")]
pub(crate) fn walsh_hadamard(x: &mut [f32], points: usize) {
    elementwise::walsh_hadamard(x, points);
}

/// See [`elementwise::silu_mul_backward`].
#[target_feature(enable = "avx2")]
pub(crate) fn silu_mul_backward(gate: &mut [f32], up: &mut [f32], gradient: &[f32]) {
    elementwise::silu_mul_backward(gate, up, gradient);
}

/// See [`elementwise::silu_mul`].
#[target_feature(enable = "avx2")]
pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    elementwise::silu_mul(gate, up);
}

/// See [`attention::attend_token`].
#[target_feature(enable = "avx2")]
pub(crate) fn attend_token(
    shape: AttentionShape,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    attention::attend_token(shape, query, keys, values, out);
}
