//! What a user asks for when quantizing a model.

use std::path::PathBuf;

use rosaq_methods::MethodSettings;
use rosaq_text::{TextError, TokenWindows, Tokenizer, calibration_windows};
use serde_json::{Map, Value, json};

/// How many windows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many; a text with fewer is an error.
    Exactly(usize),
    /// So many, or as many as the text holds.
    UpTo(usize),
}

/// The calibration set: which text, how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationSet {
    /// A `.jsonl` file of objects with `text`, or any plain text.
    pub path: PathBuf,
    /// Token windows.
    pub sequences: Amount,
    /// Tokens of each.
    pub length: usize,
}

impl CalibrationSet {
    /// Reads and cuts the text.
    ///
    /// # Errors
    /// A text that cannot be read or is too short.
    pub fn windows(&self, tokenizer: &Tokenizer) -> Result<TokenWindows, TextError> {
        let read = |n| calibration_windows(&self.path, tokenizer, n, self.length);
        match self.sequences {
            Amount::Exactly(n) => read(n),
            Amount::UpTo(n) => match read(n) {
                Err(TextError::TooFewTokens { found, .. }) if found >= self.length => {
                    read(found / self.length)
                }
                other => other,
            },
        }
    }
}

/// Quantize one model with one method.
#[derive(Debug, Clone)]
pub struct QuantizeJob {
    /// A Hugging Face directory or a GGUF file.
    pub model: PathBuf,
    /// The method's name.
    pub method: String,
    /// Its settings.
    pub settings: MethodSettings,
    /// The calibration set.
    pub calibration: CalibrationSet,
    /// The directory to be made.
    pub out: PathBuf,
    /// Start over instead of resuming, and replace an earlier result.
    pub fresh: bool,
}

impl QuantizeJob {
    /// The settings as they stand in the checkpoint's configuration.
    #[must_use]
    pub fn settings_json(&self) -> Map<String, Value> {
        let s = &self.settings;
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        if self.method != "fp16" {
            put("bits", json!(s.bits.get()));
            put("group_size", json!(s.group_size));
        }
        let optional = [("salient", s.salient), ("salient_per_head", s.salient_per_head)];
        for (key, value) in optional {
            if let Some(v) = value {
                put(key, json!(v));
            }
        }
        if self.method == "rosaq" {
            put("saliency", json!(s.saliency.to_string()));
        }
        if let Some(placement) = s.placement {
            put("rotation", json!(placement.to_string()));
        }
        if s.preset.is_some() {
            put("preset", json!("paper"));
        }
        map
    }
}
