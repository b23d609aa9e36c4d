//! Trellis codes in tables of small integers, which vector kernels decode by themselves.

use std::sync::Arc;

use super::*;

/// Codes of `bits` into two added tables of 64 entries from -64 to 63, one scale a row.
pub(super) fn sum_trellis(
    out: usize,
    channels: usize,
    bits: Bits,
    noise: &mut Noise,
) -> PackedLinear {
    let entry = |noise: &mut Noise| f16::from_f32(f32::from(noise.byte() >> 1) - 64.0);
    let table = (0..128).map(|_| entry(noise)).collect();
    let segments = [Segment::f16(3), Segment::trellis(channels, bits, 12, 0, channels)];
    let start = PackedLinearBuilder::new(out).codebooks(Arc::new(vec![table]));
    let add = |builder: PackedLinearBuilder, segment: &Segment| {
        builder.segment(*segment, values_of(segment, out, noise))
    };
    segments.iter().fold(start, add).build().unwrap()
}

#[test]
fn every_width_and_shape_agrees() {
    for bits in [Bits::ONE, Bits::TWO, Bits::THREE, Bits::FOUR, Bits::FIVE, Bits::SIX] {
        for (out, channels) in [(1, 1), (2, 31), (5, 32), (70, 33), (13, 96), (3, 200), (65, 576)] {
            let mut noise = Noise((out * channels) as u64);
            let linear = sum_trellis(out, channels, bits, &mut noise);
            for tokens in [1, 3, 4, 6, 16] {
                let n_in = linear.in_features;
                let x: Vec<f32> = (0..tokens * n_in).map(|_| noise.float()).collect();
                for isa in available() {
                    let mut y = vec![f32::NAN; tokens * out];
                    gemm_with(isa, &linear, &x, &mut y);
                    for (token, (x, y)) in x.chunks(n_in).zip(y.chunks(out)).enumerate() {
                        let what = format!("{isa}, {bits} bits, {out} x {channels}, token {token}");
                        check_close(y, &expected(&linear, x), &what);
                    }
                }
            }
        }
    }
}

#[test]
fn any_range_of_rows_begins_in_its_own_state() {
    let mut noise = Noise(7);
    let linear = sum_trellis(200, 64, Bits::THREE, &mut noise);
    let x: Vec<f32> = (0..linear.in_features).map(|_| noise.float()).collect();
    for isa in available() {
        let mut y = vec![f32::NAN; 200];
        gemv_with(isa, &linear, &x, &mut y); // in tasks of 64 rows, on more than one thread
        check_close(&y, &expected(&linear, &x), isa.name());
    }
}
