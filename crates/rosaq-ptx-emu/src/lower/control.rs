//! Branches, barriers, fences and exchanges between lanes.

use super::Lowerer;
use super::mods::Mods;
use crate::PtxError;
use crate::counters::OpClass;
use crate::program::{Op, ShuffleMode};
use crate::syntax::Arg;
use crate::types::Type;

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn warp(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<bool, PtxError> {
        if mods.name != "shfl" {
            return Ok(false);
        }
        self.class = OpClass::Warp;
        let mode = mods.take_map(|part| match part {
            "up" => Some(ShuffleMode::Up),
            "down" => Some(ShuffleMode::Down),
            "bfly" => Some(ShuffleMode::Butterfly),
            "idx" => Some(ShuffleMode::Index),
            _ => None,
        });
        let (Some(mode), true) = (mode, mods.take("sync") && mods.take("b32")) else {
            return Err(self.unsupported(mods, "mode or type".to_owned()));
        };
        let [target, value, lane, clamp, members] = self.args(mods, args)?;
        let (target, to) = match target {
            Arg::Pair(register, pred) => (Arg::Word(register), self.pred_target(&Arg::Word(pred))?),
            other => (other.clone(), self.fresh_pred()),
        };
        let mut src = Vec::new();
        for arg in [value, lane, clamp, members] {
            src.push(self.source(arg, Type::B32)?);
        }
        let d = self.target(&target, 32)?;
        self.emit(Op::Shuffle { mode, to }, &[d], &src);
        Ok(true)
    }

    pub(super) fn control(
        &mut self,
        mods: &mut Mods<'_>,
        args: &[Arg<'a>],
    ) -> Result<bool, PtxError> {
        self.class = OpClass::Control;
        match mods.name {
            "bra" => {
                mods.take("uni");
                let [label] = self.args(mods, args)?;
                let Arg::Word(label) = label else {
                    return Err(self.misfit(label, "a label is wanted"));
                };
                self.scopes.refer(label, self.line, self.code.len());
                self.emit(Op::Branch(u32::MAX), &[], &[]);
            }
            "ret" | "exit" => {
                mods.take("uni");
                let [] = self.args(mods, args)?;
                self.emit(Op::Exit, &[], &[]);
            }
            "trap" => {
                let [] = self.args(mods, args)?;
                self.emit(Op::Trap, &[], &[]);
            }
            "bar" | "barrier" => self.barrier(mods, args)?,
            "membar" | "fence" => {
                self.class = OpClass::Barrier;
                mods.take_any(&["gl", "cta", "sys", "gpu", "acq_rel", "sc"]);
                let [] = self.args(mods, args)?;
                self.emit(Op::Fence, &[], &[]);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `bar.sync n` of a whole block, and `bar.warp.sync`.
    fn barrier(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        self.class = OpClass::Barrier;
        mods.take("cta");
        let is_of_warp = mods.take("warp");
        if !mods.take("sync") {
            return Err(self.unsupported(mods, "only `.sync` is".to_owned()));
        }
        mods.take("aligned");
        let [number] = self.args(mods, args)?;
        if is_of_warp {
            let members = self.source(number, Type::B32)?;
            self.emit(Op::WarpSync, &[], &[members]);
            return Ok(());
        }
        match number {
            Arg::Int(n @ 0..=15) => self.emit(Op::Barrier(*n as u8), &[], &[]),
            _ => return Err(self.misfit(number, "barriers have numbers from 0 to 15")),
        }
        Ok(())
    }
}
