//! Codes of one channel for all rows at once, along a trellis.

use half::f16;
use rosaq_trellis::{Encoder, Sequence, TrellisCode};

use crate::QuantError;

/// One channel of a sample.
#[derive(Debug)]
pub(super) struct Sample {
    /// For each row.
    pub(super) targets: Vec<f64>,
    /// What its squared error counts.
    pub(super) weight: f64,
}

/// Memory for one channel after another.
#[derive(Debug)]
pub(super) struct Rings {
    /// One for each code met.
    encoders: Vec<Encoder>,
    targets: Vec<f32>,
    /// The scales of the rows, over the step of the code.
    units: Vec<f32>,
    scales: Vec<f32>,
    pub(super) codes: Vec<u8>,
    entries: Vec<i8>,
}

impl Rings {
    pub(super) fn new(n_rows: usize) -> Self {
        Self {
            encoders: Vec::new(),
            targets: vec![0.0; n_rows],
            units: vec![0.0; n_rows],
            scales: vec![0.0; n_rows],
            codes: vec![0; n_rows],
            entries: vec![0; n_rows],
        }
    }

    /// Finds the codes whose values come nearest to `targets`; `scales` holds what a table entry of 1 amounts to in each row,
    /// `weights` what the square of a row's error counts.
    #[expect(clippy::cast_possible_truncation, reason = "codes are chosen in f32")]
    pub(super) fn encode<'a>(
        &mut self,
        code: &TrellisCode,
        targets: &[f64],
        scales: impl Iterator<Item = &'a f16>,
        weights: Option<&[f32]>,
    ) -> Result<(), QuantError> {
        for (to, &target) in self.targets.iter_mut().zip(targets) {
            *to = target as f32;
        }
        for ((unit, to), scale) in self.units.iter_mut().zip(&mut self.scales).zip(scales) {
            *to = scale.to_f32();
            *unit = *to / code.step();
        }
        let sequence = Sequence { targets: &self.targets, scales: &self.units, weights };
        let known = self.encoders.iter().position(|encoder| encoder.code() == code);
        let encoder = known.unwrap_or_else(|| {
            self.encoders.push(Encoder::new(code));
            self.encoders.len() - 1
        });
        self.encoders[encoder].encode(&sequence, &mut self.codes)?;
        code.decode(&self.codes, &mut self.entries);
        Ok(())
    }

    /// By how much `scales`, fitted to the root mean square of each row, are to be multiplied for the codes of `sample` to come
    /// nearest to its targets: 1 for Gaussian weights, more where channels differ or tails are heavy.
    pub(super) fn best_stretch(
        &mut self,
        code: &TrellisCode,
        sample: &[Sample],
        scales: &[f16],
        weights: Option<&[f32]>,
    ) -> Result<f64, QuantError> {
        let mut error = |stretch: f64| -> Result<f64, QuantError> {
            let scales: Vec<f16> =
                scales.iter().map(|scale| f16::from_f64(scale.to_f64() * stretch)).collect();
            if !scales.iter().all(|scale| scale.is_finite()) {
                return Ok(f64::INFINITY);
            }
            let mut sum = 0.0;
            for Sample { targets, weight } in sample {
                self.encode(code, targets, scales.iter(), weights)?;
                let squares = self.values().zip(targets).map(|(v, t)| (f64::from(v) - t).powi(2));
                let squares = match weights {
                    None => squares.sum::<f64>(),
                    Some(weights) => squares.zip(weights).map(|(e, &w)| e * f64::from(w)).sum(),
                };
                sum += weight * squares;
            }
            Ok(sum)
        };
        let (mut best, mut least) = (1.0, error(1.0)?);
        for next in [1.1, 1.2, 1.3, 1.45, 1.6, 1.8, 2.0] {
            let found = error(next)?;
            if found >= least {
                break;
            }
            (best, least) = (next, found);
        }
        Ok(best)
    }

    /// The values of the codes found.
    pub(super) fn values(&self) -> impl Iterator<Item = f32> {
        self.entries.iter().zip(&self.scales).map(|(&entry, scale)| f32::from(entry) * scale)
    }
}

/// What a table entry of 1 amounts to for weights of a unit Gaussian's shape: their root mean square times the code's step.
#[expect(clippy::cast_precision_loss, reason = "a group is far shorter than 2^53")]
pub(super) fn trellis_scale(weights: &[f32], code: &TrellisCode) -> f16 {
    let squares: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
    let rms = (squares / weights.len().max(1) as f64).sqrt();
    f16::from_f64(rms * f64::from(code.step()))
}

#[cfg(test)]
mod tests {
    use rosaq_trellis::GaussianTable;

    use super::*;

    /// The best stretch for 4 channels of 256 rows whose scales are their root mean squares; `of(channel)` is what Gaussian
    /// weights are multiplied by there.
    fn stretch_of(of: fn(usize) -> f64) -> f64 {
        let code = TrellisCode::gaussian(2, GaussianTable::Sum12).unwrap();
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        // Sums of twelve uniform numbers are Gaussian enough.
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>();
        let mut channel = |channel: usize| Sample {
            targets: (0..256).map(|_| of(channel) * normal()).collect(),
            weight: 1.0,
        };
        let sample: Vec<Sample> = (0..4).map(&mut channel).collect();
        let squares: f64 = sample.iter().flat_map(|s| &s.targets).map(|t| t * t).sum();
        let scale = f16::from_f64((squares / 1024.0).sqrt() * f64::from(code.step()));
        Rings::new(256).best_stretch(&code, &sample, &[scale; 256], None).unwrap()
    }

    #[test]
    fn scales_are_stretched_for_channels_that_differ_and_left_for_gaussian_ones() {
        assert!(stretch_of(|_| 1.0) <= 1.1);
        assert!(stretch_of(|channel| [3.0, 0.5, 0.5, 0.5][channel]) >= 1.3);
    }
}
