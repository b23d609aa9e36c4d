//! One decoder block: norm, attention, norm, MLP.

use rayon::prelude::*;
use rosaq_cpu::{silu_mul, walsh_hadamard};
use rosaq_model::{ActivationObserver, ActivationSite, BlockWeights, ModelConfig};
use rosaq_tensor::Matrix;

use crate::attention::{Heads, attend};
use crate::kept::StatesView;
use crate::kv_cache::LayerCache;
use crate::linear::{LinearOp, forward, forward_all};
use crate::rms_norm::{apply_gain, normalize, normalize_heads};
use crate::rope::RopeTable;
use crate::tree::attend_tree;
use crate::workspace::{Workspace, sized};

/// Values that one task handles in elementwise steps.
const PIECE: usize = 1 << 14;

/// The sequences whose hidden states stand one after another in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Tokens of each sequence.
    pub lengths: &'a [usize],
    /// The sequence that each one continues, which stands before it; empty when none continues another.
    pub parents: &'a [Option<usize>],
}

impl Batch<'_> {
    /// Tokens of all sequences.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The position of every token; a sequence goes on behind its cache, which `seen` says the tokens of.
    fn positions(&self, seen: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut ends: Vec<usize> = Vec::with_capacity(self.lengths.len());
        let mut positions = Vec::with_capacity(self.tokens());
        for (idx, &len) in self.lengths.iter().enumerate() {
            let parent = self.parents.get(idx).copied().flatten();
            let first = parent.map_or_else(|| seen(idx), |parent| ends[parent]);
            positions.extend(first..first + len);
            ends.push(first + len);
        }
        positions
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
/// With `caches`, one for each sequence, sequences go on behind them, and their keys and values are appended. The `observer` sees every activation
/// site once, then the residual. Activations stand in `workspace`.
///
/// # Panics
/// If there are caches, but not one for each sequence.
pub fn forward_block<W: LinearOp>(
    context: BlockContext<'_>,
    block: &BlockWeights<W>,
    hidden: &mut [f32],
    caches: &mut [LayerCache],
    observer: &mut dyn ActivationObserver,
    workspace: &mut Workspace,
) {
    attention_branch(context, block, hidden, caches, observer, workspace);
    add_to_residual(hidden, block.rotations.shortcut_attention.as_ref(), workspace);
    mlp_branch(context, block, hidden, observer, workspace);
    add_to_residual(hidden, block.rotations.shortcut_mlp.as_ref(), workspace);
    observer.residual(context.batch.tokens(), hidden);
}

/// Leaves what the attention adds to the residual in `workspace.branch`.
fn attention_branch<W: LinearOp>(
    context: BlockContext<'_>,
    block: &BlockWeights<W>,
    hidden: &[f32],
    caches: &mut [LayerCache],
    observer: &mut dyn ActivationObserver,
    workspace: &mut Workspace,
) {
    let BlockContext { config, rope, batch } = context;
    let tokens = batch.tokens();
    let Workspace { input, turned, query, key, value, heads, branch, .. } = workspace;
    normalize(hidden, config.hidden_size, config.rms_norm_eps, sized(input, hidden.len()));
    observer.observe(ActivationSite::AttentionInput, tokens, input);
    apply_gain(input, &block.attention_norm);
    let x = rotated(block.rotations.attention_input.as_ref(), tokens, input, turned);
    let outs = [&mut *query, &mut *key, &mut *value];
    forward_all([&block.query, &block.key, &block.value], tokens, x, outs);
    if let Some(gain) = &block.query_norm {
        normalize_heads(query, gain, config.rms_norm_eps);
    }
    if let Some(gain) = &block.key_norm {
        normalize_heads(key, gain, config.rms_norm_eps);
    }
    let kv_width = config.n_kv_heads * config.head_dim;
    let positions = batch.positions(|idx| caches.get(idx).map_or(0, |c| c.tokens(kv_width)));
    rope.apply(query, &positions);
    rope.apply(key, &positions);
    attend_all(context, query, key, value, caches, sized(heads, query.len()));
    observer.observe(ActivationSite::HeadsOutput, tokens, heads);
    let heads = rotated(block.rotations.heads_output.as_ref(), tokens, heads, turned);
    forward(&block.output, tokens, heads, branch);
}

fn attend_all(
    context: BlockContext<'_>,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    caches: &mut [LayerCache],
    out: &mut [f32],
) {
    let BlockContext { config, batch, .. } = context;
    let heads = Heads::of(config);
    if !batch.parents.is_empty() {
        attend_tree(config, batch, [q, k, v], out);
        return;
    }
    let n_caches = caches.len();
    assert!(n_caches == 0 || n_caches == batch.lengths.len(), "{n_caches} caches, one a sequence");
    let (width, kv_width) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let mut jobs = Vec::with_capacity(batch.lengths.len());
    let (mut q, mut k, mut v, mut rest) = (q, k, v, out);
    let mut caches = caches.iter_mut();
    for &len in batch.lengths {
        let (q_one, q_rest) = q.split_at(len * width);
        let (k_one, k_rest) = k.split_at(len * kv_width);
        let (v_one, v_rest) = v.split_at(len * kv_width);
        let (out_one, out_rest) = rest.split_at_mut(len * width);
        let states = match caches.next() {
            Some(cache) => {
                cache.keys.extend(k_one);
                cache.values.extend(v_one);
                [cache.keys.view(), cache.values.view()]
            }
            None => [StatesView::F32(k_one), StatesView::F32(v_one)],
        };
        jobs.push((q_one, states, out_one));
        (q, k, v, rest) = (q_rest, k_rest, v_rest, out_rest);
    }
    let seen: usize = jobs.iter().map(|(q, [keys, _], _)| q.len() / width * keys.len()).sum();
    if seen < PARALLEL_ATTENTION {
        jobs.into_iter().for_each(|(q, states, out)| attend(heads, q, states, out));
    } else {
        rayon::scope(|scope| {
            for (q, states, out) in jobs {
                scope.spawn(move |_| attend(heads, q, states, out));
            }
        });
    }
}

/// Keys' values times queries below which waking other threads costs more than it saves.
const PARALLEL_ATTENTION: usize = 1 << 16;

/// Leaves what the MLP adds to the residual in `workspace.branch`.
fn mlp_branch<W: LinearOp>(
    context: BlockContext<'_>,
    block: &BlockWeights<W>,
    hidden: &[f32],
    observer: &mut dyn ActivationObserver,
    workspace: &mut Workspace,
) {
    let BlockContext { config, batch, .. } = context;
    let tokens = batch.tokens();
    let Workspace { input, turned, gate, up, branch, .. } = workspace;
    normalize(hidden, config.hidden_size, config.rms_norm_eps, sized(input, hidden.len()));
    observer.observe(ActivationSite::MlpInput, tokens, input);
    apply_gain(input, &block.mlp_norm);
    let x = rotated(block.rotations.mlp_input.as_ref(), tokens, input, turned);
    forward_all([&block.gate, &block.up], tokens, x, [&mut *gate, &mut *up]);
    if gate.len() <= PIECE {
        silu_mul(gate, up);
    } else {
        gate.par_chunks_mut(PIECE).zip(up.par_chunks(PIECE)).for_each(|(g, u)| silu_mul(g, u));
    }
    observer.observe(ActivationSite::DownInput, tokens, gate);
    if let Some(points) = block.rotations.down_hadamard {
        let rows = gate.par_chunks_mut(config.intermediate_size);
        rows.with_min_len(PIECE.div_ceil(config.intermediate_size))
            .for_each(|row| walsh_hadamard(row, points));
    }
    forward(&block.down, tokens, gate, branch);
}

/// `x` turned, in `turned`, or `x` itself when there is no rotation.
fn rotated<'a>(
    rotation: Option<&Matrix>,
    tokens: usize,
    x: &'a [f32],
    turned: &'a mut Vec<f32>,
) -> &'a [f32] {
    match rotation {
        None => x,
        Some(r) => {
            r.apply(tokens, x, sized(turned, tokens * r.rows));
            turned
        }
    }
}

/// Adds `workspace.branch` to the residual, which `shortcut` turns first.
fn add_to_residual(hidden: &mut [f32], shortcut: Option<&Matrix>, workspace: &mut Workspace) {
    let Workspace { branch, turned, .. } = workspace;
    if let Some(s) = shortcut {
        let turned = sized(turned, hidden.len());
        s.apply(hidden.len() / s.cols, hidden, turned);
        hidden.copy_from_slice(turned);
    }
    hidden.par_chunks_mut(PIECE).zip(branch.par_chunks(PIECE)).for_each(|(hidden, branch)| {
        for (h, b) in hidden.iter_mut().zip(branch) {
            *h += b;
        }
    });
}
