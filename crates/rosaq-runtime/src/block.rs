//! One decoder block: norm, attention, norm, MLP.

use rayon::prelude::*;
use rosaq_cpu::silu_mul;
use rosaq_model::{ActivationObserver, ActivationSite, BlockWeights, ModelConfig};
use rosaq_tensor::Matrix;

use crate::attention::{Heads, attend};
use crate::kv_cache::LayerCache;
use crate::linear::{LinearOp, apply_matrix, forward};
use crate::rms_norm::{apply_gain, normalize, normalize_heads};
use crate::rope::RopeTable;

/// Values that one task handles in elementwise steps.
const PIECE: usize = 1 << 14;

/// The sequences whose hidden states stand one after another in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Tokens of each sequence.
    pub lengths: &'a [usize],
    /// Position of the first token of every sequence (tokens already in the cache).
    pub first_position: usize,
}

impl Batch<'_> {
    /// Tokens of all sequences.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn positions(&self) -> Vec<usize> {
        let first = self.first_position;
        self.lengths.iter().flat_map(|&len| first..first + len).collect()
    }
}

/// What a block needs besides its weights.
#[derive(Debug, Clone, Copy)]
pub struct BlockContext<'a> {
    /// The model's configuration.
    pub config: &'a ModelConfig,
    /// Rotary angles of all positions in the batch.
    pub rope: &'a RopeTable,
    /// The sequences.
    pub batch: Batch<'a>,
}

/// Runs one block over `hidden`, row-major `[tokens, hidden_size]`, in place.
///
/// With a `cache` the batch must be one sequence; its keys and values are appended. The `observer` sees every activation
/// site once, then the residual.
///
/// # Panics
/// If a cache is given for more than one sequence.
pub fn forward_block<W: LinearOp>(
    context: BlockContext<'_>,
    block: &BlockWeights<W>,
    hidden: &mut [f32],
    cache: Option<&mut LayerCache>,
    observer: &mut dyn ActivationObserver,
) {
    let attention = attention_branch(context, block, hidden, cache, observer);
    add_to_residual(hidden, &attention, block.rotations.shortcut_attention.as_ref());
    drop(attention);
    let mlp = mlp_branch(context, block, hidden, observer);
    add_to_residual(hidden, &mlp, block.rotations.shortcut_mlp.as_ref());
    observer.residual(context.batch.tokens(), hidden);
}

fn attention_branch<W: LinearOp>(
    context: BlockContext<'_>,
    block: &BlockWeights<W>,
    hidden: &[f32],
    cache: Option<&mut LayerCache>,
    observer: &mut dyn ActivationObserver,
) -> Vec<f32> {
    let BlockContext { config, rope, batch } = context;
    let tokens = batch.tokens();
    let mut x = normalize(hidden, config.hidden_size, config.rms_norm_eps);
    observer.observe(ActivationSite::AttentionInput, tokens, &x);
    apply_gain(&mut x, &block.attention_norm);
    let x = rotated(block.rotations.attention_input.as_ref(), tokens, x);
    let mut q = forward(&block.query, tokens, &x);
    let mut k = forward(&block.key, tokens, &x);
    let v = forward(&block.value, tokens, &x);
    drop(x);
    if let Some(gain) = &block.query_norm {
        normalize_heads(&mut q, gain, config.rms_norm_eps);
    }
    if let Some(gain) = &block.key_norm {
        normalize_heads(&mut k, gain, config.rms_norm_eps);
    }
    let positions = batch.positions();
    rope.apply(&mut q, &positions);
    rope.apply(&mut k, &positions);
    let heads = attend_all(config, batch, &q, k, v, cache);
    observer.observe(ActivationSite::HeadsOutput, tokens, &heads);
    let heads = rotated(block.rotations.heads_output.as_ref(), tokens, heads);
    forward(&block.output, tokens, &heads)
}

fn attend_all(
    config: &ModelConfig,
    batch: Batch<'_>,
    q: &[f32],
    k: Vec<f32>,
    v: Vec<f32>,
    cache: Option<&mut LayerCache>,
) -> Vec<f32> {
    let mut out = vec![0.0; q.len()];
    let heads = Heads::of(config);
    if let Some(cache) = cache {
        assert_eq!(batch.lengths.len(), 1, "a cache holds one sequence");
        cache.keys.extend(k);
        cache.values.extend(v);
        attend(heads, q, &cache.keys, &cache.values, &mut out);
        return out;
    }
    let (width, kv_width) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let mut jobs = Vec::new();
    let (mut q, mut k, mut v, mut rest) = (q, &k[..], &v[..], &mut out[..]);
    for &len in batch.lengths {
        let (q_one, q_rest) = q.split_at(len * width);
        let (k_one, k_rest) = k.split_at(len * kv_width);
        let (v_one, v_rest) = v.split_at(len * kv_width);
        let (out_one, out_rest) = rest.split_at_mut(len * width);
        jobs.push((q_one, k_one, v_one, out_one));
        (q, k, v, rest) = (q_rest, k_rest, v_rest, out_rest);
    }
    rayon::scope(|scope| {
        for (q, k, v, out) in jobs {
            scope.spawn(move |_| attend(heads, q, k, v, out));
        }
    });
    out
}

fn mlp_branch<W: LinearOp>(
    context: BlockContext<'_>,
    block: &BlockWeights<W>,
    hidden: &[f32],
    observer: &mut dyn ActivationObserver,
) -> Vec<f32> {
    let BlockContext { config, batch, .. } = context;
    let tokens = batch.tokens();
    let mut x = normalize(hidden, config.hidden_size, config.rms_norm_eps);
    observer.observe(ActivationSite::MlpInput, tokens, &x);
    apply_gain(&mut x, &block.mlp_norm);
    let x = rotated(block.rotations.mlp_input.as_ref(), tokens, x);
    let mut gate = forward(&block.gate, tokens, &x);
    let up = forward(&block.up, tokens, &x);
    drop(x);
    gate.par_chunks_mut(PIECE).zip(up.par_chunks(PIECE)).for_each(|(g, u)| silu_mul(g, u));
    drop(up);
    observer.observe(ActivationSite::DownInput, tokens, &gate);
    forward(&block.down, tokens, &gate)
}

fn rotated(rotation: Option<&Matrix>, tokens: usize, x: Vec<f32>) -> Vec<f32> {
    match rotation {
        None => x,
        Some(r) => apply_matrix(r, tokens, &x),
    }
}

fn add_to_residual(hidden: &mut [f32], branch: &[f32], shortcut: Option<&Matrix>) {
    if let Some(s) = shortcut {
        let turned = apply_matrix(s, hidden.len() / s.cols, hidden);
        hidden.copy_from_slice(&turned);
    }
    hidden.par_chunks_mut(PIECE).zip(branch.par_chunks(PIECE)).for_each(|(hidden, branch)| {
        for (h, b) in hidden.iter_mut().zip(branch) {
            *h += b;
        }
    });
}
