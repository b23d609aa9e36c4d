//! `cargo xtask bench-kernels`.

use anyhow::Context;
use rosaq_pipeline::{KernelBench, KernelRow, TransformRow, bench_kernels};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::{Backend, BenchFlags};
use crate::output::{print_json, print_text, table};

pub(crate) fn run(flags: &BenchFlags) -> anyhow::Result<Outcome> {
    let shapes = &flags.shape.0;
    match flags.backend {
        Backend::Cpu => {}
        Backend::Emulated => return crate::bench_emulated::run(flags, shapes),
        #[cfg(feature = "cuda")]
        Backend::Cuda => return crate::bench_cuda::run(flags, shapes),
        #[cfg(not(feature = "cuda"))]
        Backend::Cuda => return Err(rosaq_pipeline::PipelineError::NoCuda.into()),
    }
    let mut bench: Option<KernelBench> = None;
    for &[out_features, in_features] in shapes {
        let found = bench_kernels(out_features, in_features, &flags.bits, flags.group_size)?;
        match &mut bench {
            None => bench = Some(found),
            Some(all) => {
                all.rows.extend(found.rows);
                all.transforms.extend(found.transforms);
            }
        }
    }
    let bench = bench.context("a shape")?;
    if flags.output.json {
        print_json(&json!({
            "read_gb_per_s": bench.read_gb_per_s, "gemm_gflop_per_s": bench.gemm_gflop_per_s, "rows": bench.rows,
            "transforms": bench.transforms,
        }))?;
        return Ok(Outcome::Done);
    }
    let header = [
        "kernel",
        "codes",
        "activations",
        "bits",
        "group",
        "out x in",
        "batch",
        "GB/s",
        "of bandwidth",
        "GFLOP/s",
        "of f32 GEMM",
    ];
    let transform = |row: &TransformRow| {
        vec![
            row.points.to_string(),
            row.channels.to_string(),
            format!("{:.2}", row.seconds * 1e6),
            format!("{:.2}", row.share_of_gemv * 100.0),
        ]
    };
    let of_transforms = ["transform, points", "channels", "us a token", "% of the fastest gemv"];
    print_text(&format!(
        "one thread: reads {:.1} GB/s, multiplies f32 at {:.1} GFLOP/s\n{}\n{}",
        bench.read_gb_per_s,
        bench.gemm_gflop_per_s,
        table(&header, bench.rows.iter().map(cells)),
        table(&of_transforms, bench.transforms.iter().map(transform)),
    ))?;
    Ok(Outcome::Done)
}

fn cells(row: &KernelRow) -> Vec<String> {
    vec![
        row.kernel.clone(),
        row.kind.to_owned(),
        row.activations.to_owned(),
        row.bits.to_string(),
        row.group_size.to_string(),
        format!("{} x {}", row.out_features, row.in_features),
        row.batch.to_string(),
        format!("{:.2}", row.gb_per_s),
        format!("{:.2}", row.bandwidth_fraction),
        format!("{:.2}", row.gflop_per_s),
        format!("{:.2}", row.peak_fraction),
    ]
}
