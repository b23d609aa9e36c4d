//! Reports for people: a page and a model card, from what jobs found.

use std::fs;
use std::path::Path;

use rosaq_model::{LINEAR_ROLES, ModelConfig, Role, SourceModel};
use rosaq_report::{
    ComparisonRow, LinearError, Magnitudes, ModelFacts, Report, RoleBits, Spectrum, Stage, Summary,
    TaskAccuracy, model_card, render_html,
};
use rosaq_tasks::Metric;
use serde_json::Value;

use crate::{BlockFindings, Comparison, PipelineError, QuantizeReport, TaskColumn};

/// Writes the model card of a finished checkpoint into its directory, as `README.md`.
///
/// # Errors
/// A source model that cannot be read any more, disk errors.
pub fn write_model_card(
    report: &QuantizeReport,
    command: Option<String>,
) -> Result<(), PipelineError> {
    let page = Report { command, ..of_job(report)? };
    let path = Path::new(&report.out).join("README.md");
    fs::write(&path, model_card(&page)).map_err(PipelineError::disk("write", path))
}

/// Writes a job's report as one HTML file.
///
/// # Errors
/// As [`write_model_card`].
pub fn write_html(
    report: &QuantizeReport,
    command: Option<String>,
    path: &Path,
) -> Result<(), PipelineError> {
    let page = Report { command, ..of_job(report)? };
    fs::write(path, render_html(&page)).map_err(PipelineError::disk("write", path))
}

/// Writes a comparison as one HTML file: its table, and size against quality as a plot.
///
/// # Errors
/// As [`write_model_card`].
pub fn write_comparison_html(
    model: &Path,
    found: &Comparison,
    command: Option<String>,
    path: &Path,
) -> Result<(), PipelineError> {
    let source = SourceModel::open(model)?;
    let page = Report {
        title: format!("{}: methods compared", name(&model.display().to_string())),
        generated_by: generated_by(),
        command,
        model: facts(&model.display().to_string(), source.config()),
        stages: found.calibration.iter().map(stage).collect(),
        comparison: found.rows.iter().map(row).collect(),
        ..Report::default()
    };
    fs::write(path, render_html(&page)).map_err(PipelineError::disk("write", path))
}

