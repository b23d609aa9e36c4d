//! Text of a report as markdown and YAML, with nothing in it that either would take for markup.

/// Text for a paragraph, a list entry or a table cell: one line, markup escaped.
pub(crate) fn text(raw: &str) -> String {
    let line = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::with_capacity(line.len());
    // A line may begin with a number and a mark, which would begin a list.
    let list_mark = line.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0);
    for (at, c) in line.char_indices() {
        let escaped = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => true,
            '#' | '+' | '-' | '=' => at == 0,
            '.' | ')' => list_mark == Some(at),
            _ => false,
        };
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            _ if escaped => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// A code block; its fence is longer than any in `code`.
pub(crate) fn code_block(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    let code = code.replace('\r', "");
    format!("{fence}{language}\n{}\n{fence}\n", code.trim_end_matches('\n'))
}

/// A table of cells that are already markdown; nothing if it has no rows.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    out
}

/// A YAML string in double quotes.
pub(crate) fn yaml(raw: &str) -> String {
    let line = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("\"{}\"", line.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        let cases = [
            ("plain words, 4.5 % (of all)", "plain words, 4.5 % (of all)"),
            ("<script>a|b</script>", "&lt;script&gt;a\\|b&lt;/script&gt;"),
            ("[x](javascript:y) ![z](w)", "\\[x\\](javascript:y) !\\[z\\](w)"),
            ("a\n\n# b", "a # b"),
            ("# b", "\\# b"),
            ("- b", "\\- b"),
            ("12. b", "12\\. b"),
            ("`a` **b** _c_ &amp;", "\\`a\\` \\*\\*b\\*\\* \\_c\\_ &amp;amp;"),
            ("4.5", "4\\.5"),
        ];
        for (raw, expected) in cases {
            assert_eq!(text(raw), expected);
        }
    }

    #[test]
    fn fences_and_quotes_hold() {
        assert_eq!(code_block("sh", "ls\n"), "```sh\nls\n```\n");
        assert_eq!(code_block("", "```\n# a"), "````\n```\n# a\n````\n");
        assert_eq!(yaml("a \"b\" \\ c\n---\nd: e"), r#""a \"b\" \\ c --- d: e""#);
    }
}
