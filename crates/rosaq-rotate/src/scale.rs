//! Moves channel scales from one linear into what stands before it: a norm's gain, or the linear whose output enters a
//! product. The block computes the same. Source: AWQ (arXiv 2306.00978), section 3.2.

use rosaq_model::{BlockWeights, LinearWeights, ModelConfig};

/// Multiplies input channel `i` of query, key and value by `scales[i]` and divides the gain before them by it.
///
/// # Panics
/// If there is not one positive scale a channel.
pub fn scale_attention_input(block: &mut BlockWeights, scales: &[f32]) {
    check(scales, block.query.weight.cols);
    for linear in [&mut block.query, &mut block.key, &mut block.value] {
        multiply_columns(linear, scales);
    }
    divide(&mut block.attention_norm, scales);
}

/// Multiplies input channel `i` of gate and up by `scales[i]` and divides the gain before them by it.
///
/// # Panics
/// If there is not one positive scale a channel.
pub fn scale_mlp_input(block: &mut BlockWeights, scales: &[f32]) {
    check(scales, block.gate.weight.cols);
    for linear in [&mut block.gate, &mut block.up] {
        multiply_columns(linear, scales);
    }
    divide(&mut block.mlp_norm, scales);
}

/// Multiplies input channel `i` of the output projection by `scales[i]` and divides the outputs of the value projection by
/// it: attention takes weighted means of values, channel by channel.
///
/// # Panics
/// If there is not one positive scale a channel, or if heads that read the same value head differ in theirs.
pub fn scale_heads_output(block: &mut BlockWeights, config: &ModelConfig, scales: &[f32]) {
    check(scales, block.output.weight.cols);
    multiply_columns(&mut block.output, scales);
    let (d, shared) = (config.head_dim, config.heads_per_kv());
    let of_values: Vec<f32> =
        scales.chunks_exact(d).step_by(shared).flat_map(|head| head.iter().copied()).collect();
    for (head, scales) in scales.chunks_exact(d).enumerate() {
        let kv = head / shared;
        assert!(scales == &of_values[kv * d..(kv + 1) * d], "heads {head} shares value head {kv}");
    }
    divide_outputs(&mut block.value, &of_values);
}

/// Multiplies input channel `i` of down by `scales[i]` and divides output `i` of up by it: the product inside the MLP is
/// linear in up.
///
/// # Panics
/// If there is not one positive scale a channel.
pub fn scale_down_input(block: &mut BlockWeights, scales: &[f32]) {
    check(scales, block.down.weight.cols);
    multiply_columns(&mut block.down, scales);
    divide_outputs(&mut block.up, scales);
}

fn check(scales: &[f32], channels: usize) {
    assert_eq!(scales.len(), channels, "one scale for each of {channels} channels");
    assert!(scales.iter().all(|&s| s > 0.0 && s.is_finite()), "scales are positive");
}

fn multiply_columns(linear: &mut LinearWeights, scales: &[f32]) {
    for row in linear.weight.data.chunks_exact_mut(scales.len()) {
        for (value, s) in row.iter_mut().zip(scales) {
            *value *= s;
        }
    }
}

fn divide_outputs(linear: &mut LinearWeights, scales: &[f32]) {
    let columns = linear.weight.cols;
    for (row, s) in linear.weight.data.chunks_exact_mut(columns).zip(scales) {
        for value in row {
            *value /= s;
        }
    }
    if let Some(bias) = &mut linear.bias {
        divide(bias, scales);
    }
}

fn divide(values: &mut [f32], scales: &[f32]) {
    for (value, s) in values.iter_mut().zip(scales) {
        *value /= s;
    }
}
