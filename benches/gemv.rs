//! Products with packed weights on one thread: bytes of packed weights per second.
//!
//! Every instruction set that the processor has, the linears of LLaMA 7B and 13B and SmolLM2's down,
//! group size 128. All of it takes hours: name what is wanted, such as `avx512/4096x4096`. Criterion
//! repeats one matrix, so the smallest one is found in a cache; `rosaq_cpu::bench` walks through
//! copies instead.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rosaq_cpu::bench::{CodeKind, KernelCase, sample_linear};
use rosaq_cpu::{Isa, TiledLinear, gemm_with, gemv_with};
use rosaq_pack::Bits;

/// `[out, in]` of the weights.
const SHAPES: [(usize, usize); 7] = [
    (576, 1536),
    (4096, 4096),
    (11008, 4096),
    (4096, 11008),
    (5120, 5120),
    (13824, 5120),
    (5120, 13824),
];
/// Tokens at once.
const BATCHES: [usize; 5] = [1, 8, 32, 128, 512];

fn products(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.build_global().expect("nothing used the global pool before");
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for (out_features, in_features) in SHAPES {
            shape(criterion, isa, out_features, in_features);
        }
    }
}

fn shape(criterion: &mut Criterion, isa: Isa, out_features: usize, in_features: usize) {
    let mut group = criterion.benchmark_group(format!("{isa}/{out_features}x{in_features}"));
    group.sample_size(10);
    let all = CodeKind::ALL.into_iter().flat_map(|kind| Bits::ALL.map(|bits| (kind, bits)));
    for (kind, bits) in all.filter(|(kind, bits)| kind.takes(*bits)) {
        let case = KernelCase { out_features, in_features, kind, bits, group_size: 128, batch: 1 };
        let linear = sample_linear(&case).expect("a legal linear");
        group.throughput(Throughput::Bytes(linear.stored_bytes() as u64));
        let tiled = match isa {
            // VNNI is for activations of eight bits, which have no kernels for AVX-512 without it.
            Isa::Scalar | Isa::Avx512 => None,
            _ => TiledLinear::new_with(isa, &linear),
        };
        for n_tokens in BATCHES {
            let x = vec![0.5; n_tokens * in_features];
            let mut y = vec![0.0; n_tokens * out_features];
            if let Some(tiled) = tiled.as_ref().filter(|_| kind != CodeKind::Codebook) {
                group.bench_function(
                    BenchmarkId::new(format!("{kind:?}, int8, {n_tokens} tokens"), bits),
                    |bencher| bencher.iter(|| tiled.multiply(black_box(&x), &mut y)),
                );
            }
            if isa == Isa::Avx512Vnni {
                continue; // with activations of f32 it is AVX-512
            }
            group.bench_function(
                BenchmarkId::new(format!("{kind:?}, {n_tokens} tokens"), bits),
                |bencher| {
                    bencher.iter(|| match n_tokens {
                        1 => gemv_with(isa, black_box(&linear), &x, &mut y),
                        _ => gemm_with(isa, black_box(&linear), &x, &mut y),
                    });
                },
            );
        }
    }
    group.finish();
}

criterion_group!(benches, products);
criterion_main!(benches);
