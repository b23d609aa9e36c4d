//! The gated activation of the MLP, on the way back.

use rosaq_tensor::Matrix;

/// Gradients of the outputs of gate and up, `[tokens, intermediate_size]` each, given those outputs and the `gradient` of
/// their combination `silu(gate) up`, with `silu(x) = x s(x)` and `s(x) = 1 / (1 + exp(-x))`.
///
/// `silu'(x) = s(x) (1 + x (1 - s(x)))`.
pub(crate) fn gate_backward(mut gate: Matrix, mut up: Matrix, gradient: &Matrix) -> [Matrix; 2] {
    for ((gate, up), d) in gate.data.iter_mut().zip(&mut up.data).zip(&gradient.data) {
        let sigmoid = 1.0 / (1.0 + (-*gate).exp());
        let silu = *gate * sigmoid;
        let slope = sigmoid * (1.0 + *gate * (1.0 - sigmoid));
        (*gate, *up) = (d * *up * slope, d * silu);
    }
    [gate, up]
}
