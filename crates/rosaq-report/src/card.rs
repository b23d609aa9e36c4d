//! The model card: the README of a quantized checkpoint.

use crate::markdown::{code_block, table, text, yaml};
use crate::number::{bytes, change, count, seconds, short, significant, with_error};
use crate::page::printable;
use crate::{ComparisonRow, Report};

const NOT_MEASURED: &str = "not measured";

/// Renders the model card of `report`: markdown with the front matter of the Hugging Face Hub. Text of the report is escaped;
/// a figure that is missing is said to be missing.
#[must_use]
pub fn model_card(report: &Report) -> String {
    let title = if report.title.is_empty() { "Quantized model" } else { &report.title };
    let parts = [
        front_matter(report),
        format!("# {}\n", text(title)),
        what_it_is(report),
        format!("## Measured\n\n{}\n{}", measured(report), measured_on(report)),
        section("Compared", &comparison(&report.comparison)),
        format!("## How to use\n\n{}", usage()),
        section("Made with", &made_with(report)),
        section("Source model", &pairs(&report.model.known())),
        format!("## Limitations\n\n{}", limitations(report)),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    printable(parts.join("\n"))
}

fn section(title: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("## {title}\n\n{body}") }
}

fn front_matter(report: &Report) -> String {
    let mut lines = vec!["---".to_owned(), "library_name: rosaq".to_owned()];
    if let Some(base) = &report.model.base_model {
        lines.push(format!("base_model: {}", yaml(base)));
        lines.push("base_model_relation: quantized".to_owned());
    }
    lines.push("pipeline_tag: text-generation".to_owned());
    lines.push("tags:".to_owned());
    let mut tags = vec!["rosaq".to_owned(), "quantized".to_owned()];
    let own = [Some(report.summary.method.as_str()), report.model.family.as_deref()];
    for tag in own.into_iter().flatten().map(tag) {
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    lines.extend(tags.into_iter().map(|tag| format!("- {tag}")));
    lines.push("---\n".to_owned());
    lines.join("\n")
}

/// Letters and digits of `words`, everything else made one hyphen: `rosaq (absorbed)` becomes `rosaq-absorbed`.
fn tag(words: &str) -> String {
    let lower = words.to_ascii_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

fn what_it_is(report: &Report) -> String {
    let named = |name: &str, otherwise: &str| {
        if name.is_empty() { otherwise.to_owned() } else { format!("**{}**", text(name)) }
    };
    let model = named(&report.model.name, "a language model");
    let method = named(&report.summary.method, "rosaq");
    let by = match report.generated_by.as_str() {
        "" => String::new(),
        by => format!(" It was made by {}.", text(by)),
    };
    format!(
        "The weights of {model}, quantized with {method}. Codes, scales and f16 channels are packed in safetensors files; \
         `config.json` describes each linear as segments.{by} `rosaq-report.json` keeps the figures below in full.\n"
    )
}

/// The main figures, present or not.
fn measured(report: &Report) -> String {
    let s = &report.summary;
    let plain = |value: Option<f64>| value.map(|v| significant(v, 4));
    let ratio = match (s.source_bytes, s.total_bytes) {
        (Some(source), Some(total)) if total > 0 => {
            Some(format!("{} : 1", significant(source as f64 / total as f64, 3)))
        }
        _ => None,
    };
    let increase = s.perplexity_fp16.zip(s.perplexity_quantized).and_then(|(a, b)| change(a, b));
    let figures = [
        ("bits per weight of the linears, everything stored counted", plain(s.bits_per_weight)),
        ("of these codes, scales, zero points, f16 channels", plain(s.weight_bits)),
        ("size of the weights, embeddings included", s.total_bytes.map(bytes)),
        ("size of the source model in FP16", s.source_bytes.map(bytes)),
        ("size ratio", ratio),
        ("perplexity of the source model in FP16", plain(s.perplexity_fp16)),
        ("perplexity of this model", plain(s.perplexity_quantized)),
        ("increase of perplexity", increase),
        ("KL divergence from FP16, nats per token", s.kl.map(|kl| with_error(kl, s.kl_stderr))),
        ("time to quantize", report.wall_seconds().map(seconds)),
        ("processor time to quantize", report.cpu_seconds().map(seconds)),
        ("peak memory while quantizing", report.peak_rss_bytes().map(bytes)),
    ];
    let row = |(name, value): (&str, Option<String>)| {
        vec![name.to_owned(), value.unwrap_or_else(|| NOT_MEASURED.to_owned())]
    };
    table(&["figure", "value"], &figures.map(row))
}

fn measured_on(report: &Report) -> String {
    let s = &report.summary;
    if s.perplexity_quantized.or(s.kl).is_none() {
        return "Quality was not measured.\n".to_owned();
    }
    let parts: Vec<String> = [
        Some(s.text.as_deref().map_or("a text that was not recorded".to_owned(), text)),
        s.tokens.map(|n| format!("{} tokens scored", count(n))),
        s.context.map(|n| format!("windows of {} tokens", count(n as u64))),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!(
        "Quality was measured on {}. Less is better in all figures of quality.\n",
        parts.join(", ")
    )
}

fn comparison(rows: &[ComparisonRow]) -> String {
    let missing = || NOT_MEASURED.to_owned();
    let row = |r: &ComparisonRow| {
        vec![
            text(&r.method),
            r.bits.map(short).unwrap_or_default(),
            r.group_size.map(|g| g.to_string()).unwrap_or_default(),
            r.settings.as_deref().map(text).unwrap_or_default(),
            significant(r.bits_per_weight, 4),
            r.perplexity.map_or_else(missing, |p| significant(p, 4)),
            r.kl.map_or_else(missing, |kl| with_error(kl, r.kl_stderr)),
        ]
    };
    let (fp16, others): (Vec<_>, Vec<_>) = rows.iter().partition(|r| r.is_fp16());
    let rows: Vec<Vec<String>> = fp16.into_iter().chain(others).map(row).collect();
    let head = [
        "method",
        "bits",
        "group",
        "settings",
        "bits per weight",
        "perplexity",
        "KL, nats per token",
    ];
    table(&head, &rows)
}

fn usage() -> String {
    let commands = "cargo xtask eval DIR --text FILE   # perplexity on a text of yours\n\
                    cargo xtask verify DIR             # every tensor against its checksum";
    format!(
        "In a checkout of rosaq, with DIR the directory of this file:\n\n{}",
        code_block("sh", commands)
    )
}

fn made_with(report: &Report) -> String {
    let command = report.command.as_deref().map(|c| code_block("sh", c)).unwrap_or_default();
    let settings = pairs(&report.settings);
    [command, settings].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("\n")
}

fn pairs<K: AsRef<str>>(pairs: &[(K, String)]) -> String {
    let row = |(name, value): &(K, String)| vec![text(name.as_ref()), text(value)];
    table(&["name", "value"], &pairs.iter().map(row).collect::<Vec<_>>())
}

fn limitations(report: &Report) -> String {
    let s = &report.summary;
    let mut items = vec![
        "The checkpoint is read by rosaq; other programs do not know its packed format.".to_owned(),
        "What the source model cannot do or should not be used for holds here too; its license applies.".to_owned(),
    ];
    let quality = [
        ("Perplexity", s.perplexity_quantized.is_some()),
        ("KL divergence from the source model", s.kl.is_some()),
    ];
    for (name, is_measured) in quality {
        items.push(if is_measured {
            format!("{name} was measured on one text; other texts and tasks may lose more or less.")
        } else {
            format!("{name} was {NOT_MEASURED}.")
        });
    }
    items.push(
        "Downstream tasks, safety and languages other than the text's were not measured."
            .to_owned(),
    );
    items.extend(report.notes.iter().map(|note| text(note)));
    items.into_iter().map(|item| format!("- {item}\n")).collect()
}
