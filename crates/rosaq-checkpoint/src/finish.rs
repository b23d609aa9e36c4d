//! Makes a checkpoint of finished shards: index and configuration.

use std::collections::BTreeMap;
use std::path::Path;

use rosaq_model::ModelConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{QuantizationConfig, config_text};
use crate::header::{CONFIG_FILE, FORMAT_VERSION, INDEX_FILE, QUANT_METHOD};
use crate::shard::Shard;
use crate::{Checkpoint, CheckpointError, CheckpointSizes, text_file};

/// Reads the headers of all shards in `dir` back and writes `model.safetensors.index.json` and
/// `config.json`, which makes the directory a checkpoint.
///
/// `config.json` is the model's own (`config.hf`, with `tie_word_embeddings` as in `config` and
/// f16 as the type) plus [`QuantizationConfig`] with `method` and `settings`. It is written last, and
/// the checkpoint is opened once to prove that it can be.
///
/// # Errors
/// A [`CheckpointError`] for a shard that is missing or does not fit `config`, and for failures of
/// the disk.
pub fn finish(
    dir: &Path,
    config: &ModelConfig,
    method: &str,
    settings: Map<String, Value>,
) -> Result<CheckpointSizes, CheckpointError> {
    let ends = Shard::open_ends(dir, config)?;
    let codebooks = ends.codebooks()?;
    let mut linears = BTreeMap::new();
    let mut index = ShardIndex::default();
    index.add(&ends);
    for layer in 0..config.n_layers {
        let block = Shard::open_block(dir, config, layer)?;
        block.check_codebooks(&codebooks)?;
        index.add(&block);
        let specs = block.linears.iter().map(|(name, l)| (name.clone(), l.to_spec(Vec::new())));
        linears.extend(specs);
    }
    let quantization = QuantizationConfig {
        quant_method: QUANT_METHOD.to_owned(),
        version: FORMAT_VERSION,
        method: method.to_owned(),
        settings,
        linears,
        checksum: None,
    };
    index.write(&dir.join(INDEX_FILE))?;
    let path = dir.join(CONFIG_FILE);
    text_file::write(&path, &config_text(&path, config, quantization)?)?;
    Ok(Checkpoint::open(dir)?.sizes())
}

/// `model.safetensors.index.json`, after the convention of huggingface/transformers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ShardIndex {
    #[serde(default)]
    metadata: IndexMetadata,
    /// Shard file by tensor name.
    pub(crate) weight_map: BTreeMap<String, String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct IndexMetadata {
    /// Bytes of all tensors.
    #[serde(default)]
    total_size: u64,
}

impl ShardIndex {
    pub(crate) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = text_file::read(path)?;
        serde_json::from_str(&text).map_err(|source| json_error(path, source))
    }

    pub(crate) fn add(&mut self, shard: &Shard) {
        let file = shard.path().file_name().unwrap_or_default().to_string_lossy();
        self.weight_map.extend(shard.names().map(|name| (name.to_owned(), file.to_string())));
        let sizes = shard.tensors().map(|(_, tensor)| tensor.bytes.len() as u64);
        self.metadata.total_size += sizes.sum::<u64>();
    }

    fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let text = serde_json::to_string_pretty(self).map_err(|source| json_error(path, source))?;
        text_file::write(path, &(text + "\n"))
    }

    /// Demands that this index says what the shards hold, which is `expected`.
    pub(crate) fn check(&self, path: &Path, expected: &Self) -> Result<(), CheckpointError> {
        let (found, expected) = (&self.weight_map, &expected.weight_map);
        let tensors = expected.keys().chain(found.keys());
        let Some(tensor) = tensors.into_iter().find(|name| found.get(*name) != expected.get(*name))
        else {
            return Ok(());
        };
        let shard = |map: &BTreeMap<String, String>| {
            map.get(tensor).map_or_else(|| "no shard".to_owned(), |shard| format!("`{shard}`"))
        };
        Err(CheckpointError::Index {
            path: path.to_owned(),
            tensor: tensor.clone(),
            expected: shard(expected),
            found: shard(found),
        })
    }
}

fn json_error(path: &Path, source: serde_json::Error) -> CheckpointError {
    CheckpointError::Json { path: path.to_owned(), what: "the shard index", source }
}
