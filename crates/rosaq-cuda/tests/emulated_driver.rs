//! The host code, cust under it, and the committed PTX, on the emulated driver: every kernel against f64.
//!
//! Results are f16 where nothing else is said, so that half of its unit in the last place, 2^-11 = 4.9e-4 relative, bounds
//! what is found; the norm over many values is smaller.
#![allow(unsafe_code, reason = "the environment names the driver")]
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

#[path = "support/driver.rs"]
mod driver;

use half::f16;
use rosaq_cuda::{CudaDevice, CudaLinear, DeviceRows, HeadShape, Rows, TokenPlace, Workspace};
use rosaq_cuda_metrics::{Case, Random, codebook, trellis};
use rosaq_pack::{Bits, Segment};

/// Largest relative error, `norm(found - expected) / norm(expected)`.
const TOLERANCE: f64 = 5e-4;

#[track_caller]
fn check(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}: values");
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(a, b)| a - b)).sqrt();
    let error = difference / square(&mut expected.iter().copied()).sqrt();
    println!("{name}: {error:.1e}");
    assert!(error < TOLERANCE, "{name}: relative error {error:.2e}");
}

fn halves(rows: &DeviceRows<f16>) -> Vec<f64> {
    rows.to_vec().expect("a copy").into_iter().map(f16::to_f64).collect()
}

/// Numbers that f16 holds.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| f16::from_f32(random.unit()).to_f32()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn every_kernel_through_the_driver() {
    let device = driver::device();
    linears(&device);
    norms(&device);
    gate(&device);
    hadamard(&device);
    rows(&device);
    for shape in [(4, 2, 64), (9, 3, 64), (2, 1, 128), (8, 1, 80), (2, 2, 256)] {
        attention(&device, HeadShape { n_heads: shape.0, n_kv_heads: shape.1, head_dim: shape.2 });
    }
    // The last one: nothing works after it.
    faults_are_reported(&device);
}

fn linears(device: &CudaDevice) {
    let mut workspace = Workspace::new(device).expect("a workspace");
    let four = Segment::asymmetric(333, Bits::FOUR, 128);
    let three = Segment::symmetric(256, Bits::THREE, 64);
    for segments in [
        vec![Segment::f16(32), four],
        vec![Segment::f16(128), three],
        vec![codebook(300, Bits::THREE, 64)],
        vec![trellis(256, 3, 256)],
    ] {
        for (out_features, batch) in [(200, 1), (70, 8), (33, 40), (40, 130)] {
            let case = Case::new(out_features, &segments, batch);
            let x = device.upload(&case.x).expect("room");
            let linear = CudaLinear::upload(device, case.linear.clone()).expect("room");
            let rows = Rows { values: &x, stride: case.x_stride, batch };
            let mut y = device.f16_rows(batch, out_features).expect("room");
            device.multiply(&linear, rows, y.as_output(), &mut workspace).expect("a product");
            check(&case.name, &halves(&y), &case.expected);
        }
    }
}

fn norms(device: &CudaDevice) {
    let (eps, channels) = (1e-5, 576);
    let (hidden, branch) = (numbers(3 * channels, 1), numbers(3 * channels, 2));
    let gain = numbers(channels, 3);
    let gains = device.upload(&gain).expect("room");
    let mut residual = device.upload_f32_rows(&hidden, channels).expect("room");
    let added = device.upload_f32_rows(&branch, channels).expect("room");
    let mut out = device.f16_rows(3, channels).expect("room");
    device.rms_norm(&mut residual, Some(&added), &gains, eps, &mut out).expect("a norm");
    let sums: Vec<f64> = hidden.iter().zip(&branch).map(|(a, b)| f64::from(*a + *b)).collect();
    check("residual", &wide(&residual.to_vec().expect("a copy")), &sums);
    check("rms_norm", &halves(&out), &normalized(&sums, &gain, eps));

    let heads = numbers(2 * 9 * 64, 4);
    let gain = numbers(64, 5);
    let mut x = device.upload_f16_rows(&heads, 9 * 64).expect("room");
    let gains = device.upload(&gain).expect("room");
    device.head_norm(&mut x, &gains, eps).expect("a norm");
    check("head_norm", &halves(&x), &normalized(&wide(&heads), &gain, eps));
}

/// Rows as long as `gain`, each over the root of its mean square.
fn normalized(rows: &[f64], gain: &[f32], eps: f32) -> Vec<f64> {
    let scaled = |row: &[f64]| {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(eps)).sqrt();
        row.iter().zip(gain).map(|(x, gain)| x * scale * f64::from(*gain)).collect::<Vec<_>>()
    };
    rows.chunks_exact(gain.len()).flat_map(scaled).collect()
}

