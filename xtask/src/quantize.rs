//! `cargo xtask quantize`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use rosaq_pipeline::{
    EvalModel, EvalTokens, Evaluation, Progress, QuantizeJob, QuantizeReport, SharedStatistics,
    bits_for_size, peak_rss_bytes, quantize, write_html, write_model_card, write_report,
};
use serde_json::{Value, json};

use crate::Outcome;
use crate::command_flags::QuantizeFlags;
use crate::dry_run;
use crate::output::{command_line, make_room, megabytes, print_json, print_text, table};

pub(crate) fn run(flags: &QuantizeFlags) -> anyhow::Result<Outcome> {
    let progress = Progress::detect();
    let job = job(flags)?;
    if flags.dry_run {
        return dry_run::run(&job, flags.statistics.as_deref(), flags.output.json, progress);
    }
    make_room(flags.report.as_deref())?;
    // Read now, so that a text of no use is refused before hours are spent.
    let tokens = if flags.no_eval { None } else { Some(tokens(flags, &job)?) };
    let shared = flags.statistics.as_ref().map(|dir| SharedStatistics::kept_in(dir.clone()));
    let mut report = quantize(&job, shared.as_ref(), progress)?;
    if let Some(tokens) = &tokens {
        measure(&job, tokens, &mut report, progress)?;
        write_report(&job.out, &report)?;
    }
    write_model_card(&report, command_line())?;
    if let Some(path) = &flags.report {
        write_html(&report, command_line(), path)?;
    }
    if flags.output.json {
        print_json(&summary(&report))?;
    } else {
        print_text(&human(&report))?;
    }
    Ok(judge(flags.max_ppl_increase, report.evaluation.as_ref()))
}

fn job(flags: &QuantizeFlags) -> anyhow::Result<QuantizeJob> {
    let rotation = match flags.settings.rotation.as_slice() {
        [] => None,
        [one] => Some(one.as_str()),
        _ => bail!("`--rotation` takes one placement here; `compare` takes several"),
    };
    let model = flags.model.path();
    let tables = flags.embeddings.into();
    let target_bits = match flags.target_size {
        Some(size) => Some(bits_for_size(&model, size.as_u64(), tables)?),
        None => flags.target_bits,
    };
    let width = match (flags.target_size, target_bits) {
        (Some(size), _) => format!("{}bytes", size.as_u64()),
        (None, Some(bits)) => format!("{bits}bits"),
        (None, None) => format!("int{}", flags.bits),
    };
    let out = match &flags.out {
        Some(out) => out.clone(),
        None => default_out(&model, &format!("{}-{width}", flags.method)),
    };
    let mut settings = flags.settings.settings(flags.bits, flags.group_size, rotation)?;
    settings.target_bits = target_bits;
    Ok(QuantizeJob {
        settings,
        method: flags.method.clone(),
        tables,
        calibration: flags.calibration.set(),
        fresh: flags.fresh,
        model,
        out,
    })
}

/// `out/MODEL-SUFFIX` in the current directory.
pub(crate) fn default_out(model: &Path, suffix: &str) -> PathBuf {
    let name = model.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy());
    // Only what names a format goes: the rest of a name may hold dots, as in `Llama-3.2-1B`.
    let name = [".gguf", ".safetensors"].iter().find_map(|e| name.strip_suffix(e)).unwrap_or(&name);
    PathBuf::from("out").join(format!("{name}-{suffix}"))
}

/// The text of the evaluation in the model's tokens.
fn tokens(flags: &QuantizeFlags, job: &QuantizeJob) -> anyhow::Result<EvalTokens> {
    Ok(EvalModel::open(&job.model)?.tokens(&flags.text.text())?)
}

/// Opens the packed checkpoint again from disk and compares it with the source.
fn measure(
    job: &QuantizeJob,
    tokens: &EvalTokens,
    report: &mut QuantizeReport,
    progress: Progress,
) -> anyhow::Result<()> {
    let reference = EvalModel::open(&job.model)?.into_reference(tokens, None, progress)?;
    let quantized = EvalModel::open(&job.out)?;
    report.evaluation = Some(quantized.evaluate(tokens, Some(&reference), progress)?);
    report.golden = Some(quantized.golden_logits(tokens)?);
    Ok(())
}

