//! Operands to slots.

use super::Lowerer;
use super::scopes::Symbol;
use crate::PtxError;
use crate::program::{ALWAYS, Guard, Initial, NEVER, PredSlot, Slot};
use crate::syntax::{Arg, Space};
use crate::types::Type;

/// An address: a register, what is added to it, and where it surely lies.
pub(super) struct Address {
    pub(super) base: Slot,
    pub(super) offset: i64,
    pub(super) space: Option<Space>,
}

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn name_error(&self, name: &str, expected: &'static str) -> PtxError {
        PtxError::Name { line: self.line, name: name.to_owned(), expected }
    }

    pub(super) fn misfit(&self, arg: &Arg<'_>, reason: &'static str) -> PtxError {
        PtxError::Operand { line: self.line, operand: format!("{arg:?}"), reason }
    }

    pub(super) fn constant(&mut self, initial: Initial) -> Slot {
        let next = self.n_slots;
        let slot = *self.constants.entry(initial).or_insert(next);
        if slot == next {
            self.n_slots += 1;
            self.initial.push((slot, initial));
        }
        slot
    }

    pub(super) fn bits(&mut self, bits: u64) -> Slot {
        self.constant(Initial::Bits(bits))
    }

    /// A register that no text names.
    pub(super) fn fresh(&mut self) -> Slot {
        self.n_slots += 1;
        self.n_slots - 1
    }

    pub(super) fn fresh_pred(&mut self) -> PredSlot {
        self.n_preds += 1;
        self.n_preds - 1
    }

    pub(super) fn pred_named(&self, name: &str) -> Result<PredSlot, PtxError> {
        match self.scopes.find(name) {
            Some(Symbol::Register { slot, ty: Type::Pred }) => Ok(slot),
            _ => Err(self.name_error(name, "a predicate")),
        }
    }

    pub(super) fn pred_source(&self, arg: &Arg<'a>) -> Result<Guard, PtxError> {
        match arg {
            Arg::Word(name) => Ok(Guard { pred: self.pred_named(name)?, is_negated: false }),
            Arg::Not(name) => Ok(Guard { pred: self.pred_named(name)?, is_negated: true }),
            Arg::Int(0) => Ok(Guard { pred: NEVER, is_negated: false }),
            Arg::Int(_) => Ok(Guard { pred: ALWAYS, is_negated: false }),
            _ => Err(self.misfit(arg, "a predicate is wanted")),
        }
    }

    pub(super) fn pred_target(&mut self, arg: &Arg<'a>) -> Result<PredSlot, PtxError> {
        match arg {
            Arg::Word("_") => Ok(self.fresh_pred()),
            Arg::Word(name) => self.pred_named(name),
            _ => Err(self.misfit(arg, "a predicate is wanted")),
        }
    }

    /// A register of at least `bits` bits, and how many it has.
    pub(super) fn register(&mut self, arg: &Arg<'a>, bits: u32) -> Result<(Slot, u32), PtxError> {
        let Arg::Word(name) = arg else { return Err(self.misfit(arg, "a register is wanted")) };
        if *name == "_" {
            return Ok((self.fresh(), bits));
        }
        match self.scopes.find(name) {
            Some(Symbol::Register { slot, ty }) if ty != Type::Pred => {
                if ty.bits() < bits {
                    return Err(self.misfit(arg, "the register is too narrow"));
                }
                Ok((slot, ty.bits()))
            }
            _ => Err(self.name_error(name, "a register")),
        }
    }

    /// A register of exactly `bits` bits that is written.
    pub(super) fn target(&mut self, arg: &Arg<'a>, bits: u32) -> Result<Slot, PtxError> {
        let (slot, found) = self.register(arg, bits)?;
        if found != bits {
            return Err(self.misfit(arg, "the register has other bits than the type"));
        }
        Ok(slot)
    }

    /// A source of type `ty`: a register of exactly its bits, or a constant.
    pub(super) fn source(&mut self, arg: &Arg<'a>, ty: Type) -> Result<Slot, PtxError> {
        if let Some((slot, bits)) = self.source_register(arg)? {
            if bits != ty.bits() {
                return Err(self.misfit(arg, "the register has other bits than the type"));
            }
            return Ok(slot);
        }
        self.immediate(arg, ty)
    }

    /// A source of at least `ty`'s bits.
    pub(super) fn wide_source(&mut self, arg: &Arg<'a>, ty: Type) -> Result<Slot, PtxError> {
        if let Some((slot, bits)) = self.source_register(arg)? {
            if bits < ty.bits() {
                return Err(self.misfit(arg, "the register is too narrow"));
            }
            return Ok(slot);
        }
        self.immediate(arg, ty)
    }

    fn source_register(&mut self, arg: &Arg<'a>) -> Result<Option<(Slot, u32)>, PtxError> {
        let Arg::Word(name) = arg else { return Ok(None) };
        if let Some(initial) = special(name) {
            return Ok(Some((self.constant(initial), 32)));
        }
        match self.scopes.find(name) {
            Some(Symbol::Register { ty: Type::Pred, .. }) => {
                Err(self.name_error(name, "a register"))
            }
            Some(Symbol::Register { slot, ty }) => Ok(Some((slot, ty.bits()))),
            _ => Ok(None),
        }
    }

    fn immediate(&mut self, arg: &Arg<'a>, ty: Type) -> Result<Slot, PtxError> {
        let bits = match (arg, ty) {
            (Arg::Word("WARP_SZ"), _) => 32,
            (Arg::Int(value), Type::F32 | Type::F64) => {
                let value = *value as i64 as f64;
                if ty == Type::F64 { value.to_bits() } else { u64::from((value as f32).to_bits()) }
            }
            (Arg::Int(value), _) => value & ty.mask(),
            (Arg::F32(bits), _) if ty.bits() == 32 => u64::from(*bits),
            (Arg::F64(bits), Type::F64 | Type::B64) => *bits,
            (Arg::F64(bits), Type::F32) => u64::from((f64::from_bits(*bits) as f32).to_bits()),
            (Arg::F32(bits), Type::F64) => f64::from(f32::from_bits(*bits)).to_bits(),
            (Arg::Word(name), _) => return self.address_of(name, 0),
            (Arg::Sum(name, offset), _) => return self.address_of(name, *offset),
            _ => return Err(self.misfit(arg, "the constant does not fit the type")),
        };
        Ok(self.bits(bits))
    }

    /// The address of a variable within its space .
    fn address_of(&mut self, name: &'a str, offset: i64) -> Result<Slot, PtxError> {
        let plus = |base: usize| Initial::Bits((base as i64).wrapping_add(offset) as u64);
        let initial = match self.symbol(name)? {
            Symbol::Shared(at) | Symbol::EntryParam(at) => plus(at),
            Symbol::DynamicShared => Initial::DynamicShared(offset),
            Symbol::Register { .. } => return Err(self.name_error(name, "a variable")),
        };
        Ok(self.constant(initial))
    }

    /// An address in brackets.
    pub(super) fn address(&mut self, arg: &Arg<'a>) -> Result<Address, PtxError> {
        match arg {
            Arg::Address(None, offset) => {
                Ok(Address { base: self.bits(0), offset: *offset, space: None })
            }
            Arg::Address(Some(name), offset) => match self.symbol(name)? {
                Symbol::Register { ty: Type::Pred, .. } => Err(self.name_error(name, "an address")),
                Symbol::Register { slot, ty } if ty.bits() >= 32 => {
                    Ok(Address { base: slot, offset: *offset, space: None })
                }
                Symbol::Register { .. } => Err(self.misfit(arg, "an address has 32 or 64 bits")),
                symbol => {
                    let space = match symbol {
                        Symbol::EntryParam(_) => Space::Param,
                        _ => Space::Shared,
                    };
                    let base = self.address_of(name, 0)?;
                    Ok(Address { base, offset: *offset, space: Some(space) })
                }
            },
            _ => Err(self.misfit(arg, "an address in brackets is wanted")),
        }
    }

    /// What a name stands for, variables of the module included.
    fn symbol(&mut self, name: &'a str) -> Result<Symbol, PtxError> {
        if let Some(symbol) = self.scopes.find(name) {
            return Ok(symbol);
        }
        let found = self.parsed.variables.iter().position(|variable| variable.name == name);
        let Some(number) = found else { return Err(self.name_error(name, "anything")) };
        let variable = &self.parsed.variables[number];
        if variable.space != Space::Shared {
            return Err(self.name_error(name, "a variable in shared memory"));
        }
        if variable.is_extern {
            self.shared_align = self.shared_align.max(variable.align);
            return Ok(Symbol::DynamicShared);
        }
        if let Some(&at) = self.module_shared.get(name) {
            return Ok(Symbol::Shared(at));
        }
        let at = self.place_shared(variable.align, variable.bytes);
        self.module_shared.insert(variable.name, at);
        Ok(Symbol::Shared(at))
    }

    pub(super) fn place_shared(&mut self, align: usize, bytes: usize) -> usize {
        let at = self.static_shared.next_multiple_of(align);
        self.static_shared = at.saturating_add(bytes);
        self.shared_align = self.shared_align.max(align);
        at
    }
}

/// Special registers that do not change while a warp runs.
fn special(name: &str) -> Option<Initial> {
    let dimension = |rest: &str| match rest {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    let (head, rest) = name.split_once('.').unwrap_or((name, ""));
    Some(match head {
        "%tid" => Initial::Thread(dimension(rest)?),
        "%ctaid" => Initial::Block(dimension(rest)?),
        "%ntid" => Initial::BlockSize(dimension(rest)?),
        "%nctaid" => Initial::GridSize(dimension(rest)?),
        "%laneid" => Initial::Lane,
        "%warpid" => Initial::Warp,
        "%nwarpid" => Initial::Warps,
        "%smid" | "%gridid" => Initial::Zero,
        "%lanemask_eq" => Initial::MaskEqual,
        "%lanemask_lt" => Initial::MaskLess,
        "%lanemask_le" => Initial::MaskLessEqual,
        "%lanemask_gt" => Initial::MaskGreater,
        "%lanemask_ge" => Initial::MaskGreaterEqual,
        "%dynamic_smem_size" => Initial::DynamicSharedBytes,
        "%total_smem_size" => Initial::TotalSharedBytes,
        _ => return None,
    })
}
