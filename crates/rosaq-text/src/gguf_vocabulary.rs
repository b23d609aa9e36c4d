//! A tokenizer from the vocabulary that a GGUF file carries.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::{TextError, Tokenizer};

/// The metadata of a GGUF file that describe its tokenizer (keys `tokenizer.ggml.*`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GgufVocabulary {
    /// `model`: the kind of vocabulary; `gpt2` is byte-level BPE, the only one supported.
    pub model: String,
    /// `pre`: the name of the rule by which text is cut before merging; `default` where the file
    /// names none.
    pub pre: String,
    /// `tokens`: the text of every token, by id.
    pub tokens: Vec<String>,
    /// `merges`: pairs of tokens separated by a space, the earliest first.
    pub merges: Vec<String>,
    /// `token_type` of every token: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused,
    /// 6 byte; empty where the file has none.
    pub token_types: Vec<i32>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `unknown_token_id`. Never produced: a byte that no token covers (SmolLM2 lacks 21, none of
    /// them in ordinary text) is left out, as the original tokenizers do.
    pub unk: Option<u32>,
    /// `add_bos_token`: whether a text begins with BOS by default.
    pub add_bos: bool,
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// How text is cut before merges apply, and what differs with it.
struct PreTokenizer {
    /// Values of `tokenizer.ggml.pre`, as llama.cpp writes them (`src/llama-vocab.cpp`).
    names: &'static [&'static str],
    kind: PreTokenizerKind,
}

enum PreTokenizerKind {
    /// The byte-level rule of GPT-2.
    Gpt2,
    /// A regular expression of the model's own.
    Split { pattern: &'static str, normalize: bool, ignore_merges: bool },
}

const PRE_TOKENIZERS: &[PreTokenizer] = &[
    // `transformers` reads GGUF files of `smollm` by the rule of GPT-2, and so do figures measured with it. The rule that
    // llama.cpp attaches to the name sets digits apart first; as the vocabulary joins no digits, the two differ only in
    // runs of spaces before a number (8 of 305,000 tokens of the WikiText-2 test set).
    PreTokenizer { names: &["smollm", "default", "gpt-2"], kind: PreTokenizerKind::Gpt2 },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        kind: PreTokenizerKind::Split {
            pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            normalize: false,
            ignore_merges: true,
        },
    },
    PreTokenizer {
        names: &["qwen2"],
        kind: PreTokenizerKind::Split {
            pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            normalize: true,
            ignore_merges: false,
        },
    },
];

const KNOWN_PRE: &str =
    "`smollm`, `default`, `gpt-2`, `llama-bpe`, `llama3`, `llama-v3` or `qwen2`";

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file describes, by way of the `tokenizer.json` that the
    /// original model has: [`Tokenizer::raw_json`] gives it, so that a checkpoint can carry it.
    ///
    /// # Errors
    ///
    /// [`TextError::UnknownVocabulary`] when the kind of vocabulary or its pre-tokenizer is not
    /// supported, [`TextError::VocabularyEntry`] when lengths, ids or merges contradict each other,
    /// [`TextError::Vocabulary`] when a merge names a token that does not exist.
    pub fn from_gguf_vocab(vocabulary: &GgufVocabulary) -> Result<Self, TextError> {
        if vocabulary.model != "gpt2" {
            return Err(TextError::UnknownVocabulary {
                key: "tokenizer.ggml.model",
                found: vocabulary.model.clone(),
                known: "`gpt2` (byte-level BPE)",
            });
        }
        check_entries(vocabulary)?;
        let json = tokenizer_json(vocabulary)?;
        Self::from_json(json.to_string())
            .map(|tokenizer| tokenizer.with_special(vocabulary.bos, vocabulary.eos))
            .map_err(|source| TextError::Vocabulary { source })
    }
}

fn entry(key: &'static str, index: usize, expected: &'static str, found: String) -> TextError {
    TextError::VocabularyEntry { key, index, expected, found }
}

