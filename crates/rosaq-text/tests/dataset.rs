//! Calibration sets and perplexity texts from small files.

mod tiny;

use std::fs;

use rosaq_text::{TextError, TextForm, TokenWindows, calibration_windows, perplexity_text};
use tiny::{bytes_tokenizer, id};

/// Runs `calibration_windows` on a file with this name and content.
fn calibrate(
    name: &str,
    content: &[u8],
    n_sequences: usize,
    length: usize,
) -> Result<TokenWindows, TextError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(name);
    fs::write(&path, content).expect("writable");
    calibration_windows(&path, &bytes_tokenizer(), n_sequences, length)
}

#[track_caller]
fn check(name: &str, content: &[u8], expected: &[&[u8]]) {
    let length = expected[0].len();
    let windows = calibrate(name, content, expected.len(), length).expect("enough text");
    let expected: Vec<Vec<u32>> =
        expected.iter().map(|bytes| bytes.iter().copied().map(id).collect()).collect();
    assert!(windows.windows().eq(expected.iter().map(Vec::as_slice)), "{windows:?}");
}

#[track_caller]
fn check_refused(name: &str, content: &[u8], size: (usize, usize), expected: &str) {
    let error = calibrate(name, content, size.0, size.1).expect_err("refused").to_string();
    assert!(error.contains(expected), "`{error}` does not say `{expected}`");
}

#[test]
fn json_texts_are_joined_in_file_order() {
    let lines = b"{\"text\": \"abc\"}\n\n{\"id\": 7, \"text\": \"de\"}\r\n{\"text\": \"fgh\"}";
    check("set.jsonl", lines, &[b"abcd", b"efgh"]);
    check("set.jsonl", lines, &[b"ab", b"cd", b"ef"]);
}

#[test]
fn texts_are_encoded_apart() {
    // As one text the two spaces would be one token.
    check("set.jsonl", b"{\"text\": \"a \"}\n{\"text\": \" b\"}", &[b"a  b"]);
}

#[test]
fn nothing_past_the_last_window_is_read() {
    check("set.jsonl", b"{\"text\": \"abcd\"}\nbroken \xff", &[b"ab", b"cd"]);
    let mut plain = b"abcdef".repeat(11); // 64 bytes for one token, cut inside the eleventh
    plain.extend(b"\xff");
    check("set.txt", &plain, &[b"a"]);
}

#[test]
fn plain_text_is_one_text() {
    check("set.txt", b"ab\ncd\n", &[b"ab\n", b"cd\n"]);
    check("set", b"{\"text\": 1}", &[b"{\""]);
}

#[test]
fn a_long_plain_text_is_cut_after_a_line_or_a_character() {
    let mut lines = b"line\n".repeat(12);
    lines.extend("é".repeat(40).bytes());
    let windows = calibrate("set.txt", &lines, 1, 1).expect("enough text");
    assert_eq!(windows.tokens(), [id(b'l')]);
    let mut characters = b"a".to_vec();
    characters.extend("é".repeat(40).bytes());
    check("set.txt", &characters, &[b"a"]);
}

#[test]
fn broken_files_are_refused_with_file_and_line() {
    check_refused("set.jsonl", b"", (1, 2), "found an empty file");
    check_refused("set.jsonl", b"\n\n", (1, 2), "found an empty file");
    check_refused("set.txt", b"", (1, 2), "set.txt\": expected text");
    check_refused("set.jsonl", b"{\"text\": \"a\"}\n{\"txt\": \"b\"}", (1, 2), "jsonl\", line 2");
    check_refused("set.jsonl", b"\n{\"text\": 3}", (1, 2), "line 2: expected a JSON object");
    check_refused("set.jsonl", b"[]", (1, 2), "line 1: expected a JSON object");
    check_refused("set.jsonl", b"\n\n{\"text\": \"\xff\"}", (1, 2), "line 3: expected UTF-8");
    check_refused("set.txt", b"a\nb\xff", (1, 9), "line 2: expected UTF-8");
    check_refused("set.txt", b"abc", (2, 3), "at least 6 tokens, found 3; give a longer");
    check_refused("set.jsonl", b"{\"text\": \"\"}", (1, 1), "at least 1 tokens, found 0");
    check_refused("set.txt", b"abc", (0, 3), "0 windows of 3 tokens");
    check_refused("set.txt", b"abc", (2, usize::MAX), "countable request");
    let missing = calibration_windows("no/such/file", &bytes_tokenizer(), 1, 1);
    assert!(matches!(missing, Err(TextError::Read { .. })));
}

#[track_caller]
fn check_text(name: &str, content: &str, expected: &str, form: TextForm) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(name);
    fs::write(&path, content).expect("writable");
    assert_eq!(perplexity_text(&path).expect("a text"), (expected.to_owned(), form));
}

#[test]
fn wiki_files_are_joined_by_rows() {
    let raw = " \n = Title = \n \n Text .\n";
    let joined = "\n\n = Title = \n\n\n\n\n Text .\n";
    check_text("wiki.test.raw", raw, joined, TextForm::WikiRows);
    check_text("wiki.valid.raw", "a\nb", "a\n\n\nb", TextForm::WikiRows);
    for name in ["wiki.test.tokens", "my-wiki.test.raw", "wiki.raw.txt"] {
        check_text(name, raw, raw, TextForm::AsIs);
    }
    assert_eq!(TextForm::WikiRows.to_string(), "rows joined by blank lines");
}

#[test]
fn a_perplexity_text_must_be_text() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("wiki.test.raw");
    fs::write(&path, "").expect("writable");
    assert!(matches!(perplexity_text(&path), Err(TextError::EmptyText { .. })));
    fs::write(&path, b"one\ntwo\n\xc3").expect("writable");
    assert!(matches!(perplexity_text(&path), Err(TextError::NotUtf8 { line: 3, .. })));
}
