//! Loads, stores, atomics and asynchronous copies.

use super::Lowerer;
use super::mods::Mods;
use crate::PtxError;
use crate::counters::OpClass;
use crate::program::{Access, Caching, Op};
use crate::syntax::{Arg, Space};
use crate::types::Type;

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn memory(
        &mut self,
        mods: &mut Mods<'_>,
        args: &[Arg<'a>],
    ) -> Result<bool, PtxError> {
        self.class = OpClass::Memory;
        match mods.name {
            "ld" => self.load(mods, args)?,
            "st" => self.store(mods, args)?,
            "atom" => self.atomic(mods, args)?,
            "cp" => self.copy(mods, args)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn load(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        mods.take_any(&["nc", "cg", "ca", "cs"]);
        let streams = mods.take("L1::no_allocate");
        let [target, address] = self.args(mods, args)?;
        let (ty, elements) = self.elements(mods, target)?;
        let mut dst = Vec::new();
        let mut register_bits = ty.bits();
        for element in elements {
            let (slot, bits) = self.register(element, ty.bits())?;
            register_bits = bits;
            dst.push(slot);
        }
        let (access, base) = self.access(mods, address, (ty, elements.len()))?;
        let access = Access {
            caching: if streams { Caching::Streamed } else { Caching::Usual },
            extends_to: ty.is_signed().then_some(register_bits as u8),
            ..access
        };
        self.emit(Op::Load(access), &dst, &[base]);
        Ok(())
    }

    fn store(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        mods.take_any(&["wb", "cg", "cs", "wt"]);
        let [address, source] = self.args(mods, args)?;
        let (ty, elements) = self.elements(mods, source)?;
        let (access, base) = self.access(mods, address, (ty, elements.len()))?;
        if access.space == Space::Param {
            return Err(self.misfit(address, "parameters of an entry are not written"));
        }
        let mut src = vec![base];
        for element in elements {
            src.push(self.wide_source(element, ty)?);
        }
        self.emit(Op::Store(access), &[], &src);
        Ok(())
    }

    /// The type of an element, and the elements of a vector or a lone one.
    fn elements<'x>(
        &self,
        mods: &mut Mods<'_>,
        arg: &'x Arg<'a>,
    ) -> Result<(Type, &'x [Arg<'a>]), PtxError> {
        let n = if mods.take("v2") {
            2
        } else if mods.take("v4") {
            4
        } else {
            1
        };
        let ty = mods.take_type().filter(|&ty| ty != Type::Pred && ty != Type::B128);
        let Some(ty) = ty else {
            return Err(self.unsupported(mods, "type of an element".to_owned()));
        };
        let elements = match arg {
            Arg::Vector(elements) => elements.as_slice(),
            single => std::slice::from_ref(single),
        };
        if elements.len() != n || n * ty.bytes() > 16 {
            return Err(self.misfit(arg, "number of elements"));
        }
        Ok((ty, elements))
    }

    /// Where an access goes, and the register of its address.
    fn access(
        &mut self,
        mods: &mut Mods<'_>,
        address: &Arg<'a>,
        (ty, n_elements): (Type, usize),
    ) -> Result<(Access, u32), PtxError> {
        let space = if mods.take("global") {
            Space::Global
        } else if mods.take_any(&["shared", "shared::cta"]) {
            Space::Shared
        } else if mods.take("param") {
            Space::Param
        } else {
            return Err(self.unsupported(mods, "state space".to_owned()));
        };
        let found = self.address(address)?;
        if found.space.is_some_and(|found| found != space) {
            return Err(self.misfit(address, "the variable is in another state space"));
        }
        if space == Space::Shared {
            self.shared_grain = self.shared_grain.min(ty.bytes());
        }
        let access = Access {
            space,
            caching: Caching::Usual,
            offset: found.offset,
            bytes: ty.bytes() as u8,
            n_elements: n_elements as u8,
            extends_to: None,
        };
        Ok((access, found.base))
    }

    /// `atom.global.add.u32`, the only one that the kernels need.
    fn atomic(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        let is_known = mods.take("global") && mods.take("add");
        if !is_known || mods.take_type() != Some(Type::U32) {
            return Err(self.unsupported(mods, "only `atom.global.add.u32` is".to_owned()));
        }
        let [d, address, value] = self.args(mods, args)?;
        let found = self.address(address)?;
        let value = self.source(value, Type::U32)?;
        let d = self.target(d, 32)?;
        self.emit(Op::AtomicAdd(found.offset), &[d], &[found.base, value]);
        Ok(())
    }

    fn copy(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        if !mods.take("async") {
            return Err(self.unsupported(mods, "only `cp.async` is".to_owned()));
        }
        if mods.take("commit_group") {
            let [] = self.args(mods, args)?;
            self.emit(Op::CommitCopies, &[], &[]);
            return Ok(());
        }
        if mods.take("wait_group") {
            let [n] = self.args(mods, args)?;
            let Arg::Int(n) = n else { return Err(self.misfit(n, "a constant is wanted")) };
            let n = u32::try_from(*n).map_err(|_| self.misfit(&args[0], "too many groups"))?;
            self.emit(Op::WaitCopies(n), &[], &[]);
            return Ok(());
        }
        if !(mods.take("cg") && mods.take("shared") && mods.take("global")) {
            return Err(self.unsupported(mods, "only `.cg.shared.global` is".to_owned()));
        }
        let (to, from, size, n) = match args {
            [to, from, size] => (to, from, size, None),
            [to, from, size, n] => (to, from, size, Some(n)),
            _ => return Err(self.unsupported(mods, format!("{} operands", args.len()))),
        };
        if !matches!(size, Arg::Int(16)) {
            return Err(self.misfit(size, "copies have 16 bytes"));
        }
        let (to, from) = (self.address(to)?, self.address(from)?);
        let n = match n {
            Some(n) => self.source(n, Type::U32)?,
            None => self.bits(16),
        };
        self.emit(
            Op::CopyAsync { to: to.offset, from: from.offset },
            &[],
            &[to.base, from.base, n],
        );
        Ok(())
    }
}
