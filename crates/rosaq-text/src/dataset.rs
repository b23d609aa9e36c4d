//! Calibration sets and perplexity texts from files.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use crate::tokenizer::{read_utf8, utf8};
use crate::{AddSpecial, TextError, TokenWindows, Tokenizer};

/// Bytes of plain text read for each token asked for. Natural text has about 4 bytes a token, code
/// and markup up to about 10, so this ends the reading of huge files without missing tokens.
const BYTES_PER_TOKEN: usize = 64;

/// How the text for a perplexity was taken from its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// Lines as rows joined by two line feeds, a blank line as an empty row: how the `WikiText`
    /// files are read throughout the quantization literature.
    WikiRows,
    /// Unchanged.
    AsIs,
}

impl fmt::Display for TextForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WikiRows => "rows joined by blank lines",
            Self::AsIs => "as it is",
        })
    }
}

/// Reads the text on which a perplexity is measured. A file named `wiki.*.raw` is joined by rows,
/// any other is taken as it is; the second value says which.
///
/// # Errors
///
/// [`TextError::Read`], [`TextError::NotUtf8`], or [`TextError::EmptyText`].
pub fn perplexity_text(path: impl AsRef<Path>) -> Result<(String, TextForm), TextError> {
    let path = path.as_ref();
    let text = read_utf8(path)?;
    if text.is_empty() {
        return Err(TextError::EmptyText { path: path.to_owned() });
    }
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name.starts_with("wiki.") && name.ends_with(".raw") {
        Ok((joined_rows(&text), TextForm::WikiRows))
    } else {
        Ok((text, TextForm::AsIs))
    }
}

fn joined_rows(text: &str) -> String {
    let rows: Vec<&str> = text
        .split_inclusive('\n')
        .map(|line| if line.trim().is_empty() { "" } else { line })
        .collect();
    rows.join("\n\n")
}

/// The first `n_sequences` windows of `length` tokens of a calibration text.
///
/// A `.jsonl` file holds one JSON object a line, each with a string `text`; blank lines are
/// skipped. Any other file is one text, of which no more is read than the whole lines in the first
/// 64 bytes for each token asked for. Texts are encoded one by one without special tokens, in file
/// order, and joined without separators; nothing past the last window is read.
///
/// # Errors
///
/// [`TextError::WindowSize`] when `n_sequences * length` is 0 or overflows; [`TextError::Read`],
/// [`TextError::EmptyText`], [`TextError::NotUtf8`] or [`TextError::JsonLine`] when the file cannot
/// be understood; [`TextError::TooFewTokens`] when it is too short.
pub fn calibration_windows(
    path: impl AsRef<Path>,
    tokenizer: &Tokenizer,
    n_sequences: usize,
    length: usize,
) -> Result<TokenWindows, TextError> {
    let path = path.as_ref();
    let size = TextError::WindowSize { n_windows: n_sequences, length };
    let needed = n_sequences.checked_mul(length).filter(|&needed| needed > 0).ok_or(size)?;
    let is_json = path.extension().is_some_and(|extension| extension == "jsonl");
    let tokens = if is_json {
        json_lines_tokens(path, tokenizer, needed)?
    } else {
        tokenizer.encode(&first_lines(path, needed)?, AddSpecial::No)?
    };
    let found = tokens.len();
    if found < needed {
        return Err(TextError::TooFewTokens { path: path.to_owned(), found, needed });
    }
    Ok(TokenWindows::new(tokens, length)?.take(n_sequences))
}

#[derive(Deserialize)]
struct JsonLine {
    text: String,
}

/// Tokens of the texts of a `.jsonl` file until there are `needed`.
fn json_lines_tokens(
    path: &Path,
    tokenizer: &Tokenizer,
    needed: usize,
) -> Result<Vec<u32>, TextError> {
    let read = |source| TextError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(read)?);
    let mut tokens = Vec::new();
    let mut n_texts = 0;
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(read)? == 0 || tokens.len() >= needed {
            break;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if str::from_utf8(&bytes).is_err() {
            return Err(TextError::NotUtf8 { path: path.to_owned(), line });
        }
        let parsed: JsonLine = serde_json::from_slice(&bytes)
            .map_err(|source| TextError::JsonLine { path: path.to_owned(), line, source })?;
        tokens.extend(tokenizer.encode(&parsed.text, AddSpecial::No)?);
        n_texts += 1;
    }
    if n_texts == 0 {
        return Err(TextError::EmptyText { path: path.to_owned() });
    }
    Ok(tokens)
}

/// The beginning of a plain text file, in whole lines where it has more than one.
fn first_lines(path: &Path, needed: usize) -> Result<String, TextError> {
    let read = |source| TextError::Read { path: path.to_owned(), source };
    let limit = needed.saturating_mul(BYTES_PER_TOKEN);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64).read_to_end(&mut bytes))
        .map_err(read)?;
    if bytes.is_empty() {
        return Err(TextError::EmptyText { path: path.to_owned() });
    }
    if bytes.len() == limit {
        drop_cut_line(&mut bytes);
    }
    utf8(bytes, path)
}

/// Drops what follows the last line feed, or a character cut in two where there is none.
fn drop_cut_line(bytes: &mut Vec<u8>) {
    if let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') {
        bytes.truncate(last + 1);
    } else if let Err(error) = str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}
