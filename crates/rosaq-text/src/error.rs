//! What can be wrong with a tokenizer or a text.

use std::path::PathBuf;

/// Why a tokenizer could not be made, or a text not be turned into token windows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file cannot be opened or read.
    #[error("cannot read \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A text file is not UTF-8.
    #[error("text in \"{}\", line {line}: expected UTF-8, found other bytes", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// A text file has no text.
    #[error("text in \"{}\": expected text, found an empty file", path.display())]
    EmptyText {
        /// The file.
        path: PathBuf,
    },
    /// A line of a `.jsonl` file is not a JSON object with a string `text`.
    #[error(
        "text in \"{}\", line {line}: expected a JSON object with a string `text`",
        path.display()
    )]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// A text is too short for what is asked of it.
    #[error(
        "text in \"{}\": expected at least {needed} tokens, found {found}; give a longer text, or \
         ask for fewer or shorter sequences",
        path.display()
    )]
    TooFewTokens {
        /// The file.
        path: PathBuf,
        /// Number of tokens in it.
        found: usize,
        /// Number of tokens asked for.
        needed: usize,
    },
    /// A token window would hold no token, or the request does not fit in memory.
    #[error(
        "token windows: expected {n_windows} windows of {length} tokens to be a countable request \
         for at least one token"
    )]
    WindowSize {
        /// Number of windows asked for.
        n_windows: usize,
        /// Tokens in each.
        length: usize,
    },
    /// A folder has no tokenizer.
    #[error(
        "tokenizer in \"{}\": expected a file `tokenizer.json`, found none; copy it from the \
         source model, or convert the model's tokenizer with transformers' `save_pretrained`",
        dir.display()
    )]
    NoTokenizer {
        /// The folder.
        dir: PathBuf,
    },
    /// A file is not a tokenizer that the `tokenizers` library reads.
    #[error("tokenizer \"{}\": not a valid `tokenizer.json`", path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        #[source]
        source: tokenizers::Error,
    },
    /// `tokenizer_config.json` is not JSON.
    #[error("tokenizer configuration \"{}\": not valid JSON", path.display())]
    TokenizerConfig {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// The GGUF vocabulary is of a kind that is not supported.
    #[error(
        "gguf key `{key}`: expected {known}, found `{found}`; put the original model's \
         `tokenizer.json` beside the file instead"
    )]
    UnknownVocabulary {
        /// The metadata key that decides.
        key: &'static str,
        /// Its value.
        found: String,
        /// The values that are supported.
        known: &'static str,
    },
    /// A part of the GGUF vocabulary contradicts another.
    #[error("gguf key `{key}`, element {index}: expected {expected}, found `{found}`")]
    VocabularyEntry {
        /// The metadata key.
        key: &'static str,
        /// Position in its array, or the number itself where the key is no array.
        index: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The `tokenizers` library refused the GGUF vocabulary.
    #[error("gguf vocabulary: tokens and merges make no tokenizer")]
    Vocabulary {
        /// The library's reason.
        #[source]
        source: tokenizers::Error,
    },
    /// A text could not be encoded.
    #[error("a text of {n_bytes} bytes could not be encoded")]
    Encode {
        /// Length of the text.
        n_bytes: usize,
        /// The library's reason.
        #[source]
        source: tokenizers::Error,
    },
    /// Tokens could not be decoded.
    #[error("{n_tokens} tokens could not be decoded")]
    Decode {
        /// Number of tokens.
        n_tokens: usize,
        /// The library's reason.
        #[source]
        source: tokenizers::Error,
    },
}
