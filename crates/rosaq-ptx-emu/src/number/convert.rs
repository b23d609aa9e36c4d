//! `cvt`: between any two number types, with every rounding and saturation.

use super::round::{Rounded, Rounding};
use super::small::{bf16_to_f32, canonical, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::types::Type;

/// What a `cvt` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) to: Type,
    pub(crate) from: Type,
    pub(crate) rounding: Rounding,
    /// The result is a whole number though its type is a floating-point one.
    pub(crate) is_whole: bool,
    pub(crate) flushes: bool,
    pub(crate) saturates: bool,
    pub(crate) is_relu: bool,
}

enum Number {
    Integer(i128),
    Float(f64),
}

/// The bits of type `to` for the bits of type `from`.
pub(crate) fn convert(how: Conversion, bits: u64) -> u64 {
    let number = read(how, bits & how.from.mask());
    match (number, how.to.is_integer()) {
        (Number::Integer(value), true) => integer_bits(how.to, value, how.saturates),
        (Number::Float(value), true) => {
            let whole = how.rounding.whole(value);
            // Out of range saturates, NaN becomes zero.
            integer_bits(how.to, whole as i128, true)
        }
        (Number::Integer(value), false) => write(how, integer_to_odd(value)),
        (Number::Float(value), false) => write(how, value),
    }
}

fn read(how: Conversion, bits: u64) -> Number {
    let unused = 64 - how.from.bits();
    match how.from {
        Type::F16 => Number::Float(f64::from(f16_to_f32(bits as u16))),
        Type::Bf16 => Number::Float(f64::from(bf16_to_f32(bits as u16))),
        Type::F32 => {
            let x = f32::from_bits(bits as u32);
            Number::Float(f64::from(if how.flushes { super::flush(x) } else { x }))
        }
        Type::F64 => Number::Float(f64::from_bits(bits)),
        ty if ty.is_signed() => Number::Integer(i128::from(((bits << unused) as i64) >> unused)),
        _ => Number::Integer(i128::from(bits)),
    }
}

fn integer_bits(ty: Type, value: i128, saturates: bool) -> u64 {
    let bits = ty.bits();
    let (least, largest) = if ty.is_signed() {
        (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
    } else {
        (0, (1_i128 << bits) - 1)
    };
    let value = if saturates { value.clamp(least, largest) } else { value };
    (value as u64) & ty.mask()
}

/// In f64, rounded to odd.
fn integer_to_odd(value: i128) -> f64 {
    let magnitude = value.unsigned_abs();
    let excess = (128 - magnitude.leading_zeros()).saturating_sub(53);
    let sticky = u128::from(magnitude & ((1 << excess) - 1) != 0);
    let kept = ((magnitude >> excess) | sticky) << excess;
    let x = kept as f64;
    if value < 0 { -x } else { x }
}

fn write(how: Conversion, value: f64) -> u64 {
    let mut value = if how.is_whole { how.rounding.whole(value) } else { value };
    if how.saturates {
        value = if value > 0.0 { value.min(1.0) } else { 0.0 };
    }
    if how.is_relu && value <= 0.0 {
        value = 0.0;
    }
    match how.to {
        Type::F16 => u64::from(f32_to_f16(Rounded::F16.round(value, how.rounding) as f32)),
        Type::Bf16 => u64::from(f32_to_bf16(Rounded::BF16.round(value, how.rounding) as f32)),
        Type::F32 => {
            let x = Rounded::F32.round(value, how.rounding) as f32;
            u64::from(canonical(if how.flushes { super::flush(x) } else { x }))
        }
        // Integers of 64 bits are the only sources with more digits; their rounding is to nearest.
        _ => value.to_bits(),
    }
}
