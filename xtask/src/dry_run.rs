//! `cargo xtask quantize --dry-run`.

use std::path::Path;

use rosaq_pipeline::{Progress, QuantizeJob, estimate};

use crate::Outcome;
use crate::output::{megabytes, print_json, print_text, table};

/// How such predictions turned out: it is a sum to second order over errors that are taken for independent.
const EXPERIENCE: &str =
    "1.8 to 2.0 times that on SmolLM2-135M, 1.5 to 2.5 times on the bundled models";

pub(crate) fn run(
    job: &QuantizeJob,
    statistics: Option<&Path>,
    json: bool,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let e = estimate(job, statistics, progress)?;
    if json {
        print_json(&e)?;
        return Ok(Outcome::Done);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("bits per weight", format!("{:.3}", e.bits_per_weight)),
        row("  codes, scales and f16 channels alone", format!("{:.3}", e.weight_bits)),
        row("size, MB", megabytes(e.total_bytes)),
        row("peak memory, MB", megabytes(e.peak_bytes)),
        row("disk while working, MB", megabytes(e.disk_bytes)),
        row("operations, 10^12", format!("{:.2}", e.operations / 1e12)),
    ];
    if e.online_operations > 0.0 {
        let (operations, share) = (e.online_operations, e.online_share * 100.0);
        let value = format!("{operations:.0} ({share:.2} % of the products)");
        rows.push(row("rotating at run time, operations a token", value));
    }
    if let Some(kept) = e.energy_kept {
        rows.push(row("activation energy in f16 channels, %", format!("{:.1}", kept * 100.0)));
        rows.push(row("  measured on tokens of the calibration text", e.sample_tokens.to_string()));
    }
    if let Some(kl) = e.expected_kl {
        rows.push(row("KL divergence to expect at least, nats", format!("{kl:.4}")));
        rows.push(row("  found afterwards, from 2 to 5 bits", EXPERIENCE.to_owned()));
    }
    print_text(&table(&["prediction", ""], rows))?;
    Ok(Outcome::Done)
}
