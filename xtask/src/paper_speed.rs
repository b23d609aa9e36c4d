//! Table 4 of the paper: decoding speed of FP16 and of methods at each width, on any model.

use rosaq_pipeline::{
    Paper, Progress, RowOrder, ThroughputJob, ThroughputRow, Variant, find, throughput,
};
use serde_json::{Value, json};

use crate::Outcome;
use crate::command_flags::ReproduceFlags;
use crate::compare::{run_variants, write_csv};
use crate::output::{print_json, print_text, table};
use crate::reproduce::settings;
use crate::throughput::{HEADER, cells};

/// The model and the device of the paper's figures.
const PAPER_MODEL: &str = "LLaMA2-7B";
const PAPER_DEVICE: &str = "RTX A6000";

/// One measurement beside the paper's.
#[derive(Debug, serde::Serialize)]
struct Measured {
    #[serde(flatten)]
    row: ThroughputRow,
    /// Tokens a second of all sequences that the paper prints, where that is known.
    paper_throughput: Option<f64>,
    /// The same over the paper's FP16.
    paper_speedup: Option<f64>,
}

/// Quantizes, unless that was done before, then measures each checkpoint.
pub(crate) fn run(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    // What cannot be opened is told before hours of work.
    let place = flags.place.open(flags.activations)?;
    let mut variants = Vec::new();
    for &bits in &flags.table.bits {
        for name in ["awq", "gptq", "rosaq"] {
            variants.push(Variant::new(find(name)?, &settings(flags, bits)?));
        }
    }
    let (job, _) = run_variants(&flags.table, variants, RowOrder::Given, progress)?;
    let models: Vec<_> = job.variants.iter().map(|variant| job.checkpoint(variant)).collect();
    let mut found = Vec::new();
    for &(batch, tokens) in &flags.throughput {
        let measured = ThroughputJob {
            models: models.clone(),
            reference: Some(job.model.clone()),
            batches: vec![batch],
            tokens,
            place: place.clone(),
        };
        let rows = throughput(&measured, progress)?;
        // FP16, which has no width, then the checkpoints.
        let of = |variant: &Variant| (variant.method.clone(), Some(variant.settings.bits.get()));
        let keys = std::iter::once(("fp16".to_owned(), None)).chain(job.variants.iter().map(of));
        found.extend(rows.into_iter().zip(keys).map(|(row, key)| beside(row, &key)));
    }
    write_csv(&flags.table, &found.iter().map(flat).collect::<Vec<_>>())?;
    if flags.table.output.json {
        print_json(&json!({
            "table": "4", "model": job.model.display().to_string(), "rows": found,
            "activations": place.activations(), "ran_on": place.name(),
            "paper": { "source": Paper::known().source, "model": PAPER_MODEL, "device": PAPER_DEVICE },
        }))?;
        return Ok(Outcome::Done);
    }
    let mut header = HEADER.to_vec();
    let theirs = format!("paper, {PAPER_MODEL}, {PAPER_DEVICE}");
    header.extend([theirs.as_str(), "paper, speed-up"]);
    let cells = |one: &Measured| {
        let mut cells = cells(&one.row);
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
        };
        cells.extend([number(one.paper_throughput, 0), number(one.paper_speedup, 2)]);
        cells
    };
    print_text(&format!(
        "{}\nran on: {}, activations {}; -: not recorded; checkpoints are kept in {}",
        table(&header, found.iter().map(cells)),
        place.name(),
        place.activations(),
        job.out.display()
    ))?;
    Ok(Outcome::Done)
}

fn beside(row: ThroughputRow, (method, bits): &(String, Option<u8>)) -> Measured {
    let metric = format!("tokens/s, {} x {}", row.batch, row.context);
    let paper = Paper::known();
    let value = |key| paper.value("4", PAPER_MODEL, key, &metric);
    let paper_throughput = value((method.as_str(), "", *bits));
    let fp16 = value(("fp16", "", None)).filter(|_| method != "fp16");
    let paper_speedup = paper_throughput.zip(fp16).map(|(ours, fp16)| ours / fp16);
    Measured { row, paper_throughput, paper_speedup }
}

/// A row of comma-separated values, which all have the same fields.
fn flat(one: &Measured) -> Value {
    let speed = one.row.speed;
    json!({
        "model": one.row.model, "batch": one.row.batch, "context": one.row.context, "generated": one.row.generated,
        "median_time_per_token": speed.map(|s| s.median_time_per_token),
        "decode_tokens_per_second": speed.map(|s| s.decode_tokens_per_second),
        "throughput_tokens_per_second": speed.map(|s| s.throughput_tokens_per_second),
        "prompt_tokens_per_second": speed.map(|s| s.prompt_tokens_per_second),
        "speedup_vs_fp16": speed.and_then(|s| s.speedup_vs_fp16), "out_of_memory": one.row.out_of_memory,
        "paper_throughput": one.paper_throughput, "paper_speedup": one.paper_speedup,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_figures_stand_beside_rows_of_the_same_size() {
        let row = |batch, context| ThroughputRow {
            model: "any".to_owned(),
            batch,
            context,
            generated: context,
            speed: None,
            out_of_memory: true,
        };
        let key = |method: &str, bits| (method.to_owned(), bits);
        let fp16 = beside(row(64, 256), &key("fp16", None));
        assert_eq!((fp16.paper_throughput, fp16.paper_speedup), (Some(708.0), None));
        let rosaq = beside(row(128, 128), &key("rosaq", Some(4)));
        assert_eq!(rosaq.paper_throughput, Some(2604.0));
        assert!((rosaq.paper_speedup.expect("of both") - 2604.0 / 1299.0).abs() < 1e-12);
        let other = beside(row(64, 256), &key("rosaq", Some(3)));
        assert_eq!((other.paper_throughput, other.paper_speedup), (None, None));
    }
}
