//! One decoder block, on the way back.

use rosaq_cpu::silu_mul_backward;
use rosaq_model::{BlockWeights, LinearWeights, ModelConfig};
use rosaq_runtime::RopeTable;
use rosaq_tensor::Matrix;

use crate::attention::{AttentionInputs, attend, attend_backward};
use crate::products::{input_gradient, outputs};
use crate::rms_norm::Normalized;

/// Gradients of the outputs of a block's linears, `[tokens, out_features]` each, in the order of
/// [`rosaq_model::LINEAR_ROLES`].
pub(crate) type OutputGradients = [Matrix; 7];

/// A block and what it needs besides its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockBackward<'a> {
    /// The model's configuration.
    pub(crate) config: &'a ModelConfig,
    /// Rotary angles of all positions in the sequence.
    pub(crate) rope: &'a RopeTable,
    /// The weights, without run-time rotations.
    pub(crate) block: &'a BlockWeights,
}

impl BlockBackward<'_> {
    /// Takes `gradient`, row-major `[tokens, hidden_size]`, from the block's output back to its `input`, of the same shape and
    /// from one sequence. The forward pass is computed anew, on the calling thread as all else.
    pub(crate) fn run(&self, input: &[f32], gradient: &mut [f32]) -> OutputGradients {
        let activations = self.activations(input);
        let down = Matrix::new(
            input.len() / self.config.hidden_size,
            self.config.hidden_size,
            gradient.to_vec(),
        );
        let [gate, up] = self.mlp_backward(activations.mlp, &down, gradient);
        let output = Matrix::new(down.rows, down.cols, gradient.to_vec());
        let [query, key, value] = self.attention_backward(activations.attention, &output, gradient);
        [query, key, value, output, gate, up, down]
    }

    fn activations(&self, input: &[f32]) -> Activations {
        let block = self.block;
        let attention = self.attention_activations(input);
        let mut hidden = outputs(&block.output, &attention.heads).data;
        hidden.iter_mut().zip(input).for_each(|(h, x)| *h += x);
        let norm = self.normalized(&hidden);
        let x = self.matrix(norm.with_gain(&block.mlp_norm));
        let (gate, up) = (outputs(&block.gate, &x), outputs(&block.up, &x));
        Activations { attention, mlp: MlpActivations { norm, gate, up } }
    }

    fn attention_activations(&self, input: &[f32]) -> AttentionActivations {
        let block = self.block;
        let norm = self.normalized(input);
        let x = self.matrix(norm.with_gain(&block.attention_norm));
        let (query_norm, query) = self.rotated(&block.query, block.query_norm.as_deref(), &x);
        let (key_norm, key) = self.rotated(&block.key, block.key_norm.as_deref(), &x);
        let inputs = AttentionInputs { query, key, value: outputs(&block.value, &x) };
        let heads = attend(self.config, &inputs);
        AttentionActivations { norm, query_norm, key_norm, inputs, heads }
    }

    /// Queries or keys as attention reads them, and their norm where the model has one.
    fn rotated(
        &self,
        linear: &LinearWeights,
        gain: Option<&[f32]>,
        x: &Matrix,
    ) -> (Option<Normalized>, Matrix) {
        let mut out = outputs(linear, x);
        let norm = gain.map(|gain| {
            let norm = Normalized::of(&out.data, self.config.head_dim, self.config.rms_norm_eps);
            out.data = norm.with_gain(gain);
            norm
        });
        for (position, row) in out.data.chunks_exact_mut(out.cols).enumerate() {
            self.rope.rotate(row, position);
        }
        (norm, out)
    }

    /// Takes `gradient` from behind the MLP to before it; returns the gradients of gate and up.
    fn mlp_backward(
        &self,
        mlp: MlpActivations,
        down: &Matrix,
        gradient: &mut [f32],
    ) -> [Matrix; 2] {
        let block = self.block;
        let product = input_gradient(&[(&block.down, down)]);
        let MlpActivations { norm, mut gate, mut up } = mlp;
        silu_mul_backward(&mut gate.data, &mut up.data, &product.data);
        let mut x = input_gradient(&[(&block.gate, &gate), (&block.up, &up)]);
        norm.backward(&block.mlp_norm, &mut x.data);
        gradient.iter_mut().zip(&x.data).for_each(|(g, x)| *g += x);
        [gate, up]
    }

    /// Takes `gradient` from behind the attention to before it; returns the gradients of query, key and value.
    fn attention_backward(
        &self,
        attention: AttentionActivations,
        output: &Matrix,
        gradient: &mut [f32],
    ) -> [Matrix; 3] {
        let block = self.block;
        let heads = input_gradient(&[(&block.output, output)]);
        let AttentionInputs { mut query, mut key, value } =
            attend_backward(self.config, &attention.inputs, &attention.heads, &heads);
        self.rotate_back(&mut query, attention.query_norm.as_ref(), block.query_norm.as_deref());
        self.rotate_back(&mut key, attention.key_norm.as_ref(), block.key_norm.as_deref());
        let mut x =
            input_gradient(&[(&block.query, &query), (&block.key, &key), (&block.value, &value)]);
        attention.norm.backward(&block.attention_norm, &mut x.data);
        gradient.iter_mut().zip(&x.data).for_each(|(g, x)| *g += x);
        [query, key, value]
    }

    /// Takes the gradient of what attention reads back to that of the linear's output.
    fn rotate_back(&self, x: &mut Matrix, norm: Option<&Normalized>, gain: Option<&[f32]>) {
        for (position, row) in x.data.chunks_exact_mut(x.cols).enumerate() {
            self.rope.rotate_back(row, position);
        }
        if let (Some(norm), Some(gain)) = (norm, gain) {
            norm.backward(gain, &mut x.data);
        }
    }

    fn normalized(&self, hidden: &[f32]) -> Normalized {
        Normalized::of(hidden, self.config.hidden_size, self.config.rms_norm_eps)
    }

    fn matrix(&self, hidden: Vec<f32>) -> Matrix {
        Matrix::new(hidden.len() / self.config.hidden_size, self.config.hidden_size, hidden)
    }
}

/// What the way back needs of the way forth.
struct Activations {
    attention: AttentionActivations,
    mlp: MlpActivations,
}

struct AttentionActivations {
    norm: Normalized,
    query_norm: Option<Normalized>,
    key_norm: Option<Normalized>,
    inputs: AttentionInputs,
    /// The heads' outputs.
    heads: Matrix,
}

struct MlpActivations {
    norm: Normalized,
    gate: Matrix,
    up: Matrix,
}
