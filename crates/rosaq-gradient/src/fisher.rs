//! The Fisher information of the outputs of all linears: forward, head, backward.

use rayon::prelude::*;
use rosaq_model::{BlockWeights, IgnoreActivations, LINEAR_ROLES, ModelConfig, Role, SourceModel};
use rosaq_runtime::{LayerPass, LoadedBlock, RopeTable};
use rosaq_tensor::Matrix;
use rosaq_text::TokenWindows;
use serde::{Deserialize, Serialize};

use crate::GradientError;
use crate::block::{BlockBackward, OutputGradients};
use crate::head::{ChooseLabel, head_backward, sample_label};

/// How much the model's predictions depend on each output of each linear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputFisher {
    /// For each layer and each linear, in the order of [`LINEAR_ROLES`], one number per output: the mean over tokens of the
    /// squared gradient of the loss.
    pub layers: Vec<[Vec<f64>; 7]>,
}

impl OutputFisher {
    /// The figures of one linear, `[out_features]`.
    ///
    /// # Panics
    /// If there is no such layer, or `role` is no linear of a block.
    #[must_use]
    pub fn linear(&self, layer: usize, role: Role) -> &[f64] {
        let Some(role_idx) = LINEAR_ROLES.iter().position(|&linear| linear == role) else {
            panic!("role `{role}` is no linear of a block");
        };
        &self.layers[layer][role_idx]
    }
}

/// The Fisher information of every linear's outputs: the diagonal, as the mean over the tokens of `windows` of `(dL/dy)²`.
///
/// `y` is the output of the linear with its bias: for query and key before their norm and rotation, for gate and up before the
/// activation. `L` is the sum over a window's tokens of the cross entropy of the next token, against labels that are drawn from
/// the model's own distribution with `seed`; then the mean of squared gradients is the Fisher information, not merely an
/// imitation of it (Kunstner, Balles and Hennig, "Limitations of the empirical Fisher approximation", 2019). So
/// `sum_i F_i e_i² / 2` is, to second order, the KL divergence per token, in nats, that independent errors of variance `e_i²`
/// in all tokens' outputs cause.
///
/// Products in f32, sums over tokens in f64. Of the weights one block is in f32 at a time, or the two ends; of the activations
/// the inputs of all blocks, `n_layers * tokens * hidden_size` f32. The result does not depend on the number of threads.
/// `progress` hears the share of the work done, 0 to 1.
///
/// # Errors
/// No window, loading errors, ids outside the vocabulary; hidden states, logits or gradients that are not finite, by layer.
pub fn output_fisher(
    source: &SourceModel,
    windows: &TokenWindows,
    seed: u64,
    progress: &dyn Fn(f64),
) -> Result<OutputFisher, GradientError> {
    let choose = |token: usize, probabilities: &[f32]| sample_label(seed, token, probabilities);
    let window_sums = |gradients: &OutputGradients| gradients.each_ref().map(sums_of_squares);
    let per_window = gradients_of_windows(source, windows, &choose, &window_sums, progress)?;
    let n_tokens = windows.tokens().len() as f64;
    let layers = per_window.into_iter().map(|sums| mean_over_tokens(sums, n_tokens));
    Ok(OutputFisher { layers: layers.collect() })
}

/// For each column of `gradient` the sum of its squares.
fn sums_of_squares(gradient: &Matrix) -> Vec<f64> {
    let mut sums = vec![0.0; gradient.cols];
    for row in gradient.data.chunks_exact(gradient.cols) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    sums
}

/// Adds up the sums of all windows, in their order.
fn mean_over_tokens(windows: Vec<[Vec<f64>; 7]>, n_tokens: f64) -> [Vec<f64>; 7] {
    std::array::from_fn(|role_idx| {
        let mut total = vec![0.0; windows[0][role_idx].len()];
        for window in &windows {
            total.iter_mut().zip(&window[role_idx]).for_each(|(total, sum)| *total += sum);
        }
        total.iter_mut().for_each(|sum| *sum /= n_tokens);
        total
    })
}

