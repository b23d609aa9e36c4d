//! The model's own tokenizer, wherever it is kept.

use std::fs;
use std::path::{Path, PathBuf};

use rosaq_model::{ModelConfig, SourceModel};
use rosaq_tensor::GgufMetadata;
use rosaq_text::{GgufVocabulary, Tokenizer};

use crate::{PipelineError, Progress};

/// The tokenizer of a source model: `tokenizer.json` of a directory, or rebuilt from GGUF metadata.
///
/// # Errors
/// A missing or malformed tokenizer.
pub fn source_tokenizer(source: &SourceModel) -> Result<Tokenizer, PipelineError> {
    match source.store().gguf() {
        Some(gguf) => Ok(Tokenizer::from_gguf_vocab(&vocabulary(gguf)?)?),
        None => Ok(Tokenizer::from_dir(directory(source.store().path()))?),
    }
}

/// Says so when windows are longer than what the model was made for: figures would come from positions it never met.
pub(crate) fn warn_of_length(context: usize, config: &ModelConfig, progress: Progress) {
    let limit = config.max_positions;
    if context > limit {
        progress.say(&format!(
            "warning: windows of {context} tokens; the model was made for {limit} positions"
        ));
    }
}

fn has_vocabulary(gguf: &GgufMetadata) -> bool {
    gguf.get_str("tokenizer.ggml.model").is_ok()
}

fn vocabulary(gguf: &GgufMetadata) -> Result<GgufVocabulary, PipelineError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let optional_id = |name: &str| gguf.get_u32(&key(name)).ok();
    Ok(GgufVocabulary {
        model: gguf.get_str(&key("model"))?.to_owned(),
        pre: gguf.get_str(&key("pre")).unwrap_or("default").to_owned(),
        tokens: gguf.get_array_str(&key("tokens"))?.to_vec(),
        merges: gguf.get_array_str(&key("merges")).map(<[String]>::to_vec).unwrap_or_default(),
        token_types: gguf.get_array_i32(&key("token_type")).unwrap_or_default(),
        bos: optional_id("bos_token_id"),
        eos: optional_id("eos_token_id"),
        unk: optional_id("unknown_token_id"),
        add_bos: gguf.get_bool(&key("add_bos_token")).unwrap_or(false),
    })
}

fn directory(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(path) }
}

/// Files beside the weights that make a directory usable by other software.
const COMPANIONS: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
];

/// The file that holds the template of conversations.
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The template of conversations in a model's directory: a file of its own, or a field of the tokenizer's configuration.
pub(crate) fn chat_template_beside(dir: &Path) -> Result<Option<String>, PipelineError> {
    let path = dir.join(CHAT_TEMPLATE);
    if path.is_file() {
        let text = fs::read_to_string(&path).map_err(PipelineError::disk("read", path))?;
        return Ok(Some(text));
    }
    let path = dir.join("tokenizer_config.json");
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(config["chat_template"].as_str().map(str::to_owned))
}

/// The template of conversations that a source model brings along.
pub(crate) fn source_chat_template(source: &SourceModel) -> Result<Option<String>, PipelineError> {
    match source.store().gguf() {
        Some(gguf) => Ok(gguf.get_str("tokenizer.chat_template").ok().map(str::to_owned)),
        None => chat_template_beside(directory(source.store().path())),
    }
}

/// Copies the tokenizer's files into `dir`, or writes the rebuilt ones, and the template of conversations.
pub(crate) fn write_tokenizer_files(source: &SourceModel, dir: &Path) -> Result<(), PipelineError> {
    if let Some(template) = source_chat_template(source)? {
        let path = dir.join(CHAT_TEMPLATE);
        fs::write(&path, template).map_err(PipelineError::disk("write", path))?;
    }
    if let Some(gguf) = source.store().gguf() {
        if !has_vocabulary(gguf) {
            return Ok(()); // nothing to write, as for a directory without these files
        }
        let tokenizer = source_tokenizer(source)?;
        for (name, content) in [
            ("tokenizer.json", tokenizer.raw_json().to_owned()),
            ("tokenizer_config.json", tokenizer.config_json()),
        ] {
            let path = dir.join(name);
            fs::write(&path, content).map_err(PipelineError::disk("write", path))?;
        }
        return Ok(());
    }
    for from in companion_files(source) {
        let to = dir.join(from.file_name().unwrap_or_default());
        // Content alone: a read-only mode copied along would block the next run.
        let content = fs::read(&from).map_err(PipelineError::disk("read", from))?;
        fs::write(&to, content).map_err(PipelineError::disk("write", to))?;
    }
    Ok(())
}

/// The files beside a Hugging Face checkpoint's weights that travel with it.
pub(crate) fn companion_files(source: &SourceModel) -> Vec<PathBuf> {
    if source.store().gguf().is_some() {
        return Vec::new();
    }
    let dir = directory(source.store().path());
    COMPANIONS.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect()
}
