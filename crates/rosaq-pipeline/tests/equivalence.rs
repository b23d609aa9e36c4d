//! Rotations leave the logits as they are; a reloaded checkpoint computes what the model in memory does, bit for bit.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::path::Path;

use common::{distance, fixture};
use faer::Mat;
use rosaq_calib::{Collecting, Requirements, StatsCollector};
use rosaq_checkpoint::{finish, write_block_shard, write_ends_shard};
use rosaq_methods::{
    Basis, BlockBases, BlockInput, HeadScope, MethodSettings, OutputRotation, find, head_bases,
    quantize_block,
};
use rosaq_model::{BlockWeights, SourceModel};
use rosaq_pack::{ChannelOrder, Segment};
use rosaq_quant::pack_nearest;
use rosaq_rotate::{
    Placement, ResidualBases, rotate_block, rotate_down_input, rotate_ends, rotate_value_heads,
    scale_attention_input, scale_down_input, scale_heads_output, scale_mlp_input,
};
use rosaq_runtime::{
    Activations, Batch, BlockContext, Blocks, LoadedBlock, Model, RopeTable, Workspace,
};
use rosaq_tensor::Matrix;
use serde_json::Map;

const IDS: [u32; 40] = [
    5, 38, 73, 74, 73, 593, 340, 998, 80, 405, 323, 199, 199, 35, 495, 359, 1384, 12, 700, 41, 9,
    310, 77, 1200, 3, 3, 3, 901, 44, 560, 21, 8, 1111, 17, 230, 95, 64, 402, 1, 0,
];

/// A deterministic orthogonal matrix that mixes all channels.
fn orthogonal(n: usize, seed: usize) -> Mat<f64> {
    let entry =
        |i: usize, j: usize| ((i * 31 + j * 17 + seed * 13) as f64 * 12.9898).sin() * 43758.5453;
    Mat::from_fn(n, n, |i, j| entry(i, j).fract()).qr().compute_Q()
}

fn rotated(source: &SourceModel, placement: Placement) -> Model {
    let config = source.config().clone();
    let (d, n) = (config.hidden_size, config.n_layers);
    let site = |idx: usize| match placement {
        Placement::Absorbed => orthogonal(d, 0),
        _ => orthogonal(d, idx),
    };
    let mut blocks = Vec::new();
    for layer in 0..n {
        let mut block = source.load_block(layer).unwrap();
        let (attention, mlp) = (site(2 * layer), site(2 * layer + 1));
        let next = if layer + 1 == n { mlp.clone() } else { site(2 * layer + 2) };
        let bases =
            ResidualBases { attention: attention.as_ref(), mlp: mlp.as_ref(), next: next.as_ref() };
        rotate_block(&mut block, placement, &bases);
        let heads: Vec<_> = (0..config.n_kv_heads)
            .map(|kv| orthogonal(config.head_dim, 100 + layer * 7 + kv))
            .collect();
        rotate_value_heads(&mut block, &config, &heads);
        rotate_down_input(&mut block, 1 << config.intermediate_size.trailing_zeros()).unwrap();
        blocks.push(block);
    }
    let mut ends = source.load_ends().unwrap();
    rotate_ends(&mut ends, placement, site(0).as_ref(), site(2 * n - 1).as_ref());
    Model::from_parts(config, ends, Blocks::Dense(blocks))
}

