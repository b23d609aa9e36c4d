//! The plain loops of [`crate::arch::elementwise`], compiled for wider registers.

use crate::arch::elementwise;

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
