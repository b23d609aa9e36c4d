//! Text to token ids and back, by a model's own tokenizer.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::TextError;

/// Whether the special tokens that the tokenizer adds by default (a BOS, for most models that have
/// one) are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddSpecial {
    /// As the tokenizer does by default.
    Yes,
    /// Only what stands in the text.
    No,
}

/// A tokenizer with the text of its `tokenizer.json`.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: String,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Such a file does not say which tokens are BOS and EOS, so those
    /// are unknown; see [`Tokenizer::from_dir`].
    ///
    /// # Errors
    ///
    /// [`TextError::Read`], [`TextError::NotUtf8`], or [`TextError::TokenizerFile`] when the
    /// `tokenizers` library does not accept the content.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        let json = read_utf8(path)?;
        Self::from_json(json)
            .map_err(|source| TextError::TokenizerFile { path: path.to_owned(), source })
    }

    /// Reads `tokenizer.json` in the folder of a model, and the names of BOS and EOS from
    /// `tokenizer_config.json` where there is one.
    ///
    /// # Errors
    ///
    /// [`TextError::NoTokenizer`] when there is no `tokenizer.json`, the errors of
    /// [`Tokenizer::from_file`], or [`TextError::TokenizerConfig`].
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, TextError> {
        let dir = dir.as_ref();
        let path = dir.join("tokenizer.json");
        if !path.is_file() {
            return Err(TextError::NoTokenizer { dir: dir.to_owned() });
        }
        let mut tokenizer = Self::from_file(path)?;
        let path = dir.join("tokenizer_config.json");
        if path.is_file() {
            let config: Value = serde_json::from_str(&read_utf8(&path)?)
                .map_err(|source| TextError::TokenizerConfig { path, source })?;
            tokenizer.bos = tokenizer.named_in(&config, "bos_token");
            tokenizer.eos = tokenizer.named_in(&config, "eos_token");
        }
        Ok(tokenizer)
    }

    /// Parses the text of a `tokenizer.json`.
    pub(crate) fn from_json(json: String) -> Result<Self, tokenizers::Error> {
        let mut inner: tokenizers::Tokenizer = json.parse()?;
        // A file may ask for padding or cut-off, which would change what is measured.
        inner.with_padding(None);
        inner.with_truncation(None)?;
        Ok(Self { inner, json, bos: None, eos: None })
    }

    pub(crate) fn with_special(mut self, bos: Option<u32>, eos: Option<u32>) -> Self {
        self.bos = bos;
        self.eos = eos;
        self
    }

    /// The token ids of `text`, encoded as one piece.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] when the tokenizer's model fails on the text.
    pub fn encode(&self, text: &str, special: AddSpecial) -> Result<Vec<u32>, TextError> {
        let encoding = self
            .inner
            .encode_fast(text, special == AddSpecial::Yes)
            .map_err(|source| TextError::Encode { n_bytes: text.len(), source })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of token ids. Special tokens are left out, and so are ids past the vocabulary,
    /// which models with a padded embedding can produce.
    ///
    /// # Errors
    ///
    /// [`TextError::Decode`] when the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.inner
            .decode(ids, true)
            .map_err(|source| TextError::Decode { n_tokens: ids.len(), source })
    }

    /// Number of tokens, added ones included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The text of one token, a special one too; `None` past the vocabulary.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The token that begins a text, where the model's files name one.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, where the model's files name one.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The tokenizer as text for a `tokenizer.json`: byte for byte as it was read, or as it was
    /// built from a GGUF vocabulary.
    #[must_use]
    pub fn raw_json(&self) -> &str {
        &self.json
    }

    /// Text for a `tokenizer_config.json` that names BOS and EOS; written beside
    /// [`Tokenizer::raw_json`], it makes [`Tokenizer::from_dir`] give this tokenizer again.
    #[must_use]
    pub fn config_json(&self) -> String {
        let name = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id));
        let config = json!({
            "bos_token": name(self.bos),
            "eos_token": name(self.eos),
            "tokenizer_class": "PreTrainedTokenizerFast",
        });
        format!("{config:#}\n")
    }

    /// The id of a token that a configuration names, as a string or as an object with `content`.
    fn named_in(&self, config: &Value, key: &str) -> Option<u32> {
        let token = &config[key];
        let name = token.as_str().or_else(|| token["content"].as_str())?;
        self.inner.token_to_id(name)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

/// Reads a whole file of UTF-8 text.
pub(crate) fn read_utf8(path: &Path) -> Result<String, TextError> {
    let read = |source: io::Error| TextError::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(read)?;
    utf8(bytes, path)
}

/// Bytes from the beginning of a file, as text.
pub(crate) fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String, TextError> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        TextError::NotUtf8 { path: path.to_owned(), line }
    })
}
