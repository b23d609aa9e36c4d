//! A small random model in every form that the format knows, and what is asked of it.

mod damage;
mod round_trip;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use rosaq_model::{
    BlockRotations, BlockWeights, LINEAR_ROLES, LinearWeights, ModelConfig, ModelEnds, Role,
};
use rosaq_pack::{
    Bits, ChannelOrder, PackedLinear, PackedLinearBuilder, Segment, SegmentKind, SegmentValues,
};
use rosaq_tensor::Matrix;
use serde_json::{Map, Value, json};

use crate::header::{CONFIG_FILE, shard_name};
use crate::{Checkpoint, CheckpointError, finish, write_block_shard, write_ends_shard};

/// Two layers with every bias and an own head.
const LLAMA: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 11, "attention_bias": true, "mlp_bias": true,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "rope_theta": 12345.678}"#;

/// One layer with norms of queries and keys and a shared table.
const QWEN3: &str = r#"{"architectures": ["Qwen3ForCausalLM"], "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 4, "vocab_size": 11, "tie_word_embeddings": true}"#;

fn config(json: &str) -> ModelConfig {
    ModelConfig::from_hf_json(json, Path::new("config.json")).unwrap()
}

/// Marsaglia's xorshift64; test data need no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % n as u64).unwrap()
    }

    /// Multiples of 1/64 in -8..8: exact in f16.
    fn half(&mut self) -> f16 {
        f16::from_f32((self.below(1024) as f32 - 512.0) / 64.0)
    }

    fn halves(&mut self, n: usize) -> Vec<f16> {
        (0..n).map(|_| self.half()).collect()
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        // Thirds are exact in no float, so that a detour over f16 would show.
        (0..n).map(|_| self.half().to_f32() / 3.0).collect()
    }

    fn matrix(&mut self, [rows, cols]: [usize; 2]) -> Matrix {
        Matrix::new(rows, cols, (0..rows * cols).map(|_| self.half().to_f32()).collect())
    }

    fn bytes(&mut self, n: usize, end: usize) -> Vec<u8> {
        (0..n).map(|_| u8::try_from(self.below(end)).unwrap()).collect()
    }

    fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(n).unwrap()).collect();
        (1..n).for_each(|i| order.swap(i, self.below(i + 1)));
        order
    }

    fn values(&mut self, out: usize, segment: &Segment) -> SegmentValues {
        let Some(bits) = segment.kind.bits() else {
            return SegmentValues::F16(self.halves(out * segment.channels));
        };
        let n_groups = out * segment.n_groups();
        let n_zeros = if segment.kind.has_zeros() { n_groups } else { 0 };
        SegmentValues::Codes {
            codes: self.bytes(out * segment.channels, bits.n_codes()),
            scales: self.halves(n_groups),
            zeros: self.bytes(n_zeros, bits.n_codes()),
        }
    }

    fn linear(
        &mut self,
        out: usize,
        segments: &[Segment],
        order: ChannelOrder,
        codebooks: &Arc<Vec<Vec<f16>>>,
    ) -> PackedLinear {
        let start = PackedLinearBuilder::new(out).order(order).codebooks(Arc::clone(codebooks));
        let add = |builder: PackedLinearBuilder, segment: &Segment| {
            let values = self.values(out, segment);
            builder.segment(*segment, values)
        };
        segments.iter().fold(start, add).build().unwrap()
    }
}

/// Segments that together show every kind, and every order, for the sizes of the test models.
fn segments_of(role: Role, random: &mut Random) -> (Vec<Segment>, ChannelOrder) {
    let identity = ChannelOrder::Identity;
    match role {
        Role::Query => (vec![Segment::f16(4), Segment::asymmetric(12, Bits::FOUR, 5)], identity),
        Role::Key => {
            let order = ChannelOrder::Explicit(random.permutation(16));
            (vec![Segment::symmetric(16, Bits::THREE, 8)], order)
        }
        Role::Value => {
            let trellis = Segment::trellis(7, Bits::THREE, 12, 2, 4);
            (vec![Segment::codebook(9, Bits::TWO, 1, 16), trellis], identity)
        }
        Role::Output => {
            let order = ChannelOrder::PerHead { n_heads: 4, head_dim: 4, salient: 1 };
            (vec![Segment::f16(4), Segment::asymmetric(12, Bits::EIGHT, 3)], order)
        }
        Role::Gate => {
            let eight = Segment::asymmetric(3, Bits::EIGHT, 2);
            let five = Segment::symmetric(5, Bits::FIVE, 64);
            (vec![eight, five, Segment::asymmetric(8, Bits::THREE, 3)], identity)
        }
        Role::Up => (vec![Segment::f16(16)], identity),
        _ => {
            let order = ChannelOrder::Explicit(random.permutation(24));
            (
                vec![Segment::codebook(8, Bits::FOUR, 0, 3), Segment::asymmetric(16, Bits::SIX, 4)],
                order,
            )
        }
    }
}

