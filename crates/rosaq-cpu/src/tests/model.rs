//! An instruction set in plain Rust: what the vector operations mean, for any number of lanes.

use std::array::from_fn;
use std::ops::Range;

use half::f16;

use crate::arch::generic::{Kernel, Simd};

/// `L` lanes on every processor.
#[derive(Clone, Copy)]
pub(crate) struct Model;

impl<const L: usize> Simd<L> for Model {
    type Floats = [f32; L];
    type Words = [u32; L];
    type Levels = [f32; 16];

    fn enter<K: Kernel<L>>(
        self,
        segment: &K::Segment<'_>,
        x: &K::Tokens<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        K::run(self, segment, x, rows, out);
    }

    fn splat(self, value: f32) -> [f32; L] {
        [value; L]
    }

    fn splat_bits(self, bits: i32) -> [u32; L] {
        [bits.cast_unsigned(); L]
    }

    fn load(self, values: &[f32; L]) -> [f32; L] {
        *values
    }

    fn store(self, to: &mut [f32; L], values: [f32; L]) {
        *to = values;
    }

    fn load_f16(self, values: &[f16; L]) -> [f32; L] {
        values.map(f16::to_f32)
    }

    fn add(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] + b[i])
    }

    fn mul(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] * b[i])
    }

    fn mul_add(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    fn neg_mul_add(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
    }

    fn permute(self, values: [f32; L], idxs: &[i32; L]) -> [f32; L] {
        idxs.map(|idx| values[usize::try_from(idx).expect("a lane")])
    }

    fn prefetch(self, _address: *const u8) {}

    fn sum_lanes(self, mut values: [f32; L]) -> f32 {
        let mut half = L / 2;
        while half > 0 {
            for i in 0..half {
                values[i] += values[i + half];
            }
            half /= 2;
        }
        values[0]
    }

    /// The bits above the last code, which kernels must not read, are ones.
    fn load_codes<const B: usize>(self, bytes: &[[u8; 4]; L]) -> [u32; L] {
        let bytes = bytes.as_flattened();
        let n_bits = if B <= 4 { 8 * B } else { 4 * B };
        let bit = |at: usize| u32::from(bytes[at / 8] >> (at % 8) & 1);
        from_fn(|lane| {
            let bits = (0..32).map(|i| if i < n_bits { bit(lane * n_bits + i) } else { 1 });
            bits.zip(0..).fold(0, |word, (bit, i)| word | bit << i)
        })
    }

    fn gather_bytes(self, bytes: &[u8; L], idxs: &[[u8; 4]; L]) -> [u32; L] {
        let byte = |idx: u8| match bytes.get(usize::from(idx)) {
            Some(byte) => *byte,
            None if idx == u8::MAX => 0,
            None => 0b1010_1010, // not defined
        };
        idxs.map(|idxs| u32::from_le_bytes(idxs.map(byte)))
    }

    fn shift_right(self, words: [u32; L], n_bits: i32) -> [u32; L] {
        words.map(|word| word >> n_bits)
    }

    fn shift_right_each(self, words: [u32; L], n_bits: &[i32; L]) -> [u32; L] {
        from_fn(|i| words[i] >> n_bits[i])
    }

    fn and(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i] & b[i])
    }

    fn to_floats(self, words: [u32; L]) -> [f32; L] {
        words.map(|word| word.cast_signed() as f32)
    }

    fn levels(self, table: &[f32; 16]) -> [f32; 16] {
        *table
    }

    fn look_up<const B: usize>(self, levels: [f32; 16], idxs: [u32; L]) -> [f32; L] {
        idxs.map(|idx| levels[idx as usize % (1 << B)])
    }
}