fn gate(device: &CudaDevice) {
    let values: Vec<f32> = numbers(2 * 1536, 6).iter().map(|x| 8.0 * x).collect();
    let ups = numbers(2 * 1536, 7);
    let mut gate = device.upload_f16_rows(&values, 1536).expect("room");
    let up = device.upload_f16_rows(&ups, 1536).expect("room");
    device.silu_mul(&mut gate, &up).expect("a product");
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let pairs = wide(&values).into_iter().zip(wide(&ups));
    let expected: Vec<f64> = pairs.map(|(gate, up)| silu(gate) * up).collect();
    check("silu_mul", &halves(&gate), &expected);
}

fn hadamard(device: &CudaDevice) {
    for (channels, points) in [(1536, 128), (1536, 512), (64, 2), (8192, 8192)] {
        let values = numbers(2 * channels, 8);
        let mut x = device.upload_f16_rows(&values, channels).expect("room");
        device.walsh_hadamard(&mut x, points).expect("a transform");
        let transform = |block: &[f32]| -> Vec<f64> {
            let sign = |i: usize, j: usize| {
                if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 }
            };
            let scale = 1.0 / (points as f64).sqrt();
            let row = |i| block.iter().enumerate().map(|(j, x)| sign(i, j) * f64::from(*x)).sum();
            // Of large blocks, the first outputs: all of them take as many products as their square.
            (0..points.min(512))
                .map(|i| {
                    scale * {
                        let sum: f64 = row(i);
                        sum
                    }
                })
                .collect()
        };
        let expected: Vec<f64> = values.chunks_exact(points).flat_map(transform).collect();
        let found = halves(&x);
        let found: Vec<f64> =
            found.chunks_exact(points).flat_map(|b| &b[..points.min(512)]).copied().collect();
        check(&format!("hadamard of {points}"), &found, &expected);
    }
}

fn rows(device: &CudaDevice) {
    let (values, bias) = (numbers(3 * 70, 9), numbers(70, 10));
    let biased: Vec<f64> =
        values.iter().zip(bias.iter().cycle()).map(|(x, b)| f64::from(x + b)).collect();
    let biases = device.upload(&bias).expect("room");
    let mut x = device.upload_f16_rows(&values, 70).expect("room");
    device.add_bias(&mut x, &biases).expect("a sum");
    check("add_bias", &halves(&x), &biased);
    let mut x = device.upload_f32_rows(&values, 70).expect("room");
    device.add_bias_f32(&mut x, &biases).expect("a sum");
    check("add_bias_f32", &wide(&x.to_vec().expect("a copy")), &biased);
    let mut rounded = device.f16_rows(3, 70).expect("room");
    device.round_rows(&x, &mut rounded).expect("a copy");
    check("round_rows", &halves(&rounded), &biased);

    let order: Vec<u32> = (0..70).map(|i| i * 27 % 70).collect();
    let orders = device.upload(&order).expect("room");
    let x = device.upload_f16_rows(&values, 70).expect("room");
    let mut y = device.f16_rows(3, 70).expect("room");
    device.gather_channels(&x, &orders, &mut y).expect("a copy");
    let gathered: Vec<f64> = values
        .chunks_exact(70)
        .flat_map(|row| order.iter().map(|&i| f64::from(row[i as usize])))
        .collect();
    check("gather_channels", &halves(&y), &gathered);
}

