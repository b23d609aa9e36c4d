//! Matrix fragments: `ldmatrix` and `mma`.

use super::Lowerer;
use super::mods::Mods;
use crate::PtxError;
use crate::counters::OpClass;
use crate::program::Op;
use crate::syntax::Arg;
use crate::types::Type;

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn matrix(
        &mut self,
        mods: &mut Mods<'_>,
        args: &[Arg<'a>],
    ) -> Result<bool, PtxError> {
        self.class = OpClass::Matrix;
        match mods.name {
            "ldmatrix" => self.load_matrix(mods, args)?,
            "mma" => self.multiply(mods, args)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn load_matrix(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        let is_known = mods.take("sync") && mods.take("aligned") && mods.take("m8n8");
        let n = mods.take_map(|part| match part {
            "x1" => Some(1),
            "x2" => Some(2),
            "x4" => Some(4),
            _ => None,
        });
        let is_transposed = mods.take("trans");
        let is_shared = mods.take("shared");
        let (Some(n), true) = (n, is_known && is_shared && mods.take("b16")) else {
            return Err(self.unsupported(mods, "shape, state space or type".to_owned()));
        };
        let [targets, address] = self.args(mods, args)?;
        let dst = self.fragment(targets, usize::from(n))?;
        let found = self.address(address)?;
        let op = Op::LoadMatrix { n, is_transposed, offset: found.offset };
        self.emit(op, &dst, &[found.base]);
        Ok(())
    }

    fn multiply(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        let mut is_known = true;
        for part in ["sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32"] {
            is_known &= mods.take(part);
        }
        if !is_known {
            let only = "only m16n8k16.row.col.f32.f16.f16.f32 is".to_owned();
            return Err(self.unsupported(mods, only));
        }
        let [d, a, b, c] = self.args(mods, args)?;
        let mut src = self.fragment(a, 4)?;
        src.extend(self.fragment(b, 2)?);
        let Arg::Vector(sums) = c else { return Err(self.misfit(c, "a vector is wanted")) };
        if sums.len() != 4 {
            return Err(self.misfit(c, "number of registers"));
        }
        for sum in sums {
            src.push(self.source(sum, Type::F32)?);
        }
        let dst = self.fragment(d, 4)?;
        self.emit(Op::Multiply, &dst, &src);
        Ok(())
    }

    /// `n` registers of 32 bits in braces.
    fn fragment(&mut self, arg: &Arg<'a>, n: usize) -> Result<Vec<u32>, PtxError> {
        let Arg::Vector(registers) = arg else {
            return Err(self.misfit(arg, "a vector is wanted"));
        };
        if registers.len() != n {
            return Err(self.misfit(arg, "number of registers"));
        }
        registers.iter().map(|register| self.target(register, 32)).collect()
    }
}