#[test]
fn every_placement_leaves_the_logits_as_they_are() {
    let families =
        ["llama2-mha", "llama-gqa-tied", "mistral-sliding", "qwen2-bias", "qwen3-qk-norm"];
    let families = families.map(|name| fixture(&format!("golden/families/{name}")));
    for path in families.into_iter().chain([fixture("tiny-llama"), fixture("tiny-qwen2")]) {
        let source = SourceModel::open(&path).unwrap();
        let vocab = u32::try_from(source.config().vocab_size).unwrap();
        let ids: Vec<u32> = IDS.iter().map(|id| id % vocab).collect();
        let plain =
            Model::streamed(SourceModel::open(&path).unwrap()).unwrap().logits(&ids).unwrap();
        for placement in [Placement::Absorbed, Placement::Shortcut, Placement::Online] {
            let off = distance(&rotated(&source, placement).logits(&ids).unwrap(), &plain);
            // f32 weights and products: a few 1e-6 per layer; a wrong transpose gives order one.
            assert!(off < 1e-4, "{} {placement}: {off:e}", path.display());
        }
    }
}

/// Quantizes a model block by block without the pipeline; returns it in memory and as a checkpoint in `dir`.
fn quantize_in_memory(
    path: &Path,
    method: &str,
    placement: Option<Placement>,
    dir: &Path,
) -> Model {
    let source = SourceModel::open(path).unwrap();
    let config = source.config().clone();
    let mut settings = MethodSettings::new(3, 64).unwrap();
    settings.placement = placement;
    if path.ends_with("tiny-qwen2") && placement == Some(Placement::Online) {
        settings.output_rotation = OutputRotation::Global;
    }
    let plan = find(method).unwrap().plan(&config, &settings).unwrap();
    let rope = RopeTable::new(&config, IDS.len());
    let mut hidden = source.embed(&IDS).unwrap().data;
    let mut packed = Vec::new();
    let one_for_all = placement == Some(Placement::Absorbed);
    let basis = |seed| orthogonal(config.hidden_size, if one_for_all { 0 } else { seed });
    let bases_of = |layer: usize| BlockBases {
        attention: basis(layer),
        mlp: basis(layer + 50),
        next: basis(layer + 1),
    };
    for layer in 0..config.n_layers {
        let block = source.load_block(layer).unwrap();
        let mut collector = StatsCollector::new(&config, Requirements::ALL, Collecting::default());
        let batch = Batch { lengths: &[IDS.len()], parents: &[] };
        let context = BlockContext { config: &config, rope: &rope, batch };
        let (dense, workspace) = (LoadedBlock::Dense(&block), &mut Workspace::default());
        dense.forward(context, &mut hidden, &mut [], &mut collector, workspace);
        let (stats, bases) = (collector.finish(), bases_of(layer));
        let heads = plan.heads.map(|h| match (h.scope, h.basis) {
            (HeadScope::EachHead, Basis::Eigen(first)) => {
                head_bases(&config, &stats, first, layer).unwrap()
            }
            (HeadScope::EachHead, _) => {
                (0..config.n_kv_heads).map(|kv| orthogonal(config.head_dim, layer + kv)).collect()
            }
            _ => vec![orthogonal(config.n_heads * config.head_dim, layer + 9)],
        });
        let (stats, bases, heads) = (Some(&stats), Some(&bases), heads.as_deref());
        let input = BlockInput { config: &config, layer, stats, bases, heads, fisher: None };
        let quantized = quantize_block(&plan, input, block).unwrap();
        assert!(quantized.output_errors.iter().all(|e| e.is_some_and(|e| e > 0.0 && e < 1.0)));
        let block: BlockWeights<_> = quantized.block;
        write_block_shard(dir, &config, layer, &block).unwrap();
        packed.push(block);
    }
    let mut ends = source.load_ends().unwrap();
    if let Some(placement) = plan.residual.map(|r| r.placement) {
        let last = bases_of(config.n_layers - 1).next;
        rotate_ends(&mut ends, placement, bases_of(0).attention.as_ref(), last.as_ref());
    }
    ends.head_input.iter_mut().for_each(rosaq_quant::round_to_f16);
    let table = |_, table: Matrix| {
        pack_nearest(&table, &[Segment::f16(table.cols)], ChannelOrder::Identity)
    };
    let ends = ends.try_map(table).unwrap();
    write_ends_shard(dir, &config, &ends, plan.codes.levels()).unwrap();
    finish(dir, &config, method, Map::new()).unwrap();
    Model::from_parts(config, ends, Blocks::packed(packed, Activations::F32))
}

