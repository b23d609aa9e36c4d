//! Sizes against numbers worked out by hand.

use super::*;
use crate::CheckpointSizes;

/// One layer of SmolLM2-135M with a small vocabulary.
const SMOLLM2: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 576,
    "intermediate_size": 1536, "num_hidden_layers": 1, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 32, "tie_word_embeddings": true}"#;

/// Weights of that layer: q and o 576 x 576, k and v 192 x 576, gate, up and down 1536 x 576.
const WEIGHTS: u64 = 2 * 576 * 576 + 2 * 192 * 576 + 3 * 1536 * 576;
/// Those with 576 inputs, and the down projection with 1536.
const NARROW: f64 = (WEIGHTS - 1536 * 576) as f64;
const WIDE: f64 = (1536 * 576) as f64;

fn plain(out: usize, segments: &[Segment], order: ChannelOrder) -> LinearWeights<PackedLinear> {
    let start = PackedLinearBuilder::new(out).order(order);
    let add = |builder: PackedLinearBuilder, segment: &Segment| {
        let n_groups = out * segment.n_groups();
        let values = match segment.kind {
            SegmentKind::F16 => SegmentValues::F16(vec![f16::ONE; out * segment.channels]),
            _ => SegmentValues::Codes {
                codes: vec![1; out * segment.channels],
                scales: vec![f16::ONE; n_groups],
                zeros: vec![0; n_groups],
            },
        };
        builder.segment(*segment, values)
    };
    let weight = segments.iter().fold(start, add).build().unwrap();
    LinearWeights { weight, bias: None }
}

fn sizes_of(
    segments: impl Fn(usize) -> (Vec<Segment>, ChannelOrder),
    rotations: BlockRotations,
    head_input: Option<Matrix>,
) -> (CheckpointSizes, u64) {
    let config = config(SMOLLM2);
    let linear = |role| {
        let [out, channels] = config.linear_shape(role);
        let (segments, order) = segments(channels);
        plain(out, &segments, order)
    };
    let block = BlockWeights {
        attention_norm: vec![1.0; 576],
        query: linear(Role::Query),
        key: linear(Role::Key),
        value: linear(Role::Value),
        output: linear(Role::Output),
        query_norm: None,
        key_norm: None,
        mlp_norm: vec![1.0; 576],
        gate: linear(Role::Gate),
        up: linear(Role::Up),
        down: linear(Role::Down),
        rotations,
    };
    let embedding = plain(32, &[Segment::f16(576)], ChannelOrder::Identity).weight;
    let ends = ModelEnds {
        embedding,
        final_norm: vec![1.0; 576],
        head_input,
        head_basis: None,
        head: None,
    };
    let dir = tempfile::tempdir().unwrap();
    write_block_shard(dir.path(), &config, 0, &block).unwrap();
    write_ends_shard(dir.path(), &config, &ends, &[]).unwrap();
    let sizes = finish(dir.path(), &config, "rtn", Map::new()).unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().sizes(), sizes);
    let shards = [0, 1].map(|shard_idx| fs::metadata(dir.path().join(shard_name(shard_idx, 1))));
    (sizes, shards.map(|file| file.unwrap().len()).iter().sum())
}

fn rtn(channels: usize) -> (Vec<Segment>, ChannelOrder) {
    (vec![Segment::asymmetric(channels, Bits::FOUR, 128)], ChannelOrder::Identity)
}

#[track_caller]
fn close(found: f64, expected: f64) {
    // Both are quotients of exact counts.
    assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
}

#[test]
fn round_to_nearest_in_groups_of_128() {
    let (sizes, files) = sizes_of(rtn, BlockRotations::default(), None);
    assert_eq!((sizes.quantized_weights, sizes.total_bytes), (WEIGHTS, files));
    // 576 codes of 4 bits and 5 groups of 16 + 4 bits; 1536 codes and 12 groups.
    let narrow = (576.0 * 4.0 + 5.0 * 20.0) / 576.0;
    let wide = (1536.0 * 4.0 + 12.0 * 20.0) / 1536.0;
    let expected = (NARROW * narrow + WIDE * wide) / WEIGHTS as f64;
    close(sizes.weight_bits, expected);
    assert_eq!(format!("{expected:.3}"), "4.169");
    // Stored, 5 zero points of 4 bits take 3 bytes instead of 2.5.
    let narrow = 8.0 * (288.0 + 10.0 + 3.0) / 576.0;
    close(sizes.bits_per_weight, (NARROW * narrow + WIDE * wide) / WEIGHTS as f64);
}

#[test]
fn two_rotations_a_block_weigh_three_bits() {
    let plain = sizes_of(rtn, BlockRotations::default(), None).0;
    let square = || Some(Matrix::zeros(576, 576));
    let online =
        BlockRotations { attention_input: square(), mlp_input: square(), ..Default::default() };
    let rotated = sizes_of(rtn, online, None).0;
    close(rotated.weight_bits, plain.weight_bits);
    // 2 x 576 x 576 x 16 / 3,538,944 is 3 exactly.
    close(rotated.bits_per_weight, plain.bits_per_weight + 3.0);
    let head = sizes_of(rtn, BlockRotations::default(), square()).0;
    close(head.bits_per_weight, plain.bits_per_weight + 1.5);
}

#[test]
fn salient_channels_and_orders_are_counted() {
    let salient = |channels: usize| {
        let order = (0..u32::try_from(channels).unwrap()).rev().collect();
        let int = Segment::asymmetric(channels - 16, Bits::FOUR, 128);
        (vec![Segment::f16(16), int], ChannelOrder::Explicit(order))
    };
    let sizes = sizes_of(salient, BlockRotations::default(), None).0;
    let narrow = (16.0 * 16.0 + 560.0 * 4.0 + 5.0 * 20.0) / 576.0;
    let wide = (16.0 * 16.0 + 1520.0 * 4.0 + 12.0 * 20.0) / 1536.0;
    close(sizes.weight_bits, (NARROW * narrow + WIDE * wide) / WEIGHTS as f64);
    // Half a byte of padding a row as above, and two bytes a channel for the order of each linear.
    let rows = 2.0 * 576.0 + 2.0 * 192.0 + 2.0 * 1536.0;
    let extra = 4.0 * rows + 16.0 * (6.0 * 576.0 + 1536.0);
    close(sizes.bits_per_weight, sizes.weight_bits + extra / WEIGHTS as f64);
}
