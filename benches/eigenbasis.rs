//! Time of one eigenbasis on one thread, at the sizes of a head, SmolLM2-135M and LLaMA-like
//! models' smaller sisters. Throughput counts entries of the Gram matrix.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use faer::Mat;
use rosaq_pca::{eigenbasis, headwise_eigenbases};

/// A Gram matrix with entries that fall off with the distance: positive definite, full spectrum.
fn decaying_gram(dim: usize) -> Mat<f64> {
    Mat::from_fn(dim, dim, |i, j| {
        let scale = |k: usize| 1.0 + ((k * 7919) % 101) as f64;
        scale(i) * scale(j) * 0.9_f64.powi(i32::try_from(i.abs_diff(j)).unwrap_or(i32::MAX))
    })
}

fn bench_eigenbasis(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("eigenbasis/f64");
    group.sample_size(10);
    for dim in [64_usize, 128, 576, 1024] {
        let gram = decaying_gram(dim);
        group.throughput(Throughput::Elements((dim * dim) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(dim), &gram, |bencher, gram| {
            bencher.iter(|| eigenbasis(black_box(gram.as_ref())));
        });
    }
    group.finish();
}

/// The output projection's input of SmolLM2-135M: 9 heads of 64 channels, 3 value heads.
fn bench_headwise(criterion: &mut Criterion) {
    let gram = decaying_gram(576);
    criterion.bench_function("headwise_eigenbases/f64/9x64", |bencher| {
        bencher.iter(|| headwise_eigenbases(black_box(gram.as_ref()), 9, 3, 64));
    });
}

criterion_group!(benches, bench_eigenbasis, bench_headwise);
criterion_main!(benches);
