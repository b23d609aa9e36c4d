//! Loads of eight lanes, and their sum.

use std::arch::x86_64::*;

use half::f16;

use super::super::first_chunk;
use super::{LANES, SPAN};

/// Eight packed zero points of `B` bits as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_zeros<const B: usize>(bytes: &[u8; LANES]) -> __m256 {
    #![expect(clippy::cast_possible_truncation, reason = "bytes and bits of one vector")]
    // A zero point of lane `l` lies in the two bytes from bit `B * l` on.
    let mut pairs = [[u8::MAX; 4]; LANES]; // indices with the top bit set yield zero
    let mut shifts = [0; LANES];
    for lane in 0..LANES {
        let byte = (lane * B / 8) as u8;
        pairs[lane][..2].copy_from_slice(&[byte, byte + 1]);
        shifts[lane] = (lane * B % 8) as i32;
    }
    let all = _mm256_set1_epi64x(i64::from_le_bytes(*bytes));
    let pairs = _mm256_shuffle_epi8(all, load_bytes(first_chunk(pairs.as_flattened())));
    let zeros = _mm256_srlv_epi32(pairs, load_i32(&shifts));
    _mm256_cvtepi32_ps(_mm256_and_si256(zeros, _mm256_set1_epi32((1 << B) - 1)))
}

/// One block of codes, low fields of a lane first; bits above the last field are not defined.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_codes<const B: usize>(bytes: &[u8; SPAN]) -> __m256i {
    match B {
        2 => _mm256_cvtepu16_epi32(load_half(bytes, 0)),
        3 | 6 => {
            // Three bytes a lane: twelve for each half of the vector.
            let both = _mm256_set_m128i(load_half(bytes, 12), load_half(bytes, 0));
            let lanes = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            _mm256_shuffle_epi8(both, _mm256_broadcastsi128_si256(lanes))
        }
        5 => {
            // Twenty bits a lane: ten bytes for each half, every second lane starts amid a byte.
            let both = _mm256_set_m128i(load_half(bytes, 10), load_half(bytes, 0));
            let lanes = _mm_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1);
            let lanes = _mm256_shuffle_epi8(both, _mm256_broadcastsi128_si256(lanes));
            _mm256_srlv_epi32(lanes, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4))
        }
        _ => load_bytes(bytes),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_bytes(bytes: &[u8; SPAN]) -> __m256i {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Sixteen bytes from `start`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_half(bytes: &[u8; SPAN], start: usize) -> __m128i {
    let bytes: &[u8; 16] = first_chunk(&bytes[start..]);
    // SAFETY: the array has the 16 bytes that an unaligned load reads.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load(values: &[f32; LANES]) -> __m256 {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_i32(values: &[i32; LANES]) -> __m256i {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_f16(values: &[f16; LANES]) -> __m256 {
    // SAFETY: the array has the 16 bytes that an unaligned load reads, and `f16` is a transparent
    // wrapper of its 16 bits.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn sum_lanes(vector: __m256) -> f32 {
    let halves = _mm_add_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps::<1>(vector));
    let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
    _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
}
