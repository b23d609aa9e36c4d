//! Named steps of preprocessing that task files may use besides those of the template language.

use std::collections::BTreeMap;

use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

pub(crate) fn add(env: &mut Environment<'_>) {
    env.add_filter("strip", |text: String| strip(&text).to_owned());
    env.add_filter("capitalize", |text: String| capitalize(&text));
    env.add_filter("clean", |text: String| clean(&text));
    env.add_filter("before", |text: String, mark: String| {
        split(&text, &mark).map(|(before, _)| before.to_owned())
    });
    env.add_filter("after", |text: String, mark: String| {
        split(&text, &mark).map(|(_, after)| after.to_owned())
    });
    env.add_filter("records", records);
    env.add_filter("letter", letter);
}

/// `text` without whitespace at both ends, as Python's `str.strip` has it, which counts four separators as whitespace that
/// Unicode does not.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// See [`strip`].
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The first character in upper case, all others in lower case, as Python's `str.capitalize` does.
fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars.as_str().to_lowercase().chars()).collect()
}

/// `HellaSwag`'s marks of `WikiHow` articles taken out: whitespace at both ends goes, ` [title]` becomes `. `, everything from
/// `[` to the next `]` on the same line goes, and every two spaces become one, once.
///
/// Source: lm-evaluation-harness 0.4.13, `lm_eval/tasks/hellaswag/utils.py`.
fn clean(text: &str) -> String {
    let text = strip(text).replace(" [title]", ". ");
    let mut out = String::new();
    let mut rest = &text[..];
    while let Some(open) = rest.find('[') {
        let close = rest[open..].find([']', '\n']).filter(|&at| rest[open + at..].starts_with(']'));
        let end = close.map_or(open + 1, |at| open + at + 1);
        out.push_str(&rest[..if close.is_some() { open } else { end }]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out.replace("  ", " ")
}

fn split<'a>(text: &'a str, mark: &str) -> Result<(&'a str, &'a str), Error> {
    text.split_once(mark).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("expected a `{mark}` in the text, found none"),
        )
    })
}

/// Lists by name to a list of records: `{'text': ['x', 'y'], 'label': ['A', 'B']}` becomes
/// `[{'text': 'x', 'label': 'A'}, {'text': 'y', 'label': 'B'}]`.
fn records(lists: &Value) -> Result<Value, Error> {
    let unfit = |detail| Error::new(ErrorKind::InvalidOperation, detail);
    if lists.kind() != ValueKind::Map {
        return Err(unfit(format!("expected lists by name, found {}", lists.kind())));
    }
    let mut records: Option<Vec<BTreeMap<String, Value>>> = None;
    for name in lists.try_iter()? {
        let list: Vec<Value> = lists.get_item(&name)?.try_iter()?.collect();
        let records = records.get_or_insert_with(|| vec![BTreeMap::new(); list.len()]);
        if records.len() != list.len() {
            let (expected, found) = (records.len(), list.len());
            return Err(unfit(format!(
                "expected lists of one length, found lists of {expected} and of {found}"
            )));
        }
        for (record, value) in records.iter_mut().zip(list) {
            record.insert(name.to_string(), value);
        }
    }
    Ok(Value::from(Serde(records.unwrap_or_default())))
}

/// The letter of an index, `A` for 0; what has none stays as it is.
fn letter(index: Value) -> Value {
    let letters = b'A'..=b'Z';
    let found = usize::try_from(index.clone()).ok().and_then(|i| letters.clone().nth(i));
    found.map_or(index, |letter| Value::from(char::from(letter).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals() {
        assert_eq!(capitalize("the CAT sat. It"), "The cat sat. it");
        assert_eq!(capitalize(""), "");
        assert_eq!(capitalize("éTÉ"), "Été");
        assert_eq!(capitalize("1A"), "1a");
    }

    #[test]
    fn cleaning() {
        assert_eq!(clean(" [header] How to rest [title] Lie down.  "), " How to rest. Lie down.");
        assert_eq!(clean("a [step] b [substeps] c"), "a b c");
        assert_eq!(clean("four    spaces, three   spaces"), "four  spaces, three  spaces");
        assert_eq!(clean("[a[b]c] d"), "c] d");
        assert_eq!(clean("open [ and\n] shut [x]."), "open [ and\n] shut .");
        assert_eq!(clean("a [x\ny [z] b"), "a [x\ny b");
        assert_eq!(clean("[] é]["), " é][");
    }

    #[test]
    fn stripping_as_python_does() {
        assert_eq!(strip("\u{1c}\u{a0} a b\u{2003}\n\u{1f}"), "a b");
        assert_eq!(strip("\u{200b}a"), "\u{200b}a");
    }

    #[test]
    fn lists_to_records() {
        let lists =
            Value::from(Serde(serde_json::json!({"text": ["x", "y"], "label": ["A", "B"]})));
        let expected =
            serde_json::json!([{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]);
        let found = serde_json::to_value(records(&lists).expect("of one length")).expect("JSON");
        assert_eq!(found, expected);
        let uneven = Value::from(Serde(serde_json::json!({"text": ["x", "y"], "label": ["A"]})));
        let message = records(&uneven).expect_err("of two lengths").to_string();
        assert!(message.contains("of one length, found lists of 1 and of 2"), "{message}");
        assert!(records(&Value::from("no lists")).is_err());
    }

    #[test]
    fn letters_of_indices() {
        assert_eq!(letter(Value::from(0)), Value::from("A"));
        assert_eq!(letter(Value::from(25)), Value::from("Z"));
        for other in [Value::from(26), Value::from(-1), Value::from("C")] {
            assert_eq!(letter(other.clone()), other);
        }
    }
}
