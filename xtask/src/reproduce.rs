//! `cargo xtask reproduce`: the tables and figures of the ROSAQ paper (arXiv 2506.13472) on any model.

use std::fs;

use anyhow::Context;
use rosaq_pipeline::{
    Channel, MethodSettings, OutputRotation, Placement, Progress, SaliencyRule, SiteChannels,
    SourceModel, Variant, attention_channels,
};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::{PaperItem, ReproduceFlags};
use crate::compare::run_variants;
use crate::output::{prepare, print_json, print_text, table};
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
    let variants = |bits: u8| {
        names.map(|method| -> anyhow::Result<Variant> {
            let settings = layer_wise(flags, bits, method)?;
            Ok(Variant { method: method.to_owned(), settings })
        })
    };
    let variants = flags.table.bits.iter().flat_map(|&bits| variants(bits));
    run_variants(&flags.table, variants.collect::<anyhow::Result<_>>()?, progress)
}

/// Table 2: which eigenvectors are kept in f16.
fn saliency_rules(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let seed = flags.seed;
    let rules = [
        SaliencyRule::Top,
        SaliencyRule::Bottom,
        SaliencyRule::Random { seed },
        SaliencyRule::TopBottom,
    ];
    let mut variants = Vec::new();
    for &bits in &flags.table.bits {
        for saliency in rules {
            let settings = MethodSettings { saliency, ..layer_wise(flags, bits, "rosaq")? };
            variants.push(Variant { method: "rosaq".to_owned(), settings });
        }
    }
    run_variants(&flags.table, variants, progress)
}

/// Table 3: what is rotated at the output projection.
fn output_rotations(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let mut variants = Vec::new();
    for &bits in &flags.table.bits {
        for output_rotation in
            [OutputRotation::HeadWise, OutputRotation::Global, OutputRotation::None]
        {
            let settings = MethodSettings { output_rotation, ..layer_wise(flags, bits, "rosaq")? };
            variants.push(Variant { method: "rosaq".to_owned(), settings });
        }
    }
    run_variants(&flags.table, variants, progress)
}

/// The paper's layer-wise bases, for the methods that have any.
fn layer_wise(flags: &ReproduceFlags, bits: u8, method: &str) -> anyhow::Result<MethodSettings> {
    let mut settings = MethodSettings::new(bits, flags.group_size)?;
    settings.placement = (method == "rosaq").then_some(Placement::Online);
    settings.salient = flags.salient;
    settings.salient_per_head = flags.salient_per_head;
    settings.seed = flags.seed;
    Ok(settings)
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
            "original": original, "rotated": rotated,
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
