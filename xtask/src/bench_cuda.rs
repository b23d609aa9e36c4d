//! `cargo xtask bench-kernels --backend cuda`: the CUDA kernels on a device.

use rosaq_cuda::CudaDevice;
use rosaq_cuda_metrics::{Case, Timed, codebook, trellis};
use rosaq_pack::{Bits, Segment};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::BenchFlags;
use crate::output::{print_json, print_text, table};

/// Rows of x.
const BATCHES: [usize; 4] = [1, 8, 32, 128];
/// Widths of codebooks and of trellises.
const BOOKS: [Bits; 2] = [Bits::THREE, Bits::FOUR];
const TRELLISES: [u8; 3] = [2, 3, 4];

pub(crate) fn run(flags: &BenchFlags, [rows, channels]: [usize; 2]) -> anyhow::Result<Outcome> {
    let device = CudaDevice::open(flags.device)?;
    device.compile()?;
    let mut segments = vec![Segment::f16(channels)];
    for &bits in &flags.bits {
        segments.push(Segment::asymmetric(channels, Bits::try_from(bits)?, flags.group_size));
    }
    segments.extend(BOOKS.map(|bits| codebook(channels, bits, flags.group_size)));
    segments.extend(TRELLISES.map(|bits| trellis(channels, bits, channels)));
    let mut found: Vec<Timed> = Vec::new();
    for segment in segments {
        for batch in BATCHES {
            found.push(Timed::on(&device, &Case::new(rows, &[segment], batch))?);
        }
    }
    // The first kind is f16.
    let speedup = |timed: &Timed| {
        let dense = found.iter().find(|dense| dense.batch == timed.batch);
        dense.map_or(f64::NAN, |dense| dense.seconds / timed.seconds)
    };
    if flags.output.json {
        let rows: Vec<_> = found
            .iter()
            .map(|timed| json!({"product": timed, "speedup_over_f16": speedup(timed)}))
            .collect();
        let (name, bandwidth) = (device.name(), device.bandwidth());
        print_json(&json!({"device": name, "bytes_per_second": bandwidth, "rows": rows}))?;
        return Ok(Outcome::Done);
    }
    let header = [
        "product",
        "us",
        "packed GB/s",
        "of the device's, %",
        "TFLOP/s",
        "speed-up over f16",
        "relative error",
    ];
    let cells = |timed: &Timed| {
        let rate = timed.weight_bytes as f64 / timed.seconds;
        vec![
            timed.name.clone(),
            format!("{:.1}", timed.seconds * 1e6),
            format!("{:.0}", rate / 1e9),
            format!("{:.1}", 100.0 * rate / device.bandwidth()),
            format!("{:.2}", timed.operations / timed.seconds / 1e12),
            format!("{:.2}", speedup(timed)),
            format!("{:.1e}", timed.relative_error),
        ]
    };
    print_text(&format!(
        "{}, {:.0} GB/s by its clock and bus; f16 is the same kernel over f16 weights.\n{}",
        device.name(),
        device.bandwidth() / 1e9,
        table(&header, found.iter().map(cells)),
    ))?;
    Ok(Outcome::Done)
}
