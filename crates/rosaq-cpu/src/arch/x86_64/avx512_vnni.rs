//! Tiles by AVX-512 with VNNI and VBMI: sixteen rows, or 64 channels.

use std::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use super::avx512::Avx512;
use crate::arch::generic::{ByteSimd, TileKernel};
use crate::tiles::{CHUNK, CHUNKS, InputBlock, Rounding, TILE_ROWS};

/// Proof that the processor has VNNI and VBMI for whole vectors besides what [`Avx512`] stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Vnni(());

impl Avx512Vnni {
    /// `None` where the processor lacks one of them.
    pub(crate) fn new() -> Option<Self> {
        let found = Avx512::new().is_some()
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vbmi");
        found.then_some(Self(()))
    }
}

impl ByteSimd<16> for Avx512Vnni {
    type Bytes = __m512i;
    type Sums = __m512i;
    type Floats = __m512;

    type Table = __m512i;

    /// One factor of each product has to be unsigned.
    const VALUE_OFFSET: f32 = 128.0;

    const OFFSET: f32 = 0.0;

    #[inline(always)]
    fn enter<K: TileKernel<16>>(
        self,
        tiles: &K::Tiles,
        x: &K::Tokens<'_>,
        range: Range<usize>,
        out: &mut [[f32; 16]],
    ) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c")]
        fn entry<K: TileKernel<16>>(
            isa: Avx512Vnni,
            tiles: &K::Tiles,
            x: &K::Tokens<'_>,
            range: Range<usize>,
            out: &mut [[f32; 16]],
        ) {
            K::run(isa, tiles, x, range, out);
        }
        // SAFETY: `self` proves the features.
        unsafe { entry::<K>(self, tiles, x, range, out) }
    }

    #[inline(always)]
    fn round(self, task: Rounding<'_>) -> InputBlock {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
        fn entry(task: Rounding<'_>) -> InputBlock {
            task.run()
        }
        // SAFETY: `self` proves the features.
        unsafe { entry(task) }
    }

    #[inline(always)]
    fn store(self, to: &mut [[u8; CHUNK]; 16], bytes: __m512i) {
        // SAFETY: `self` proves AVX-512 F; the array has the 64 bytes that an unaligned store writes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bytes) }
    }

    #[inline(always)]
    fn load(self, bytes: &[[u8; CHUNK]; 16]) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW; the array has the 64 bytes that an unaligned load reads.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn and(self, bytes: __m512i, mask: u8) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_and_si512(bytes, _mm512_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn shift_right<const N: i32>(self, bytes: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(N)) }
    }

    #[inline(always)]
    fn shift_left<const N: i32>(self, bytes: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_sll_epi16(bytes, _mm_cvtsi32_si128(N)) }
    }

    #[inline(always)]
    fn whole_bytes(self, bytes: __m512i) -> __m512i {
        bytes
    }

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn dot<const B: usize>(self, codes: &[__m512i; CHUNKS], x: &[[i8; CHUNK]; CHUNKS]) -> __m512i {
        // SAFETY: `self` proves VNNI.
        unsafe { dot(codes, x) }
    }

    #[inline(always)]
    fn no_bytes(self) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        super::prefetch_far(address);
    }

    #[inline(always)]
    fn add_bytes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    fn table(self, entries: &[i8; 64], offset: bool) -> __m512i {
        // SAFETY: `self` proves AVX-512 F; the array has the 64 bytes that an unaligned load reads.
        unsafe {
            let entries = _mm512_loadu_si512(entries.as_ptr().cast());
            let sign = if offset { i8::MIN } else { 0 };
            _mm512_xor_si512(entries, _mm512_set1_epi8(sign)) // that is, plus 128
        }
    }

    #[inline(always)]
    fn merge(self, into: __m512i, from: __m512i, mask: u8) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe {
            let mask = _mm512_set1_epi32(i32::from_le_bytes([mask; 4]));
            _mm512_ternarylogic_epi32::<0b1100_1010>(mask, from, into)
        }
    }

    #[inline(always)]
    fn look_up(self, table: &__m512i, idxs: __m512i) -> __m512i {
        // SAFETY: `self` proves VBMI.
        unsafe { _mm512_permutexvar_epi8(idxs, *table) }
    }

    #[inline(always)]
    fn dot_values(self, sums: __m512i, values: __m512i, x: &[[i8; CHUNK]; 16]) -> __m512i {
        // SAFETY: `self` proves VNNI and AVX-512 F; the array has the 64 bytes that an unaligned load reads.
        unsafe { _mm512_dpbusd_epi32(sums, values, _mm512_loadu_si512(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn sum_lanes(self, floats: [__m512; TILE_ROWS]) -> [f32; TILE_ROWS] {
        // SAFETY: `self` proves AVX-512 F and AVX2.
        unsafe { sum_lanes(floats) }
    }

    #[inline(always)]
    fn to_floats(self, sums: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F and BW; the array has the 64 bytes that an unaligned load reads.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store_f32(self, values: &mut [f32; 16], floats: __m512) {
        // SAFETY: `self` proves AVX-512 F and BW; the array has the 64 bytes that an unaligned store writes.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), floats) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F; the array has the 32 bytes that an unaligned load reads, and `f16` is a transparent
        // wrapper of its 16 bits.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F and BW; the array has the 16 bytes that an unaligned load reads.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_sub_ps(a, b) }
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
}

/// Products of codes and activations, four at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot(codes: &[__m512i; CHUNKS], x: &[[i8; CHUNK]; CHUNKS]) -> __m512i {
    let mut sums = _mm512_setzero_si512();
    for (&codes, &x) in codes.iter().zip(x) {
        let x = _mm512_set1_epi32(i32::from_le_bytes(x.map(i8::cast_unsigned)));
        sums = _mm512_dpbusd_epi32(sums, codes, x);
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum_lanes(floats: [__m512; TILE_ROWS]) -> [f32; TILE_ROWS] {
    let mut halves = [_mm256_setzero_ps(); TILE_ROWS];
    for (half, floats) in halves.iter_mut().zip(floats) {
        let high = _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b1110>(floats, floats));
        *half = _mm256_add_ps(_mm512_castps512_ps256(floats), high);
    }
    super::avx2_bytes::sum_lanes(halves)
}
