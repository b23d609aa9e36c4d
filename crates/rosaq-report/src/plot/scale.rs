//! Values to pixels, and the ticks between.

use crate::number::short;

/// Decades that a logarithmic axis spans at most, counted from the largest value; smaller values lie on its end. Single
/// precision, in which Gram matrices are summed, has no more to say.
const MAX_DECADES: f64 = 8.0;

/// Exponents beyond this are drawn as if they were this, so that powers of ten stay finite.
const MAX_EXPONENT: f64 = 300.0;

/// An axis: which value lies at which pixel.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    kind: Kind,
    /// Value at the first pixel; its logarithm on a logarithmic axis.
    low: f64,
    /// Value at the last pixel, likewise.
    high: f64,
    pixels: (f64, f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Linear,
    Log,
}

/// A labeled place on an axis.
#[derive(Debug)]
pub(crate) struct Tick {
    pub(crate) at: f64,
    pub(crate) label: String,
}

impl Scale {
    /// An axis with equal steps from `low` to `high`.
    pub(crate) fn linear(low: f64, high: f64, pixels: (f64, f64)) -> Self {
        let (low, high) = (low.clamp(-1e300, 1e300), high.clamp(-1e300, 1e300));
        let widen = if high > low { 0.0 } else { (0.1 * low.abs()).max(0.5) };
        Self { kind: Kind::Linear, low: low - widen, high: high + widen, pixels }
    }

    /// An axis with equal steps for equal ratios, over those of `values` that are positive and finite; `None` if none is.
    pub(crate) fn log(values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Option<Self> {
        let logs = values.filter(|v| v.is_finite() && *v > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            let v = v.clamp(-MAX_EXPONENT, MAX_EXPONENT);
            (low.min(v), high.max(v))
        });
        if low > high {
            return None;
        }
        let low = low.max(high - MAX_DECADES);
        let margin = if high > low { 0.04 * (high - low) } else { 0.3 };
        Some(Self { kind: Kind::Log, low: low - margin, high: high + margin, pixels })
    }

    /// The pixel of `value`; beyond the axis, its end. `None` for what has no place: not finite, or not positive on a
    /// logarithmic axis.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let value = match self.kind {
            Kind::Linear => value,
            Kind::Log if value > 0.0 => value.log10(),
            Kind::Log => return None,
        };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let (from, to) = self.pixels;
        (value.is_finite() && share.is_finite()).then_some(from + share * (to - from))
    }

    /// Round values along the axis, about half a dozen.
    pub(crate) fn ticks(&self) -> Vec<Tick> {
        let span = self.high - self.low;
        let values = match self.kind {
            Kind::Linear => round_values(self.low, self.high),
            Kind::Log if span < 1.0 => round_values(10_f64.powf(self.low), 10_f64.powf(self.high)),
            Kind::Log if span < 2.5 => self.decades(1.0, &[1.0, 2.0, 5.0]),
            Kind::Log => self.decades((span / 6.0).ceil(), &[1.0]),
        };
        let tick = |value: f64| Some(Tick { at: self.place(value)?, label: short(value) });
        values.into_iter().filter_map(tick).collect()
    }

    fn decades(&self, step: f64, multiples: &[f64]) -> Vec<f64> {
        let first = (self.low / step).floor();
        let inside = |v: &f64| (self.low..=self.high).contains(&v.log10());
        let powers = (0..16).map(|i| 10_f64.powf((first + f64::from(i)) * step));
        powers.flat_map(|p| multiples.iter().map(move |m| m * p)).filter(inside).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten from `low` to `high`.
fn round_values(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil();
    // Multiplied, not added up: 0.3 must not become 0.30000000000000004 on the way.
    (0..12).map(|i| (first + f64::from(i)) * step).take_while(|v| *v <= high).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Scale::linear(0.0, 576.0, (0.0, 1.0))), ["0", "200", "400"]);
        assert_eq!(labels(&Scale::linear(3.0, 4.5, (0.0, 1.0))), ["3", "3.5", "4", "4.5"]);
        let log = |low, high| Scale::log([low, high].into_iter(), (0.0, 1.0)).unwrap();
        assert_eq!(labels(&log(0.15, 1.64)), ["0.2", "0.5", "1"]);
        assert_eq!(labels(&log(1e-4, 10.0)), ["10⁻⁴", "0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&log(0.2, 0.3)), ["0.2", "0.25", "0.3"]);
    }

    #[test]
    fn small_values_end_at_the_axis() {
        let scale = Scale::log([1.0, 1e-30].into_iter(), (100.0, 0.0)).unwrap();
        assert_eq!(scale.place(1e-30), Some(100.0));
        assert_eq!(scale.place(0.0), None);
        assert_eq!(scale.place(f64::NAN), None);
        assert!(Scale::log([0.0, -1.0, f64::INFINITY].into_iter(), (0.0, 1.0)).is_none());
    }

    proptest! {
        #[test]
        fn every_place_is_on_the_axis(a: f64, b: f64, value: f64) {
            let low = a.min(b);
            let axes = [
                (!low.is_nan()).then(|| Scale::linear(low, a.max(b), (10.0, 90.0))),
                Scale::log([a, b].into_iter(), (10.0, 90.0)),
            ];
            for scale in axes.into_iter().flatten() {
                for at in scale.place(value).into_iter().chain(scale.ticks().iter().map(|t| t.at)) {
                    prop_assert!((10.0..=90.0).contains(&at), "{scale:?} {at}");
                }
                prop_assert!(scale.ticks().len() <= 48);
            }
        }
    }
}
