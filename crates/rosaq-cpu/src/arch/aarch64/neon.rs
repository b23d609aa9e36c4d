//! NEON: eight lanes in two registers.

use std::arch::aarch64::*;
use std::ops::Range;

use half::f16;

use super::{Floats, Neon};
use crate::arch::generic::{Kernel, Simd};

impl<const DOT: bool> Simd<8> for Neon<DOT> {
    type Floats = Floats;
    type Words = uint32x4x2_t;
    /// As bytes.
    type Levels = uint8x16x4_t;

    #[inline(always)]
    fn enter<K: Kernel<8>>(
        self,
        segment: &K::Segment<'_>,
        x: &K::Tokens<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        #[target_feature(enable = "neon")]
        fn entry<K: Kernel<8>, const DOT: bool>(
            isa: Neon<DOT>,
            segment: &K::Segment<'_>,
            x: &K::Tokens<'_>,
            rows: Range<usize>,
            out: &mut [f32],
        ) {
            K::run(isa, segment, x, rows, out);
        }
        // SAFETY: `self` proves NEON.
        unsafe { entry::<K, DOT>(self, segment, x, rows, out) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    fn splat_bits(self, bits: i32) -> uint32x4x2_t {
        // SAFETY: `self` proves NEON.
        let four = unsafe { vdupq_n_u32(bits.cast_unsigned()) };
        uint32x4x2_t(four, four)
    }

    #[inline(always)]
    fn load(self, values: &[f32; 8]) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { super::load(values) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; 8], values: Floats) {
        // SAFETY: `self` proves NEON.
        unsafe { super::store(to, values) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; 8]) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { super::load_f16(values) }
    }

