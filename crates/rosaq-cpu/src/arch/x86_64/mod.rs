//! Kernels for 64-bit x86.
//!
//! An instruction set is a type that only its own `new` constructs, after the features were found.
//! That proof is why the unsafe calls of [`crate::arch::generic::Simd`]'s methods are sound.

#![expect(
    unsafe_code,
    reason = "instructions may run only where they were found, loads take pointers"
)]

pub(crate) mod avx2;
mod avx2_bytes;
pub(crate) mod avx512;
pub(crate) mod avx512_vnni;
pub(crate) mod bf16;
pub(crate) mod elementwise;
pub(crate) mod trellis;

use std::arch::x86_64::*;

/// Asks for the cache line at `address`.
#[inline(always)]
fn prefetch(address: *const u8) {
    // SAFETY: a prefetch may name any address.
    #[allow(unused_unsafe, reason = "safe to call in newer releases of Rust only")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
}

/// Asks the second-level cache for the line at `address`.
#[inline(always)]
fn prefetch_far(address: *const u8) {
    // SAFETY: a prefetch may name any address.
    #[allow(unused_unsafe, reason = "safe to call in newer releases of Rust only")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
}

/// Sixteen of the bytes, from `start` on.
///
/// # Panics
/// If there are fewer.
#[inline(always)]
fn load_16(bytes: &[u8], start: usize) -> __m128i {
    let bytes = bytes[start..].first_chunk::<16>().expect("a vector has bytes for every part");
    // SAFETY: the array has the 16 bytes that an unaligned load reads; SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
