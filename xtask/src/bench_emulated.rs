//! `cargo xtask bench-kernels --backend emulated`: what the CUDA kernels ask of a device, counted, and what that allows.

use rosaq_cuda_metrics::{Bound, Case, Counts, DEVICES, Prediction, codebook, predict, trellis};
use rosaq_pack::{Bits, Segment};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::BenchFlags;
use crate::output::{print_json, print_text, table};

/// Rows of x; with trellises, one launch takes 64.
const BATCHES: [usize; 4] = [1, 8, 32, 64];
/// Widths of codebooks and of trellises.
const BOOKS: [Bits; 2] = [Bits::THREE, Bits::FOUR];
const TRELLISES: [u8; 3] = [2, 3, 4];

pub(crate) fn run(flags: &BenchFlags, shapes: &[[usize; 2]]) -> anyhow::Result<Outcome> {
    let mut counts = Vec::new();
    for &[rows, channels] in shapes {
        for segment in segments(flags, channels)? {
            for batch in BATCHES {
                counts.push(Counts::of(&Case::new(rows, &[segment], batch))?);
            }
        }
    }
    let predictions: Vec<Vec<Prediction>> =
        counts.iter().map(|counts| DEVICES.iter().map(|d| predict(d, counts)).collect()).collect();
    if flags.output.json {
        let rows: Vec<_> = counts
            .iter()
            .zip(&predictions)
            .map(|(counts, predictions)| json!({"counts": counts, "predictions": predictions}))
            .collect();
        print_json(&json!({"devices": DEVICES, "rows": rows}))?;
        return Ok(Outcome::Done);
    }
    let header = [
        "product",
        "least MB",
        "touched / least",
        "asked for / least",
        "useful part of weights",
        "ldmatrix waves",
        "PTX instr. a weight",
        "relative error",
    ];
    let mut predicted = vec!["least time in us (times faster than f16), PREDICTED"];
    predicted.extend(DEVICES.iter().map(|device| device.name));
    print_text(&format!(
        "Counted on an emulator; no device ran these kernels.\n{}\n\
        Bounds from data sheets, not measurements: by m(emory), i(nstructions) or t(ensor cores).\n{}",
        table(&header, counts.iter().map(counted)),
        table(&predicted, counts.iter().zip(&predictions).map(|(c, p)| bounds(c, p))),
    ))?;
    Ok(Outcome::Done)
}

/// Codes of every kind over so many channels.
pub(crate) fn segments(flags: &BenchFlags, channels: usize) -> anyhow::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for &bits in &flags.bits {
        segments.push(Segment::asymmetric(channels, Bits::try_from(bits)?, flags.group_size));
    }
    segments.extend(BOOKS.map(|bits| codebook(channels, bits, flags.group_size)));
    segments.extend(TRELLISES.map(|bits| trellis(channels, bits, channels)));
    Ok(segments)
}

fn counted(counts: &Counts) -> Vec<String> {
    let least = counts.minimal_bytes as f64;
    vec![
        counts.name.clone(),
        format!("{:.2}", least / 1e6),
        format!("{:.3}", counts.unique_bytes as f64 / least),
        format!("{:.3}", counts.requested_bytes as f64 / least),
        format!("{:.3}", counts.useful_part_of_weights),
        format!("{:.2}", counts.waves_of_ldmatrix),
        format!("{:.2}", counts.instructions_per_weight),
        format!("{:.1e}", counts.relative_error),
    ]
}

fn bounds(counts: &Counts, predictions: &[Prediction]) -> Vec<String> {
    let cell = |prediction: &Prediction| {
        let by = match prediction.bound {
            Bound::Memory => 'm',
            Bound::Instructions => 'i',
            Bound::Tensor => 't',
        };
        format!("{:.1} {by} ({:.2})", prediction.seconds * 1e6, prediction.speedup_over_f16)
    };
    std::iter::once(counts.name.clone()).chain(predictions.iter().map(cell)).collect()
}
