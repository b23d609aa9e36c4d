//! Tiles of eight rows by NEON, with or without products of bytes.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use half::f16;

use super::{Floats, Neon};
use crate::arch::generic::{ByteSimd, TileKernel};
use crate::tiles::{CHUNK, CHUNKS, InputBlock, Rounding, TILE_ROWS};

impl<const DOT: bool> ByteSimd<8> for Neon<DOT> {
    type Bytes = uint8x16x2_t;
    type Sums = int32x4x2_t;
    type Floats = Floats;
    type Table = uint8x16x4_t;

    const VALUE_OFFSET: f32 = 0.0;

    /// Codes of eight bits are made signed, as activations are.
    const OFFSET: f32 = 128.0;

    #[inline(always)]
    fn enter<K: TileKernel<8>>(
        self,
        tiles: &K::Tiles,
        x: &K::Tokens<'_>,
        range: Range<usize>,
        out: &mut [[f32; 8]],
    ) {
        #[target_feature(enable = "neon")]
        fn entry<K: TileKernel<8>>(
            isa: Neon<false>,
            tiles: &K::Tiles,
            x: &K::Tokens<'_>,
            range: Range<usize>,
            out: &mut [[f32; 8]],
        ) {
            K::run(isa, tiles, x, range, out);
        }
        #[target_feature(enable = "neon,dotprod")]
        fn entry_dot<K: TileKernel<8>>(
            isa: Neon<true>,
            tiles: &K::Tiles,
            x: &K::Tokens<'_>,
            range: Range<usize>,
            out: &mut [[f32; 8]],
        ) {
            K::run(isa, tiles, x, range, out);
        }
        // SAFETY: `self` proves the features.
        unsafe {
            if DOT {
                entry_dot::<K>(Neon(()), tiles, x, range, out);
            } else {
                entry::<K>(Neon(()), tiles, x, range, out);
            }
        }
    }

    #[inline(always)]
    fn round(self, task: Rounding<'_>) -> InputBlock {
        #[target_feature(enable = "neon")]
        fn entry(task: Rounding<'_>) -> InputBlock {
            task.run()
        }
        // SAFETY: `self` proves NEON.
        unsafe { entry(task) }
    }

    #[inline(always)]
    fn store(self, to: &mut [[u8; CHUNK]; 8], bytes: uint8x16x2_t) {
        let to = to.as_flattened_mut();
        // SAFETY: `self` proves NEON; the array has the 32 bytes that the stores write.
        unsafe {
            vst1q_u8(to.as_mut_ptr(), bytes.0);
            vst1q_u8(to.as_mut_ptr().add(16), bytes.1);
        }
    }

