//! Values per second that one thread encodes.
use cpu_time::ProcessTime;
use rosaq_trellis::*;
fn main() {
    let n = 576;
    for window in [8u8, 12] {
        for bits in [2u8, 3, 4] {
            let mut x = 12345u64;
            let mut next = || {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((x >> 33) as f32) / (1u64 << 31) as f32
            };
            let mut g = || (0..12).map(|_| next()).sum::<f32>() - 6.0;
            let table: Vec<i8> = (0..1 << window).map(|_| (g() * 32.0) as i8).collect();
            let code = TrellisCode::new(bits, window, 1.0 / 32.0, Table::Whole(table)).unwrap();
            let mut enc = Encoder::new(&code);
            let targets: Vec<f32> = (0..n).map(|_| g()).collect();
            let scales = vec![1.0; n];
            let mut codes = vec![0; n];
            let mut reps = 0;
            let mut err = 0.0;
            let t = ProcessTime::now();
            while t.elapsed().as_secs_f64() < 1.0 {
                err = enc
                    .encode(
                        &Sequence { targets: &targets, scales: &scales, weights: None },
                        &mut codes,
                    )
                    .unwrap();
                reps += 1;
            }
            println!(
                "L={window} b={bits}: {:.3} M/s  mse {:.4}",
                (reps * n) as f64 / t.elapsed().as_secs_f64() / 1e6,
                err / n as f64
            );
        }
    }
}
