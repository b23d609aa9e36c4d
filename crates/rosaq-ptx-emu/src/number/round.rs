//! Rounding in directions that the host does not offer, and fused sums without its library.

/// Directions of rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero.
    NearestAway,
    Zero,
    Down,
    Up,
}

impl Rounding {
    /// The direction that a modifier names, for results that are floating-point numbers.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rn" => Self::Nearest,
            "rna" => Self::NearestAway,
            "rz" => Self::Zero,
            "rm" => Self::Down,
            "rp" => Self::Up,
            _ => return None,
        })
    }

    /// `x` rounded to a whole number.
    pub(crate) fn whole(self, x: f64) -> f64 {
        match self {
            Self::Nearest => x.round_ties_even(),
            Self::NearestAway => x.round(),
            Self::Zero => x.trunc(),
            Self::Down => x.floor(),
            Self::Up => x.ceil(),
        }
    }
}

/// A format that numbers are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounded {
    /// Bits of the significand with the hidden one.
    pub(crate) precision: i32,
    /// Exponent of the smallest normal number.
    pub(crate) least_exponent: i32,
    /// Exponent of the largest number.
    pub(crate) largest_exponent: i32,
}

impl Rounded {
    pub(crate) const F16: Self = Self { precision: 11, least_exponent: -14, largest_exponent: 15 };
    pub(crate) const BF16: Self =
        Self { precision: 8, least_exponent: -126, largest_exponent: 127 };
    pub(crate) const F32: Self =
        Self { precision: 24, least_exponent: -126, largest_exponent: 127 };

    /// The number of this format that `x` rounds to; `x` is exact or rounded to odd.
    pub(crate) fn round(self, x: f64, rounding: Rounding) -> f64 {
        if x == 0.0 || !x.is_finite() {
            return x;
        }
        let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
        let unit = power_of_two(exponent.max(self.least_exponent) - self.precision + 1);
        let y = rounding.whole(x / unit) * unit;
        let largest =
            power_of_two(self.largest_exponent) * (2.0 - power_of_two(1 - self.precision));
        if y.abs() <= largest {
            return y.copysign(x);
        }
        let goes_to_infinity = match rounding {
            Rounding::Nearest | Rounding::NearestAway => true,
            Rounding::Zero => false,
            Rounding::Down => x < 0.0,
            Rounding::Up => x > 0.0,
        };
        if goes_to_infinity { f64::INFINITY.copysign(x) } else { largest.copysign(x) }
    }
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// `a + b` in f64 rounded to odd: a second rounding to at most 51 bits gives what one would.
#[inline(always)]
pub(crate) fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let b_in_sum = sum - a;
    let error = (a - (sum - b_in_sum)) + (b - b_in_sum);
    let bits = sum.to_bits();
    let is_inexact = error != 0.0 && sum.is_finite() && error.is_finite();
    // Truncate toward zero, then set the last bit.
    let is_too_large = (error < 0.0) != (sum < 0.0);
    let odd = if is_too_large && bits & 1 == 0 { bits.wrapping_sub(1) } else { bits | 1 };
    f64::from_bits(if is_inexact { odd } else { bits })
}

/// `x`, which is exact or rounded to odd, in f32.
pub(crate) fn rounded_f32(x: f64, rounding: Rounding) -> f32 {
    if rounding == Rounding::Nearest { x as f32 } else { Rounded::F32.round(x, rounding) as f32 }
}

/// Subnormal numbers become zeros of the same sign.
#[inline(always)]
pub(crate) fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { f32::from_bits(x.to_bits() & 0x8000_0000) } else { x }
}

/// Into 0 to 1; NaN becomes 0.
#[inline(always)]
pub(crate) fn saturate(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}
