//! The figures one looks for first.

use maud::{Markup, html};

use crate::number::{bytes, change, count, seconds, significant};
use crate::{Report, Summary};

/// One large figure.
struct Card {
    label: &'static str,
    value: String,
    detail: Option<String>,
}

/// What it is, and its large figures.
pub(crate) fn head(report: &Report) -> Markup {
    let makers: [fn(&Report) -> Option<Card>; 6] =
        [size, bits, perplexity, divergence, time, memory];
    let cards: Vec<Card> = makers.iter().filter_map(|make| make(report)).collect();
    html! {
        @if let Some(line) = subject(report) { p.dim { (line) } }
        @if !cards.is_empty() {
            dl.cards {
                @for card in &cards {
                    div {
                        dt { (card.label) }
                        dd.value { (card.value) }
                        @if let Some(detail) = &card.detail { dd { (detail) } }
                    }
                }
            }
        }
        @if let Some(line) = measured_on(&report.summary) { p.reading { (line) } }
    }
}

/// Model and method in one line.
fn subject(report: &Report) -> Option<String> {
    let given = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let name = given(&report.model.name);
    let method = given(&report.summary.method).map(|m| format!("quantized with {m}"));
    let parts: Vec<String> = [name, method].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn size(report: &Report) -> Option<Card> {
    let total = report.summary.total_bytes?;
    Some(match report.summary.source_bytes.filter(|_| total > 0) {
        Some(source) => Card {
            label: "Size, FP16 to quantized",
            value: format!("{} : 1", significant(source as f64 / total as f64, 3)),
            detail: Some(format!("{} → {}, embeddings included", bytes(source), bytes(total))),
        },
        None => {
            Card { label: "Size", value: bytes(total), detail: Some("embeddings included".into()) }
        }
    })
}

fn bits(report: &Report) -> Option<Card> {
    let s = &report.summary;
    let detail =
        s.weight_bits.map(|bits| format!("{} without rotations and padding", significant(bits, 4)));
    let value = s.bits_per_weight.or(s.weight_bits)?;
    let detail = detail.filter(|_| s.bits_per_weight.is_some());
    Some(Card { label: "Bits per weight", value: significant(value, 4), detail })
}

fn perplexity(report: &Report) -> Option<Card> {
    let s = &report.summary;
    let show = |p: f64| significant(p, 4);
    Some(match (s.perplexity_fp16, s.perplexity_quantized) {
        (Some(before), Some(after)) => Card {
            label: "Perplexity, FP16 → quantized",
            value: format!("{} → {}", show(before), show(after)),
            detail: change(before, after),
        },
        (None, Some(after)) => Card { label: "Perplexity", value: show(after), detail: None },
        (Some(before), None) => {
            Card { label: "Perplexity of FP16", value: show(before), detail: None }
        }
        (None, None) => return None,
    })
}

fn divergence(report: &Report) -> Option<Card> {
    let s = &report.summary;
    let stderr = s.kl_stderr.filter(|e| e.is_finite());
    let detail = match stderr {
        Some(stderr) => format!("± {} nats per token", significant(stderr, 2)),
        None => "nats per token".to_owned(),
    };
    Some(Card {
        label: "KL divergence from FP16",
        value: significant(s.kl?, 4),
        detail: Some(detail),
    })
}

fn time(report: &Report) -> Option<Card> {
    let (wall, cpu) = (report.wall_seconds(), report.cpu_seconds());
    Some(match (wall, cpu) {
        (Some(wall), cpu) => Card {
            label: "Time",
            value: seconds(wall),
            detail: cpu.map(|cpu| format!("{} of processor time", seconds(cpu))),
        },
        (None, cpu) => Card { label: "Processor time", value: seconds(cpu?), detail: None },
    })
}

fn memory(report: &Report) -> Option<Card> {
    let value = bytes(report.peak_rss_bytes()?);
    Some(Card { label: "Peak memory", value, detail: Some("largest resident set".to_owned()) })
}

/// What perplexity and divergence refer to.
fn measured_on(s: &Summary) -> Option<String> {
    let parts: Vec<String> = [
        s.text.as_ref().map(|text| format!("on {text}")),
        s.tokens.map(|n| format!("{} tokens", count(n))),
        s.context.map(|n| format!("windows of {}", count(n as u64))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let measured = s.perplexity_quantized.or(s.kl).or(s.perplexity_fp16).is_some();
    (measured && !parts.is_empty()).then(|| {
        format!(
            "Quality measured {}. Perplexity: among how many equally likely next tokens the model seems to choose; less is \
             better. KL divergence: how far its predictions are from those of the source model; 0 is the same model.",
            parts.join(", ")
        )
    })
}