/// Rotary embedding into a cache, and attention over it, of two sequences of different lengths.
fn attention(device: &CudaDevice, shape: HeadShape) {
    let HeadShape { n_heads, n_kv_heads, head_dim } = shape;
    let half = head_dim / 2;
    let (n_rows, width) = (150, n_kv_heads * head_dim);
    let angle = |at: usize| (at / half) as f32 * 0.3_f32.powf((at % half) as f32);
    let table = |f: fn(f32) -> f32| (0..n_rows * half).map(|at| f(angle(at))).collect::<Vec<_>>();
    let (cosines, sines) = (table(f32::cos), table(f32::sin));
    let angles = device.angles(&cosines, &sines, half).expect("room");
    // All rows but the last two tokens' are filled before.
    let places = [
        TokenPlace { position: 129, row: 129, start: 0, count: 130 },
        TokenPlace { position: 9, row: 149, start: 140, count: 10 },
    ];
    let (mut keys, mut values) = (numbers(n_rows * width, 11), numbers(n_rows * width, 12));
    let mut key_cache = device.upload_f16_rows(&keys, width).expect("room");
    let mut value_cache = device.upload_f16_rows(&values, width).expect("room");
    let (new_keys, new_values) = (numbers(2 * width, 13), numbers(2 * width, 14));
    let queries = numbers(2 * n_heads * head_dim, 15);

    let on_device = device.token_places(&places).expect("room");
    let mut q = device.upload_f16_rows(&queries, n_heads * head_dim).expect("room");
    let k = device.upload_f16_rows(&new_keys, width).expect("room");
    let v = device.upload_f16_rows(&new_values, width).expect("room");
    device.rope(&mut q, &angles, &on_device).expect("a turn");
    device.rope_into_cache(&k, &angles, &on_device, &mut key_cache).expect("a turn");
    device.copy_into_cache(&v, &on_device, &mut value_cache).expect("a copy");
    let mut out = device.f16_rows(2, n_heads * head_dim).expect("room");
    let cache = [&key_cache, &value_cache];
    device.attention(shape, &q, cache, &on_device, &mut out).expect("attention");

    let turn = |head: &[f32], position: usize| -> Vec<f64> {
        let at = |i: usize| {
            (f64::from(cosines[position * half + i]), f64::from(sines[position * half + i]))
        };
        let pair = |i: usize| (f64::from(head[i]), f64::from(head[i + half]));
        let first = (0..half).map(|i| pair(i).0 * at(i).0 - pair(i).1 * at(i).1);
        let second = (0..half).map(|i| pair(i).1 * at(i).0 + pair(i).0 * at(i).1);
        first.chain(second).collect()
    };
    let mut turned = Vec::new();
    for (t, place) in places.iter().enumerate() {
        let position = place.position as usize;
        let of = |x: &[f32], n: usize| -> Vec<f64> {
            let row = &x[t * n..(t + 1) * n];
            row.chunks_exact(head_dim).flat_map(|head| turn(head, position)).collect()
        };
        turned.push(of(&queries, n_heads * head_dim));
        let row = place.row as usize * width;
        for (to, from) in keys[row..row + width].iter_mut().zip(of(&new_keys, width)) {
            *to = f16::from_f64(from).to_f32();
        }
        values[row..row + width].copy_from_slice(&new_values[t * width..(t + 1) * width]);
    }
    check("rope", &halves(&q), &turned.concat());
    check("rope into the cache", &halves(&key_cache), &wide(&keys));
    check("values into the cache", &halves(&value_cache), &wide(&values));
    // What attention reads are the rounded queries.
    let rounded = halves(&q);
    let expected: Vec<f64> = places
        .iter()
        .zip(rounded.chunks_exact(n_heads * head_dim))
        .flat_map(|(place, q)| attend(shape, q, (&keys, &values), place))
        .collect();
    check(&format!("attention of {shape:?}"), &halves(&out), &expected);
}

/// One token's heads over the rows that it sees.
fn attend(
    shape: HeadShape,
    q: &[f64],
    (keys, values): (&[f32], &[f32]),
    place: &TokenPlace,
) -> Vec<f64> {
    let HeadShape { n_heads, n_kv_heads, head_dim } = shape;
    let width = n_kv_heads * head_dim;
    let rows = place.start as usize..(place.start + place.count) as usize;
    let mut out = Vec::new();
    for (head, q) in q.chunks_exact(head_dim).enumerate() {
        let from = head / (n_heads / n_kv_heads) * head_dim;
        let of =
            |x: &[f32], row: usize| wide(&x[row * width + from..row * width + from + head_dim]);
        let score = |row| q.iter().zip(of(keys, row)).map(|(a, b)| a * b).sum::<f64>();
        let weights: Vec<f64> =
            rows.clone().map(|row| (score(row) / (head_dim as f64).sqrt()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut mixed = vec![0.0; head_dim];
        for (row, weight) in rows.clone().zip(&weights) {
            for (to, value) in mixed.iter_mut().zip(of(values, row)) {
                *to += weight / sum * value;
            }
        }
        out.extend(mixed);
    }
    out
}

/// An order of channels with one too large makes the kernel read what is not there.
fn faults_are_reported(device: &CudaDevice) {
    let orders = device.upload(&[1_u32 << 20; 8]).expect("room");
    let x = device.upload_f16_rows(&numbers(8, 16), 8).expect("room");
    let mut y = device.f16_rows(1, 8).expect("room");
    let launched = device.gather_channels(&x, &orders, &mut y);
    let error = launched.and_then(|()| device.synchronize()).expect_err("a fault");
    println!("{error}");
    assert!(error.to_string().contains("rosaq_gather_channels"), "{error}");
}
