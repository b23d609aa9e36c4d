//! What is written is what is loaded, and the bytes depend on nothing else.

use rosaq_model::HeadBasis;
use rosaq_rotate::{randomized_basis, tied_head_input};

use super::*;
use crate::block_shard_is_complete;
use crate::header::INDEX_FILE;

#[track_caller]
fn check(json: &str) {
    let written = Written::new(json);
    let checkpoint = Checkpoint::open(written.path()).unwrap();
    assert_eq!(Content::load(&checkpoint).unwrap(), written.content);

    let quantization = checkpoint.quantization();
    assert_eq!((&*quantization.method, quantization.version), ("mixed", 1));
    // serde_json may lose the last bit of a float when it parses one.
    assert_eq!(quantization.settings["group_size"], 128);
    for (layer, block) in written.content.blocks.iter().enumerate() {
        for role in LINEAR_ROLES {
            let module = crate::header::module_name(&written.config, role, layer);
            assert_eq!(quantization.linears[&module], block.linear(role).weight.spec());
        }
    }
}

#[test]
fn every_kind_order_bias_and_rotation_comes_back() {
    check(LLAMA);
}

#[test]
fn query_norms_and_a_shared_table_come_back() {
    check(QWEN3);
}

#[test]
fn linears_share_one_set_of_codebooks() {
    let written = Written::new(LLAMA);
    let checkpoint = Checkpoint::open(written.path()).unwrap();
    let [first, last] = [0, 1].map(|layer| checkpoint.load_block(layer).unwrap());
    assert!(Arc::ptr_eq(&first.query.weight.codebooks, &last.down.weight.codebooks));
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let (a, b) = (Written::new(LLAMA), Written::new(LLAMA));
    let mut names: Vec<_> =
        fs::read_dir(a.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        CONFIG_FILE,
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        INDEX_FILE,
    ];
    assert_eq!(names, expected);
    for name in names {
        let [a, b] = [a.path(), b.path()].map(|dir| fs::read(dir.join(&name)).unwrap());
        assert!(a == b, "{} differs", name.display());
    }
}

#[test]
fn names_types_and_index_follow_hugging_face() {
    let written = Written::new(LLAMA);
    // The store of rosaq-tensor reads any Hugging Face directory.
    let store = rosaq_tensor::TensorStore::open(written.path()).unwrap();
    let shape = |name: &str| {
        let view = store.get(name).unwrap();
        (view.dtype.name(), view.shape.to_vec())
    };
    // 16 rows of 12 codes of 4 bits; 3 groups of 4-bit zero points take 2 bytes.
    assert_eq!(shape("model.layers.1.self_attn.q_proj.codes"), ("U8", vec![16 * 6]));
    assert_eq!(shape("model.layers.1.self_attn.q_proj.scales"), ("F16", vec![16, 3]));
    assert_eq!(shape("model.layers.1.self_attn.q_proj.zeros"), ("U8", vec![16 * 2]));
    assert_eq!(shape("model.layers.1.self_attn.q_proj.f16"), ("F16", vec![16, 4]));
    assert_eq!(shape("model.layers.1.self_attn.q_proj.bias"), ("F32", vec![16]));
    assert_eq!(shape("model.layers.0.self_attn.k_proj.channels"), ("U16", vec![16]));
    assert_eq!(shape("model.layers.0.mlp.input_rotation.weight"), ("F16", vec![16, 16]));
    assert_eq!(shape("model.layers.0.input_layernorm.weight"), ("F32", vec![16]));
    assert_eq!(shape("model.embed_tokens.weight"), ("F16", vec![11, 16]));
    assert_eq!(shape("rosaq.codebooks.1"), ("F16", vec![4]));
    for absent in ["model.layers.0.self_attn.k_proj.zeros", "model.layers.0.mlp.up_proj.codes"] {
        assert!(!store.contains(absent), "{absent} is empty");
    }
    let tied = Written::new(QWEN3);
    let store = rosaq_tensor::TensorStore::open(tied.path()).unwrap();
    assert_eq!(store.get("model.embed_tokens.scales").unwrap().shape, [11, 2]);
    assert!(!store.contains("model.embed_tokens.weight"));
}

#[test]
fn the_configuration_stays_and_says_what_was_done() {
    let written = Written::new(LLAMA);
    let text = fs::read_to_string(written.path().join(CONFIG_FILE)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["architectures"][0], "LlamaForCausalLM");
    assert_eq!(json["torch_dtype"], "float16");
    let stored = &json["quantization_config"];
    assert_eq!((&stored["quant_method"], &stored["version"]), (&json!("rosaq"), &json!(1)));
    let key = &stored["linears"]["model.layers.0.self_attn.k_proj"];
    assert_eq!(key["order"], "explicit");
    let expected =
        json!([{"channels": 16, "kind": "int", "bits": 3, "symmetric": true, "group_size": 8}]);
    assert_eq!(key["segments"], expected);
    assert!(Checkpoint::is_rosaq(written.path()));
    assert!(!Checkpoint::is_rosaq(&written.path().join("elsewhere")));
}

