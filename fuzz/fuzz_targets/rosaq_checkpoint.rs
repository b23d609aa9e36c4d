//! Any bytes as, or in, a file of a packed checkpoint: an error, or a model that loads.
//!
//! The first byte chooses the file and what happens to it: the rest replaces it, or is a list of
//! three-byte edits (place, new value) of the valid file, which reach behind the first checks.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use half::f16;
use libfuzzer_sys::fuzz_target;
use rosaq_checkpoint::{Checkpoint, finish, write_block_shard, write_ends_shard};
use rosaq_model::{BlockRotations, BlockWeights, LinearWeights, ModelConfig, ModelEnds, Role};
use rosaq_pack::{Bits, ChannelOrder, PackedLinearBuilder, Segment, SegmentValues};
use rosaq_tensor::Matrix;

const FILES: [&str; 4] = [
    "config.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 8,
    "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 3}"#;

struct Model {
    dir: tempfile::TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
}

fuzz_target!(|bytes: &[u8]| {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let model = MODEL.get_or_init(write_model);
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let (path, valid) = &model.files[usize::from(choice) % FILES.len()];
    if choice < 128 {
        fs::write(path, bytes).expect("the directory is ours");
    } else {
        fs::write(path, edited(valid, bytes)).expect("the directory is ours");
    }
    if let Ok(checkpoint) = Checkpoint::open(model.dir.path()) {
        let is_sound = checkpoint.verify(&|_| ()).is_ok();
        let loads = checkpoint.load_ends().is_ok() & checkpoint.load_block(0).is_ok();
        assert!(loads || !is_sound, "a verified model loads");
    }
    fs::write(path, valid).expect("the directory is ours");
});

fn edited(valid: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for edit in edits.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] = edit[2];
    }
    bytes
}

fn write_model() -> Model {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let config = ModelConfig::from_hf_json(CONFIG, "config.json".as_ref()).expect("valid");
    let linear = |role| linear(config.linear_shape(role));
    let block = BlockWeights {
        attention_norm: vec![1.0; 8],
        query: linear(Role::Query),
        key: linear(Role::Key),
        value: linear(Role::Value),
        output: linear(Role::Output),
        query_norm: None,
        key_norm: None,
        mlp_norm: vec![1.0; 8],
        gate: linear(Role::Gate),
        up: linear(Role::Up),
        down: linear(Role::Down),
        rotations: BlockRotations {
            mlp_input: Some(Matrix::zeros(8, 8)),
            ..BlockRotations::default()
        },
    };
    let values = SegmentValues::F16(vec![f16::ONE; 24]);
    let embedding = PackedLinearBuilder::new(3).segment(Segment::f16(8), values).build();
    let ends = ModelEnds {
        embedding: embedding.expect("valid"),
        final_norm: vec![1.0; 8],
        head_input: None,
        head_basis: None,
        head: Some(linear(Role::Head).weight),
    };
    write_ends_shard(dir.path(), &config, &ends, &[codebook()]).expect("valid");
    write_block_shard(dir.path(), &config, 0, &block).expect("valid");
    finish(dir.path(), &config, "mixed", serde_json::Map::new()).expect("valid");
    without_checksum(dir.path().join(FILES[0]));
    let files = FILES.map(|name| dir.path().join(name));
    let files = files.map(|path| {
        let bytes = fs::read(&path).expect("written above");
        (path, bytes)
    });
    Model { dir, files: files.into() }
}

/// The checksum would refuse every edit before anything else is looked at.
fn without_checksum(path: PathBuf) {
    let text = fs::read_to_string(&path).expect("written above");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("written above");
    let quantization = json["quantization_config"].as_object_mut().expect("an object");
    quantization.remove("checksum").expect("present");
    fs::write(path, json.to_string()).expect("the directory is ours");
}

fn codebook() -> Vec<f16> {
    [-1.5, -0.5, 0.5, 1.5].map(f16::from_f32).to_vec()
}

/// A linear with every kind of segment, in reverse order.
fn linear([out, channels]: [usize; 2]) -> LinearWeights<rosaq_pack::PackedLinear> {
    let order = (0..u32::try_from(channels).expect("few")).rev().collect();
    let segments = [
        Segment::f16(2),
        Segment::codebook(2, Bits::TWO, 0, 2),
        Segment::symmetric(2, Bits::THREE, 2),
        Segment::asymmetric(channels - 6, Bits::FOUR, 3),
    ];
    let start = PackedLinearBuilder::new(out)
        .order(ChannelOrder::Explicit(order))
        .codebooks(vec![codebook()].into());
    let add = |builder: PackedLinearBuilder, segment: &Segment| {
        let n_groups = out * segment.n_groups();
        let values = match segment.kind.bits() {
            None => SegmentValues::F16(vec![f16::ONE; out * segment.channels]),
            Some(_) => SegmentValues::Codes {
                codes: vec![1; out * segment.channels],
                scales: vec![f16::ONE; n_groups],
                zeros: vec![2; if segment.kind.has_zeros() { n_groups } else { 0 }],
            },
        };
        builder.segment(*segment, values)
    };
    LinearWeights { weight: segments.iter().fold(start, add).build().expect("valid"), bias: None }
}
