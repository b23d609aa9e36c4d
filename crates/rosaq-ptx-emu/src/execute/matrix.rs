//! `ldmatrix` and `mma.m16n8k16`.

use super::shared::Shared;
use super::warp::{ALL, Warp, World};
use crate::fault::FaultKind;
use crate::number::{Col, Lane, f16_to_f32};
use crate::program::Inst;

impl Warp {
    /// Matrices of eight rows of eight f16 values; lanes `8 i` to `8 i + 7` give the rows of matrix
    /// `i`, and lane `l` receives two values of row `l / 4`, or of column `l / 4` if transposed.
    pub(super) fn load_matrix(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        (inst, n, is_transposed, offset): (&Inst, u8, bool, i64),
        mask: u32,
    ) -> Result<(), FaultKind> {
        self.whole("ldmatrix", mask)?;
        let addresses = self.addresses(inst.src[0], offset, false, ALL);
        let mut wavefronts = 0;
        for matrix in 0..usize::from(n) {
            let mut values = [[0_u16; 8]; 8];
            let mut rows = [None; 32];
            for (row, values) in values.iter_mut().enumerate() {
                let lane = 8 * matrix + row;
                self.lane = Some(lane as u32);
                rows[row] = addresses[lane];
                let mut bytes = [0; 16];
                shared.read(self.number, addresses[lane].unwrap_or_default(), &mut bytes)?;
                for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = u16::from_le_bytes([pair[0], pair[1]]);
                }
            }
            wavefronts += super::shared::wavefronts(&rows, 16);
            let value = |row: usize, column: usize| {
                let bits = if is_transposed { values[column][row] } else { values[row][column] };
                u64::from(bits)
            };
            let out: Col = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, lane % 4 * 2);
                value(row, column) | value(row, column + 1) << 16
            });
            self.set(inst.dst[matrix], &out, ALL);
        }
        self.lane = None;
        world.counters.matrix_loads.add(wavefronts, 128 * usize::from(n));
        Ok(())
    }

    /// `d = a b + c`: products of f16 values are exact, and summed in f64 before one rounding to
    /// f32. Tensor cores sum in another order and with fewer bits.
    pub(super) fn multiply(&mut self, inst: &Inst, mask: u32) -> Result<(), FaultKind> {
        self.whole("mma", mask)?;
        let register = |i: usize| &self.regs[inst.src[i] as usize];
        let mut a = [[0.0_f32; 16]; 16];
        let mut b = [[0.0_f32; 16]; 8];
        for lane in 0..32 {
            let (group, pair) = (lane / 4, lane % 4 * 2);
            for i in 0..4 {
                let bits = register(i)[lane];
                let row = &mut a[group + 8 * (i % 2)][pair + 8 * (i / 2)..];
                row[0] = f16_to_f32(bits as u16);
                row[1] = f16_to_f32((bits >> 16) as u16);
            }
            for i in 0..2 {
                let bits = register(4 + i)[lane];
                let column = &mut b[group][pair + 8 * i..];
                column[0] = f16_to_f32(bits as u16);
                column[1] = f16_to_f32((bits >> 16) as u16);
            }
        }
        for i in 0..4 {
            let sums = self.regs[inst.src[6 + i] as usize];
            let out: Col = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2);
                let products = a[row].iter().zip(&b[column]);
                let sum: f64 = products.map(|(&a, &b)| f64::from(a * b)).sum();
                ((sum + f64::from(f32::take(sums[lane]))) as f32).put()
            });
            // Sources are read before; `d` may be `c`.
            self.set(inst.dst[i], &out, ALL);
        }
        Ok(())
    }
}
