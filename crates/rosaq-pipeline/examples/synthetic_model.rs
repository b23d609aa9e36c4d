//! Writes a checkpoint of random f16 weights in the shape of a LLaMA-2 7B with a few layers, to measure time and memory on
//! sizes that matter without downloading anything.
//!
//! `cargo run --release -p rosaq-pipeline --example synthetic_model -- DIR [LAYERS] [TOKENIZER_DIR]`

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_tensor::{DType, TensorData, write_safetensors};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir =
        PathBuf::from(args.next().ok_or("usage: synthetic_model DIR [LAYERS] [TOKENIZER_DIR]")?);
    let layers: usize = args.next().map_or(Ok(2), |n| n.parse())?;
    let json = format!(
        r#"{{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":4096,"intermediate_size":11008,
        "num_hidden_layers":{layers},"num_attention_heads":32,"num_key_value_heads":32,"vocab_size":32000,
        "max_position_embeddings":4096,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":false}}"#
    );
    let config = ModelConfig::from_hf_json(&json, Path::new("config.json"))?;
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("config.json"), json)?;
    if let Some(tokenizer) = args.next() {
        std::fs::copy(Path::new(&tokenizer).join("tokenizer.json"), dir.join("tokenizer.json"))?;
    }
    let mut weight_map = BTreeMap::new();
    let shards = layers + 1;
    for shard in 0..shards {
        let file = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let tensors = if shard == 0 { ends(&config) } else { block(&config, shard - 1) };
        for tensor in &tensors {
            weight_map.insert(tensor.name.clone(), file.clone());
        }
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        write_safetensors(&dir.join(&file), &tensors, metadata)?;
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": weight_map });
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string())?;
    Ok(())
}

fn ends(config: &ModelConfig) -> Vec<TensorData<'static>> {
    let table = |role| random(config.tensor_name(role, 0), &config.linear_shape(role), role as u64);
    vec![table(Role::Embedding), table(Role::Head), gain(config, Role::FinalNorm, 0)]
}

fn block(config: &ModelConfig, layer: usize) -> Vec<TensorData<'static>> {
    let mut tensors: Vec<_> = LINEAR_ROLES
        .iter()
        .map(|&role| {
            let seed = (layer * 100 + role as usize) as u64;
            random(config.tensor_name(role, layer), &config.linear_shape(role), seed)
        })
        .collect();
    tensors.extend([Role::AttentionNorm, Role::MlpNorm].map(|role| gain(config, role, layer)));
    tensors
}

fn gain(config: &ModelConfig, role: Role, layer: usize) -> TensorData<'static> {
    let bytes = f16::ONE.to_le_bytes().repeat(config.hidden_size);
    let name = config.tensor_name(role, layer);
    TensorData {
        name,
        dtype: DType::F16,
        shape: vec![config.hidden_size],
        bytes: Cow::Owned(bytes),
    }
}

/// Uniform weights of variance 1 / (3 in), so that activations neither die nor explode.
fn random(name: String, shape: &[usize; 2], seed: u64) -> TensorData<'static> {
    let scale = 2.0 / (shape[1] as f32).sqrt();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    let mut bytes = Vec::with_capacity(shape[0] * shape[1] * 2);
    for _ in 0..shape[0] * shape[1] {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
        bytes.extend(f16::from_f32(uniform * scale).to_le_bytes());
    }
    TensorData { name, dtype: DType::F16, shape: shape.to_vec(), bytes: Cow::Owned(bytes) }
}
