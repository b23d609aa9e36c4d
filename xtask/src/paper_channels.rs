//! Table 8 and figure 2 of the paper: the channels of one site, rotated and original.

use std::fs;

use anyhow::Context;
use rosaq_pipeline::{Channel, Paper, Progress, SiteChannels, SourceModel, attention_channels};
use serde::Serialize;
use serde_json::json;

use crate::Outcome;
use crate::command_flags::ReproduceFlags;
use crate::compare::write_csv;
use crate::output::{self, make_room, print_json, print_text};
use crate::quantize::default_out;

/// Channels that table 8 lists.
const LISTED: usize = 10;

fn sampled(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<SiteChannels> {
    let source = SourceModel::open(&flags.table.model.path())
        .map_err(rosaq_pipeline::PipelineError::from)?;
    let layer = flags.layer.unwrap_or(source.config().n_layers / 2);
    // 2,048 tokens, as the paper's table 8 has them.
    Ok(attention_channels(&source, &flags.table.calibration.first(4), layer, progress)?)
}

/// Where a channel stands in table 8.
#[derive(Debug, Clone, Serialize)]
struct Rank {
    basis: &'static str,
    rank: usize,
}

type ChannelRow = (Rank, Channel);

/// Refuses a flag that an item has no use for.
fn refuse(flag: &str, given: bool) -> anyhow::Result<()> {
    anyhow::ensure!(!given, "`{flag}` belongs to tables of methods; this item has none");
    Ok(())
}

/// Table 8: mean magnitude, index and eigenvalue of the channels with the largest magnitudes, rotated and original.
pub(crate) fn table(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    refuse("--report", flags.table.report.is_some())?;
    make_room(flags.table.csv.as_deref())?;
    let found = sampled(flags, progress)?;
    let [original, rotated] = found.top(LISTED);
    let of_side = |basis: &'static str, channels: &[Channel]| -> Vec<ChannelRow> {
        let rows = channels.iter().zip(1..);
        rows.map(|(&channel, rank)| (Rank { basis, rank }, channel)).collect()
    };
    let rows = [of_side("rotated", &rotated), of_side("original", &original)].concat();
    write_csv(&flags.table, &rows)?;
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
    print_text(&output::table(&header, rows))?;
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
pub(crate) fn figure(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    refuse("--csv", flags.table.csv.is_some())?;
    refuse("--report", flags.table.report.is_some())?;
    let model = flags.table.model.path();
    let path = match &flags.table.out {
        Some(path) => path.clone(),
        None => default_out(&model, "figure2.svg"),
    };
    make_room(Some(&path))?;
    let found = sampled(flags, progress)?;
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
