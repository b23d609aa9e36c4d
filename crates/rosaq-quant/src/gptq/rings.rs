//! Codes of one channel for all rows at once, along a trellis.

use half::f16;
use rosaq_trellis::{Encoder, Sequence, TrellisCode};

use crate::QuantError;

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
