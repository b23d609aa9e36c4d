//! Named steps of preprocessing that task files may use besides those of the template language.

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
}
