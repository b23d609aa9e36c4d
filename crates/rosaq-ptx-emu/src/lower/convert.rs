//! Conversions, moves, comparisons and selections.

use super::Lowerer;
use super::compare::{RELATIONS, comparison, float_relation};
use super::float::half_kind;
use super::mods::Mods;
use crate::PtxError;
use crate::counters::OpClass;
use crate::number::{Conversion, MapFn, Rounding, map1};
use crate::number::{f16_to_f32, f32_to_f16};
use crate::program::{Guard, Logic, Op};
use crate::syntax::Arg;
use crate::types::Type;

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn move_or_select(
        &mut self,
        mods: &mut Mods<'_>,
        args: &[Arg<'a>],
    ) -> Result<bool, PtxError> {
        match mods.name {
            "mov" => self.mov(mods, args)?,
            "selp" => {
                let Some(ty) = mods.take_type() else { return Ok(false) };
                self.class = OpClass::Predicate;
                let [d, a, b, p] = self.args(mods, args)?;
                let src = [self.source(a, ty)?, self.source(b, ty)?];
                let p = self.pred_source(p)?;
                let d = self.target(d, ty.bits())?;
                self.emit(Op::Select(p), &[d], &src);
            }
            "slct" => self.select_by_sign(mods, args)?,
            "setp" => self.setp(mods, args)?,
            "set" => self.set(mods, args)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn mov(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        let Some(ty) = mods.take_type() else {
            return Err(self.unsupported(mods, "a type is missing".to_owned()));
        };
        self.class = OpClass::Move;
        let [d, a] = self.args(mods, args)?;
        match (d, a) {
            (Arg::Vector(parts), _) => {
                let bits = self.part_bits(mods, ty, parts.len())?;
                let a = self.source(a, ty)?;
                let mut dst = Vec::new();
                for part in parts {
                    dst.push(self.target(part, bits)?);
                }
                self.emit(Op::Unpack { bits: bits as u8 }, &dst, &[a]);
            }
            (_, Arg::Vector(parts)) => {
                let bits = self.part_bits(mods, ty, parts.len())?;
                let part_type = if bits == 32 { Type::B32 } else { Type::B16 };
                let part_type = if bits == 8 { Type::B8 } else { part_type };
                let mut src = Vec::new();
                for part in parts {
                    src.push(self.source(part, part_type)?);
                }
                let d = self.target(d, ty.bits())?;
                self.emit(Op::Pack { bits: bits as u8 }, &[d], &src);
            }
            _ => {
                let a = self.source(a, ty)?;
                let d = self.target(d, ty.bits())?;
                self.emit(Op::Map(map1!(u64, |a| a)), &[d], &[a]);
            }
        }
        Ok(())
    }

    fn part_bits(&self, mods: &Mods<'_>, ty: Type, n: usize) -> Result<u32, PtxError> {
        match (ty.bits(), n) {
            (32 | 64, 2) | (32 | 64, 4) | (16, 2) => Ok(ty.bits() / n as u32),
            _ => Err(self.unsupported(mods, "number of parts".to_owned())),
        }
    }

    fn select_by_sign(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        self.class = OpClass::Predicate;
        let (by, ty) = (mods.take_type(), mods.take_type());
        mods.take("ftz");
        let (Some(by @ (Type::S32 | Type::F32)), Some(ty)) = (by, ty) else {
            return Err(self.unsupported(mods, "types".to_owned()));
        };
        let [d, a, b, c] = self.args(mods, args)?;
        let (a, b, c) = (self.source(a, ty)?, self.source(b, ty)?, self.source(c, by)?);
        let zero = self.bits(0);
        let p = self.fresh_pred();
        let f = comparison("ge", by, false).unwrap_or(nowhere);
        let with = Guard::ALWAYS;
        self.emit(Op::Compare { f, joined: Logic::And, with, p, q: p }, &[], &[c, zero]);
        let d = self.target(d, ty.bits())?;
        self.emit(Op::Select(Guard { pred: p, is_negated: false }), &[d], &[a, b]);
        Ok(())
    }

    /// Emits the comparison of `setp` or `set`; the second target is its negation.
    fn comparison(
        &mut self,
        mods: &mut Mods<'_>,
        ty: Type,
        sources: &[Arg<'a>],
        (p, q): (u32, u32),
    ) -> Result<(), PtxError> {
        self.class = OpClass::Predicate;
        let flushes = mods.take("ftz");
        let joined = mods.take_map(|part| match part {
            "and" => Some(Logic::And),
            "or" => Some(Logic::Or),
            "xor" => Some(Logic::Xor),
            _ => None,
        });
        let Some(relation) = mods.take_map(|part| RELATIONS.iter().find(|&&r| r == part)) else {
            return Err(self.unsupported(mods, "no relation".to_owned()));
        };
        let with = match (joined, sources) {
            (None, [_, _]) => Guard::ALWAYS,
            (Some(_), [_, _, c]) => self.pred_source(c)?,
            _ => return Err(self.unsupported(mods, "number of operands".to_owned())),
        };
        let joined = joined.unwrap_or(Logic::And);
        let src = [self.source(&sources[0], ty)?, self.source(&sources[1], ty)?];
        if matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2) {
            let Some(holds) = float_relation(relation) else {
                return Err(self.unsupported(mods, format!("`.{relation}` for floats")));
            };
            let (kind, is_pair) = (half_kind(ty), ty.bits() == 32);
            let op = Op::CompareHalves { kind, is_pair, holds, joined, with, targets: [p, q] };
            self.emit(op, &[], &src);
            return Ok(());
        }
        let Some(f) = comparison(relation, ty, flushes) else {
            return Err(self.unsupported(mods, format!("`.{relation}` for this type")));
        };
        self.emit(Op::Compare { f, joined, with, p, q }, &[], &src);
        Ok(())
    }

    fn setp(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        let (Some(ty), Some((target, sources))) = (mods.take_type(), args.split_first()) else {
            return Err(self.unsupported(mods, "type or operands are missing".to_owned()));
        };
        let targets = match target {
            Arg::Pair(p, q) => (self.pred_target(&Arg::Word(p))?, self.pred_target(&Arg::Word(q))?),
            _ => (self.pred_target(target)?, self.fresh_pred()),
        };
        self.comparison(mods, ty, sources, targets)
    }

    /// `set`: ones, or 1.0, where the comparison holds.
    fn set(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<(), PtxError> {
        let (from, to) = (mods.take_type(), mods.take_type());
        let (Some(from), Some(to), Some((target, sources))) = (from, to, args.split_first()) else {
            return Err(self.unsupported(mods, "types or operands are missing".to_owned()));
        };
        let (p, q) = (self.fresh_pred(), self.fresh_pred());
        self.comparison(mods, from, sources, (p, q))?;
        let truth = match to {
            Type::F32 => 0x3f80_0000,
            Type::F16 => 0x3c00,
            Type::F16x2 => 0x3c00_3c00,
            Type::Bf16 => 0x3f80,
            Type::Bf16x2 => 0x3f80_3f80,
            _ => to.mask(),
        };
        let (truth, zero, d) = (self.bits(truth), self.bits(0), self.target(target, to.bits())?);
        let holds = Guard { pred: p, is_negated: false };
        if matches!(from, Type::F16x2 | Type::Bf16x2) {
            let ones = self.bits(truth_of_half(to));
            let (low, high) = (self.fresh(), self.fresh());
            self.emit(Op::Select(holds), &[low], &[ones, zero]);
            let holds_high = Guard { pred: q, is_negated: false };
            self.emit(Op::Select(holds_high), &[high], &[ones, zero]);
            self.emit(Op::Pack { bits: 16 }, &[d], &[low, high]);
            return Ok(());
        }
        self.emit(Op::Select(holds), &[d], &[truth, zero]);
        Ok(())
    }

    pub(super) fn convert(
        &mut self,
        mods: &mut Mods<'_>,
        args: &[Arg<'a>],
    ) -> Result<bool, PtxError> {
        if mods.name == "cvta" {
            return self.convert_address(mods, args);
        }
        if mods.name != "cvt" {
            return Ok(false);
        }
        self.class = OpClass::Convert;
        let (from, to) = (mods.take_type(), mods.take_type());
        let (Some(from), Some(to)) = (from, to) else {
            return Err(self.unsupported(mods, "two types are wanted".to_owned()));
        };
        let whole = mods.take_map(|part| Rounding::named(part.strip_suffix('i')?));
        let how = Conversion {
            to,
            from,
            rounding: whole.or(mods.take_rounding()).unwrap_or(Rounding::Nearest),
            is_whole: whole.is_some(),
            flushes: mods.take("ftz"),
            saturates: mods.take("sat"),
            is_relu: mods.take("relu"),
        };
        if let Some(part) = match to {
            Type::F16x2 => Some(Type::F16),
            Type::Bf16x2 => Some(Type::Bf16),
            _ => None,
        } {
            let [d, high, low] = self.args(mods, args)?;
            let src = [self.source(high, Type::F32)?, self.source(low, Type::F32)?];
            let d = self.target(d, 32)?;
            self.emit(Op::ConvertPair(Conversion { to: part, ..how }), &[d], &src);
            return Ok(true);
        }
        let known = |ty: Type| {
            ty.is_integer() || matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64)
        };
        if !known(to) || !known(from) {
            return Err(self.unsupported(mods, "types".to_owned()));
        }
        let [d, a] = self.args(mods, args)?;
        let a = self.wide_source(a, from)?;
        let (d, bits) = self.register(d, to.bits())?;
        let op = simple_conversion(how).map_or(Op::Convert(how), Op::Map);
        self.emit(op, &[d], &[a]);
        if to.is_signed() && bits > to.bits() {
            // A wider register holds the sign too.
            self.emit(Op::Map(extend(to, bits)), &[d], &[d]);
        }
        Ok(true)
    }

    fn convert_address(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<bool, PtxError> {
        self.class = OpClass::Convert;
        // Global addresses are generic addresses.
        mods.take("to");
        if !mods.take("global") {
            return Err(self.unsupported(mods, "state space".to_owned()));
        }
        let Some(ty @ (Type::U64 | Type::U32)) = mods.take_type() else {
            return Err(self.unsupported(mods, "type".to_owned()));
        };
        let [d, a] = self.args(mods, args)?;
        let a = self.source(a, ty)?;
        let d = self.target(d, ty.bits())?;
        self.emit(Op::Map(map1!(u64, |a| a)), &[d], &[a]);
        Ok(true)
    }
}

fn truth_of_half(to: Type) -> u64 {
    match to {
        Type::F16x2 => 0x3c00,
        Type::Bf16x2 => 0x3f80,
        _ => 0xffff,
    }
}

fn nowhere(_: &crate::number::Col, _: &crate::number::Col) -> u32 {
    0
}

fn extend(to: Type, bits: u32) -> MapFn {
    match (to.bits(), bits) {
        (8, 16) => map1!(i8, |a| i16::from(a)),
        (8, 32) => map1!(i8, |a| i32::from(a)),
        (8, _) => map1!(i8, |a| i64::from(a)),
        (16, 32) => map1!(i16, |a| i32::from(a)),
        (16, _) => map1!(i16, |a| i64::from(a)),
        _ => map1!(i32, |a| i64::from(a)),
    }
}

/// Frequent conversions as functions over columns.
fn simple_conversion(how: Conversion) -> Option<MapFn> {
    let is_plain = !how.saturates && !how.is_relu && !how.flushes && !how.is_whole;
    if !is_plain {
        return None;
    }
    Some(match (how.to, how.from) {
        (Type::F32, Type::F16) => map1!(u16, |a| f16_to_f32(a)),
        (Type::F16, Type::F32) if how.rounding == Rounding::Nearest => {
            map1!(f32, |a| f32_to_f16(a))
        }
        (to, from) if to.is_integer() && from.is_integer() => {
            if from.is_signed() {
                signed_to(from, to)?
            } else {
                let bits = to.bits().min(from.bits());
                match bits {
                    8 => map1!(u8, |a| a),
                    16 => map1!(u16, |a| a),
                    32 => map1!(u32, |a| a),
                    _ => map1!(u64, |a| a),
                }
            }
        }
        _ => return None,
    })
}

fn signed_to(from: Type, to: Type) -> Option<MapFn> {
    macro_rules! to_bits {
        ($t:ty) => {
            match to.bits() {
                8 => map1!($t, |a| a as u8),
                16 => map1!($t, |a| a as u16),
                32 => map1!($t, |a| a as u32),
                _ => map1!($t, |a| a as u64),
            }
        };
    }
    Some(match from {
        Type::S8 => to_bits!(i8),
        Type::S16 => to_bits!(i16),
        Type::S32 => to_bits!(i32),
        Type::S64 => to_bits!(i64),
        _ => return None,
    })
}
