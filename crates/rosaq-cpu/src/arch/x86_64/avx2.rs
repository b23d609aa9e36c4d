//! AVX2, FMA and F16C: eight lanes.

use std::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use super::load_16;
use crate::arch::generic::{Kernel, Simd};

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` where the processor lacks one of them.
    pub(crate) fn new() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Self(()))
    }
}

impl Simd<8> for Avx2 {
    type Floats = __m256;
    type Words = __m256i;
    /// Levels 0 to 7 and 8 to 15.
    type Levels = [__m256; 2];

    #[inline(always)]
    fn enter<K: Kernel<8>>(
        self,
        segment: &K::Segment<'_>,
        x: &K::Tokens<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn entry<K: Kernel<8>>(
            isa: Avx2,
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
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn splat_bits(self, bits: i32) -> __m256i {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_set1_epi32(bits) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; 8]) -> __m256 {
        // SAFETY: `self` proves AVX; the array has the 32 bytes that an unaligned load reads.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; 8], values: __m256) {
        // SAFETY: `self` proves AVX; the array has the 32 bytes that an unaligned store writes.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; 8]) -> __m256 {
        // SAFETY: `self` proves F16C; the array has the 16 bytes that an unaligned load reads, and
        // `f16` is a transparent wrapper of its 16 bits.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn permute(self, values: __m256, idxs: &[i32; 8]) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_permutevar8x32_ps(values, load_i32(idxs)) }
    }

    #[inline(always)]
    fn sum_lanes(self, values: __m256) -> f32 {
        // SAFETY: `self` proves AVX.
        unsafe { sum_lanes(values) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        super::prefetch(address);
    }

    #[inline(always)]
    fn load_codes<const B: usize>(self, bytes: &[[u8; 4]; 8]) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { load_codes::<B>(bytes) }
    }

    #[inline(always)]
    fn gather_bytes(self, bytes: &[u8; 8], idxs: &[[u8; 4]; 8]) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let all = _mm256_set1_epi64x(i64::from_le_bytes(*bytes));
            _mm256_shuffle_epi8(all, load_bytes(idxs))
        }
    }

    #[inline(always)]
    fn shift_right(self, words: __m256i, n_bits: i32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srl_epi32(words, _mm_cvtsi32_si128(n_bits)) }
    }

    #[inline(always)]
    fn shift_right_each(self, words: __m256i, n_bits: &[i32; 8]) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srlv_epi32(words, load_i32(n_bits)) }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn to_floats(self, words: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_cvtepi32_ps(words) }
    }

    #[inline(always)]
    fn levels(self, table: &[f32; 16]) -> [__m256; 2] {
        let [low, high] = table.as_chunks().0 else { unreachable!("sixteen are two times eight") };
        [self.load(low), self.load(high)]
    }

    #[inline(always)]
    fn look_up<const B: usize>(self, levels: [__m256; 2], idxs: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { look_up::<B>(levels, idxs) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_i32(values: &[i32; 8]) -> __m256i {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(bytes: &[[u8; 4]; 8]) -> __m256i {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn sum_lanes(values: __m256) -> f32 {
    let halves = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
    let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
    _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_codes<const B: usize>(bytes: &[[u8; 4]; 8]) -> __m256i {
    let half = |start| load_16(bytes.as_flattened(), start);
    match B {
        2 => _mm256_cvtepu16_epi32(half(0)),
        3 | 6 => {
            // Three bytes a lane: twelve for each half of the vector.
            let both = _mm256_set_m128i(half(12), half(0));
            let lanes = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            _mm256_shuffle_epi8(both, _mm256_broadcastsi128_si256(lanes))
        }
        5 => {
            // Twenty bits a lane: ten bytes for each half, every second lane starts amid a byte.
            let both = _mm256_set_m128i(half(10), half(0));
            let lanes = _mm_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1);
            let lanes = _mm256_shuffle_epi8(both, _mm256_broadcastsi128_si256(lanes));
            _mm256_srlv_epi32(lanes, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4))
        }
        _ => load_bytes(bytes),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const B: usize>([low, high]: [__m256; 2], idxs: __m256i) -> __m256 {
    // A permutation reads only the low three bits of an index.
    let low = _mm256_permutevar8x32_ps(low, idxs);
    if B < 4 {
        return low;
    }
    let high = _mm256_permutevar8x32_ps(high, idxs);
    let fourth_bit_on_top = _mm256_slli_epi32::<28>(idxs);
    _mm256_blendv_ps(low, high, _mm256_castsi256_ps(fourth_bit_on_top))
}
