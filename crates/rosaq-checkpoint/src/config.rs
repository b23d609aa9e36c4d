//! `config.json`: the model's own configuration plus how it was quantized.

use std::collections::BTreeMap;
use std::path::Path;

use rosaq_model::ModelConfig;
use rosaq_pack::LinearSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::header::{CONFIG_FILE, FORMAT_VERSION, LinearHeader, QUANT_METHOD, QUANTIZATION_KEY};
use crate::{CheckpointError, text_file};

/// How a model was quantized: what `config.json` holds under `quantization_config`.
///
/// An explicit channel order is written as the word alone, its permutation is the tensor
/// `MODULE.channels`. Parsed from JSON it is therefore empty; [`crate::Checkpoint`] fills it in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationConfig {
    /// Always "rosaq".
    pub quant_method: String,
    /// Version of the checkpoint format, 1.
    pub version: u32,
    /// The method: "rtn", "rosaq", ...
    pub method: String,
    /// Settings of the method as the pipeline gives them; read by people and reports alone.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Description of every quantized linear by module name, `model.layers.0.self_attn.q_proj`.
    #[serde(with = "stored_linears")]
    pub linears: BTreeMap<String, LinearSpec>,
    /// BLAKE3 of the whole `config.json` without this field, keys sorted and spaces removed. A file
    /// without it is accepted, so that a configuration can be edited on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

mod stored_linears {
    use super::{BTreeMap, LinearHeader, LinearSpec};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        linears: &BTreeMap<String, LinearSpec>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(linears.iter().map(|(name, spec)| (name, LinearHeader::of(spec))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, LinearSpec>, D::Error> {
        let headers = BTreeMap::<String, LinearHeader>::deserialize(deserializer)?;
        Ok(headers.into_iter().map(|(name, header)| (name, header.to_spec(Vec::new()))).collect())
    }
}

/// Reads `config.json` of `dir` and checks its version, form and checksum.
pub(crate) fn read_config(
    dir: &Path,
) -> Result<(ModelConfig, QuantizationConfig), CheckpointError> {
    let path = dir.join(CONFIG_FILE);
    let text = text_file::read(&path)?;
    let mut json: Map<String, Value> =
        serde_json::from_str(&text).map_err(|source| json_error(&path, "the file", source))?;
    let stored = json.get(QUANTIZATION_KEY).cloned().unwrap_or(Value::Null);
    check_version(&path, &stored)?;
    let quantization: QuantizationConfig = serde_json::from_value(stored)
        .map_err(|source| json_error(&path, "`quantization_config`", source))?;
    let config = ModelConfig::from_hf_json(&text, &path)?;
    if let Some(expected) = &quantization.checksum {
        if let Some(Value::Object(stored)) = json.get_mut(QUANTIZATION_KEY) {
            stored.shift_remove("checksum");
        }
        let found = canonical_checksum(json);
        if *expected != found {
            let expected = expected.clone();
            return Err(CheckpointError::ConfigChecksum { path, expected, found });
        }
    }
    Ok((config, quantization))
}

/// The text of `config.json`; `quantization.checksum` is computed here.
pub(crate) fn config_text(
    path: &Path,
    config: &ModelConfig,
    mut quantization: QuantizationConfig,
) -> Result<String, CheckpointError> {
    let mut json = config.hf.clone();
    json.insert("torch_dtype".to_owned(), "float16".into());
    if json.contains_key("dtype") {
        json.insert("dtype".to_owned(), "float16".into()); // the newer spelling of the same
    }
    // Untying changes the configuration, not the object it was read from.
    json.insert("tie_word_embeddings".to_owned(), config.tied_embeddings.into());
    let failed = |source| json_error(path, "the configuration", source);
    quantization.checksum = None;
    let mut text_of = |quantization: &QuantizationConfig| {
        json.insert(QUANTIZATION_KEY.to_owned(), serde_json::to_value(quantization)?);
        serde_json::to_string_pretty(&json)
    };
    // Numbers may change when they are parsed again: what is hashed is what a reader will see.
    let without = text_of(&quantization).map_err(failed)?;
    let reparsed = serde_json::from_str(&without).map_err(failed)?;
    quantization.checksum = Some(canonical_checksum(reparsed));
    Ok(text_of(&quantization).map_err(failed)? + "\n")
}

/// Whether `config.json` in `dir` says that rosaq packed the model.
pub(crate) fn is_rosaq(dir: &Path) -> bool {
    let text = text_file::read(&dir.join(CONFIG_FILE)).ok();
    let json: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
    json.is_some_and(|json| json[QUANTIZATION_KEY]["quant_method"] == QUANT_METHOD)
}

/// Checks method and version before the rest, which a later version may spell differently.
fn check_version(path: &Path, stored: &Value) -> Result<(), CheckpointError> {
    let method = &stored["quant_method"];
    if method != QUANT_METHOD {
        let found = if stored.is_null() { "none".to_owned() } else { method.to_string() };
        return Err(CheckpointError::NotRosaq { path: path.to_owned(), found });
    }
    let version = &stored["version"];
    if version.as_u64() != Some(u64::from(FORMAT_VERSION)) {
        return Err(CheckpointError::Version {
            path: path.to_owned(),
            found: version.to_string(),
            expected: FORMAT_VERSION,
        });
    }
    Ok(())
}

fn canonical_checksum(json: Map<String, Value>) -> String {
    let mut json = Value::Object(json);
    json.sort_all_objects();
    blake3::hash(json.to_string().as_bytes()).to_hex().to_string()
}

fn json_error(path: &Path, what: &'static str, source: serde_json::Error) -> CheckpointError {
    CheckpointError::Json { path: path.to_owned(), what, source }
}