fn check_entries(vocabulary: &GgufVocabulary) -> Result<(), TextError> {
    let n_tokens = vocabulary.tokens.len();
    let n_types = vocabulary.token_types.len();
    if n_types != 0 && n_types != n_tokens {
        let found = format!("{n_types} types for {n_tokens} tokens");
        let key = "tokenizer.ggml.token_type";
        return Err(entry(key, n_types.min(n_tokens), "one type for every token", found));
    }
    let mut seen = HashSet::with_capacity(n_tokens);
    for (index, token) in vocabulary.tokens.iter().enumerate() {
        if !seen.insert(token) {
            return Err(entry(TOKENS, index, "a token that no other id has", token.clone()));
        }
    }
    let special = [
        ("tokenizer.ggml.bos_token_id", vocabulary.bos),
        ("tokenizer.ggml.eos_token_id", vocabulary.eos),
        ("tokenizer.ggml.unknown_token_id", vocabulary.unk),
    ];
    for (key, id) in special {
        if id.is_some_and(|id| id as usize >= n_tokens) {
            let found = format!("an id past the {n_tokens} tokens");
            return Err(entry(key, id.unwrap_or(0) as usize, "the id of a token", found));
        }
    }
    Ok(())
}

/// The equivalent `tokenizer.json`, in the order of keys that the `tokenizers` library writes.
fn tokenizer_json(vocabulary: &GgufVocabulary) -> Result<Value, TextError> {
    let kind = pre_tokenizer_kind(&vocabulary.pre)?;
    let (normalize, ignore_merges) = match kind {
        PreTokenizerKind::Gpt2 => (false, false),
        PreTokenizerKind::Split { normalize, ignore_merges, .. } => (*normalize, *ignore_merges),
    };
    let vocab: Map<String, Value> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), id.into()))
        .collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(vocabulary),
        "normalizer": normalize.then(|| json!({ "type": "NFC" })),
        "pre_tokenizer": pre_tokenizer(kind),
        "post_processor": post_processor(vocabulary)?,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": ignore_merges,
            "vocab": vocab,
            "merges": merges(vocabulary)?,
        },
    }))
}

fn pre_tokenizer_kind(pre: &str) -> Result<&'static PreTokenizerKind, TextError> {
    PRE_TOKENIZERS
        .iter()
        .find(|candidate| candidate.names.contains(&pre))
        .map(|found| &found.kind)
        .ok_or_else(|| TextError::UnknownVocabulary {
            key: "tokenizer.ggml.pre",
            found: pre.to_owned(),
            known: KNOWN_PRE,
        })
}

fn pre_tokenizer(kind: &PreTokenizerKind) -> Value {
    match kind {
        PreTokenizerKind::Gpt2 => byte_level(true),
        PreTokenizerKind::Split { pattern, .. } => json!({
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": { "Regex": pattern },
                    "behavior": "Isolated",
                    "invert": false,
                },
                byte_level(false),
            ],
        }),
    }
}

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": use_regex,
    })
}

/// Tokens that are found in a text before it is cut: control tokens, which decoding leaves out, and
/// those that the user defined.
fn added_tokens(vocabulary: &GgufVocabulary) -> Vec<Value> {
    let types = vocabulary.token_types.iter().enumerate();
    types
        .filter(|(_, kind)| [UNKNOWN, CONTROL, USER_DEFINED].contains(kind))
        .map(|(id, &kind)| {
            json!({
                "id": id,
                "content": vocabulary.tokens[id],
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": kind != USER_DEFINED,
            })
        })
        .collect()
}

fn merges(vocabulary: &GgufVocabulary) -> Result<Vec<Value>, TextError> {
    let pairs = vocabulary.merges.iter().enumerate();
    pairs
        .map(|(index, merge)| match merge.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() => {
                Ok(json!([left, right]))
            }
            _ => {
                let expected = "two tokens separated by a space";
                Err(entry("tokenizer.ggml.merges", index, expected, merge.clone()))
            }
        })
        .collect()
}

/// Puts BOS in front where the file says so.
fn post_processor(vocabulary: &GgufVocabulary) -> Result<Value, TextError> {
    if !vocabulary.add_bos {
        return Ok(Value::Null);
    }
    let bos = vocabulary.bos.ok_or_else(|| {
        let key = "tokenizer.ggml.bos_token_id";
        entry(key, 0, "an id, since `tokenizer.ggml.add_bos_token` is true", "none".to_owned())
    })?;
    let name = &vocabulary.tokens[bos as usize];
    let begin = json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    Ok(json!({
        "type": "TemplateProcessing",
        "single": [begin, sequence("A")],
        "pair": [begin, sequence("A"), begin, sequence("B")],
        "special_tokens": { name: { "id": name, "ids": [bos], "tokens": [name] } },
    }))
}