fn generated_by() -> String {
    concat!("rosaq ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The last part of a path, without what names a format.
fn name(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or(model);
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}

fn of_job(report: &QuantizeReport) -> Result<Report, PipelineError> {
    let source = SourceModel::open(Path::new(&report.model))?;
    let bits = report.settings.get("bits").map(|b| format!(" INT{b}")).unwrap_or_default();
    Ok(Report {
        title: format!("{}, {}{bits}", name(&report.model), report.method),
        generated_by: generated_by(),
        model: facts(&report.model, source.config()),
        settings: report
            .settings
            .iter()
            .filter(|(key, _)| *key != "fingerprint")
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect(),
        summary: summary(report),
        stages: report.stages.iter().map(stage).collect(),
        roles: roles(report, source.config()),
        errors: report.blocks.iter().flat_map(errors).collect(),
        spectra: spectra(report),
        magnitudes: magnitudes(report),
        notes: notes(report),
        ..Report::default()
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn facts(model: &str, config: &ModelConfig) -> ModelFacts {
    let tables = if config.tied_embeddings { 1 } else { 2 };
    let table = (config.vocab_size * config.hidden_size) as u64;
    ModelFacts {
        name: name(model),
        base_model: None,
        family: Some(config.family.name.to_owned()),
        parameters: Some(config.quantizable_weights() + tables * table),
        hidden_size: Some(config.hidden_size),
        n_layers: Some(config.n_layers),
        n_heads: Some(config.n_heads),
        n_kv_heads: Some(config.n_kv_heads),
        head_dim: Some(config.head_dim),
        intermediate_size: Some(config.intermediate_size),
        vocab_size: Some(config.vocab_size),
        tied_embeddings: Some(config.tied_embeddings),
    }
}

fn summary(report: &QuantizeReport) -> Summary {
    let e = report.evaluation.as_ref();
    Summary {
        method: match &report.placement {
            Some(placement) => format!("{} ({placement})", report.method),
            None => report.method.clone(),
        },
        bits_per_weight: Some(report.bits_per_weight),
        weight_bits: Some(report.weight_bits),
        total_bytes: Some(report.total_bytes),
        source_bytes: Some(report.source_bytes_f16),
        perplexity_fp16: e.and_then(|e| e.reference_perplexity),
        perplexity_quantized: e.map(|e| e.perplexity),
        kl: e.and_then(|e| e.kl),
        kl_stderr: e.and_then(|e| e.kl_stderr),
        text: e.map(|e| format!("{}, {}", name(&e.text), e.text_form)),
        context: e.map(|e| e.context),
        tokens: e.map(|e| e.tokens as u64),
        wall_seconds: Some(report.wall_seconds),
        cpu_seconds: Some(report.cpu_seconds),
        peak_rss_bytes: report.peak_rss_bytes,
    }
}

fn stage(time: &crate::StageTime) -> Stage {
    Stage {
        name: time.stage.clone(),
        wall_seconds: time.wall_seconds,
        cpu_seconds: time.cpu_seconds,
        peak_rss_bytes: time.peak_rss_bytes,
    }
}

fn roles(report: &QuantizeReport, config: &ModelConfig) -> Vec<RoleBits> {
    let weights = |role: Role| {
        let [out, channels] = config.linear_shape(role);
        (out * channels * config.n_layers) as u64
    };
    let by_role = LINEAR_ROLES.into_iter().zip(&report.role_bits);
    by_role
        .map(|(role, &bits)| RoleBits {
            role: role.to_string(),
            weights: weights(role),
            bits_per_weight: bits,
        })
        .collect()
}

fn errors(block: &BlockFindings) -> impl Iterator<Item = LinearError> {
    block.output_errors.iter().map(|(role, relative)| LinearError {
        layer: block.layer,
        role: role.clone(),
        relative: *relative,
    })
}

/// Spectra exist where the rotation went into eigenbases.
fn spectra(report: &QuantizeReport) -> Vec<Spectrum> {
    if report.settings.get("basis").is_none_or(|basis| basis != "eigenvectors") {
        return Vec::new();
    }
    let salient = salient(report);
    let residual = |site: &str| site == "attention input" || site == "MLP input";
    let mut spectra = Vec::new();
    for block in &report.blocks {
        for channels in block.rotated.iter().filter(|c| residual(&c.site)) {
            let squares = channels.after.iter().map(|&a| f64::from(a).powi(2));
            spectra.push(Spectrum {
                layer: block.layer,
                site: channels.site.clone(),
                eigenvalues: squares.map(|s| s * channels.tokens as f64).collect(),
                salient,
                tokens: channels.tokens,
            });
        }
    }
    spectra
}

fn magnitudes(report: &QuantizeReport) -> Vec<Magnitudes> {
    let mut all = Vec::new();
    for block in &report.blocks {
        for channels in &block.rotated {
            let by_head = channels.site == "heads' output";
            all.push(Magnitudes {
                layer: block.layer,
                site: channels.site.clone(),
                measure: "root mean square".to_owned(),
                before: channels.before.clone(),
                after: channels.after.clone(),
                salient: if by_head { 0 } else { salient(report) },
            });
        }
    }
    all
}

fn salient(report: &QuantizeReport) -> usize {
    let salient = report.settings.get("salient").and_then(Value::as_u64);
    salient.and_then(|k| usize::try_from(k).ok()).unwrap_or(0)
}

fn notes(report: &QuantizeReport) -> Vec<String> {
    let mut notes =
        vec!["Quality was measured on the checkpoint as it was read back from disk.".to_owned()];
    if report.placement.as_deref() == Some("absorbed") && !spectra(report).is_empty() {
        notes.push(
            "One eigenbasis, of all sites together, serves the whole model: a site's spectrum is its energy along that basis's \
             directions, and falls less evenly than its own eigenvalues would."
                .to_owned(),
        );
    }
    if let Some(learning) = &report.learning {
        notes.push(format!(
            "The rotation was learned on the linears' output errors under nearest rounding, not on the network's loss: their \
             mean share of output energy went from {:.5} to {:.5}; the best rotation was that of step {} of {}.",
            learning.loss_before,
            learning.loss_after,
            learning.chosen_step,
            learning.losses.len()
        ));
    }
    notes
}

fn row(row: &crate::CompareRow) -> ComparisonRow {
    ComparisonRow {
        method: row.method.clone(),
        bits: row.bits.map(f64::from),
        group_size: row.group_size,
        settings: (!row.settings.is_empty()).then(|| row.settings.clone()),
        bits_per_weight: row.bits_per_weight,
        weight_bits: Some(row.weight_bits),
        total_bytes: Some(row.total_bytes),
        perplexity: Some(row.perplexity),
        kl: row.kl,
        kl_stderr: row.kl_stderr,
        cpu_seconds: row.cpu_seconds,
        peak_rss_bytes: row.peak_rss_bytes,
        tasks: row.tasks.iter().map(task).collect(),
    }
}

/// An average of tasks has no standard error, and its tasks may be marked in different ways.
fn task(column: &TaskColumn) -> TaskAccuracy {
    let metric = match column.metric {
        Metric::Acc => "acc",
        Metric::AccNorm => "acc_norm",
    };
    TaskAccuracy {
        name: column.name.clone(),
        metric: column.stderr.map(|_| metric.to_owned()),
        rows: column.rows,
        share: column.value,
        stderr: column.stderr,
    }
}
