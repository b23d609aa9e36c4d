//! Arithmetic of f16 and bf16, alone or in pairs.

use super::Col;
use super::round::{add_to_odd, saturate};
use super::small::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfKind {
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfOp {
    Add,
    Sub,
    Mul,
    Fma,
    Min,
    Max,
    Neg,
    Abs,
    Ex2,
    Tanh,
}

/// An instruction on f16 or bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HalfSpec {
    pub(crate) op: HalfOp,
    pub(crate) kind: HalfKind,
    pub(crate) is_pair: bool,
    pub(crate) flushes: bool,
    pub(crate) saturates: bool,
    pub(crate) is_relu: bool,
    /// `min.NaN` and `max.NaN` hand NaNs on.
    pub(crate) keeps_nan: bool,
}

/// The halves of a column's lanes: low ones first, then high ones.
type Values = [f32; 64];

/// Applies `spec` to all lanes.
pub(crate) fn halves(spec: HalfSpec, s: [&Col; 4], out: &mut Col) {
    match spec.op {
        // These work on bits, NaNs included.
        HalfOp::Neg => return bits(spec, s[0], out, |bits, signs| bits ^ signs),
        HalfOp::Abs => return bits(spec, s[0], out, |bits, signs| bits & !signs),
        _ => {}
    }
    let a = unpack(spec, s[0]);
    let b = unpack(spec, s[1]);
    let mut d = [0.0; 64];
    match spec.op {
        HalfOp::Add => apply(&mut d, &a, &b, |a, b| a + b),
        HalfOp::Sub => apply(&mut d, &a, &b, |a, b| a - b),
        HalfOp::Mul => apply(&mut d, &a, &b, |a, b| a * b),
        HalfOp::Fma => fused(&mut d, &a, &b, &unpack(spec, s[2])),
        HalfOp::Min if spec.keeps_nan => apply(&mut d, &a, &b, |a, b| nan_or(a, b, least(a, b))),
        HalfOp::Max if spec.keeps_nan => apply(&mut d, &a, &b, |a, b| nan_or(a, b, largest(a, b))),
        HalfOp::Min => apply(&mut d, &a, &b, least),
        HalfOp::Max => apply(&mut d, &a, &b, largest),
        HalfOp::Ex2 => apply(&mut d, &a, &b, |a, _| f64::from(a).exp2() as f32),
        HalfOp::Tanh => apply(&mut d, &a, &b, |a, _| f64::from(a).tanh() as f32),
        HalfOp::Neg | HalfOp::Abs => {}
    }
    pack(spec, &mut d, out);
}

/// Lanes in which `holds` is true of the low halves, and of the high ones.
pub(crate) fn compare_halves(
    kind: HalfKind,
    s: [&Col; 4],
    holds: fn(f32, f32) -> bool,
) -> (u32, u32) {
    let spec = HalfSpec {
        op: HalfOp::Add,
        kind,
        is_pair: true,
        flushes: false,
        saturates: false,
        is_relu: false,
        keeps_nan: false,
    };
    let (a, b) = (unpack(spec, s[0]), unpack(spec, s[1]));
    let mask = |from: usize| {
        (0..32)
            .fold(0, |mask, lane| mask | u32::from(holds(a[from + lane], b[from + lane])) << lane)
    };
    (mask(0), mask(32))
}

fn bits(spec: HalfSpec, a: &Col, out: &mut Col, f: fn(u64, u64) -> u64) {
    let signs = if spec.is_pair { 0x8000_8000 } else { 0x8000 };
    for (out, &a) in out.iter_mut().zip(a) {
        *out = f(a, signs);
    }
}

#[inline(always)]
fn apply(d: &mut Values, a: &Values, b: &Values, f: impl Fn(f32, f32) -> f32) {
    for i in 0..64 {
        d[i] = f(a[i], b[i]);
    }
}

fn fused(d: &mut Values, a: &Values, b: &Values, c: &Values) {
    for i in 0..64 {
        let exact = f64::from(a[i]) * f64::from(b[i]);
        d[i] = narrow_to_odd(add_to_odd(exact, f64::from(c[i])));
    }
}

/// To f32, rounded to odd, so that the next rounding is the only one that counts.
#[inline(always)]
fn narrow_to_odd(x: f64) -> f32 {
    let near = x as f32;
    let is_exact = f64::from(near) == x || !near.is_finite();
    let is_too_large = f64::from(near).abs() > x.abs();
    let bits = if is_too_large { near.to_bits().wrapping_sub(1) } else { near.to_bits() };
    if is_exact { near } else { f32::from_bits(bits | 1) }
}

pub(crate) fn least(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() { b } else { a };
    }
    if a < b || (a == b && a.is_sign_negative()) { a } else { b }
}

pub(crate) fn largest(a: f32, b: f32) -> f32 {
    -least(-a, -b)
}

fn nan_or(a: f32, b: f32, otherwise: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { otherwise }
}

#[inline(always)]
fn unpack(spec: HalfSpec, col: &Col) -> Values {
    let mut values = [0.0; 64];
    let (low, high) = values.split_at_mut(32);
    match spec.kind {
        HalfKind::F16 => {
            for lane in 0..32 {
                low[lane] = f16_to_f32(col[lane] as u16);
                high[lane] = f16_to_f32((col[lane] >> 16) as u16);
            }
        }
        HalfKind::Bf16 => {
            for lane in 0..32 {
                low[lane] = bf16_to_f32(col[lane] as u16);
                high[lane] = bf16_to_f32((col[lane] >> 16) as u16);
            }
        }
    }
    if spec.flushes {
        flush_all(spec.kind, &mut values);
    }
    values
}

fn flush_all(kind: HalfKind, values: &mut Values) {
    let least = match kind {
        HalfKind::F16 => 2.0_f32.powi(-14),
        HalfKind::Bf16 => f32::MIN_POSITIVE,
    };
    for value in values {
        if value.abs() < least {
            *value = 0.0_f32.copysign(*value);
        }
    }
}

#[inline(always)]
fn pack(spec: HalfSpec, values: &mut Values, out: &mut Col) {
    if spec.saturates {
        values.iter_mut().for_each(|value| *value = saturate(*value));
    }
    if spec.is_relu {
        values.iter_mut().for_each(|v| *v = if *v > 0.0 || v.is_nan() { *v } else { 0.0 });
    }
    let mut bits = [0; 64];
    match spec.kind {
        HalfKind::F16 => (0..64).for_each(|i| bits[i] = f32_to_f16(values[i])),
        HalfKind::Bf16 => (0..64).for_each(|i| bits[i] = f32_to_bf16(values[i])),
    }
    if spec.flushes {
        let least = if spec.kind == HalfKind::F16 { 0x400 } else { 0x80 };
        for bits in &mut bits {
            *bits = if *bits & 0x7fff < least { *bits & 0x8000 } else { *bits };
        }
    }
    let high_mask = if spec.is_pair { u64::MAX } else { 0 };
    for lane in 0..32 {
        out[lane] = u64::from(bits[lane]) | (u64::from(bits[lane + 32]) << 16) & high_mask;
    }
}
