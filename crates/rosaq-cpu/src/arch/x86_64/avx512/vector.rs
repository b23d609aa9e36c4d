//! Loads of sixteen lanes, and their sum.

use std::arch::x86_64::*;

use half::f16;

use super::super::first_chunk;
use super::{LANES, SPAN};

/// Sixteen packed zero points of `B` bits as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn load_zeros<const B: usize>(bytes: &[u8; LANES]) -> __m512 {
    #![expect(clippy::cast_possible_truncation, reason = "bytes and bits of one vector")]
    // A zero point of lane `l` lies in the two bytes from bit `B * l` on.
    let mut pairs = [[u8::MAX; 4]; LANES]; // indices with the top bit set yield zero
    let mut shifts = [0; LANES];
    for lane in 0..LANES {
        let byte = (lane * B / 8) as u8;
        pairs[lane][..2].copy_from_slice(&[byte, byte + 1]);
        shifts[lane] = (lane * B % 8) as i32;
    }
    // SAFETY: the array has the 16 bytes that an unaligned load reads.
    let all = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
    let pairs = _mm512_shuffle_epi8(all, load_bytes(first_chunk(pairs.as_flattened())));
    let zeros = _mm512_srlv_epi32(pairs, load_i32(&shifts));
    _mm512_cvtepi32_ps(_mm512_and_si512(zeros, _mm512_set1_epi32((1 << B) - 1)))
}

/// One block of codes, low fields of a lane first; bits above the last field are not defined.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn load_codes<const B: usize>(bytes: &[u8; SPAN]) -> __m512i {
    match B {
        2 => {
            let bytes: &[u8; 32] = first_chunk(bytes);
            // SAFETY: the array has the 32 bytes that an unaligned load reads.
            _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
        }
        3 | 6 => {
            // Three bytes a lane: twelve for each quarter of the vector.
            let lanes = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            _mm512_shuffle_epi8(load_quarters::<12>(bytes), _mm512_broadcast_i32x4(lanes))
        }
        5 => {
            // Twenty bits a lane: ten bytes a quarter, every second lane starts amid a byte.
            let lanes = _mm_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1);
            let lanes =
                _mm512_shuffle_epi8(load_quarters::<10>(bytes), _mm512_broadcast_i32x4(lanes));
            _mm512_srlv_epi32(lanes, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 4, 0, 4)))
        }
        _ => load_bytes(bytes),
    }
}

/// Sixteen bytes from each of 0, `STEP`, `2 * STEP` and `3 * STEP`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
fn load_quarters<const STEP: usize>(bytes: &[u8; SPAN]) -> __m512i {
    let quarters = _mm512_castsi128_si512(load_quarter(bytes, 0));
    let quarters = _mm512_inserti32x4::<1>(quarters, load_quarter(bytes, STEP));
    let quarters = _mm512_inserti32x4::<2>(quarters, load_quarter(bytes, 2 * STEP));
    _mm512_inserti32x4::<3>(quarters, load_quarter(bytes, 3 * STEP))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
fn load_bytes(bytes: &[u8; SPAN]) -> __m512i {
    // SAFETY: the array has the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Sixteen bytes from `start`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
fn load_quarter(bytes: &[u8; SPAN], start: usize) -> __m128i {
    let bytes: &[u8; 16] = first_chunk(&bytes[start..]);
    // SAFETY: the array has the 16 bytes that an unaligned load reads.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn load(values: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn load_i32(values: &[i32; LANES]) -> __m512i {
    // SAFETY: the array has the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn load_f16(values: &[f16; LANES]) -> __m512 {
    // SAFETY: the array has the 32 bytes that an unaligned load reads, and `f16` is a transparent
    // wrapper of its 16 bits.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn sum_lanes(vector: __m512) -> f32 {
    _mm512_reduce_add_ps(vector)
}
