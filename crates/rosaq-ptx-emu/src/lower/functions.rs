//! Whole entries: declarations, labels, and what becomes of them at the end.

use super::Lowerer;
use super::scopes::Symbol;
use crate::PtxError;
use crate::counters::OpClass;
use crate::program::{Guard, Op, ParamSlot, Program};
use crate::syntax::{Space, Statement, Variable};
use crate::types::Type;

/// The most static shared memory of a block.
const MAX_STATIC_SHARED: usize = 48 << 10;
/// The most registers and instructions of one entry.
const MAX_SLOTS: u32 = 1 << 22;

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn body(&mut self, number: usize) -> Result<(), PtxError> {
        let parsed = self.parsed;
        let function = &parsed.functions[number];
        self.scopes.begin_function();
        for (variable, at) in function.params.iter().zip(param_offsets(&function.params).0) {
            self.scopes.declare(variable.name, Symbol::EntryParam(at));
        }
        for statement in &function.body {
            self.statement(statement)?;
        }
        // Falling off the end is a return.
        self.guard = Guard::ALWAYS;
        self.class = OpClass::Control;
        self.emit(Op::Exit, &[], &[]);
        self.resolve_labels()
    }

    fn statement(&mut self, statement: &Statement<'a>) -> Result<(), PtxError> {
        match statement {
            Statement::Open => self.scopes.open(),
            Statement::Close => self.scopes.close(),
            Statement::Label(name) => self.scopes.label(name, self.code.len() as u32),
            Statement::Registers { ty, names, line } => {
                self.line = *line;
                for &(name, count) in names {
                    self.declare_registers(name, count, *ty)?;
                }
            }
            Statement::Variable(variable) => self.declare_variable(variable)?,
            Statement::Instruction(instruction) => self.instruction(instruction)?,
        }
        Ok(())
    }

    fn declare_registers(
        &mut self,
        name: &'a str,
        count: Option<u32>,
        ty: Type,
    ) -> Result<(), PtxError> {
        let next = if ty == Type::Pred { &mut self.n_preds } else { &mut self.n_slots };
        let first = *next;
        *next += count.unwrap_or(1);
        if *next > MAX_SLOTS {
            return Err(PtxError::TooLarge { line: self.line, name: name.to_owned() });
        }
        match count {
            Some(count) => self.scopes.declare_range(name, first, count, ty),
            None => self.scopes.declare(name, Symbol::Register { slot: first, ty }),
        }
        Ok(())
    }

    fn declare_variable(&mut self, variable: &Variable<'a>) -> Result<(), PtxError> {
        let Variable { name, align, bytes, .. } = *variable;
        if variable.space != Space::Shared {
            let name = format!("a variable `{name}` in a state space of a function");
            return Err(PtxError::Directive { line: variable.line, name });
        }
        let symbol = Symbol::Shared(self.place_shared(align, bytes));
        if self.static_shared > MAX_STATIC_SHARED {
            return Err(PtxError::TooLarge { line: variable.line, name: name.to_owned() });
        }
        self.scopes.declare(name, symbol);
        Ok(())
    }

    fn resolve_labels(&mut self) -> Result<(), PtxError> {
        for fixup in std::mem::take(&mut self.scopes.fixups) {
            let Some(pc) = self.scopes.resolve(&fixup) else {
                let name = fixup.label.to_owned();
                return Err(PtxError::Name { line: fixup.line, name, expected: "a label" });
            };
            if let Op::Branch(target) = &mut self.code[fixup.at].op {
                *target = pc;
            }
        }
        Ok(())
    }

    /// Everything decoded, as a program.
    pub(super) fn finish(self, entry: usize) -> Program {
        let function = &self.parsed.functions[entry];
        let (offsets, param_bytes) = param_offsets(&function.params);
        let named = function.params.iter().zip(offsets).map(|(variable, offset)| ParamSlot {
            name: variable.name.to_owned(),
            offset,
            bytes: variable.bytes,
        });
        Program {
            name: function.name.to_owned(),
            params: named.collect(),
            param_bytes,
            code: self.code,
            n_slots: self.n_slots as usize,
            n_preds: self.n_preds as usize,
            initial: self.initial,
            static_shared: self.static_shared.next_multiple_of(self.shared_align),
            shared_grain: self.shared_grain,
            required_threads: function.required_threads,
            most_threads: function.most_threads,
        }
    }
}

/// Where each parameter begins, and how many bytes all have.
fn param_offsets(params: &[Variable<'_>]) -> (Vec<usize>, usize) {
    let mut end = 0_usize;
    let offsets = params
        .iter()
        .map(|param| {
            let at = end.next_multiple_of(param.align);
            end = at.saturating_add(param.bytes);
            at
        })
        .collect();
    (offsets, end)
}
