//! A plain forward pass in f64, to take finite differences of.

use rosaq_model::{BlockWeights, LinearWeights, ModelConfig, ModelEnds, Role, inverse_frequencies};

/// Something added to one entry of the outputs `[tokens, out_features]` of a linear.
pub(super) type Offset = Option<(Role, usize, f64)>;

/// One block over one sequence, `[tokens, hidden_size]`.
pub(super) fn block(
    config: &ModelConfig,
    block: &BlockWeights,
    input: &[f64],
    offset: Offset,
) -> Vec<f64> {
    let eps = f64::from(config.rms_norm_eps);
    let linear = |role, x: &[f64]| linear(block.linear(role), x, offset.filter(|o| o.0 == role));
    let x = rms_norm(input, &block.attention_norm, eps);
    let heads_of = |role, gain: &Option<Vec<f32>>| {
        let y = linear(role, &x);
        rotated(config, &gain.as_ref().map_or(y.clone(), |gain| rms_norm(&y, gain, eps)), input)
    };
    let query = heads_of(Role::Query, &block.query_norm);
    let key = heads_of(Role::Key, &block.key_norm);
    let heads = attention(config, &query, &key, &linear(Role::Value, &x));
    let hidden = sum(input, &linear(Role::Output, &heads));
    let x = rms_norm(&hidden, &block.mlp_norm, eps);
    let product = gated(&linear(Role::Gate, &x), &linear(Role::Up, &x));
    sum(&hidden, &linear(Role::Down, &product))
}

/// Rows as long as `gain`.
pub(super) fn rms_norm(x: &[f64], gain: &[f32], eps: f64) -> Vec<f64> {
    let mut out = Vec::new();
    for row in x.chunks_exact(gain.len()) {
        let mean_square = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
        let root = (mean_square + eps).sqrt();
        out.extend(row.iter().zip(gain).map(|(v, g)| v / root * f64::from(*g)));
    }
    out
}

pub(super) fn gated(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

pub(super) fn attention(config: &ModelConfig, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let (dim, n_kv_heads) = (config.head_dim, config.n_kv_heads);
    let tokens = q.len() / (config.n_heads * dim);
    let mut out = Vec::new();
    for token in 0..tokens {
        for head in 0..config.n_heads {
            let kv_head = head * n_kv_heads / config.n_heads;
            let row =
                |m: &'_ [f64], at: usize| m[(at * n_kv_heads + kv_head) * dim..][..dim].to_vec();
            let query = &q[(token * config.n_heads + head) * dim..][..dim];
            let first = config.sliding_window.map_or(0, |w| (token + 1).saturating_sub(w));
            let score = |at: usize| {
                let products = query.iter().zip(row(k, at)).map(|(a, b)| a * b);
                (products.sum::<f64>() / (dim as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = (first..=token).map(score).collect();
            let total: f64 = scores.iter().sum();
            let mut mean = vec![0.0; dim];
            for (at, score) in (first..=token).zip(scores) {
                mean.iter_mut().zip(row(v, at)).for_each(|(m, v)| *m += score / total * v);
            }
            out.extend(mean);
        }
    }
    out
}

/// The cross entropy of one token, of whose state behind the last block `hidden` consists.
pub(super) fn head_loss(
    config: &ModelConfig,
    ends: &ModelEnds,
    hidden: &[f64],
    label: usize,
) -> f64 {
    let x = rms_norm(hidden, &ends.final_norm, f64::from(config.rms_norm_eps));
    cross_entropy(&product(ends.head_table(), &x), label)
}

pub(super) fn cross_entropy(logits: &[f64], label: usize) -> f64 {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + logits.iter().map(|l| (l - max).exp()).sum::<f64>().ln() - logits[label]
}

fn linear(linear: &LinearWeights, x: &[f64], offset: Offset) -> Vec<f64> {
    let mut out = product(&linear.weight, x);
    if let Some(bias) = &linear.bias {
        for row in out.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += f64::from(*b));
        }
    }
    if let Some((_, entry, size)) = offset {
        out[entry] += size;
    }
    out
}

fn product(weight: &rosaq_tensor::Matrix, x: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    for x in x.chunks_exact(weight.cols) {
        for row in weight.data.chunks_exact(weight.cols) {
            out.push(row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum());
        }
    }
    out
}

/// Each head of each token as pairs of channels `i` and `i + head_dim / 2`, turned by the token's angles.
fn rotated(config: &ModelConfig, x: &[f64], input: &[f64]) -> Vec<f64> {
    let frequencies = inverse_frequencies(config.head_dim, config.rope_theta, &config.rope_scaling);
    let half = frequencies.len();
    let channels = x.len() / (input.len() / config.hidden_size);
    let mut out = x.to_vec();
    for (entry, y) in out.iter_mut().enumerate() {
        let (position, channel) = (entry / channels, entry % config.head_dim);
        let (sin, cos) = (position as f64 * frequencies[channel % half]).sin_cos();
        *y = if channel < half {
            x[entry] * cos - x[entry + half] * sin
        } else {
            x[entry] * cos + x[entry - half] * sin
        };
    }
    out
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
