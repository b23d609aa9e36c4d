//! The tree to instructions that can be run: names become slots, opcodes become functions.

mod compare;
mod control;
mod convert;
mod float;
mod functions;
mod integer;
mod matrix;
mod memory;
mod mods;
mod operands;
mod scopes;
mod select;

use std::collections::HashMap;

use crate::PtxError;
use crate::counters::OpClass;
use crate::program::{Guard, Initial, Inst, Op, Program, Slot};
use crate::syntax::{Instruction, Parsed};
use mods::Mods;
use scopes::Scopes;

/// Decodes the entry `function` of `parsed`.
pub(crate) fn lower(parsed: &Parsed<'_>, function: usize) -> Result<Program, PtxError> {
    let mut lowerer = Lowerer::new(parsed);
    lowerer.body(function)?;
    Ok(lowerer.finish(function))
}

struct Lowerer<'p, 'a> {
    parsed: &'p Parsed<'a>,
    code: Vec<Inst>,
    scopes: Scopes<'a>,
    n_slots: Slot,
    n_preds: u32,
    constants: HashMap<Initial, Slot>,
    /// In the order in which they were wanted.
    initial: Vec<(Slot, Initial)>,
    static_shared: usize,
    shared_align: usize,
    module_shared: HashMap<&'a str, usize>,
    shared_grain: usize,
    // The instruction that is being decoded.
    line: u32,
    guard: Guard,
    class: OpClass,
}

impl<'p, 'a> Lowerer<'p, 'a> {
    fn new(parsed: &'p Parsed<'a>) -> Self {
        Self {
            parsed,
            code: Vec::new(),
            scopes: Scopes::default(),
            n_slots: 0,
            n_preds: 2,
            constants: HashMap::new(),
            initial: Vec::new(),
            static_shared: 0,
            shared_align: 16,
            module_shared: HashMap::new(),
            shared_grain: 16,
            line: 0,
            guard: Guard::ALWAYS,
            class: OpClass::Control,
        }
    }

    fn instruction(&mut self, instruction: &Instruction<'a>) -> Result<(), PtxError> {
        self.line = instruction.line;
        self.guard = match instruction.guard {
            Some((name, is_negated)) => Guard { pred: self.pred_named(name)?, is_negated },
            None => Guard::ALWAYS,
        };
        let mut mods = Mods::new(instruction.opcode);
        let args = &instruction.args;
        let is_known = select::integer(self, &mut mods, args)?
            || self.float(&mut mods, args)?
            || self.move_or_select(&mut mods, args)?
            || self.convert(&mut mods, args)?
            || self.memory(&mut mods, args)?
            || self.matrix(&mut mods, args)?
            || self.warp(&mut mods, args)?
            || self.control(&mut mods, args)?;
        if !is_known {
            return Err(self.unsupported(&mods, "unknown opcode".to_owned()));
        }
        match mods.left_over() {
            Some(part) => Err(self.unsupported(&mods, format!("`.{part}` here"))),
            None => Ok(()),
        }
    }

    fn emit(&mut self, op: Op, dst: &[Slot], src: &[Slot]) {
        let mut inst = Inst {
            op,
            class: self.class,
            guard: self.guard,
            line: self.line,
            n_dst: dst.len() as u8,
            n_src: src.len() as u8,
            dst: [0; 4],
            src: [0; 10],
        };
        inst.dst[..dst.len()].copy_from_slice(dst);
        inst.src[..src.len()].copy_from_slice(src);
        self.code.push(inst);
    }

    fn unsupported(&self, mods: &Mods<'_>, reason: String) -> PtxError {
        PtxError::Instruction { line: self.line, opcode: mods.opcode.to_owned(), reason }
    }

    /// `args` if there are `N` of them.
    fn args<'x, const N: usize>(
        &self,
        mods: &Mods<'_>,
        args: &'x [crate::syntax::Arg<'a>],
    ) -> Result<&'x [crate::syntax::Arg<'a>; N], PtxError> {
        args.try_into()
            .map_err(|_| self.unsupported(mods, format!("{} operands instead of {N}", args.len())))
    }
}
