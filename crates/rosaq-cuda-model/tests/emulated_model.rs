//! Whole models through the driver's functions and the committed PTX, on the emulator, against the processor.
#![allow(unsafe_code, reason = "the environment names the driver")]
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use rosaq_model::{BlockRotations, BlockWeights, LinearWeights, ModelEnds, Role, SourceModel};
use rosaq_pack::{Bits, ChannelOrder, PackedLinear, Segment};
use rosaq_quant::pack_nearest;
use rosaq_runtime::RuntimeError;
use rosaq_tensor::Matrix;
use support::{Both, Parts};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A fixture with its weights rounded to nearest, channels in another order where `shuffled`.
fn rounded(name: &str, shuffled: bool) -> Parts {
    let source = SourceModel::open(&fixture(name)).expect("a fixture");
    let config = source.config().clone();
    let pack = |_: Role, weight: Matrix| -> Result<PackedLinear, RuntimeError> {
        let (n, top) = (weight.cols, 32);
        let segments = [Segment::f16(top), Segment::asymmetric(n - top, Bits::FOUR, 32)];
        let order = match shuffled {
            true => {
                ChannelOrder::Explicit((0..u32::try_from(n).expect("channels")).rev().collect())
            }
            false => ChannelOrder::Identity,
        };
        Ok(pack_nearest(&weight, &segments, order).expect("a packed linear"))
    };
    let block =
        |layer| source.load_block(layer).expect("a block").try_map(pack).expect("a packed block");
    let blocks = (0..config.n_layers).map(block).collect();
    let in_f16 = |_: Role, table: Matrix| -> Result<PackedLinear, RuntimeError> {
        let segments = [Segment::f16(table.cols)];
        Ok(pack_nearest(&table, &segments, ChannelOrder::Identity).expect("a table"))
    };
    let ends = source.load_ends().expect("ends").try_map(in_f16).expect("packed ends");
    (config, ends, blocks)
}

/// An orthogonal matrix: a reflection.
fn reflection(n: usize, seed: usize) -> Matrix {
    let v: Vec<f32> = (0..n).map(|i| ((i * 31 + seed * 17) % 13) as f32 - 6.0).collect();
    let square: f32 = v.iter().map(|x| x * x).sum();
    let mut matrix = Matrix::zeros(n, n);
    for i in 0..n {
        for j in 0..n {
            let one = if i == j { 1.0 } else { 0.0 };
            matrix.data[i * n + j] = one - 2.0 * v[i] * v[j] / square;
        }
    }
    // As a device keeps it.
    matrix.data.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
    matrix
}

/// Every rotation that there is, online, and the norms of heads that Qwen3 has.
fn turned((config, mut ends, mut blocks): Parts) -> Parts {
    let (d, width) = (config.hidden_size, config.n_heads * config.head_dim);
    for (layer, block) in blocks.iter_mut().enumerate() {
        let gains = |seed: usize| {
            (0..config.head_dim).map(move |i| 0.5 + ((i * 7 + seed) % 9) as f32 / 8.0)
        };
        block.query_norm = Some(gains(layer).collect());
        block.key_norm = Some(gains(layer + 5).collect());
        block.rotations = BlockRotations {
            attention_input: Some(reflection(d, 1 + layer)),
            mlp_input: Some(reflection(d, 20 + layer)),
            heads_output: Some(reflection(width, 40 + layer)),
            shortcut_attention: Some(reflection(d, 60 + layer)),
            shortcut_mlp: Some(reflection(d, 80 + layer)),
            down_hadamard: Some(32),
        };
    }
    ends.head_input = Some(reflection(d, 100));
    (config, ends, blocks)
}

/// Two layers as wide as those of SmolLM2-135M, of random weights.
fn smollm2_shaped() -> Parts {
    let source = SourceModel::open(&fixture("tiny-llama")).expect("a fixture");
    let mut config = source.config().clone();
    config.hidden_size = 576;
    config.intermediate_size = 1536;
    config.n_heads = 9;
    config.n_kv_heads = 3;
    config.head_dim = 64;
    config.n_layers = 2;
    config.vocab_size = 500;
    let mut state = 1_u64;
    let mut unit = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut random = |rows: usize, cols: usize, segments: &[Segment]| {
        let scale = (3.0 / cols as f32).sqrt();
        let data = (0..rows * cols).map(|_| unit() * scale).collect();
        let weight = Matrix { rows, cols, data };
        pack_nearest(&weight, segments, ChannelOrder::Identity).expect("a packed linear")
    };
    let mut linear = |rows: usize, cols: usize| LinearWeights {
        weight: random(
            rows,
            cols,
            &[Segment::f16(64), Segment::symmetric(cols - 64, Bits::THREE, 128)],
        ),
        bias: None,
    };
    let blocks = (0..2)
        .map(|_| BlockWeights {
            attention_norm: vec![1.0; 576],
            query: linear(576, 576),
            key: linear(192, 576),
            value: linear(192, 576),
            output: linear(576, 576),
            query_norm: None,
            key_norm: None,
            mlp_norm: vec![1.0; 576],
            gate: linear(1536, 576),
            up: linear(1536, 576),
            down: linear(576, 1536),
            rotations: BlockRotations { down_hadamard: Some(128), ..BlockRotations::default() },
        })
        .collect();
    let embedding = random(500, 576, &[Segment::symmetric(576, Bits::EIGHT, 64)]);
    let ends = ModelEnds {
        embedding,
        final_norm: vec![1.0; 576],
        head_input: None,
        head_basis: None,
        head: None,
    };
    (config, ends, blocks)
}

#[test]
fn models_on_the_device_are_those_of_the_processor() {
    let device = Arc::new(support::device());
    for (name, shuffled) in [("tiny-llama", false), ("tiny-qwen2", true)] {
        Both::new(&device, rounded(name, shuffled)).check(name);
    }
    // Sequences that are longer than what goes through at a time, and tokens that see no more than those just before.
    let (mut config, ends, blocks) = rounded("tiny-llama", false);
    config.sliding_window = Some(3);
    Both::new(&device, (config, ends, blocks)).in_passes(4).check("a window, in passes");
    Both::new(&device, turned(rounded("tiny-llama", true))).check("every rotation");
    Both::new(&device, smollm2_shaped()).check("layers of SmolLM2's shape");
}
