//! Tiles of eight rows by AVX2.

use std::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use super::avx2::Avx2;
use crate::arch::generic::{ByteSimd, TileKernel};
use crate::tiles::{CHUNK, CHUNKS, InputBlock, Rounding, TILE_ROWS};

impl ByteSimd<8> for Avx2 {
    type Bytes = __m256i;
    type Sums = __m256i;
    type Floats = __m256;

    /// Sixteen entries a vector, in both halves.
    type Table = [__m256i; 4];

    const VALUE_OFFSET: f32 = 0.0;

    /// Codes of eight bits are made signed: as unsigned ones, sums of two products would not fit 16 bits.
    const OFFSET: f32 = 128.0;

    #[inline(always)]
    fn enter<K: TileKernel<8>>(
        self,
        tiles: &K::Tiles,
        x: &K::Tokens<'_>,
        range: Range<usize>,
        out: &mut [[f32; 8]],
    ) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn entry<K: TileKernel<8>>(
            isa: Avx2,
            tiles: &K::Tiles,
            x: &K::Tokens<'_>,
            range: Range<usize>,
            out: &mut [[f32; 8]],
        ) {
            K::run(isa, tiles, x, range, out);
        }
        // SAFETY: `self` proves the features.
        unsafe { entry::<K>(self, tiles, x, range, out) }
    }

    #[inline(always)]
    fn round(self, task: Rounding<'_>) -> InputBlock {
        #[target_feature(enable = "avx2")]
        fn entry(task: Rounding<'_>) -> InputBlock {
            task.run()
        }
        // SAFETY: `self` proves the features.
        unsafe { entry(task) }
    }

    #[inline(always)]
    fn store(self, to: &mut [[u8; CHUNK]; 8], bytes: __m256i) {
        // SAFETY: `self` proves AVX2; the array has the 32 bytes that an unaligned store writes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), bytes) }
    }

    #[inline(always)]
    fn load(self, bytes: &[[u8; CHUNK]; 8]) -> __m256i {
        // SAFETY: `self` proves AVX2; the array has the 32 bytes that an unaligned load reads.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn and(self, bytes: __m256i, mask: u8) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_and_si256(bytes, _mm256_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn shift_right<const N: i32>(self, bytes: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(N)) }
    }

    #[inline(always)]
    fn shift_left<const N: i32>(self, bytes: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sll_epi16(bytes, _mm_cvtsi32_si128(N)) }
    }

    #[inline(always)]
    fn whole_bytes(self, bytes: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_xor_si256(bytes, _mm256_set1_epi8(i8::MIN)) }
    }

    #[inline(always)]
    fn no_sums(self) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn dot<const B: usize>(self, codes: &[__m256i; CHUNKS], x: &[[i8; CHUNK]; CHUNKS]) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { dot::<B>(codes, x) }
    }

    #[inline(always)]
    fn no_bytes(self) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        super::prefetch_far(address);
    }

    #[inline(always)]
    fn add_bytes(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi8(a, b) }
    }

    #[inline(always)]
    fn table(self, entries: &[i8; 64], _: bool) -> [__m256i; 4] {
        // SAFETY: `self` proves AVX2.
        unsafe { table(entries) }
    }

    #[inline(always)]
    fn merge(self, into: __m256i, from: __m256i, mask: u8) -> __m256i {
        self.or(self.and(from, mask), self.and(into, !mask))
    }

    #[inline(always)]
    fn look_up(self, table: &[__m256i; 4], idxs: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { look_up(table, self.and(idxs, 63)) }
    }

    #[inline(always)]
    fn dot_values(self, sums: __m256i, values: __m256i, x: &[[i8; CHUNK]; 8]) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { dot_values(sums, values, x) }
    }

    #[inline(always)]
    fn sum_lanes(self, floats: [__m256; TILE_ROWS]) -> [f32; TILE_ROWS] {
        // SAFETY: `self` proves AVX2.
        unsafe { sum_lanes(floats) }
    }

    #[inline(always)]
    fn to_floats(self, sums: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32; 8]) -> __m256 {
        // SAFETY: `self` proves AVX2; the array has the 32 bytes that an unaligned load reads.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store_f32(self, values: &mut [f32; 8], floats: __m256) {
        // SAFETY: `self` proves AVX2; the array has the 32 bytes that an unaligned store writes.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), floats) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; 8]) -> __m256 {
        // SAFETY: `self` proves F16C; the array has the 16 bytes that an unaligned load reads, and `f16` is a transparent
        // wrapper of its 16 bits.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8; 8]) -> __m256 {
        // SAFETY: `self` proves AVX2; the array has the 8 bytes that an unaligned load reads.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
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
}

