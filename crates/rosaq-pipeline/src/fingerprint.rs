//! Fingerprints: what statistics and resume states belong to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rosaq_calib::{Collecting, Fingerprint, Products, TokenWeighting};
use rosaq_model::SourceModel;

use crate::PipelineError;
use crate::tokens::companion_files;

/// Changes whenever the shards of a method or the weighting of tokens come to mean something else.
const SHARDS: &[u8] = b"rosaq shards 4";
/// Changes whenever the meaning of all saved statistics changes.
const GENERATION: &[u8] = b"rosaq run state 1";

/// Hash of a model's configuration and of the whole content of its files, the tokenizer's included.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn model_fingerprint(source: &SourceModel) -> Result<Fingerprint, PipelineError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(GENERATION);
    hasher.update(serde_json::Value::Object(source.config().hf.clone()).to_string().as_bytes());
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    for path in source.store().files().iter().chain(&companion_files(source)) {
        // Read rather than mapped, so that a large model does not fill the resident set.
        let file = File::open(path).map_err(PipelineError::disk("read", path))?;
        hasher.update_reader(file).map_err(PipelineError::disk("read", path))?;
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Hash of the weights, the configuration and the tokenizer of one of our checkpoints; its report and card do not count.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn checkpoint_fingerprint(dir: &Path) -> Result<Fingerprint, PipelineError> {
    let failed = |source| PipelineError::Disk { action: "read", path: dir.to_owned(), source };
    let entries = fs::read_dir(dir).map_err(failed)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let matters = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let config = name.starts_with("config") || name.starts_with("tokenizer");
        config || name.ends_with(".safetensors")
    };
    files.retain(matters);
    files.sort();
    let mut hasher = blake3::Hasher::new();
    hasher.update(GENERATION);
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    for path in &files {
        let file = File::open(path).map_err(PipelineError::disk("read", path))?;
        hasher.update_reader(file).map_err(PipelineError::disk("read", path))?;
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Hash of a model, the tokens it is calibrated on and how statistics are collected.
pub(crate) fn calibration_fingerprint(
    model: &Fingerprint,
    tokens: &[u32],
    length: usize,
    collecting: Collecting,
) -> Fingerprint {
    let mut key = windows_fingerprint(model, tokens, length);
    if collecting.weighting == TokenWeighting::ByResidual {
        key = job_fingerprint(&key, "by residual", "");
    }
    if collecting.products == Products::Bf16 {
        key = job_fingerprint(&key, "bf16", "");
    }
    key
}

/// Hash of a model and token windows.
pub(crate) fn windows_fingerprint(
    model: &Fingerprint,
    tokens: &[u32],
    length: usize,
) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    hasher.update(model);
    hasher.update(&(length as u64).to_le_bytes());
    for id in tokens {
        hasher.update(&id.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Hash of everything that decides the bytes of a quantized model.
pub(crate) fn job_fingerprint(
    calibration: &Fingerprint,
    method: &str,
    settings: &str,
) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    for part in [SHARDS, &calibration[..], method.as_bytes(), b"\0", settings.as_bytes()] {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// A fingerprint as text.
pub(crate) fn hex(fingerprint: &Fingerprint) -> String {
    blake3::Hash::from_bytes(*fingerprint).to_hex().to_string()
}
