//! Products with packed weights on one thread: bytes of packed weights per second.
//!
//! Every instruction set that the processor has, 4096 x 4096 (LLaMA-2 7B's attention) and 576 x 1536
//! (SmolLM2's down), group size 128. Criterion repeats one matrix, so the smaller one is found in a
//! cache; `rosaq_cpu::bench` walks through copies instead.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rosaq_cpu::bench::{CodeKind, KernelCase, sample_linear};
use rosaq_cpu::{Isa, gemm_with, gemv_with};
use rosaq_pack::Bits;

/// `[out, in]` of the weights.
const SHAPES: [(usize, usize); 2] = [(4096, 4096), (576, 1536)];

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
    let integers = Bits::ALL.map(|bits| (CodeKind::Integers, bits));
    let trellis = [Bits::TWO, Bits::THREE, Bits::FOUR].map(|bits| (CodeKind::Trellis, bits));
    for (kind, bits) in integers.into_iter().chain(trellis) {
        let case = KernelCase { out_features, in_features, kind, bits, group_size: 128, batch: 1 };
        let linear = sample_linear(&case).expect("a legal linear");
        group.throughput(Throughput::Bytes(linear.stored_bytes() as u64));
        for n_tokens in [1, 8, 64] {
            let x = vec![0.5; n_tokens * in_features];
            let mut y = vec![0.0; n_tokens * out_features];
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
