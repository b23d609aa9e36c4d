//! Tokenizers from GGUF vocabularies and from files, on tiny vocabularies.

mod tiny;

use std::fs;

use rosaq_text::{AddSpecial, GgufVocabulary, Tokenizer};
use tiny::vocabulary;

/// The tokens of `text`, as their own strings separated by `|`.
fn pieces(vocabulary: &GgufVocabulary, text: &str, special: AddSpecial) -> String {
    let tokenizer = Tokenizer::from_gguf_vocab(vocabulary).expect("a valid vocabulary");
    let ids = tokenizer.encode(text, special).expect("text encodes");
    let names: Vec<&str> = ids.iter().map(|&id| &*vocabulary.tokens[id as usize]).collect();
    names.join("|")
}

#[track_caller]
fn check(pre: &str, merges: &[&str], text: &str, expected: &str) {
    assert_eq!(pieces(&vocabulary(pre, merges), text, AddSpecial::Yes), expected);
}

#[test]
fn gpt2_keeps_a_space_with_the_number() {
    for pre in ["gpt-2", "default", "smollm"] {
        check(pre, &["Ġ a"], "a a", "a|Ġa");
        check(pre, &["Ġ Ġ", "1 2", "Ġ 1"], "a  12", "a|Ġ|Ġ|12");
    }
}

#[test]
fn llama3_groups_three_digits_and_takes_whole_words() {
    for pre in ["llama-bpe", "llama3", "llama-v3"] {
        check(pre, &["1 2", "12 3", "3 4", "4 5"], "12345", "123|45");
    }
    let mut whole = vocabulary("llama-bpe", &[]);
    whole.tokens.push("word".to_owned());
    whole.token_types.push(1);
    assert_eq!(pieces(&whole, "word", AddSpecial::No), "word");
    whole.pre = "qwen2".to_owned();
    assert_eq!(pieces(&whole, "word", AddSpecial::No), "w|o|r|d");
}

#[test]
fn qwen2_composes_accents_and_splits_digits() {
    check("qwen2", &["1 2"], "12", "1|2");
    check("qwen2", &["Ã ©"], "e\u{301}", "Ã©");
    check("smollm", &["Ã ©"], "e\u{301}", "e|Ì|ģ");
}

#[test]
fn bos_is_added_only_when_asked() {
    let mut with_bos = vocabulary("smollm", &[]);
    with_bos.add_bos = true;
    assert_eq!(pieces(&with_bos, "hi", AddSpecial::Yes), "<bos>|h|i");
    assert_eq!(pieces(&with_bos, "hi", AddSpecial::No), "h|i");
    check("smollm", &[], "hi", "h|i");
}

#[test]
fn control_tokens_are_found_in_text_and_left_out_of_it() {
    check("smollm", &[], "<bos>a<tool>", "<bos>|a|<tool>");
    let tokenizer = tiny::bytes_tokenizer();
    assert_eq!(tokenizer.decode(&[1, tiny::id(b'a'), 2, 0]).expect("decodes"), "a<tool>");
    assert_eq!(tokenizer.decode(&[999_999]).expect("decodes"), "");
}

#[test]
fn decoding_undoes_encoding() {
    let tokenizer = tiny::bytes_tokenizer();
    for text in ["", " two  spaces\n\n", "naïve Ω 漢字 👍 123", "\t\r\n tabs"] {
        let ids = tokenizer.encode(text, AddSpecial::No).expect("text encodes");
        assert_eq!(tokenizer.decode(&ids).expect("decodes"), text);
    }
}

#[test]
fn a_folder_gives_the_same_tokenizer_again() {
    let mut source = vocabulary("llama-bpe", &["h i"]);
    source.add_bos = true;
    let built = Tokenizer::from_gguf_vocab(&source).expect("a valid vocabulary");
    assert_eq!(built.vocab_size(), source.tokens.len());

    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("tokenizer.json"), built.raw_json()).expect("writable");
    let alone = Tokenizer::from_dir(dir.path()).expect("a tokenizer");
    assert_eq!((alone.bos(), alone.eos()), (None, None));

    fs::write(dir.path().join("tokenizer_config.json"), built.config_json()).expect("writable");
    let read = Tokenizer::from_dir(dir.path()).expect("a tokenizer");
    assert_eq!((read.bos(), read.eos()), (Some(1), Some(0)));
    assert_eq!(read.raw_json(), built.raw_json());
    let encode = |tokenizer: &Tokenizer| tokenizer.encode("hi 1234 ho", AddSpecial::Yes);
    assert_eq!(encode(&read).expect("encodes"), encode(&built).expect("encodes"));
}

#[test]
fn special_tokens_may_be_named_by_objects() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tokenizer = tiny::bytes_tokenizer();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.raw_json()).expect("writable");
    let config = r#"{"bos_token": {"content": "<bos>", "lstrip": false}, "eos_token": null}"#;
    fs::write(dir.path().join("tokenizer_config.json"), config).expect("writable");
    let read = Tokenizer::from_dir(dir.path()).expect("a tokenizer");
    assert_eq!((read.bos(), read.eos()), (Some(1), None));
}

#[test]
fn files_that_are_no_tokenizer_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let missing = Tokenizer::from_dir(dir.path()).expect_err("an empty folder").to_string();
    assert!(missing.contains("found none; copy it"), "{missing}");
    let path = dir.path().join("tokenizer.json");
    fs::write(&path, "{}").expect("writable");
    let broken = Tokenizer::from_dir(dir.path()).expect_err("no tokenizer").to_string();
    assert!(broken.contains("tokenizer.json\": not a valid"), "{broken}");
    fs::write(&path, b"{\n\n\xff").expect("writable");
    let bytes = Tokenizer::from_file(&path).expect_err("no text").to_string();
    assert!(bytes.contains("line 3: expected UTF-8"), "{bytes}");
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut GgufVocabulary), expected: &str) {
    let mut broken = vocabulary("smollm", &["h i"]);
    change(&mut broken);
    let error = Tokenizer::from_gguf_vocab(&broken).expect_err("a broken vocabulary").to_string();
    assert!(error.contains(expected), "`{error}` does not say `{expected}`");
}

#[test]
fn broken_vocabularies_are_refused_with_the_place() {
    check_refused(|v| v.model = "llama".to_owned(), "`gpt2` (byte-level BPE), found `llama`");
    check_refused(|v| v.pre = "tekken".to_owned(), "`llama-v3` or `qwen2`, found `tekken`");
    check_refused(|v| v.token_types.truncate(5), "5 types for 260 tokens");
    check_refused(|v| v.tokens[7] = "<eos>".to_owned(), "tokens`, element 7");
    check_refused(|v| v.merges.push("nospace".to_owned()), "merges`, element 1");
    check_refused(|v| v.merges.push("a qq".to_owned()), "tokens and merges make no tokenizer");
    check_refused(|v| v.eos = Some(260), "eos_token_id`, element 260");
    check_refused(
        |v| (v.add_bos, v.bos) = (true, None),
        "since `tokenizer.ggml.add_bos_token` is true, found `none`",
    );
}