/// Runs the model forth and back. Returns, for each layer and each window, what `observe` makes of the gradients.
pub(crate) fn gradients_of_windows<T: Send>(
    source: &SourceModel,
    windows: &TokenWindows,
    choose: &ChooseLabel<'_>,
    observe: &(dyn Fn(&OutputGradients) -> T + Sync),
    progress: &dyn Fn(f64),
) -> Result<Vec<Vec<T>>, GradientError> {
    if windows.is_empty() {
        return Err(GradientError::NoWindows);
    }
    let config = source.config();
    let work = Work::of(config);
    let rope = RopeTable::new(config, windows.context());
    let report = |share| progress(work.forward * share);
    let (inputs, mut gradient) = forward(source, windows, &rope, &report)?;
    let report = |share| progress(work.forward + work.head * share);
    let ends = source.load_ends()?;
    source.release();
    head_backward(config, &ends, &mut gradient, choose, &report).map_err(|token| {
        GradientError::LogitsNotFinite { token, layer: config.n_layers.saturating_sub(1) }
    })?;
    drop(ends);
    let mut layers = Vec::with_capacity(config.n_layers);
    for (layer, input) in inputs.into_iter().enumerate().rev() {
        let block = load(source, layer)?;
        let pass = BlockBackward { config, rope: &rope, block: &block };
        let len = windows.context() * config.hidden_size;
        let states = gradient.par_chunks_exact_mut(len).zip(input.par_chunks_exact(len));
        layers.push(
            states.map(|(gradient, input)| observe(&pass.run(input, gradient))).collect::<Vec<T>>(),
        );
        if !gradient.iter().all(|value| value.is_finite()) {
            return Err(GradientError::GradientNotFinite { layer });
        }
        progress(1.0 - (1.0 - work.forward - work.head) * layer as f64 / config.n_layers as f64);
    }
    layers.reverse();
    Ok(layers)
}

/// The inputs of all blocks, and the states behind the last, row-major `[tokens, hidden_size]` each.
fn forward(
    source: &SourceModel,
    windows: &TokenWindows,
    rope: &RopeTable,
    progress: &dyn Fn(f64),
) -> Result<(Vec<Vec<f32>>, Vec<f32>), GradientError> {
    let config = source.config();
    let lengths = vec![windows.context(); windows.len()];
    let mut hidden = source.embed(windows.tokens())?.data;
    let mut inputs = Vec::with_capacity(config.n_layers);
    for layer in 0..config.n_layers {
        inputs.push(hidden.clone());
        let block = LoadedBlock::Owned(Box::new(load(source, layer)?));
        let report = |share| {
            progress((layer as f64 + share) / config.n_layers as f64);
            Ok(())
        };
        let pass = LayerPass { config, rope, layer };
        pass.run(&block, &lengths, &mut hidden, &mut IgnoreActivations, &report)?;
    }
    Ok((inputs, hidden))
}

fn load(source: &SourceModel, layer: usize) -> Result<BlockWeights, GradientError> {
    let block = source.load_block(layer)?;
    source.release();
    Ok(block)
}

/// Shares of the work, 0 to 1; the rest is the way back through the blocks.
struct Work {
    forward: f64,
    head: f64,
}

impl Work {
    /// By products of weights and tokens: each block's weights once forth, and on the way back once as well, and once more, but
    /// for `down`, to compute its activations anew; the head's once forth and once back.
    fn of(config: &ModelConfig) -> Self {
        let forward = config.quantizable_weights() as f64;
        let down: usize = config.linear_shape(Role::Down).iter().product();
        let backward = 2.0 * forward - (down * config.n_layers) as f64;
        let head = 2.0 * config.linear_shape(Role::Head).iter().product::<usize>() as f64;
        let all = forward + backward + head;
        Self { forward: forward / all, head: head / all }
    }
}
