//! Measures the kernels and the machine they run on.
//!
//! Each figure stands beside what bounds it: bytes against the read bandwidth, operations against
//! the rate of a dense f32 product. Measured on the current rayon pool; install a pool of one thread
//! to measure one thread.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cpu_time::ThreadTime;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use half::f16;
use rayon::prelude::*;
use rosaq_pack::{Bits, PackError, PackedLinear, PackedLinearBuilder, Segment, SegmentValues};

use crate::tiles::Lanes;
use crate::{Isa, TiledLinear, gemm_with, gemv_with, walsh_hadamard};

/// Bytes that a bandwidth measurement walks through: beyond the last-level cache of one socket.
const WORKING_SET: usize = 256 << 20;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Runs of which the median is taken.
const RUNS: usize = 7;

/// What codes of a [`KernelCase`] stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// None: values of f16, whatever the width says.
    F16,
    /// Integers with zero points.
    Integers,
    /// Entries of one codebook, a scale a group; 2, 3 and 4 bits.
    Codebook,
    /// Windows of 12 bits into two added tables, one scale a row.
    Trellis,
}

/// What [`measure`] multiplies: codes in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelCase {
    /// Rows of the weight.
    pub out_features: usize,
    /// Input channels.
    pub in_features: usize,
    /// What codes stand for.
    pub kind: CodeKind,
    /// Width of a code.
    pub bits: Bits,
    /// Channels that share a scale; of no meaning to trellis codes.
    pub group_size: usize,
    /// Tokens: one runs [`crate::gemv`], more run [`crate::gemm`].
    pub batch: usize,
}

impl CodeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::F16, Self::Integers, Self::Codebook, Self::Trellis];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Integers => "int",
            Self::Codebook => "codebook",
            Self::Trellis => "trellis",
        }
    }

    /// Whether there are codes of that kind and width; one width stands for f16.
    #[must_use]
    pub fn takes(self, bits: Bits) -> bool {
        match self {
            Self::F16 => bits == Bits::FOUR,
            Self::Integers => true,
            Self::Codebook => bits <= Bits::FOUR,
            Self::Trellis => bits <= Bits::SIX,
        }
    }
}

/// What [`measure`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Median seconds of one product.
    pub seconds: f64,
    /// Bytes that one product reads and writes: packed weights, activations and results.
    pub bytes: usize,
    /// `bytes / seconds`, in units of 1e9.
    pub gb_per_s: f64,
    /// `2 * out * in * batch / seconds`, in units of 1e9.
    pub gflop_per_s: f64,
}

/// Sequential read bandwidth in 1e9 bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadBandwidth {
    /// Of one thread.
    pub one_thread: f64,
    /// Of all threads of the current rayon pool together.
    pub all_threads: f64,
}

/// Measures how fast memory beyond the caches can be read from start to end, of the kind that weights are in.
#[must_use]
pub fn read_bandwidth_gb_per_s() -> ReadBandwidth {
    let mut lines = Lanes::<16>::zeros(WORKING_SET / LINE);
    lines.as_flattened_mut().as_flattened_mut().fill(1);
    let words = lines.as_flattened().as_flattened().as_chunks().0;
    let share = words.len().div_ceil(rayon::current_num_threads());
    let one = median_seconds(|| black_box(sum_words(words)));
    let all = median_seconds(|| black_box(words.par_chunks(share).map(sum_words).sum::<u64>()));
    let rate = |seconds: f64| WORKING_SET as f64 / seconds / 1e9;
    ReadBandwidth { one_thread: rate(one), all_threads: rate(all) }
}

/// Measures faer's f32 matrix product (768 cubed) on one thread, in 1e9 operations per second of this thread's CPU time:
/// what other programs take from the processor meanwhile does not count.
#[must_use]
pub fn gemm_rate_gflops() -> f64 {
    const N: usize = 768;
    let a = Mat::<f32>::from_fn(N, N, |i, j| ((i * 7 + j) % 13) as f32 - 6.0);
    let b = Mat::<f32>::from_fn(N, N, |i, j| ((i + j * 5) % 11) as f32 - 5.0);
    let mut product = Mat::<f32>::zeros(N, N);
    let mut multiply = || {
        let start = ThreadTime::now();
        matmul(&mut product, Accum::Replace, &a, &b, 1.0, Par::Seq);
        black_box(&product);
        start.elapsed().as_secs_f64()
    };
    multiply(); // warms up
    let seconds = median((0..RUNS).map(|_| multiply()).collect());
    2.0 * (N as f64).powi(3) / seconds / 1e9
}

/// As [`gemm_rate_gflops`], on every thread of the current rayon pool at once: the mean rate of one thread while all work.
#[must_use]
pub fn gemm_rate_gflops_all_threads() -> f64 {
    let rates = rayon::broadcast(|_| gemm_rate_gflops());
    rates.iter().sum::<f64>() / rates.len() as f64
}

/// Measures one kernel: the median of at least `runs` products, each with a different copy of the
/// weights, so that none of them is found in a cache.
///
/// # Errors
/// A [`PackError`] when `case` describes no legal linear.
///
/// # Panics
/// If the processor lacks `isa`, or `case.batch` is zero.
pub fn measure(case: &KernelCase, isa: Isa, runs: usize) -> Result<Measurement, PackError> {
    assert!(case.batch > 0, "at least one token is needed");
    let linear = sample_linear(case)?;
    let bytes = linear.stored_bytes();
    Ok(time_copies(case, linear, bytes, runs, |linear, x, y| match case.batch {
        1 => gemv_with(isa, linear, x, y),
        _ => gemm_with(isa, linear, x, y),
    }))
}

