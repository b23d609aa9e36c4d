//! Moves channel scales from one linear into the one before it.

use rosaq_model::BlockWeights;

/// Multiplies input channel `i` of down by `scales[i]` and divides output `i` of up by it: the product inside the MLP is
/// linear in up, so the block computes the same. Source: AWQ (arXiv 2306.00978), section 3.2.
///
/// # Panics
/// If there is not one positive scale a channel.
pub fn scale_down_input(block: &mut BlockWeights, scales: &[f32]) {
    let channels = block.down.weight.cols;
    assert_eq!(scales.len(), channels, "one scale for each of {channels} channels");
    assert!(scales.iter().all(|&s| s > 0.0 && s.is_finite()), "scales are positive");
    for row in block.down.weight.data.chunks_exact_mut(channels) {
        for (value, s) in row.iter_mut().zip(scales) {
            *value *= s;
        }
    }
    let columns = block.up.weight.cols;
    for (row, s) in block.up.weight.data.chunks_exact_mut(columns).zip(scales) {
        for value in row {
            *value /= s;
        }
    }
    for (value, s) in block.up.bias.iter_mut().flatten().zip(scales) {
        *value /= s;
    }
}
