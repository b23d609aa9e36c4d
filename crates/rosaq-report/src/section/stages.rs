//! Time and memory of each stage.

use maud::{Markup, html};

use super::Section;
use crate::number::{ABSENT, bytes, seconds};
use crate::plot::bar;
use crate::{Report, Stage};

pub(super) fn section(report: &Report) -> Option<Section> {
    let stages = &report.stages;
    let largest = |value: fn(&Stage) -> f64| stages.iter().map(value).fold(0.0, f64::max);
    // One scale for both times, so that the two columns can be compared.
    let longest = largest(|s| s.wall_seconds).max(largest(|s| s.cpu_seconds));
    let peak = largest(|s| s.peak_rss_bytes.unwrap_or(0) as f64);
    (!stages.is_empty()).then(|| Section {
        id: "stages",
        title: "Time and memory",
        reading: Some(
            "How long each stage took on the clock and summed over all processor cores (same scale; processor time above \
             clock time means that cores worked side by side), and the most memory held during it."
                .to_owned(),
        ),
        body: html! {
            div.scroll {
                table.bars {
                    thead { tr {
                        th scope="col" { "Stage" }
                        th.number scope="col" { "Clock" }
                        th.number scope="col" { "Processor" }
                        @if peak > 0.0 { th.number scope="col" { "Peak memory" } }
                    } }
                    tbody {
                        @for stage in stages { (row(stage, longest, peak)) }
                        (total(stages, peak))
                    }
                }
            }
        },
    })
}

fn row(stage: &Stage, longest: f64, peak: f64) -> Markup {
    html! {
        tr {
            th scope="row" { (stage.name) }
            td.number { (seconds(stage.wall_seconds)) (bar(stage.wall_seconds / longest, "s0")) }
            td.number { (seconds(stage.cpu_seconds)) (bar(stage.cpu_seconds / longest, "s2")) }
            @if peak > 0.0 {
                td.number {
                    @match stage.peak_rss_bytes {
                        Some(n) => { (bytes(n)) (bar(n as f64 / peak, "s3")) }
                        None => { (ABSENT) }
                    }
                }
            }
        }
    }
}

fn total(stages: &[Stage], peak: f64) -> Markup {
    html! {
        @if stages.len() > 1 {
            tr.total {
                th scope="row" { "all" }
                td.number { (seconds(stages.iter().map(|s| s.wall_seconds).sum())) }
                td.number { (seconds(stages.iter().map(|s| s.cpu_seconds).sum())) }
                @if peak > 0.0 {
                    td.number { (bytes(stages.iter().filter_map(|s| s.peak_rss_bytes).max().unwrap_or(0))) }
                }
            }
        }
    }
}
