//! Methods side by side.

use maud::{Markup, html};

use super::{Section, pareto};
use crate::number::{ABSENT, bytes, seconds, short, significant, with_error};
use crate::{ComparisonRow, Report};

/// A column of the table.
struct Column {
    title: &'static str,
    class: &'static str,
    value: fn(&ComparisonRow) -> Option<String>,
}

/// What matters most comes first: on a phone the rest lies beyond the edge.
const COLUMNS: &[Column] = &[
    Column { title: "Bits", class: "number", value: |r| r.bits.map(short) },
    Column {
        title: "Bits per weight",
        class: "number",
        value: |r| Some(significant(r.bits_per_weight, 4)),
    },
    Column {
        title: "Perplexity",
        class: "number",
        value: |r| r.perplexity.map(|p| significant(p, 4)),
    },
    Column {
        title: "KL, nats per token",
        class: "number",
        value: |r| r.kl.map(|kl| with_error(kl, r.kl_stderr.filter(|_| !r.is_fp16()))),
    },
    Column { title: "Size", class: "number", value: |r| r.total_bytes.map(bytes) },
    Column {
        title: "Weight bits",
        class: "number",
        value: |r| r.weight_bits.map(|b| significant(b, 4)),
    },
    Column { title: "Group", class: "number", value: |r| r.group_size.map(|g| g.to_string()) },
    Column { title: "Processor time", class: "number", value: |r| r.cpu_seconds.map(seconds) },
    Column { title: "Peak memory", class: "number", value: |r| r.peak_rss_bytes.map(bytes) },
    Column { title: "Settings", class: "words", value: |r| r.settings.clone() },
];

pub(super) fn section(report: &Report) -> Option<Section> {
    let rows = in_order(report);
    (!rows.is_empty()).then(|| Section {
        id: "comparison",
        title: "Comparison",
        reading: Some(
            "Same model, same text, same windows. Bits per weight counts everything stored for the linears, weight bits only \
             codes, scales, zero points and f16 channels; lower perplexity and KL divergence are better."
                .to_owned(),
        ),
        body: html! {
            (table(&rows))
            (pareto::markup(&rows))
        },
    })
}

/// The source model, then the others as they are given.
pub(super) fn in_order(report: &Report) -> Vec<&ComparisonRow> {
    let (mut rows, others): (Vec<_>, Vec<_>) = report.comparison.iter().partition(|r| r.is_fp16());
    rows.extend(others);
    rows
}

/// The table; a column that no row fills is left out.
fn table(rows: &[&ComparisonRow]) -> Markup {
    let filled = |c: &&Column| rows.iter().any(|r| (c.value)(r).is_some());
    let columns: Vec<&Column> = COLUMNS.iter().filter(filled).collect();
    html! {
        div.scroll {
            table.comparison {
                thead { tr {
                    th.number scope="col" { "#" }
                    th scope="col" { "Method" }
                    @for column in &columns { th scope="col" class=(column.class) { (column.title) } }
                } }
                tbody {
                    @for (idx, row) in rows.iter().enumerate() {
                        tr {
                            td.number { (idx + 1) }
                            th scope="row" { (row.method) }
                            @for column in &columns {
                                td class=(column.class) { ((column.value)(row).as_deref().unwrap_or(ABSENT)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
