//! How large a packed model is, counted from the headers of its shards.

use crate::header::LinearHeader;
use crate::inventory::Share;
use crate::shard::Shard;

/// Sizes of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckpointSizes {
    /// Original weights of the quantized linears.
    pub quantized_weights: u64,
    /// Average information bits of a quantized weight: codes, f16 scales, zero points and f16
    /// values, without padding.
    pub weight_bits: f64,
    /// Average stored bits of a quantized weight: all parts of the linears with their padding and
    /// channel orders, and the rotations, shortcuts, head input matrix and codebooks that exist for
    /// the sake of quantization. Biases, norms, embeddings and headers are not counted.
    pub bits_per_weight: f64,
    /// Bytes of all safetensors files, embeddings and headers included.
    pub total_bytes: u64,
}

impl CheckpointSizes {
    /// Counts checked shards.
    #[expect(clippy::cast_precision_loss, reason = "averages of counts far below 2^53")]
    pub(crate) fn count(ends: &Shard, blocks: &[Shard]) -> Self {
        let (mut weights, mut bits, mut stored_bytes, mut total_bytes) = (0, 0, 0, 0);
        for shard in blocks {
            // No overflow: a checked shard holds at least a bit of file for every weight.
            let shape = |l: &LinearHeader| l.out_features as u64 * l.in_features as u64;
            weights += shard.linears.values().map(shape).sum::<u64>();
            bits += shard.linears.values().map(LinearHeader::weight_bits).sum::<u64>();
        }
        for shard in std::iter::once(ends).chain(blocks) {
            let quantized = shard.tensors().filter(|(slot, _)| slot.share == Share::Quantized);
            stored_bytes += quantized.map(|(_, tensor)| tensor.bytes.len() as u64).sum::<u64>();
            total_bytes += shard.file_len();
        }
        Self {
            quantized_weights: weights,
            weight_bits: bits as f64 / weights as f64,
            bits_per_weight: (stored_bytes * 8) as f64 / weights as f64,
            total_bytes,
        }
    }
}
