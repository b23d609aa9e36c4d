//! `cargo xtask reproduce`: the tables and figures of the ROSAQ paper (arXiv 2506.13472) on any model.

use std::fs;

use anyhow::Context;
use rosaq_pipeline::{
    Channel, MethodSettings, OutputRotation, Paper, Placement, Progress, SaliencyRule,
    SiteChannels, SourceModel, attention_channels,
};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::{PaperItem, ReproduceFlags};
use crate::output::{prepare, print_json, print_text, table};
use crate::paper_table::{Baseline, PaperTable, TableRow};
use crate::quantize::default_out;

/// Channels that table 8 lists.
const LISTED: usize = 10;

pub(crate) fn run(flags: &ReproduceFlags) -> anyhow::Result<Outcome> {
    let progress = prepare(&flags.table.output)?;
    match flags.item {
        PaperItem::Table1 => methods(flags, progress),
        PaperItem::Table2 => saliency_rules(flags, progress),
        PaperItem::Table3 => output_rotations(flags, progress),
        PaperItem::Table8 => top_channels(flags, progress),
        PaperItem::Figure2 => figure(flags, progress),
    }
}

/// Table 1: all methods at each width. The paper's accuracies on zero-shot tasks are not among the columns yet.
fn methods(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let names = ["rtn", "gptq", "awq", "spinquant", "mixed", "rosaq"];
    let rows = |settings: &MethodSettings| {
        names.map(|method| TableRow::new(method, "", on_layers(settings, method))).to_vec()
    };
    run_table(flags, "1", Baseline::Fp16, rows, progress)
}

/// Table 2: which eigenvectors are kept in f16.
fn saliency_rules(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let rules = [
        ("top", SaliencyRule::Top),
        ("bottom", SaliencyRule::Bottom),
        ("random", SaliencyRule::Random { seed: flags.seed }),
        ("top and bottom", SaliencyRule::TopBottom),
    ];
    let rows = |settings: &MethodSettings| {
        let with = |saliency| MethodSettings { saliency, ..on_layers(settings, "rosaq") };
        rules.map(|(name, rule)| TableRow::new("rosaq", name, with(rule))).to_vec()
    };
    run_table(flags, "2", Baseline::First, rows, progress)
}

/// Table 3: what is rotated at the output projection.
fn output_rotations(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let rotations = [
        ("head-wise", OutputRotation::HeadWise),
        ("global", OutputRotation::Global),
        ("none", OutputRotation::None),
    ];
    let rows = |settings: &MethodSettings| {
        let with =
            |output_rotation| MethodSettings { output_rotation, ..on_layers(settings, "rosaq") };
        rotations.map(|(name, rotation)| TableRow::new("rosaq", name, with(rotation))).to_vec()
    };
    run_table(flags, "3", Baseline::First, rows, progress)
}

/// Makes a table: the rows of one width after those of another, as in the paper.
fn run_table(
    flags: &ReproduceFlags,
    number: &'static str,
    baseline: Baseline,
    rows: impl Fn(&MethodSettings) -> Vec<TableRow>,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let mut all = Vec::new();
    for &bits in &flags.table.bits {
        let mut settings = MethodSettings::new(bits, flags.group_size)?;
        settings.salient = flags.salient;
        settings.salient_per_head = flags.salient_per_head;
        settings.seed = flags.seed;
        all.extend(rows(&settings));
    }
    PaperTable { number, baseline, rows: all }.run(&flags.table, progress)
}

/// The paper's layer-wise bases, for the method that has any.
fn on_layers(settings: &MethodSettings, method: &str) -> MethodSettings {
    let placement = (method == "rosaq").then_some(Placement::Online);
    MethodSettings { placement, ..settings.clone() }
}

fn sampled(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<SiteChannels> {
    let source = SourceModel::open(&flags.table.model.path())
        .map_err(rosaq_pipeline::PipelineError::from)?;
    let layer = flags.layer.unwrap_or(source.config().n_layers / 2);
    // 2,048 tokens, as the paper's table 8 has them.
    Ok(attention_channels(&source, &flags.table.calibration.first(4), layer, progress)?)
}

/// Table 8: mean magnitude, index and eigenvalue of the channels with the largest magnitudes, rotated and original.
fn top_channels(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let found = sampled(flags, progress)?;
    let [original, rotated] = found.top(LISTED);
    if flags.table.output.json {
        print_json(&json!({
            "layer": found.layer, "site": found.site, "tokens": found.tokens,
            "original": original, "rotated": rotated, "paper": Paper::known().channels,
        }))?;
        return Ok(Outcome::Done);
    }
    let tokens = found.tokens as f64;
    let cells = |c: &Channel| {
        [
            c.index.to_string(),
            format!("{:.3}", c.magnitude),
            format!("{:.1}", c.energy),
            format!("{:.3}", c.energy / tokens),
        ]
    };
    let rows = original.iter().zip(&rotated).enumerate().map(|(rank, (o, r))| {
        [vec![(rank + 1).to_string()], cells(r).to_vec(), cells(o).to_vec()].concat()
    });
    let header = [
        "rank",
        "rotated",
        "mean |x|",
        "λ",
        "λ / tokens",
        "original",
        "mean |x|",
        "Σ x²",
        "Σ x² / tokens",
    ];
    print_text(&format!("layer {}, {}, {} tokens", found.layer, found.site, found.tokens))?;
    print_text(&table(&header, rows))?;
    for printed in &Paper::known().channels {
        print_text(&format!(
            "the paper prints a mean magnitude of {} beside an eigenvalue of {} over {} tokens; as an eigenvalue of xᵀx that \
             would allow {:.2} at most (√(λ / tokens))",
            printed.magnitude,
            printed.eigenvalue,
            printed.tokens,
            printed.magnitude_bound()
        ))?;
    }
    Ok(Outcome::Done)
}

/// Figure 2: the magnitude of every channel before and after the rotation.
fn figure(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let found = sampled(flags, progress)?;
    let model = flags.table.model.path();
    let path = match &flags.table.out {
        Some(path) => path.clone(),
        None => default_out(&model, "figure2.svg"),
    };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create \"{}\"", dir.display()))?;
    }
    let salient = flags.salient.unwrap_or(found.rotated.len() / 32);
    fs::write(&path, found.svg(salient))
        .with_context(|| format!("cannot write \"{}\"", path.display()))?;
    let path = path.display().to_string();
    if flags.table.output.json {
        print_json(&json!({ "figure": path, "layer": found.layer, "tokens": found.tokens }))?;
    } else {
        print_text(&format!("layer {}, {}: {path}", found.layer, found.site))?;
    }
    Ok(Outcome::Done)
}
