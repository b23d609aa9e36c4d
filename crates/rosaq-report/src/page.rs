//! The page: head, sections, foot.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::section::{SECTIONS, Section, summary};
use crate::{Report, plot};

const STYLE: &str = include_str!("style/page.css");

/// Renders `report` as one self-contained HTML page: styles and figures inside, no script, light and dark, well-formed
/// as XML. Text of the report is escaped; parts that are missing are left out; what is not finite is shown as a dash.
#[must_use]
pub fn render_html(report: &Report) -> String {
    let sections: Vec<Section> = SECTIONS.iter().filter_map(|make| make(report)).collect();
    let title = if report.title.is_empty() { "Quantization report" } else { &report.title };
    let page = html! {
        (DOCTYPE)
        html lang="en" xmlns="http://www.w3.org/1999/xhtml" {
            head {
                // Written out, because the template leaves void elements open and XML does not.
                (PreEscaped(r#"<meta charset="utf-8"/>"#))
                (PreEscaped(r#"<meta name="viewport" content="width=device-width, initial-scale=1"/>"#))
                (PreEscaped(r#"<meta name="color-scheme" content="light dark"/>"#))
                title { (title) }
                style { (PreEscaped(plot::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (summary::head(report))
                }
                (contents(&sections))
                main { @for section in &sections { (section.markup()) } }
                @if !report.generated_by.is_empty() { footer { "Made by " (report.generated_by) "." } }
            }
        }
    };
    printable(page.into_string())
}

fn contents(sections: &[Section]) -> Markup {
    html! {
        @if sections.len() > 1 {
            nav aria-label="Sections" {
                ul {
                    @for section in sections {
                        li { a href=(format!("#{}", section.id)) { (section.title) } }
                    }
                }
            }
        }
    }
}

/// Takes out what XML does not allow in any form, and what turns the direction of text around: control characters that no
/// name or path of a report needs.
pub(crate) fn printable(text: String) -> String {
    let allowed = |c: char| {
        !matches!(c,
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.chars().all(allowed) { text } else { text.chars().filter(|c| allowed(*c)).collect() }
}