/// Activations of eight bits, with a scale to each 32 channels or 64: errors of under half a percent in each product.
#[test]
fn activations_of_eight_bits_give_nearly_the_same_logits() {
    for (model, method, placement) in [
        ("tiny-llama", "rtn", None),
        ("tiny-qwen2", "awq", None),
        ("tiny-llama", "spectral", Some(Placement::Absorbed)),
        ("tiny-qwen2", "rosaq", Some(Placement::Online)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        quantize_in_memory(&fixture(model), method, placement, dir.path());
        let [exact, rounded] = [Activations::F32, Activations::Int8]
            .map(|form| Model::packed_with(dir.path(), form).unwrap().logits(&IDS).unwrap());
        let off = distance(&rounded, &exact);
        assert!(off > 0.0 && off < 0.02, "{model} {method}: {off:e}");
    }
}

#[test]
fn a_reloaded_checkpoint_gives_the_same_logits_bit_for_bit() {
    let cases = [
        ("tiny-llama", "rtn", None),
        ("tiny-qwen2", "mixed", None),
        ("tiny-llama", "gptq", None),
        ("tiny-qwen2", "gptq", None),
        ("tiny-llama", "awq", None),
        ("tiny-qwen2", "awq", None),
        ("tiny-llama", "spectral", Some(Placement::Absorbed)),
        ("tiny-qwen2", "spectral", Some(Placement::Absorbed)),
        ("tiny-llama", "rosaq", Some(Placement::Absorbed)),
        ("tiny-qwen2", "rosaq", Some(Placement::Shortcut)),
        ("tiny-llama", "rosaq", Some(Placement::Online)),
        ("tiny-qwen2", "rosaq", Some(Placement::Online)), // with one basis over all heads
    ];
    for (model, method, placement) in cases {
        let dir = tempfile::tempdir().unwrap();
        let in_memory = quantize_in_memory(&fixture(model), method, placement, dir.path());
        let reloaded = Model::packed(dir.path()).unwrap();
        let [a, b] = [&in_memory, &reloaded].map(|m| m.logits(&IDS).unwrap());
        let equal = a.data.iter().zip(&b.data).all(|(x, y)| x.to_bits() == y.to_bits());
        assert!(equal, "{model} {method}: {:e}", distance(&a, &b));
    }
}

#[test]
fn scaled_channels_leave_the_logits_as_they_are() {
    for model in ["tiny-llama", "tiny-qwen2"] {
        let source = SourceModel::open(&fixture(model)).unwrap();
        let config = source.config().clone();
        let wave = |n: usize, period: usize| -> Vec<f32> {
            (0..n).map(|i| 1.5 + ((i % period) as f32).sin()).collect()
        };
        let mut blocks = Vec::new();
        for layer in 0..config.n_layers {
            let mut block = source.load_block(layer).unwrap();
            scale_attention_input(&mut block, &wave(config.hidden_size, 1000));
            scale_mlp_input(&mut block, &wave(config.hidden_size, 7));
            // Every head alike, so that heads that share a value head agree.
            let heads = config.n_heads * config.head_dim;
            scale_heads_output(&mut block, &config, &wave(heads, config.head_dim));
            scale_down_input(&mut block, &wave(config.intermediate_size, 1000));
            blocks.push(block);
        }
        let scaled = Model::from_parts(config, source.load_ends().unwrap(), Blocks::Dense(blocks));
        let plain = Model::streamed(SourceModel::open(&fixture(model)).unwrap()).unwrap();
        let off = distance(&scaled.logits(&IDS).unwrap(), &plain.logits(&IDS).unwrap());
        assert!(off < 1e-5, "{model}: {off:e}"); // rounding of f32 weights and products
    }
}
