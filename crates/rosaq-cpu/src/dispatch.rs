//! Chooses an instruction set at run time and enters its kernels.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "a function with target features may run only after detection")
)]

use std::ops::Range;

use half::f16;

use crate::arch;
#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64::Neon;
use crate::arch::attention::AttentionShape;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::arch::generic::{AttentionRows, Simd};
use crate::arch::generic::{Kept, KeysValues};
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::{avx2::Avx2, avx512::Avx512};
use crate::isa::Isa;
use crate::prepare::{Activations, Arranged};
use crate::segment::SegmentRows;
#[cfg(target_arch = "x86_64")]
use crate::trellis::SumTrellis;

/// Arranges a segment's activations, one slice of its channels a token, for `isa`.
pub(crate) fn arrange(isa: Isa, segment: &SegmentRows<'_>, x: &[&[f32]]) -> Activations {
    let SegmentRows::Codes(segment) = segment else { return Activations::Plain };
    match isa {
        Isa::Avx2 | Isa::Neon | Isa::NeonDot if Arranged::<8>::fits(segment) => {
            Activations::Lanes8(Arranged::new(segment, x.iter().copied()))
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni if Arranged::<16>::fits(segment) => {
            Activations::Lanes16(Arranged::new(segment, x.iter().copied()))
        }
        _ => Activations::Plain,
    }
}

/// Adds the product of rows `rows` of one segment with each token to `out` `[rows, tokens]`.
///
/// `arranged` is what [`arrange`] made of the tokens `x` for this `isa`.
///
/// # Panics
/// If the processor lacks `isa`.
pub(crate) fn add_rows(
    isa: Isa,
    segment: &SegmentRows<'_>,
    (x, arranged): (&[&[f32]], &Activations),
    rows: Range<usize>,
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if let (SegmentRows::Trellis(segment), Some(proof)) = (segment, Avx2::new())
        && isa != Isa::Scalar
        && let Some(segment) = SumTrellis::of(segment)
    {
        return arch::x86_64::trellis::add_rows(proof, &segment, x, rows, out);
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            let isa = Avx2::new().expect("the callers checked the processor");
            arch::generic::add_rows(isa, segment, (x, arranged.lanes8()), rows, out);
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni => {
            let isa = Avx512::new().expect("the callers checked the processor");
            arch::generic::add_rows(isa, segment, (x, arranged.lanes16()), rows, out);
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => {
            let isa = Neon::<false>::new().expect("the callers checked the processor");
            arch::generic::add_rows(isa, segment, (x, arranged.lanes8()), rows, out);
        }
        _ => arch::all::add_rows(segment, x, rows, out),
    }
}

/// Softmax of `row` in place, in f32; the same bits on every instruction set.
pub fn softmax(row: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if Avx2::new().is_some() {
        // SAFETY: the availability of AVX2 was just checked.
        return unsafe { arch::x86_64::elementwise::softmax(row) };
    }
    arch::elementwise::softmax(row);
}

/// `gate = silu(gate) * up` in f32, with `silu(x) = x / (1 + exp(-x))`; the same bits on every instruction set.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up have the same length");
    #[cfg(target_arch = "x86_64")]
    if Avx2::new().is_some() {
        // SAFETY: the availability of AVX2 was just checked.
        return unsafe { arch::x86_64::elementwise::silu_mul(gate, up) };
    }
    arch::elementwise::silu_mul(gate, up);
}

/// The way back of [`silu_mul`]: `gate` and `up` as they were before it become their gradients, given that of the result; in f32,
/// the same bits on every instruction set.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul_backward(gate: &mut [f32], up: &mut [f32], gradient: &[f32]) {
    let lengths = [gate.len(), up.len(), gradient.len()];
    assert!(lengths == [gate.len(); 3], "expected the same length thrice, found {lengths:?}");
    #[cfg(target_arch = "x86_64")]
    if Avx2::new().is_some() {
        // SAFETY: the availability of AVX2 was just checked.
        return unsafe { arch::x86_64::elementwise::silu_mul_backward(gate, up, gradient) };
    }
    arch::elementwise::silu_mul_backward(gate, up, gradient);
}

/// Every `points` consecutive values of `x` become their Walsh-Hadamard transform over `sqrt(points)`, in place, in f32; the
/// same bits on every instruction set.
///
/// # Panics
/// If `points` is no power of two or does not divide the length.
pub fn walsh_hadamard(x: &mut [f32], points: usize) {
    let fits = points.is_power_of_two() && x.len().is_multiple_of(points);
    assert!(fits, "{points} points in {} values", x.len());
    #[cfg(target_arch = "x86_64")]
    if Avx2::new().is_some() {
        // SAFETY: the availability of AVX2 was just checked.
        return unsafe { arch::x86_64::elementwise::walsh_hadamard(x, points) };
    }
    arch::elementwise::walsh_hadamard(x, points);
}

/// Attention of one token: `query` and `out` `[n_heads * head_dim]`, `keys` and `values` row-major
/// `[tokens, n_kv_heads * head_dim]`, all of which are seen. In f32.
///
/// # Panics
/// If the lengths do not fit the shape, or there are no keys.
pub fn attend_token(
    shape: AttentionShape,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    attend_token_with(Isa::detect(), KeysValues { shape, keys, values }, query, out);
}

/// [`attend_token`] over keys and values of f16; computed in f32.
///
/// # Panics
/// If the lengths do not fit the shape, or there are no keys.
pub fn attend_token_f16(
    shape: AttentionShape,
    query: &[f32],
    keys: &[f16],
    values: &[f16],
    out: &mut [f32],
) {
    attend_token_with(Isa::detect(), KeysValues { shape, keys, values }, query, out);
}

/// [`attend_token`] for a given instruction set.
pub(crate) fn attend_token_with<S: Kept>(
    isa: Isa,
    states: KeysValues<'_, S>,
    query: &[f32],
    out: &mut [f32],
) {
    let KeysValues { shape, keys, values } = states;
    shape.check(query, (keys, values), out);
    let heads = 0..shape.n_kv_heads;
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            let isa = Avx2::new().expect("this processor has AVX2");
            isa.enter::<AttentionRows<S>>(&states, query, heads, out);
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni => {
            let isa = Avx512::new().expect("this processor has AVX-512");
            isa.enter::<AttentionRows<S>>(&states, query, heads, out);
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => {
            let isa = Neon::<false>::new().expect("this processor has NEON");
            isa.enter::<AttentionRows<S>>(&states, query, heads, out);
        }
        _ => arch::attention::attend_token(shape, query, keys, values, out),
    }
}
