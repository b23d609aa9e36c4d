//! `cargo xtask bench-kernels --backend cuda`: the CUDA kernels on a device.

use rosaq_cuda::CudaDevice;
use rosaq_cuda_metrics::{Case, Timed};
use rosaq_pack::Segment;
use serde_json::json;

use crate::Outcome;
use crate::bench_emulated::segments;
use crate::command_flags::BenchFlags;
use crate::output::{print_json, print_text, table};

/// Rows of x.
const BATCHES: [usize; 4] = [1, 8, 32, 128];

pub(crate) fn run(flags: &BenchFlags, shapes: &[[usize; 2]]) -> anyhow::Result<Outcome> {
    let device = CudaDevice::open(flags.device)?;
    device.compile()?;
    let mut found: Vec<Timed> = Vec::new();
    for &[rows, channels] in shapes {
        for segment in [vec![Segment::f16(channels)], segments(flags, channels)?].concat() {
            for batch in BATCHES {
                found.push(Timed::on(&device, &Case::new(rows, &[segment], batch))?);
            }
        }
    }
    // The first kind of each shape is f16.
    let speedup = |timed: &Timed| {
        let same = |dense: &&Timed| (dense.shape, dense.batch) == (timed.shape, timed.batch);
        let dense = found.iter().find(same);
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
