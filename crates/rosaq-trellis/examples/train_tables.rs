//! Trains the tables of this crate: `train_tables DIRECTORY [NAME ...]`, with names such as `sum12-b3`; all without a name.
//!
//! Prints the mean squared error on 80,000 fresh samples: as it is, with the scale before encoding chosen best, and with the scale
//! after decoding refitted as well.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use cpu_time::ProcessTime;
use rosaq_trellis::{
    Encoder, GaussianTable, Sequence, Table, TableKind, Training, TrellisCode, normal_samples,
    train,
};

/// Rings that errors are measured on.
const RING: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("usage: train_tables DIRECTORY [NAME ...]")?;
    let names: Vec<String> = args.collect();
    for table in GaussianTable::ALL {
        for bits in 1..=table.most_bits() {
            let name = format!("{}-b{bits}", stem(table));
            if names.is_empty() || names.contains(&name) {
                train_one(Path::new(&dir), &name, bits, table)?;
            }
        }
    }
    Ok(())
}

fn train_one(dir: &Path, name: &str, bits: u8, table: GaussianTable) -> anyhow::Result<()> {
    let start = ProcessTime::now();
    let code = train(&plan(bits, table), &normal_samples(1_000_000, 1))?;
    let seconds = start.elapsed().as_secs_f64();
    let mut file = code.step().to_le_bytes().to_vec();
    match code.table() {
        Table::Whole(entries) => file.extend(entries.iter().map(|entry| entry.cast_unsigned())),
        Table::Sum { even, odd } => {
            file.extend(even.iter().chain(odd).map(|entry| entry.cast_unsigned()));
        }
    }
    std::fs::write(dir.join(name).with_extension("bin"), file)?;

    let (plain, _) = errors(&code, 1.0)?;
    let scales = (0..=10).map(|i| 0.95 + 0.01 * i as f32);
    let others = scales.map(|scale| errors(&code, scale)).collect::<anyhow::Result<Vec<_>>>()?;
    let scaled = others.iter().map(|pair| pair.0).fold(plain, f64::min);
    let refitted = others.iter().map(|pair| pair.1).fold(plain, f64::min);
    writeln!(
        std::io::stdout(),
        "{name}: mse {plain:.5}, best scale {scaled:.5}, refitted {refitted:.5}, step 1/{:.2}, {seconds:.0} cpu-seconds",
        1.0 / code.step()
    )?;
    Ok(())
}

fn stem(table: GaussianTable) -> &'static str {
    match table {
        GaussianTable::Whole8 => "whole8",
        GaussianTable::Sum12 => "sum12",
        GaussianTable::Whole12 => "whole12",
    }
}

/// How long to train: more starts where they are cheap, more samples where there are more entries.
fn plan(bits: u8, table: GaussianTable) -> Training {
    let (kind, n_starts, rounds, n_first) = match table {
        GaussianTable::Whole8 => (TableKind::Whole, 24, 400, 40_000),
        GaussianTable::Sum12 => (TableKind::Sum, 4, 300, 40_000),
        GaussianTable::Whole12 => (TableKind::Whole, 1, 200, 100_000),
    };
    Training { bits, window: table.window(), kind, n_starts, rounds, n_first, seed: 7 }
}

/// Mean squared errors with scale `scale`: as decoded, and with the best scale for the same codes.
fn errors(code: &TrellisCode, scale: f32) -> anyhow::Result<(f64, f64)> {
    let samples = normal_samples(80_000, 99);
    let mut encoder = Encoder::new(code);
    let (mut codes, mut entries) = (vec![0; RING], vec![0; RING]);
    let (mut error, mut cross, mut square, mut energy) = (0.0, 0.0, 0.0, 0.0);
    for targets in samples.chunks_exact(RING) {
        let sequence = Sequence { targets, scales: &[scale; RING], weights: None };
        error += encoder.encode(&sequence, &mut codes)?;
        code.decode(&codes, &mut entries);
        for (&target, &entry) in targets.iter().zip(&entries) {
            let (target, value) = (f64::from(target), f64::from(code.step()) * f64::from(entry));
            cross += target * value;
            square += value * value;
            energy += target * target;
        }
    }
    let n = samples.len() as f64;
    Ok((error / n, (energy - cross * cross / square) / n))
}