fn random_block(
    config: &ModelConfig,
    random: &mut Random,
    codebooks: &Arc<Vec<Vec<f16>>>,
) -> BlockWeights<PackedLinear> {
    let d = config.hidden_size;
    let has_qk_norm = config.family.has_qk_norm;
    let mut linears = LINEAR_ROLES.map(|role| {
        let [out, _] = config.linear_shape(role);
        let (segments, order) = segments_of(role, random);
        let weight = random.linear(out, &segments, order, codebooks);
        let bias = config.biased.contains(&role).then(|| random.floats(out));
        Some(LinearWeights { weight, bias })
    });
    let mut next = linears.iter_mut().map(|linear| linear.take().unwrap());
    let mut linear = || next.next().unwrap();
    BlockWeights {
        attention_norm: random.floats(d),
        query: linear(),
        key: linear(),
        value: linear(),
        output: linear(),
        query_norm: has_qk_norm.then(|| random.floats(config.head_dim)),
        key_norm: has_qk_norm.then(|| random.floats(config.head_dim)),
        mlp_norm: random.floats(d),
        gate: linear(),
        up: linear(),
        down: linear(),
        rotations: BlockRotations::default(),
    }
}

/// A model as it is in memory.
#[derive(Debug, Clone, PartialEq)]
struct Content {
    blocks: Vec<BlockWeights<PackedLinear>>,
    ends: ModelEnds<PackedLinear>,
    codebooks: Vec<Vec<f16>>,
}

impl Content {
    fn random(config: &ModelConfig, seed: u64) -> Self {
        let mut random = Random(seed);
        let lengths = [16, 4, 128]; // the last for windows of 12 bits
        let codebooks = Arc::new(lengths.map(|len| random.halves(len)).to_vec());
        let square = [config.hidden_size; 2];
        let block = |random: &mut Random| random_block(config, random, &codebooks);
        let mut blocks: Vec<_> = (0..config.n_layers).map(|_| block(&mut random)).collect();
        blocks[0].rotations = BlockRotations {
            attention_input: Some(random.matrix(square)),
            mlp_input: Some(random.matrix(square)),
            heads_output: Some(random.matrix([config.n_heads * config.head_dim; 2])),
            shortcut_attention: Some(random.matrix(square)),
            shortcut_mlp: Some(random.matrix(square)),
            down_hadamard: Some(8),
        };
        // A table of f16 values is one tensor, a packed one has parts.
        let [out, channels] = config.linear_shape(Role::Embedding);
        let segment = match config.tied_embeddings {
            true => Segment::symmetric(channels, Bits::EIGHT, 8),
            false => Segment::f16(channels),
        };
        let table = |random: &mut Random| {
            random.linear(out, &[segment], ChannelOrder::Identity, &codebooks)
        };
        let ends = ModelEnds {
            embedding: table(&mut random),
            final_norm: random.floats(config.hidden_size),
            head_input: config.tied_embeddings.then(|| random.matrix(square)),
            head_basis: None,
            head: (!config.tied_embeddings).then(|| table(&mut random)),
        };
        Self { blocks, ends, codebooks: codebooks.to_vec() }
    }

    fn write(&self, dir: &Path, config: &ModelConfig) -> Result<(), CheckpointError> {
        for (layer, block) in self.blocks.iter().enumerate() {
            write_block_shard(dir, config, layer, block)?;
        }
        write_ends_shard(dir, config, &self.ends, &self.codebooks)?;
        finish(dir, config, "mixed", settings()).map(drop)
    }

    fn load(checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        let n_layers = checkpoint.config().n_layers;
        let blocks: Result<Vec<_>, _> = (0..n_layers).map(|l| checkpoint.load_block(l)).collect();
        let blocks = blocks?;
        let codebooks = blocks[0].query.weight.codebooks.to_vec();
        Ok(Self { blocks, ends: checkpoint.load_ends()?, codebooks })
    }
}

fn settings() -> Map<String, Value> {
    let json = json!({"bits": 4, "group_size": 128, "damping": 0.1 + 0.2, "rotation": "absorbed"});
    json.as_object().unwrap().clone()
}

/// A finished checkpoint of a random model in a directory of its own.
struct Written {
    dir: tempfile::TempDir,
    config: ModelConfig,
    content: Content,
}

impl Written {
    fn new(json: &str) -> Self {
        let config = config(json);
        let content = Content::random(&config, 7);
        let dir = tempfile::tempdir().unwrap();
        content.write(dir.path(), &config).unwrap();
        Self { dir, config, content }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn shard(&self, shard_idx: usize) -> PathBuf {
        self.path().join(shard_name(shard_idx, self.config.n_layers))
    }

    /// Replaces text in `config.json` and takes the checksum out.
    fn edit_config(&self, from: &str, to: &str) {
        let path = self.path().join(CONFIG_FILE);
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        json["quantization_config"].as_object_mut().unwrap().remove("checksum");
        let text = json.to_string();
        assert!(text.contains(from), "{text} lacks {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

/// The message of an error and of all its causes.
fn full_message(error: &CheckpointError) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

#[track_caller]
fn refused<T>(result: Result<T, CheckpointError>, words: &[&str]) {
    let Err(error) = result else { panic!("must be refused") };
    let message = full_message(&error);
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
    assert!(!error.is_disk(), "{message:?} is bad input");
}

/// Segments of every kind appear in the test model.
#[test]
fn the_test_model_shows_every_kind() {
    let content = Content::random(&config(LLAMA), 7);
    let linears = LINEAR_ROLES.map(|role| &content.blocks[0].linear(role).weight);
    let kinds: Vec<SegmentKind> =
        linears.iter().flat_map(|l| l.segments.iter().map(|s| s.kind)).collect();
    assert!(kinds.contains(&SegmentKind::F16));
    assert!(kinds.iter().any(|k| matches!(k, SegmentKind::Codebook { .. })));
    assert!(kinds.iter().any(|k| matches!(k, SegmentKind::Int { symmetric: true, .. })));
    assert!(kinds.iter().any(|k| k.has_zeros()));
}
