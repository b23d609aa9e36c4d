//! Values that one thread encodes a second of its own time, in rings of 576 and 1,536 with the tables of this crate.

use std::io::Write as _;

use cpu_time::ThreadTime;
use rosaq_trellis::{Encoder, GaussianTable, Sequence, TrellisCode, normal_samples};

fn main() -> anyhow::Result<()> {
    for table in [GaussianTable::Whole8, GaussianTable::Sum12] {
        for bits in 1..=table.most_bits() {
            for n in [576, 1_536] {
                let targets = normal_samples(n, 5);
                let sequence = Sequence { targets: &targets, scales: &vec![1.0; n], weights: None };
                let mut encoder = Encoder::new(&TrellisCode::gaussian(bits, table)?);
                let mut codes = vec![0; n];
                let start = ThreadTime::now();
                let mut n_values = 0;
                while start.elapsed().as_secs_f64() < 0.5 {
                    encoder.encode(&sequence, &mut codes)?;
                    n_values += n;
                }
                let rate = n_values as f64 / start.elapsed().as_secs_f64() / 1e6;
                writeln!(
                    std::io::stdout(),
                    "window {}, {bits} bits, rings of {n}: {rate:.2} million values a second",
                    table.window()
                )?;
            }
        }
    }
    Ok(())
}
