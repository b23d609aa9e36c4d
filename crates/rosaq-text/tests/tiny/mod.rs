//! A byte-level vocabulary of 256 bytes, three control tokens and a few merges.

use rosaq_text::{GgufVocabulary, Tokenizer};

/// The characters that byte-level vocabularies use for bytes: printable ones stand for themselves,
/// the others count up from U+0100 (openai/gpt-2, `src/encoder.py`).
fn byte_characters() -> Vec<String> {
    let mut next = 0x100;
    (0..=255_u8)
        .map(|byte| {
            let code = match byte {
                b'!'..=b'~' | 0xa1..=0xac | 0xae.. => u32::from(byte),
                _ => {
                    next += 1;
                    next - 1
                }
            };
            char::from_u32(code).expect("no surrogate").to_string()
        })
        .collect()
}

/// Ids 0, 1, 2 are `<eos>`, `<bos>` and the user-defined `<tool>`; byte `b` is 3 + b; merges follow.
pub(crate) fn vocabulary(pre: &str, merges: &[&str]) -> GgufVocabulary {
    let mut tokens: Vec<String> = ["<eos>", "<bos>", "<tool>"].map(str::to_owned).to_vec();
    tokens.extend(byte_characters());
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let mut token_types = vec![1; tokens.len()];
    token_types[..3].copy_from_slice(&[3, 3, 4]);
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: pre.to_owned(),
        tokens,
        merges: merges.iter().map(|&merge| merge.to_owned()).collect(),
        token_types,
        bos: Some(1),
        eos: Some(0),
        unk: None,
        add_bos: false,
    }
}

/// One token a byte; only spaces merge in pairs.
#[allow(dead_code, reason = "each test file uses a part")]
pub(crate) fn bytes_tokenizer() -> Tokenizer {
    Tokenizer::from_gguf_vocab(&vocabulary("smollm", &["Ġ Ġ"])).expect("a valid vocabulary")
}

/// The id of a byte.
#[allow(dead_code, reason = "each test file uses a part")]
pub(crate) fn id(byte: u8) -> u32 {
    3 + u32::from(byte)
}
