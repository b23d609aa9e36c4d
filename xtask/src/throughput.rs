//! `cargo xtask throughput`.

use rosaq_pipeline::{Progress, ThroughputJob, ThroughputRow, throughput};
use serde_json::json;

use crate::Outcome;
use crate::output::{print_json, print_text, table};
use crate::run_flags::ThroughputFlags;

/// Columns of the table.
pub(crate) const HEADER: [&str; 9] = [
    "model",
    "batch",
    "context",
    "generated",
    "ms a token, median",
    "decode, tokens/s",
    "throughput, tokens/s",
    "speed-up over fp16",
    "prompt, tokens/s",
];

pub(crate) fn run(flags: &ThroughputFlags) -> anyhow::Result<Outcome> {
    let progress = Progress::detect();
    let job = ThroughputJob {
        models: flags.models.clone(),
        reference: flags.reference.clone(),
        batches: flags.batch.clone(),
        tokens: flags.tokens,
        place: flags.place.open(flags.activations)?,
    };
    let rows = throughput(&job, progress)?;
    if flags.output.json {
        print_json(
            &json!({ "rows": rows, "activations": job.place.activations(), "ran_on": job.place.name() }),
        )?;
    } else {
        print_text(&table(&HEADER, rows.iter().map(cells)))?;
    }
    Ok(Outcome::Done)
}

/// A row of the table.
pub(crate) fn cells(row: &ThroughputRow) -> Vec<String> {
    let mut cells = vec![row.model.clone()];
    cells.extend([row.batch, row.context, row.generated].map(|n| n.to_string()));
    match row.speed {
        None => cells.extend(["out of memory", "", "", "", ""].map(str::to_owned)),
        Some(speed) => cells.extend([
            format!("{:.3}", speed.median_time_per_token * 1e3),
            format!("{:.1}", speed.decode_tokens_per_second),
            format!("{:.1}", speed.throughput_tokens_per_second),
            speed.speedup_vs_fp16.map_or_else(String::new, |s| format!("{s:.2}")),
            format!("{:.0}", speed.prompt_tokens_per_second),
        ]),
    }
    cells
}