    #[inline(always)]
    fn add(self, a: Floats, b: Floats) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Floats, b: Floats) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul_add(self, a: Floats, b: Floats, c: Floats) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: Floats, b: Floats, c: Floats) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vfmsq_f32(c.0, a.0, b.0), vfmsq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn permute(self, values: Floats, idxs: &[i32; 8]) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { permute(values, load_words(idxs)) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        super::prefetch(address);
    }

    #[inline(always)]
    fn sum_lanes(self, values: Floats) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe { super::sum_lanes(values) }
    }

    #[inline(always)]
    fn load_codes<const B: usize>(self, bytes: &[[u8; 4]; 8]) -> uint32x4x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { load_codes::<B>(bytes) }
    }

    #[inline(always)]
    fn gather_bytes(self, bytes: &[u8; 8], idxs: &[[u8; 4]; 8]) -> uint32x4x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { gather_bytes(bytes, idxs) }
    }

    #[inline(always)]
    fn shift_right(self, words: uint32x4x2_t, n_bits: i32) -> uint32x4x2_t {
        // SAFETY: `self` proves NEON. A shift left by less than nothing is one to the right.
        unsafe {
            let by = vdupq_n_s32(-n_bits);
            uint32x4x2_t(vshlq_u32(words.0, by), vshlq_u32(words.1, by))
        }
    }

    #[inline(always)]
    fn shift_right_each(self, words: uint32x4x2_t, n_bits: &[i32; 8]) -> uint32x4x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { shift_right_each(words, load_words(n_bits)) }
    }

    #[inline(always)]
    fn and(self, a: uint32x4x2_t, b: uint32x4x2_t) -> uint32x4x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { uint32x4x2_t(vandq_u32(a.0, b.0), vandq_u32(a.1, b.1)) }
    }

    #[inline(always)]
    fn to_floats(self, words: uint32x4x2_t) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe {
            let (low, high) = (vreinterpretq_s32_u32(words.0), vreinterpretq_s32_u32(words.1));
            float32x4x2_t(vcvtq_f32_s32(low), vcvtq_f32_s32(high))
        }
    }

    #[inline(always)]
    fn levels(self, table: &[f32; 16]) -> uint8x16x4_t {
        // SAFETY: `self` proves NEON; the table has the 64 bytes that the load reads, in this processor's order.
        unsafe { vld1q_u8_x4(table.as_ptr().cast()) }
    }

    #[inline(always)]
    fn look_up<const B: usize>(self, levels: uint8x16x4_t, idxs: uint32x4x2_t) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { look_up(levels, idxs) }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_words(values: &[i32; 8]) -> int32x4x2_t {
    // SAFETY: the array has the 32 bytes that the loads read.
    unsafe { int32x4x2_t(vld1q_s32(values.as_ptr()), vld1q_s32(values.as_ptr().add(4))) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_bytes(bytes: &[[u8; 4]; 8]) -> uint8x16x2_t {
    let bytes = bytes.as_flattened();
    // SAFETY: the array has the 32 bytes that the loads read.
    unsafe { uint8x16x2_t(vld1q_u8(bytes.as_ptr()), vld1q_u8(bytes.as_ptr().add(16))) }
}

/// Indices of the four bytes of the words that `idxs` names.
#[inline]
#[target_feature(enable = "neon")]
fn bytes_of_words(idxs: uint32x4_t) -> uint8x16_t {
    let first = vmulq_n_u32(idxs, 0x0404_0404);
    vreinterpretq_u8_u32(vaddq_u32(first, vdupq_n_u32(0x0302_0100)))
}

#[inline]
#[target_feature(enable = "neon")]
fn permute(values: Floats, idxs: int32x4x2_t) -> Floats {
    let bytes = uint8x16x2_t(vreinterpretq_u8_f32(values.0), vreinterpretq_u8_f32(values.1));
    let low = vqtbl2q_u8(bytes, bytes_of_words(vreinterpretq_u32_s32(idxs.0)));
    let high = vqtbl2q_u8(bytes, bytes_of_words(vreinterpretq_u32_s32(idxs.1)));
    float32x4x2_t(vreinterpretq_f32_u8(low), vreinterpretq_f32_u8(high))
}

#[inline]
#[target_feature(enable = "neon")]
fn shift_right_each(words: uint32x4x2_t, n_bits: int32x4x2_t) -> uint32x4x2_t {
    uint32x4x2_t(vshlq_u32(words.0, vnegq_s32(n_bits.0)), vshlq_u32(words.1, vnegq_s32(n_bits.1)))
}

#[inline]
#[target_feature(enable = "neon")]
fn gather_bytes(bytes: &[u8; 8], idxs: &[[u8; 4]; 8]) -> uint32x4x2_t {
    let all = vcombine_u8(vcreate_u8(u64::from_le_bytes(*bytes)), vdup_n_u8(0));
    let idxs = load_bytes(idxs);
    uint32x4x2_t(
        vreinterpretq_u32_u8(vqtbl1q_u8(all, idxs.0)),
        vreinterpretq_u32_u8(vqtbl1q_u8(all, idxs.1)),
    )
}

/// For every lane the bytes in which its codes of `bits` bits begin and end, of four; one past the end where there are fewer.
const fn bytes_of_lanes(bits: usize) -> [[u8; 4]; 8] {
    let bits_of_lane = if bits <= 4 { 8 * bits } else { 4 * bits };
    let mut idxs = [[u8::MAX; 4]; 8];
    let mut lane = 0;
    while lane < 8 {
        let (first, end) = (lane * bits_of_lane, (lane + 1) * bits_of_lane);
        let mut byte = first / 8;
        while byte < end.div_ceil(8) {
            #[expect(clippy::cast_possible_truncation, reason = "less than 32")]
            {
                idxs[lane][byte - first / 8] = byte as u8;
            }
            byte += 1;
        }
        lane += 1;
    }
    idxs
}

#[inline]
#[target_feature(enable = "neon")]
fn load_codes<const B: usize>(bytes: &[[u8; 4]; 8]) -> uint32x4x2_t {
    let (bytes, idxs) = (load_bytes(bytes), load_bytes(const { &bytes_of_lanes(B) }));
    let words = uint32x4x2_t(
        vreinterpretq_u32_u8(vqtbl2q_u8(bytes, idxs.0)),
        vreinterpretq_u32_u8(vqtbl2q_u8(bytes, idxs.1)),
    );
    if B == 5 {
        // Twenty bits a lane: every second one starts amid a byte.
        return shift_right_each(words, load_words(&[0, 4, 0, 4, 0, 4, 0, 4]));
    }
    words
}

#[inline]
#[target_feature(enable = "neon")]
fn look_up(levels: uint8x16x4_t, idxs: uint32x4x2_t) -> Floats {
    let four_bits = vdupq_n_u32(15);
    let low = vqtbl4q_u8(levels, bytes_of_words(vandq_u32(idxs.0, four_bits)));
    let high = vqtbl4q_u8(levels, bytes_of_words(vandq_u32(idxs.1, four_bits)));
    float32x4x2_t(vreinterpretq_f32_u8(low), vreinterpretq_f32_u8(high))
}
