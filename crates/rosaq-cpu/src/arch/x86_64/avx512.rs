//! AVX-512 (F, BW and VL) with F16C: sixteen lanes.

use std::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use super::avx2::Avx2;
use super::load_16;
use crate::arch::generic::{Kernel, Simd};

/// Proof that the processor has AVX-512 F, BW and VL, and what [`Avx2`] stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// `None` where the processor lacks one of them.
    pub(crate) fn new() -> Option<Self> {
        let found = Avx2::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        found.then_some(Self(()))
    }
}

impl Simd<16> for Avx512 {
    type Floats = __m512;
    type Words = __m512i;
    type Levels = __m512;

    #[inline(always)]
    fn enter<K: Kernel<16>>(
        self,
        segment: &K::Segment<'_>,
        x: &K::Tokens<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
        fn entry<K: Kernel<16>>(
            isa: Avx512,
            segment: &K::Segment<'_>,
            x: &K::Tokens<'_>,
            rows: Range<usize>,
            out: &mut [f32],
        ) {
            K::run(isa, segment, x, rows, out);
        }
        // SAFETY: `self` proves the features.
        unsafe { entry::<K>(self, segment, x, rows, out) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn splat_bits(self, bits: i32) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_epi32(bits) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F; the array has the 64 bytes that an unaligned load reads.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; 16], values: __m512) {
        // SAFETY: `self` proves AVX-512 F; the array has the 64 bytes that an unaligned store writes.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F; the array has the 32 bytes that an unaligned load reads, and
        // `f16` is a transparent wrapper of its 16 bits.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn permute(self, values: __m512, idxs: &[i32; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_permutexvar_ps(load_i32(idxs), values) }
    }

    #[inline(always)]
    fn sum_lanes(self, values: __m512) -> f32 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_reduce_add_ps(values) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        super::prefetch(address);
    }

    #[inline(always)]
    fn load_codes<const B: usize>(self, bytes: &[[u8; 4]; 16]) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { load_codes::<B>(bytes) }
    }

    #[inline(always)]
    fn gather_bytes(self, bytes: &[u8; 16], idxs: &[[u8; 4]; 16]) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe {
            let all = _mm512_broadcast_i32x4(load_16(bytes, 0));
            _mm512_shuffle_epi8(all, load_bytes(idxs))
        }
    }

    #[inline(always)]
    fn shift_right(self, words: __m512i, n_bits: i32) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_srl_epi32(words, _mm_cvtsi32_si128(n_bits)) }
    }

    #[inline(always)]
    fn shift_right_each(self, words: __m512i, n_bits: &[i32; 16]) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_srlv_epi32(words, load_i32(n_bits)) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn to_floats(self, words: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_cvtepi32_ps(words) }
    }

    #[inline(always)]
    fn levels(self, table: &[f32; 16]) -> __m512 {
        self.load(table)
    }

    #[inline(always)]
    fn look_up<const B: usize>(self, levels: __m512, idxs: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512 F. The permutation reads only the low four bits of an index.
        unsafe { _mm512_permutexvar_ps(idxs, levels) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_i32(values: &[i32; 16]) -> __m512i {
    // SAFETY: the array has the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_bytes(bytes: &[[u8; 4]; 16]) -> __m512i {
    // SAFETY: the array has the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_codes<const B: usize>(bytes: &[[u8; 4]; 16]) -> __m512i {
    match B {
        2 => {
            let bytes = bytes[..8].as_flattened();
            // SAFETY: eight times four are the 32 bytes that an unaligned load reads.
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
#[target_feature(enable = "avx512f,avx512bw")]
fn load_quarters<const STEP: usize>(bytes: &[[u8; 4]; 16]) -> __m512i {
    let quarter = |i: usize| load_16(bytes.as_flattened(), i * STEP);
    let quarters = _mm512_castsi128_si512(quarter(0));
    let quarters = _mm512_inserti32x4::<1>(quarters, quarter(1));
    let quarters = _mm512_inserti32x4::<2>(quarters, quarter(2));
    _mm512_inserti32x4::<3>(quarters, quarter(3))
}