#[test]
fn an_untied_head_is_announced() {
    let mut config = config(QWEN3);
    config.tied_embeddings = false; // as the rotation does it
    let content = Content::random(&config, 3);
    let dir = tempfile::tempdir().unwrap();
    content.write(dir.path(), &config).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert!(!checkpoint.config().tied_embeddings);
    assert_eq!(checkpoint.load_ends().unwrap(), content.ends);
}

#[test]
fn a_reformatted_configuration_is_the_same() {
    let written = Written::new(LLAMA);
    let path = written.path().join(CONFIG_FILE);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    json.sort_all_objects();
    fs::write(&path, json.to_string()).unwrap();
    let checkpoint = Checkpoint::open(written.path()).unwrap();
    assert_eq!(Content::load(&checkpoint).unwrap(), written.content);
}

#[test]
fn a_finished_shard_is_recognized() {
    let written = Written::new(LLAMA);
    assert!(block_shard_is_complete(written.path(), &written.config, 0));
    assert!(block_shard_is_complete(written.path(), &written.config, 1));

    let bytes = fs::read(written.shard(2)).unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bad in [&bytes[..bytes.len() - 1], &damaged, &[]] {
        fs::write(written.shard(2), bad).unwrap();
        assert!(!block_shard_is_complete(written.path(), &written.config, 1));
    }
    fs::copy(written.shard(1), written.shard(2)).unwrap();
    assert!(!block_shard_is_complete(written.path(), &written.config, 1), "block 0's weights");
    assert!(!block_shard_is_complete(Path::new("elsewhere"), &written.config, 1));
}

#[test]
fn contradictions_are_refused_before_anything_is_written() {
    let config = config(LLAMA);
    let content = Content::random(&config, 7);
    let dir = tempfile::tempdir().unwrap();
    let write = |edit: &dyn Fn(&mut BlockWeights<PackedLinear>)| {
        let mut block = content.blocks[0].clone();
        edit(&mut block);
        write_block_shard(dir.path(), &config, 0, &block)
    };
    refused(write(&|b| b.gate.bias = None), &["mlp.gate_proj.bias", "no tensor"]);
    refused(write(&|b| b.query_norm = Some(vec![1.0; 4])), &["q_norm", "no part of this model"]);
    refused(write(&|b| b.mlp_norm = vec![1.0; 15]), &["post_attention", "[16]", "[15]"]);
    refused(write(&|b| b.mlp_norm[3] = f32::NAN), &["post_attention", "element 3", "NaN"]);
    refused(write(&|b| b.down.weight = b.up.weight.clone()), &["down_proj", "[16, 24]"]);
    let wrong = |b: &mut BlockWeights<PackedLinear>| {
        b.rotations.mlp_input = Some(Matrix::zeros(16, 15));
    };
    refused(write(&wrong), &["mlp.input_rotation", "[16, 16]", "[16, 15]"]);
    let others = |b: &mut BlockWeights<PackedLinear>| {
        b.value.weight.codebooks = Arc::new(vec![vec![f16::ONE; 16], vec![f16::ONE; 4]]);
    };
    refused(write(&others), &["codebooks"]);

    let mut ends = content.ends.clone();
    ends.head = None;
    refused(write_ends_shard(dir.path(), &config, &ends, &[]), &["lm_head.weight"]);
    ends.head = Some(content.blocks[0].query.weight.clone());
    refused(write_ends_shard(dir.path(), &config, &ends, &[]), &["lm_head", "[11, 16]"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn blocks_and_ends_must_have_the_same_codebooks() {
    let written = Written::new(LLAMA);
    let mut others = written.content.codebooks.clone();
    others[0][3] = f16::from_f32(0.123);
    write_ends_shard(written.path(), &written.config, &written.content.ends, &others).unwrap();
    refused(finish(written.path(), &written.config, "mixed", settings()), &["codebooks", "00002"]);
    refused(Checkpoint::open(written.path()), &["codebooks"]);
}

#[test]
fn failures_of_the_disk_are_told_apart() {
    let config = config(LLAMA);
    let content = Content::random(&config, 7);
    let error = content.write(Path::new("/dev/null/nowhere"), &config).unwrap_err();
    assert!(error.is_disk(), "{error}");
}

/// The matrix at the head's input is made again from the seed of the basis and the norm's gain.
#[test]
fn a_basis_from_a_seed_is_stored_as_its_seed() {
    let config = config(QWEN3);
    let mut content = Content::random(&config, 7);
    let gain = std::mem::replace(&mut content.ends.final_norm, vec![1.0; config.hidden_size]);
    let basis = randomized_basis(config.hidden_size, 5);
    let input = tied_head_input(&gain, basis.as_ref(), basis.as_ref());
    content.ends.head_input = Some(input);
    content.ends.head_basis = Some(HeadBasis { seed: 5, gain });
    let dir = tempfile::tempdir().unwrap();
    content.write(dir.path(), &config).unwrap();

    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert!(Content::load(&checkpoint).unwrap() == content);
    let store = rosaq_tensor::TensorStore::open(&dir.path().join(shard_name(0, 1))).unwrap();
    assert!(!store.contains("model.head_input.weight"));
}
