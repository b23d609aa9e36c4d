//! Kernels for 64-bit Arm.
//!
//! As on x86, an instruction set is a type that only its own `new` constructs. NEON is part of every 64-bit Arm processor that
//! Rust compiles for with it; the products of bytes (`sdot`) of Armv8.4 are looked for. What the standard library does not offer
//! yet is a line of assembly.

#![expect(
    unsafe_code,
    reason = "instructions may run only where they were found, loads take pointers"
)]

pub(crate) mod neon;
mod neon_bytes;

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use half::f16;

/// Proof that the processor has NEON and, where `DOT`, products of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon<const DOT: bool>(());

impl<const DOT: bool> Neon<DOT> {
    /// `None` where the processor lacks one of them.
    pub(crate) fn new() -> Option<Self> {
        let found = is_aarch64_feature_detected!("neon");
        let found = found && (!DOT || is_aarch64_feature_detected!("dotprod"));
        found.then_some(Self(()))
    }
}

/// Eight f32.
type Floats = float32x4x2_t;

/// Asks for the cache line at `address`.
#[inline(always)]
fn prefetch(address: *const u8) {
    // SAFETY: a prefetch may name any address, and changes nothing that can be seen.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

/// Asks the second-level cache for the line at `address`.
#[inline(always)]
fn prefetch_far(address: *const u8) {
    // SAFETY: a prefetch may name any address, and changes nothing that can be seen.
    unsafe { asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

/// Unaligned.
#[inline]
#[target_feature(enable = "neon")]
fn load(values: &[f32; 8]) -> Floats {
    // SAFETY: the array has the 32 bytes that the loads read.
    unsafe { float32x4x2_t(vld1q_f32(values.as_ptr()), vld1q_f32(values.as_ptr().add(4))) }
}

/// Unaligned.
#[inline]
#[target_feature(enable = "neon")]
fn store(to: &mut [f32; 8], values: Floats) {
    // SAFETY: the array has the 32 bytes that the stores write.
    unsafe {
        vst1q_f32(to.as_mut_ptr(), values.0);
        vst1q_f32(to.as_mut_ptr().add(4), values.1);
    }
}

/// Unaligned, converted to f32.
#[inline]
#[target_feature(enable = "neon")]
fn load_f16(values: &[f16; 8]) -> Floats {
    // SAFETY: the array has the 16 bytes that an unaligned load reads, and `f16` is a transparent wrapper of its 16 bits; the
    // conversions are part of NEON and read and write the registers named alone.
    unsafe {
        let halves = vld1q_u16(values.as_ptr().cast());
        let (low, high): (float32x4_t, float32x4_t);
        asm!("fcvtl {:v}.4s, {:v}.4h", out(vreg) low, in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags));
        asm!("fcvtl2 {:v}.4s, {:v}.8h", out(vreg) high, in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags));
        float32x4x2_t(low, high)
    }
}

/// Adds the upper half of the lanes to the lower one until a single lane is left.
#[inline]
#[target_feature(enable = "neon")]
fn sum_lanes(values: Floats) -> f32 {
    let four = vaddq_f32(values.0, values.1);
    let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    vget_lane_f32::<0>(vpadd_f32(two, two))
}
