//! Packing, unpacking and dequantizing a 4096 x 4096 matrix on one thread, in codes per second.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rosaq_cpu::bench::{CodeKind, KernelCase, sample_linear};
use rosaq_pack::{Bits, pack, unpack_into};

const SIZE: usize = 4096;

fn packing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pack");
    group.throughput(Throughput::Elements((SIZE * SIZE) as u64));
    for bits in Bits::ALL {
        let case = KernelCase {
            out_features: SIZE,
            in_features: SIZE,
            kind: CodeKind::Integers,
            bits,
            group_size: 128,
            batch: 1,
        };
        let linear = sample_linear(&case).expect("a legal linear");
        let mut codes = vec![0; SIZE * SIZE];
        group.bench_function(BenchmarkId::new("unpack", bits), |bencher| {
            bencher.iter(|| unpack_into(black_box(&linear.codes), bits, &mut codes));
        });
        let mut packed = linear.codes.clone();
        group.bench_function(BenchmarkId::new("pack", bits), |bencher| {
            bencher.iter(|| pack(black_box(&codes), bits, &mut packed));
        });
        // One tile of 64 rows at a time, as the runtime does.
        let mut tile = vec![0.0; 64 * SIZE];
        group.bench_function(BenchmarkId::new("dequantize", bits), |bencher| {
            bencher.iter(|| {
                for start in (0..SIZE).step_by(64) {
                    linear.dequantize_rows_into(start..start + 64, black_box(&mut tile));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packing);
criterion_main!(benches);