/// Whether the rise of perplexity stays under the bar.
pub(crate) fn judge(limit_percent: Option<f64>, evaluation: Option<&Evaluation>) -> Outcome {
    let (Some(limit), Some(e)) = (limit_percent, evaluation) else { return Outcome::Done };
    let Some(reference) = e.reference_perplexity else { return Outcome::Done };
    let increase = (e.perplexity / reference - 1.0) * 100.0;
    if increase <= limit {
        return Outcome::Done;
    }
    eprintln!("perplexity rose by {increase:.2} %, more than {limit} %");
    Outcome::BarMissed
}

fn summary(report: &QuantizeReport) -> Value {
    let evaluation = report.evaluation.as_ref();
    json!({
        "model": report.model, "method": report.method, "settings": report.settings,
        "rotation": report.placement,
        "bits_per_weight": report.bits_per_weight, "weight_bits": report.weight_bits,
        "total_bytes": report.total_bytes, "fp16_bytes": report.source_bytes_f16,
        "perplexity": evaluation.map(|e| json!({"fp16": e.reference_perplexity, "quantized": e.perplexity})),
        "kl": evaluation.and_then(|e| e.kl), "expected_kl": report.expected_kl, "evaluation": evaluation,
        "cpu_seconds": report.cpu_seconds, "floor_cpu_seconds": report.floor_cpu_seconds,
        "wall_seconds": report.wall_seconds, "resumed": report.resumed,
        "peak_rss_bytes": report.peak_rss_bytes, "peak_rss_bytes_with_evaluation": report.peak_rss_bytes.max(peak_rss_bytes()),
        "stages": report.stages, "out": report.out,
    })
}

fn human(report: &QuantizeReport) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("method", report.method.clone()),
        row("rotation", report.placement.clone().unwrap_or_else(|| "none".to_owned())),
        row("bits per weight", format!("{:.3}", report.bits_per_weight)),
        row("  codes, scales and f16 channels alone", format!("{:.3}", report.weight_bits)),
        row("size, MB", megabytes(report.total_bytes)),
        row(
            "  FP16 / this",
            format!("{:.2}", report.source_bytes_f16 as f64 / report.total_bytes as f64),
        ),
    ];
    if let Some(e) = &report.evaluation {
        if let Some(fp16) = e.reference_perplexity {
            rows.push(row("perplexity FP16", format!("{fp16:.4}")));
            rows.push(row("perplexity quantized", format!("{:.4}", e.perplexity)));
            rows.push(row("  increase, %", format!("{:.2}", (e.perplexity / fp16 - 1.0) * 100.0)));
        }
        if let (Some(kl), Some(stderr)) = (e.kl, e.kl_stderr) {
            rows.push(row("KL divergence, nats", format!("{kl:.5} ± {stderr:.5}")));
            if let Some(expected) = report.expected_kl {
                rows.push(row("  expected by sensitivities", format!("{expected:.5}")));
            }
        }
        rows.push(row("tokens scored, context", format!("{}, {}", e.tokens, e.context)));
    }
    let label = if report.resumed { "CPU seconds since it was resumed" } else { "CPU seconds" };
    rows.push(row(label, format!("{:.1}", report.cpu_seconds)));
    if let Some(floor) = report.floor_cpu_seconds {
        rows.push(row("  at the measured GEMM rate at least", format!("{floor:.1}")));
    }
    rows.push(row("wall seconds", format!("{:.1}", report.wall_seconds)));
    if let Some(bytes) = report.peak_rss_bytes {
        rows.push(row("peak memory, MB", megabytes(bytes)));
    }
    format!("{}\nsaved in {}", table(&[&report.model, ""], rows), report.out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_directories_keep_the_dots_of_a_name() {
        let out = |model: &str| default_out(Path::new(model), "rtn-int4");
        assert_eq!(out("models/Llama-3.2-1B"), Path::new("out/Llama-3.2-1B-rtn-int4"));
        assert_eq!(out("SmolLM2.Q4_1.gguf"), Path::new("out/SmolLM2.Q4_1-rtn-int4"));
    }
}