/// As [`measure`], with activations of eight bits ([`TiledLinear`]).
///
/// # Errors
/// A [`PackError`] when `case` describes no legal linear.
///
/// # Panics
/// If the processor lacks `isa`, `case.batch` is zero, or the codes are of a codebook.
pub fn measure_tiled(case: &KernelCase, isa: Isa, runs: usize) -> Result<Measurement, PackError> {
    assert!(case.batch > 0, "at least one token is needed");
    let linear = sample_linear(case)?;
    let bytes = linear.stored_bytes();
    assert!(case.kind != CodeKind::Codebook, "codebooks meet activations of f32 alone");
    let tiled = TiledLinear::new_with(isa, &linear).expect("integers, and tables of integers");
    Ok(time_copies(case, tiled, bytes, runs, TiledLinear::multiply))
}

/// Times at least `runs` products with different copies of `linear`, of `stored_bytes` each.
fn time_copies<T: Clone>(
    case: &KernelCase,
    linear: T,
    stored_bytes: usize,
    runs: usize,
    multiply: impl Fn(&T, &[f32], &mut [f32]),
) -> Measurement {
    let n_copies = WORKING_SET.div_ceil(stored_bytes);
    let copies = vec![linear; n_copies];
    let x: Vec<f32> = (0..case.batch * case.in_features).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut y = vec![0.0; case.batch * case.out_features];
    let mut product = |linear: &T| {
        let start = Instant::now();
        multiply(linear, &x, &mut y);
        black_box(&mut y);
        start.elapsed().as_secs_f64()
    };
    product(&copies[0]);
    let n_runs = if case.batch == 1 { n_copies.max(runs) } else { runs };
    let seconds = median(copies.iter().cycle().take(n_runs).map(&mut product).collect());
    let activations = size_of::<f32>() * case.batch * (case.in_features + case.out_features);
    let bytes = stored_bytes + activations;
    let operations = 2.0 * (case.out_features * case.in_features * case.batch) as f64;
    Measurement {
        seconds,
        bytes,
        gb_per_s: bytes as f64 / seconds / 1e9,
        gflop_per_s: operations / seconds / 1e9,
    }
}

/// Median seconds of the Walsh-Hadamard transforms of `points` each over `channels` values, one token, on one thread.
///
/// # Panics
/// If `points` is no power of two or does not divide `channels`.
#[must_use]
pub fn transform_seconds(channels: usize, points: usize) -> f64 {
    const REPEATS: usize = 256; // one is too short for a clock
    let mut x: Vec<f32> = (0..channels).map(|i| (i % 17) as f32 - 8.0).collect();
    let all = median_seconds(|| {
        for _ in 0..REPEATS {
            walsh_hadamard(black_box(&mut x), points);
        }
    });
    all / REPEATS as f64
}

/// A linear with arbitrary but fixed codes.
///
/// # Errors
/// A [`PackError`] when `case` describes no legal linear.
pub fn sample_linear(case: &KernelCase) -> Result<PackedLinear, PackError> {
    let KernelCase { out_features, in_features, kind, bits, group_size, .. } = *case;
    let segment = match kind {
        CodeKind::F16 => Segment::f16(in_features),
        CodeKind::Codebook => Segment::codebook(in_features, bits, 1, group_size),
        CodeKind::Integers => Segment::asymmetric(in_features, bits, group_size),
        CodeKind::Trellis => Segment::trellis(in_features, bits, 12, 0, in_features),
    };
    let builder = PackedLinearBuilder::new(out_features);
    if kind == CodeKind::F16 {
        let value_at = |i: usize| f16::from_f32((i % 61) as f32 / 30.0 - 1.0);
        let values = (0..out_features * in_features).map(value_at).collect();
        return builder.segment(segment, SegmentValues::F16(values)).build();
    }
    let code_at = |i: usize| (i.wrapping_mul(0x9E37_79B9) >> 12).to_le_bytes()[0] & bits.max_code();
    let n_groups = out_features * segment.n_groups();
    let values = SegmentValues::Codes {
        codes: (0..out_features * in_features).map(code_at).collect(),
        scales: vec![f16::from_f32(0.01); n_groups],
        zeros: match kind {
            CodeKind::Integers => (0..n_groups).map(code_at).collect(),
            _ => Vec::new(),
        },
    };
    let table = (0..128_u8).map(|entry| f16::from_f32(f32::from(entry % 64) - 31.0)).collect();
    let levels = (0..=bits.max_code()).map(|entry| f16::from_f32(f32::from(entry) - 3.5)).collect();
    builder.codebooks(Arc::new(vec![table, levels])).segment(segment, values).build()
}

/// Median over [`RUNS`] calls, after one that warms up.
fn median_seconds<T>(mut call: impl FnMut() -> T) -> f64 {
    call();
    let timed = |_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    };
    median((0..RUNS).map(timed).collect())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Independent sums, so that loads and not additions are the limit.
fn sum_words(words: &[[u8; 8]]) -> u64 {
    let mut sums = [0u64; 16];
    for chunk in words.as_chunks::<16>().0 {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}