/// Chunks whose products, two of them added by each instruction, may be summed in 16 bits: `2 n (2^B - 1) 127 < 2^15`.
const fn chunks_in_16_bits(bits: usize) -> usize {
    match bits {
        2..=4 => 8,
        5 => 4,
        6 => 2,
        _ => 1,
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot<const B: usize>(codes: &[__m256i; CHUNKS], x: &[[i8; CHUNK]; CHUNKS]) -> __m256i {
    let mut sums = _mm256_setzero_si256();
    let ones = _mm256_set1_epi16(1);
    let (codes, x) = (codes.as_slice(), x.as_slice());
    let at_once = const { chunks_in_16_bits(B) };
    for (codes, x) in codes.chunks_exact(at_once).zip(x.chunks_exact(at_once)) {
        let mut words = _mm256_setzero_si256();
        for (&codes, &x) in codes.iter().zip(x) {
            let x = _mm256_set1_epi32(i32::from_le_bytes(x.map(i8::cast_unsigned)));
            let products = if B == 8 {
                // The sign goes over to the activations, which are never -128; 2 * 128 * 127 still fits.
                _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
            } else {
                _mm256_maddubs_epi16(codes, x)
            };
            words = _mm256_add_epi16(words, products);
        }
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(words, ones));
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn table(entries: &[i8; 64]) -> [__m256i; 4] {
    let mut table = [_mm256_setzero_si256(); 4];
    for (part, entries) in table.iter_mut().zip(entries.as_chunks::<16>().0) {
        // SAFETY: the array has the 16 bytes that an unaligned load reads.
        *part = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) });
    }
    table
}

#[inline]
#[target_feature(enable = "avx2")]
fn look_up(table: &[__m256i; 4], idxs: __m256i) -> __m256i {
    // A shuffle heeds bits 0 to 3, and 7, which no index has. Bits 4 and 5 come to stand on top of their bytes, where a blend looks.
    let (fourth, fifth) = (_mm256_slli_epi16::<3>(idxs), _mm256_slli_epi16::<2>(idxs));
    let (a, b) = (_mm256_shuffle_epi8(table[0], idxs), _mm256_shuffle_epi8(table[1], idxs));
    let (c, d) = (_mm256_shuffle_epi8(table[2], idxs), _mm256_shuffle_epi8(table[3], idxs));
    let (low, high) = (_mm256_blendv_epi8(a, b, fourth), _mm256_blendv_epi8(c, d, fourth));
    _mm256_blendv_epi8(low, high, fifth)
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_values(sums: __m256i, values: __m256i, x: &[[i8; CHUNK]; 8]) -> __m256i {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    let x = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
    // The sign goes over to the activations, which are never -128; 2 * 128 * 127 fits 16 bits.
    let products = _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(x, values));
    _mm256_add_epi32(sums, _mm256_madd_epi16(products, _mm256_set1_epi16(1)))
}

/// All lanes of eight vectors: as those of each alone, upper half to lower one, with two or four vectors in one.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_lanes([a, b, c, d, e, f, g, h]: [__m256; TILE_ROWS]) -> [f32; TILE_ROWS] {
    let r = [fours(a, b), fours(c, d), fours(e, f), fours(g, h)];
    let (r, s) = (pairs(r[0], r[1]), pairs(r[2], r[3]));
    let sums = _mm256_add_ps(_mm256_shuffle_ps::<0x88>(r, s), _mm256_shuffle_ps::<0xDD>(r, s));
    // The even ones stand in the lower half.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut lanes = [0.0; TILE_ROWS];
    // SAFETY: the array has the 32 bytes that an unaligned store writes.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_permutevar8x32_ps(sums, order)) };
    lanes
}

/// Four sums of each.
#[inline]
#[target_feature(enable = "avx2")]
fn fours(a: __m256, b: __m256) -> __m256 {
    let lower = _mm256_permute2f128_ps::<0x20>(a, b);
    _mm256_add_ps(lower, _mm256_permute2f128_ps::<0x31>(a, b))
}

/// Two sums of each of the four.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(a: __m256, b: __m256) -> __m256 {
    _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b))
}