    #[inline(always)]
    fn load(self, bytes: &[[u8; CHUNK]; 8]) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { load(bytes.as_flattened()) }
    }

    #[inline(always)]
    fn and(self, bytes: uint8x16x2_t, mask: u8) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe {
            let mask = vdupq_n_u8(mask);
            uint8x16x2_t(vandq_u8(bytes.0, mask), vandq_u8(bytes.1, mask))
        }
    }

    #[inline(always)]
    fn or(self, a: uint8x16x2_t, b: uint8x16x2_t) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { uint8x16x2_t(vorrq_u8(a.0, b.0), vorrq_u8(a.1, b.1)) }
    }

    #[inline(always)]
    fn shift_right<const N: i32>(self, bytes: uint8x16x2_t) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { shift_left_by(bytes, const { by(-N) }) }
    }

    #[inline(always)]
    fn shift_left<const N: i32>(self, bytes: uint8x16x2_t) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { shift_left_by(bytes, const { by(N) }) }
    }

    #[inline(always)]
    fn whole_bytes(self, bytes: uint8x16x2_t) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe {
            let sign = vdupq_n_u8(128);
            uint8x16x2_t(veorq_u8(bytes.0, sign), veorq_u8(bytes.1, sign))
        }
    }

    #[inline(always)]
    fn no_sums(self) -> int32x4x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { int32x4x2_t(vdupq_n_s32(0), vdupq_n_s32(0)) }
    }

    #[inline(always)]
    fn dot<const B: usize>(
        self,
        codes: &[uint8x16x2_t; CHUNKS],
        x: &[[i8; CHUNK]; CHUNKS],
    ) -> int32x4x2_t {
        let mut sums = self.no_sums();
        for (&codes, &x) in codes.iter().zip(x) {
            // SAFETY: `self` proves NEON.
            let x = unsafe {
                vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes(x.map(i8::cast_unsigned))))
            };
            sums = self.add_products(sums, codes, int8x16x2_t(x, x));
        }
        sums
    }

    #[inline(always)]
    fn no_bytes(self) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { uint8x16x2_t(vdupq_n_u8(0), vdupq_n_u8(0)) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        super::prefetch_far(address);
    }

    #[inline(always)]
    fn add_bytes(self, a: uint8x16x2_t, b: uint8x16x2_t) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { uint8x16x2_t(vaddq_u8(a.0, b.0), vaddq_u8(a.1, b.1)) }
    }

    #[inline(always)]
    fn table(self, entries: &[i8; 64], _: bool) -> uint8x16x4_t {
        // SAFETY: `self` proves NEON; the table has the 64 bytes that the load reads.
        unsafe { vld1q_u8_x4(entries.as_ptr().cast()) }
    }

    #[inline(always)]
    fn merge(self, into: uint8x16x2_t, from: uint8x16x2_t, mask: u8) -> uint8x16x2_t {
        // SAFETY: `self` proves NEON.
        unsafe {
            let mask = vdupq_n_u8(mask);
            uint8x16x2_t(vbslq_u8(mask, from.0, into.0), vbslq_u8(mask, from.1, into.1))
        }
    }

    #[inline(always)]
    fn look_up(self, table: &uint8x16x4_t, idxs: uint8x16x2_t) -> uint8x16x2_t {
        let idxs = self.and(idxs, 63);
        // SAFETY: `self` proves NEON.
        unsafe { uint8x16x2_t(vqtbl4q_u8(*table, idxs.0), vqtbl4q_u8(*table, idxs.1)) }
    }

    #[inline(always)]
    fn dot_values(
        self,
        sums: int32x4x2_t,
        values: uint8x16x2_t,
        x: &[[i8; CHUNK]; 8],
    ) -> int32x4x2_t {
        let x = x.as_flattened();
        // SAFETY: `self` proves NEON; the array has the 32 bytes that the loads read.
        let x = unsafe { int8x16x2_t(vld1q_s8(x.as_ptr()), vld1q_s8(x.as_ptr().add(16))) };
        self.add_products(sums, values, x)
    }

    #[inline(always)]
    fn sum_lanes(self, floats: [Floats; TILE_ROWS]) -> [f32; TILE_ROWS] {
        let mut sums = [0.0; TILE_ROWS];
        for (sum, floats) in sums.iter_mut().zip(floats) {
            // SAFETY: `self` proves NEON.
            *sum = unsafe { super::sum_lanes(floats) };
        }
        sums
    }

    #[inline(always)]
    fn to_floats(self, sums: int32x4x2_t) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vcvtq_f32_s32(sums.0), vcvtq_f32_s32(sums.1)) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32; 8]) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { super::load(values) }
    }

    #[inline(always)]
    fn store_f32(self, values: &mut [f32; 8], floats: Floats) {
        // SAFETY: `self` proves NEON.
        unsafe { super::store(values, floats) }
    }

    #[inline(always)]
    fn load_f16(self, values: &[f16; 8]) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { super::load_f16(values) }
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8; 8]) -> Floats {
        // SAFETY: `self` proves NEON; the array has the 8 bytes that the load reads.
        unsafe {
            let words = vmovl_u8(vld1_u8(values.as_ptr()));
            let (low, high) = (vmovl_u16(vget_low_u16(words)), vmovl_high_u16(words));
            float32x4x2_t(vcvtq_f32_u32(low), vcvtq_f32_u32(high))
        }
    }

    #[inline(always)]
    fn add(self, a: Floats, b: Floats) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Floats, b: Floats) -> Floats {
        // SAFETY: `self` proves NEON.
        unsafe { float32x4x2_t(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
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
}

impl<const DOT: bool> Neon<DOT> {
    /// Adds the products of signed bytes, four neighbours to each lane.
    #[inline(always)]
    fn add_products(self, sums: int32x4x2_t, a: uint8x16x2_t, b: int8x16x2_t) -> int32x4x2_t {
        // SAFETY: `self` proves the features.
        unsafe {
            let (low, high) = (vreinterpretq_s8_u8(a.0), vreinterpretq_s8_u8(a.1));
            if DOT {
                int32x4x2_t(dot_products(sums.0, low, b.0), dot_products(sums.1, high, b.1))
            } else {
                int32x4x2_t(products(sums.0, low, b.0), products(sums.1, high, b.1))
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_products(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the function has the instruction, which reads and writes the registers named alone.
    unsafe {
        asm!("sdot {:v}.4s, {:v}.16b, {:v}.16b", inout(vreg) sums, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// In 16 bits first: `b` is never -128, so that two products fit, `2 * 128 * 127 < 2^15`.
#[inline]
#[target_feature(enable = "neon")]
fn products(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    vpadalq_s16(sums, vpaddq_s16(low, vmull_high_s8(a, b)))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8]) -> uint8x16x2_t {
    let [low, high] = bytes.as_chunks::<16>().0 else { unreachable!("32 bytes are two times 16") };
    // SAFETY: each array has the 16 bytes that a load reads.
    unsafe { uint8x16x2_t(vld1q_u8(low.as_ptr()), vld1q_u8(high.as_ptr())) }
}

/// A number of bits as the instruction wants it.
const fn by(bits: i32) -> i8 {
    assert!(-8 < bits && bits < 8, "bytes are shifted by less than eight");
    #[expect(clippy::cast_possible_truncation, reason = "was looked at")]
    let bits = bits as i8;
    bits
}

/// Every byte for itself, zeros coming in; to the right where `by` is negative.
#[inline]
#[target_feature(enable = "neon")]
fn shift_left_by(bytes: uint8x16x2_t, by: i8) -> uint8x16x2_t {
    let by = vdupq_n_s8(by);
    uint8x16x2_t(vshlq_u8(bytes.0, by), vshlq_u8(bytes.1, by))
}
