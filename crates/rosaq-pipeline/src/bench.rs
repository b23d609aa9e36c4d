//! Speed of the packed products, beside what the machine can read and multiply.

use rosaq_cpu::Isa;
use rosaq_cpu::bench::{
    CodeKind, KernelCase, gemm_rate_gflops, measure, measure_tiled, read_bandwidth_gb_per_s,
    transform_seconds,
};
use rosaq_pack::Bits;
use rosaq_runtime::Activations;
use serde::Serialize;

use crate::PipelineError;

/// One kernel at one width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelRow {
    /// Kernel and instruction set.
    pub kernel: String,
    /// What codes stand for: `int`, `codebook` or `trellis`; or `f16`.
    pub kind: &'static str,
    /// Form of the activations: `f32` or `int8`.
    pub activations: &'static str,
    /// Code width.
    pub bits: u8,
    /// Channels that share a scale.
    pub group_size: usize,
    /// Rows of the weight.
    #[serde(rename = "out")]
    pub out_features: usize,
    /// Columns of the weight.
    #[serde(rename = "in")]
    pub in_features: usize,
    /// Tokens at once.
    pub batch: usize,
    /// Bytes read and written over the time.
    pub gb_per_s: f64,
    /// `2 out in batch` over the time.
    pub gflop_per_s: f64,
    /// Share of the measured read bandwidth of one thread.
    pub bandwidth_fraction: f64,
    /// Share of the measured f32 GEMM rate of one thread.
    pub peak_fraction: f64,
}

/// Walsh-Hadamard transforms of one token's channels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransformRow {
    /// Points of each.
    pub points: usize,
    /// Channels of the token.
    pub channels: usize,
    /// Seconds for all of them.
    pub seconds: f64,
    /// Over the time of the fastest product of one token with the weight, of whatever width.
    pub share_of_gemv: f64,
}

/// All rows and the two yardsticks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelBench {
    /// Read bandwidth of one thread.
    pub read_gb_per_s: f64,
    /// f32 GEMM rate of one thread.
    pub gemm_gflop_per_s: f64,
    /// The kernels.
    pub rows: Vec<KernelRow>,
    /// Transforms of the input of the same weight.
    pub transforms: Vec<TransformRow>,
}

/// Runs of which each number is the median.
const RUNS: usize = 7;
/// Tokens of the batched products: a few, multiplied straight from the codes, and a prompt, for which rows are dequantized
/// first and the instruction set makes no difference.
const BATCHES: [usize; 5] = [1, 8, 32, 128, 512];

/// Points of the transforms.
const POINTS: [usize; 2] = [128, 512];

/// Measures every available instruction set at every width, on one thread.
///
/// # Errors
/// Widths or group sizes that cannot be packed.
pub fn bench_kernels(
    out_features: usize,
    in_features: usize,
    bits: &[u8],
    group_size: usize,
) -> Result<KernelBench, PipelineError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    match pool {
        Ok(pool) => pool.install(|| measure_all(out_features, in_features, bits, group_size)),
        Err(_) => measure_all(out_features, in_features, bits, group_size),
    }
}

fn measure_all(
    out_features: usize,
    in_features: usize,
    bits: &[u8],
    group_size: usize,
) -> Result<KernelBench, PipelineError> {
    let read_gb_per_s = read_bandwidth_gb_per_s().one_thread;
    let gemm_gflop_per_s = gemm_rate_gflops();
    let (mut rows, mut fastest) = (Vec::new(), f64::INFINITY);
    for (case, isa, form) in cases(out_features, in_features, bits, group_size)? {
        let (bits, group_size) = match case.kind {
            CodeKind::F16 => (16, in_features),
            CodeKind::Trellis => (case.bits.get(), in_features),
            CodeKind::Integers | CodeKind::Codebook => (case.bits.get(), case.group_size),
        };
        let found = match form {
            Activations::F32 => measure(&case, isa, RUNS)?,
            Activations::Int8 => measure_tiled(&case, isa, RUNS)?,
        };
        if case.batch == 1 {
            fastest = fastest.min(found.seconds);
        }
        let product = if case.batch == 1 { "gemv" } else { "gemm" };
        rows.push(KernelRow {
            kernel: format!("{product} {isa}"),
            kind: case.kind.name(),
            activations: form.name(),
            bits,
            group_size,
            out_features,
            in_features,
            batch: case.batch,
            gb_per_s: found.gb_per_s,
            gflop_per_s: found.gflop_per_s,
            bandwidth_fraction: found.gb_per_s / read_gb_per_s,
            peak_fraction: found.gflop_per_s / gemm_gflop_per_s,
        });
    }
    let points = POINTS.into_iter().filter(|&points| in_features.is_multiple_of(points));
    let transforms = points.map(|points| {
        let seconds = transform_seconds(in_features, points);
        TransformRow { points, channels: in_features, seconds, share_of_gemv: seconds / fastest }
    });
    let transforms = transforms.collect();
    Ok(KernelBench { read_gb_per_s, gemm_gflop_per_s, rows, transforms })
}

/// Every kind, width, available instruction set and batch.
fn cases(
    out_features: usize,
    in_features: usize,
    bits: &[u8],
    group_size: usize,
) -> Result<Vec<(KernelCase, Isa, Activations)>, PipelineError> {
    let mut cases = Vec::new();
    for kind in CodeKind::ALL {
        let widths = if kind == CodeKind::F16 { &[4] } else { bits };
        for &width in widths {
            let bits = Bits::of_grid(width)?;
            if !kind.takes(bits) {
                continue;
            }
            let case =
                |batch| KernelCase { out_features, in_features, kind, bits, group_size, batch };
            let available: Vec<Isa> =
                Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect();
            // VNNI is for activations of eight bits, which have no kernels for what lies between it and AVX2.
            for &isa in available.iter().filter(|&&isa| isa != Isa::Avx512Vnni) {
                let is_best =
                    isa == Isa::Avx512 || (isa == Isa::Avx2 && !available.contains(&Isa::Avx512));
                let batches = BATCHES.into_iter().filter(|&batch| batch < 32 || is_best);
                cases.extend(batches.map(|batch| (case(batch), isa, Activations::F32)));
            }
            if kind == CodeKind::Codebook {
                continue; // no kernels for activations of eight bits
            }
            for &isa in available.iter().filter(|&&isa| isa != Isa::Avx512 && isa != Isa::Scalar) {
                cases.extend(BATCHES.map(|batch| (case(batch), isa, Activations::Int8)));
            }
        }
    }
    Ok(cases)
}
