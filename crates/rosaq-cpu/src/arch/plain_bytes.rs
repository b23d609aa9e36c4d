//! The operations of kernels over tiles in plain Rust, for any number of lanes: what runs where there is no vector unit that is
//! known, and the twin of those that are.

use std::array::from_fn;
use std::ops::Range;

use half::f16;

use super::generic::{ByteSimd, TileKernel};
use crate::tiles::{CHUNK, CHUNKS, InputBlock, Rounding, TILE_ROWS};

/// Needs nothing of the processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainBytes;

impl<const L: usize> ByteSimd<L> for PlainBytes {
    type Bytes = [[u8; CHUNK]; L];
    type Sums = [i32; L];
    type Floats = [f32; L];

    type Table = [i8; 64];

    const VALUE_OFFSET: f32 = 0.0;

    const OFFSET: f32 = 0.0;

    fn enter<K: TileKernel<L>>(
        self,
        tiles: &K::Tiles,
        x: &K::Tokens<'_>,
        range: Range<usize>,
        out: &mut [[f32; L]],
    ) {
        K::run(self, tiles, x, range, out);
    }

    fn round(self, task: Rounding<'_>) -> InputBlock {
        task.run()
    }

    fn store(self, to: &mut [[u8; CHUNK]; L], bytes: [[u8; CHUNK]; L]) {
        *to = bytes;
    }

    fn load(self, bytes: &[[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        *bytes
    }

    fn and(self, bytes: [[u8; CHUNK]; L], mask: u8) -> [[u8; CHUNK]; L] {
        bytes.map(|lane| lane.map(|byte| byte & mask))
    }

    fn or(self, a: [[u8; CHUNK]; L], b: [[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        from_fn(|lane| from_fn(|i| a[lane][i] | b[lane][i]))
    }

    fn shift_right<const N: i32>(self, bytes: [[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        bytes.map(|lane| (u32::from_le_bytes(lane) >> N).to_le_bytes())
    }

    fn shift_left<const N: i32>(self, bytes: [[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        bytes.map(|lane| (u32::from_le_bytes(lane) << N).to_le_bytes())
    }

    fn whole_bytes(self, bytes: [[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        bytes
    }

    fn no_sums(self) -> [i32; L] {
        [0; L]
    }

    fn dot<const B: usize>(
        self,
        codes: &[[[u8; CHUNK]; L]; CHUNKS],
        x: &[[i8; CHUNK]; CHUNKS],
    ) -> [i32; L] {
        from_fn(|lane| {
            let products = codes.iter().zip(x).flat_map(|(codes, x)| codes[lane].iter().zip(x));
            products.map(|(&code, &x)| i32::from(code) * i32::from(x)).sum::<i32>()
        })
    }

    fn no_bytes(self) -> [[u8; CHUNK]; L] {
        [[0; CHUNK]; L]
    }

    fn prefetch(self, _: *const u8) {}

    fn add_bytes(self, a: [[u8; CHUNK]; L], b: [[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        from_fn(|lane| from_fn(|i| a[lane][i].wrapping_add(b[lane][i])))
    }

    fn table(self, entries: &[i8; 64], _: bool) -> [i8; 64] {
        *entries
    }

    fn merge(self, into: [[u8; CHUNK]; L], from: [[u8; CHUNK]; L], mask: u8) -> [[u8; CHUNK]; L] {
        from_fn(|lane| from_fn(|i| from[lane][i] & mask | into[lane][i] & !mask))
    }

    fn look_up(self, table: &[i8; 64], idxs: [[u8; CHUNK]; L]) -> [[u8; CHUNK]; L] {
        idxs.map(|lane| lane.map(|idx| table[usize::from(idx & 63)].cast_unsigned()))
    }

    fn dot_values(
        self,
        sums: [i32; L],
        values: [[u8; CHUNK]; L],
        x: &[[i8; CHUNK]; L],
    ) -> [i32; L] {
        from_fn(|lane| {
            let products = values[lane].iter().zip(&x[lane]);
            let one = |(&value, &x): (&u8, &i8)| i32::from(value.cast_signed()) * i32::from(x);
            sums[lane] + products.map(one).sum::<i32>()
        })
    }

    fn sum_lanes(self, floats: [[f32; L]; TILE_ROWS]) -> [f32; TILE_ROWS] {
        floats.map(|mut floats| {
            let mut half = L / 2;
            while half > 0 {
                for lane in 0..half {
                    floats[lane] += floats[lane + half];
                }
                half /= 2;
            }
            floats[0]
        })
    }

    fn to_floats(self, sums: [i32; L]) -> [f32; L] {
        sums.map(|sum| sum as f32)
    }

    fn splat(self, value: f32) -> [f32; L] {
        [value; L]
    }

    fn load_f32(self, values: &[f32; L]) -> [f32; L] {
        *values
    }

    fn store_f32(self, values: &mut [f32; L], floats: [f32; L]) {
        *values = floats;
    }

    fn load_f16(self, values: &[f16; L]) -> [f32; L] {
        values.map(f16::to_f32)
    }

    fn load_u8(self, values: &[u8; L]) -> [f32; L] {
        values.map(f32::from)
    }

    fn add(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|lane| a[lane] + b[lane])
    }

    fn sub(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|lane| a[lane] - b[lane])
    }

    fn mul_add(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    fn neg_mul_add(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|lane| (-a[lane]).mul_add(b[lane], c[lane]))
    }
}
