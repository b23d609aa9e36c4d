use cpu_time::ProcessTime;
use rosaq_trellis::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let want: Vec<&str> = args[1..].iter().map(|s| s.as_str()).collect();
    for (name, window, kind, n_starts, n_first, n, rounds) in [
        ("l8", 8u8, TableKind::Whole, 16usize, 40_000usize, 400_000usize, 40usize),
        ("s12", 12, TableKind::Sum, 4, 40_000, 400_000, 40),
        ("w12", 12, TableKind::Whole, 1, 200_000, 1_000_000, 30),
    ] {
        if !want.contains(&name) {
            continue;
        }
        for bits in [2u8, 3, 4] {
            let t = ProcessTime::now();
            let samples = normal_samples(n, 1);
            let code = train(
                &Training { bits, window, kind, n_starts, rounds, n_first, seed: 7 },
                &samples,
            )
            .unwrap();
            let fresh = normal_samples(80_000, 99);
            let mut enc = Encoder::new(&code);
            let scales = vec![1.0; 1000];
            let mut codes = vec![0; 1000];
            let e: f64 = fresh
                .chunks(1000)
                .map(|c| {
                    enc.encode(&Sequence { targets: c, scales: &scales, weights: None }, &mut codes)
                        .unwrap()
                })
                .sum();
            println!(
                "{name} b={bits} mse {:.5} step 1/{:.2}  {:.1} s",
                e / 80_000.0,
                1.0 / code.step(),
                t.elapsed().as_secs_f64()
            );
        }
    }
}
