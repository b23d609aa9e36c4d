//! Accuracies of the compared methods on tasks.

use maud::{Markup, html};

use super::Section;
use super::comparison::in_order;
use super::scatter::{Best, Plot, points};
use crate::number::{ABSENT, count, short, significant};
use crate::{ComparisonRow, Report, TaskAccuracy};

pub(super) fn section(report: &Report) -> Option<Section> {
    let rows = in_order(report);
    let columns = columns(&rows);
    (!columns.is_empty()).then(|| Section {
        id: "accuracy",
        title: "Accuracy on tasks",
        reading: Some(
            "Share of right answers in percent ± one standard error; rows have the numbers of the comparison. acc: the likeliest \
             choice is right; acc_norm: the likeliest for its length is. An average of tasks counts each task once."
                .to_owned(),
        ),
        body: html! {
            (table(&rows, &columns))
            (plot(&rows))
        },
    })
}

/// Every column once, by its first figure: averages of tasks first, because on a phone the rest lies beyond the edge.
fn columns<'a>(rows: &[&'a ComparisonRow]) -> Vec<&'a TaskAccuracy> {
    let mut columns: Vec<&TaskAccuracy> = Vec::new();
    for task in rows.iter().flat_map(|row| &row.tasks) {
        if !columns.iter().any(|c| c.name == task.name) {
            columns.push(task);
        }
    }
    columns.sort_by_key(|c| !c.is_average());
    columns
}

fn table(rows: &[&ComparisonRow], columns: &[&TaskAccuracy]) -> Markup {
    let cell = |row: &ComparisonRow, name: &str| {
        let found = row.tasks.iter().find(|task| task.name == name);
        found.map_or_else(|| ABSENT.to_owned(), percent)
    };
    html! {
        div.scroll {
            table.comparison.accuracy {
                thead { tr {
                    th.number scope="col" { "#" }
                    th scope="col" { "Method" }
                    th.number scope="col" { "Bits per weight" }
                    @for column in columns {
                        th.number scope="col" {
                            (column.name)
                            @for line in under(column) { span.under { (line) } }
                        }
                    }
                } }
                tbody {
                    @for (idx, row) in rows.iter().enumerate().filter(|(_, row)| !row.tasks.is_empty()) {
                        tr {
                            td.number { (idx + 1) }
                            th scope="row" { (row.method) }
                            td.number { (significant(row.bits_per_weight, 4)) }
                            @for column in columns { td.number { (cell(row, &column.name)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What stands below a column's name.
fn under(column: &TaskAccuracy) -> impl Iterator<Item = String> {
    let rows = (column.rows > 0).then(|| format!("{} rows", count(column.rows as u64)));
    column.metric.clone().into_iter().chain(rows)
}

/// Two decimals, as the paper's tables have them.
fn percent(task: &TaskAccuracy) -> String {
    let two = |share: f64| {
        let percent = 100.0 * share;
        if percent.abs() < 1e6 { format!("{percent:.2}") } else { significant(percent, 4) }
    };
    match task.stderr {
        Some(stderr) => format!("{} ± {}", two(task.share), two(stderr)),
        None => two(task.share),
    }
}

/// The average of tasks against size; nothing where there is none.
fn plot(rows: &[&ComparisonRow]) -> Markup {
    let average = |row: &ComparisonRow| {
        row.tasks.iter().find(|task| task.is_average()).map(|task| 100.0 * task.share)
    };
    let points = points(rows, |row| Some((average(row)?, 0.0)));
    if points.is_empty() {
        return html! {};
    }
    let source = rows.iter().find(|row| row.is_fp16()).and_then(|row| average(row));
    let plot = Plot {
        points,
        label: "Bits per weight and average accuracy of each method",
        axis: "average accuracy, %",
        best: Best::Highest,
        source: source.filter(|value| value.is_finite()),
        show: |accuracy| format!("{} % right", short(accuracy)),
    };
    html! {
        h3 { "Size against accuracy" }
        p.reading {
            "Each point is a row of the table; left is smaller, up is better. The line across is the source model. Rows on the \
             dashed line are beaten by none in both at once."
        }
        (plot.markup())
    }
}
