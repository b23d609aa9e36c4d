//! Which integer or logic instruction an opcode means.

use super::Lowerer;
use super::integer;
use super::mods::Mods;
use crate::PtxError;
use crate::counters::OpClass;
use crate::number::MapFn;
use crate::program::{Logic, Op};
use crate::syntax::Arg;
use crate::types::Type;

/// Decodes integer, logic and shift instructions; tells whether this was one.
pub(super) fn integer<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
) -> Result<bool, PtxError> {
    l.class = OpClass::Integer;
    let last = mods.last_type();
    match (mods.name, last) {
        ("and" | "or" | "xor" | "not" | "mov", Some(Type::Pred)) => predicate(l, mods, args),
        ("lop3", Some(Type::B32)) => lop3(l, mods, args),
        ("prmt", _) => permute(l, mods, args),
        ("shf", Some(Type::B32)) => funnel(l, mods, args),
        ("shl" | "shr", Some(ty)) => {
            mods.take_type();
            let f = integer::shift(mods.name, ty);
            let [d, a, n] = l.args(mods, args)?;
            let (a, n) = (l.source(a, ty)?, l.source(n, Type::U32)?);
            let f = known(l, mods, f)?;
            let d = l.target(d, ty.bits())?;
            l.emit(Op::Map(f), &[d], &[a, a, n]);
            Ok(true)
        }
        ("bfe" | "bfi", Some(ty)) => bit_field(l, mods, args, ty),
        ("dp4a", _) => dot(l, mods, args),
        ("mul" | "mad", Some(ty)) if is_whole(ty) => product(l, mods, args, ty),
        ("popc" | "clz" | "bfind", Some(ty)) => {
            mods.take_type();
            let f = if mods.name == "bfind" {
                integer::bfind(ty, mods.take("shiftamt"))
            } else {
                integer::unary(mods.name, ty)
            };
            simple(l, mods, args, f, (ty, 32))
        }
        (_, Some(ty)) if is_whole(ty) => {
            let f = match args.len() {
                2 => integer::unary(mods.name, ty),
                3 => integer::binary(mods.name, ty),
                _ => None,
            };
            let Some(f) = f else { return Ok(false) };
            mods.take_type();
            // Saturating sums are a form of their own.
            let f = if mods.take("sat") { saturating(mods.name, ty) } else { Some(f) };
            simple(l, mods, args, f, (ty, ty.bits()))
        }
        _ => Ok(false),
    }
}

fn is_whole(ty: Type) -> bool {
    ty.is_integer() || matches!(ty, Type::B16 | Type::B32 | Type::B64)
}

fn known<T>(l: &Lowerer<'_, '_>, mods: &Mods<'_>, f: Option<T>) -> Result<T, PtxError> {
    f.ok_or_else(|| l.unsupported(mods, "not for this type".to_owned()))
}

fn saturating(name: &str, ty: Type) -> Option<MapFn> {
    match (name, ty) {
        ("add", Type::S32) => Some(crate::number::map2!(i32, |a, b| a.saturating_add(b))),
        ("sub", Type::S32) => Some(crate::number::map2!(i32, |a, b| a.saturating_sub(b))),
        _ => None,
    }
}

/// All sources of the type, the target of so many bits.
fn simple<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &Mods<'_>,
    args: &[Arg<'a>],
    f: Option<MapFn>,
    (ty, target_bits): (Type, u32),
) -> Result<bool, PtxError> {
    let f = known(l, mods, f)?;
    let Some((target, sources)) = args.split_first() else {
        return Err(l.unsupported(mods, "no operands".to_owned()));
    };
    let sources =
        sources.iter().map(|arg| l.source(arg, ty)).collect::<Result<Vec<_>, PtxError>>()?;
    if sources.is_empty() || sources.len() > 4 {
        return Err(l.unsupported(mods, "number of operands".to_owned()));
    }
    let d = l.target(target, target_bits)?;
    l.emit(Op::Map(f), &[d], &sources);
    Ok(true)
}

fn predicate<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
) -> Result<bool, PtxError> {
    mods.take_type();
    l.class = OpClass::Predicate;
    let (joined, a, b) = match mods.name {
        "mov" | "not" => {
            let [_, a] = l.args(mods, args)?;
            let mut a = l.pred_source(a)?;
            a.is_negated ^= mods.name == "not";
            (Logic::And, a, a)
        }
        name => {
            let [_, a, b] = l.args(mods, args)?;
            let joined = match name {
                "and" => Logic::And,
                "or" => Logic::Or,
                _ => Logic::Xor,
            };
            (joined, l.pred_source(a)?, l.pred_source(b)?)
        }
    };
    let to = l.pred_target(&args[0])?;
    l.emit(Op::Predicate { joined, a, b, to }, &[], &[]);
    Ok(true)
}

fn lop3<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
) -> Result<bool, PtxError> {
    mods.take_type();
    let [d, a, b, c, table] = l.args(mods, args)?;
    let Arg::Int(table) = table else {
        return Err(l.misfit(table, "the table is a constant"));
    };
    let table = u8::try_from(*table).map_err(|_| l.misfit(&args[4], "the table has 8 bits"))?;
    let src = [l.source(a, Type::B32)?, l.source(b, Type::B32)?, l.source(c, Type::B32)?];
    let d = l.target(d, 32)?;
    l.emit(Op::Lop3(table), &[d], &src);
    Ok(true)
}

fn permute<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
) -> Result<bool, PtxError> {
    mods.take("b32");
    let modes = ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"];
    let mode = modes.into_iter().find(|mode| mods.take(mode));
    let [_, _, _, _] = l.args(mods, args)?;
    simple(l, mods, args, integer::permute(mode), (Type::B32, 32))
}

fn funnel<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
) -> Result<bool, PtxError> {
    mods.take_type();
    let is_left = mods.take("l");
    let wraps = mods.take("wrap");
    if !(is_left || mods.take("r")) || !(wraps || mods.take("clamp")) {
        return Err(l.unsupported(mods, "direction or mode is missing".to_owned()));
    }
    let [_, _, _, _] = l.args(mods, args)?;
    simple(l, mods, args, Some(integer::funnel(is_left, wraps)), (Type::B32, 32))
}

fn bit_field<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
    ty: Type,
) -> Result<bool, PtxError> {
    mods.take_type();
    let (f, src) = if mods.name == "bfe" {
        let [_, a, at, n] = l.args(mods, args)?;
        let a = l.source(a, ty)?;
        (integer::extract(ty), [a, a, l.source(at, Type::U32)?, l.source(n, Type::U32)?])
    } else {
        let [_, a, b, at, n] = l.args(mods, args)?;
        let (a, b) = (l.source(a, ty)?, l.source(b, ty)?);
        (integer::insert(ty), [a, b, l.source(at, Type::U32)?, l.source(n, Type::U32)?])
    };
    let f = known(l, mods, f)?;
    let d = l.target(&args[0], ty.bits())?;
    l.emit(Op::Map(f), &[d], &src);
    Ok(true)
}

fn dot<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
) -> Result<bool, PtxError> {
    let b = mods.take_type();
    let a = mods.take_type();
    let (Some(a @ (Type::U32 | Type::S32)), Some(b @ (Type::U32 | Type::S32))) = (a, b) else {
        return Err(l.unsupported(mods, "types".to_owned()));
    };
    let [_, _, _, _] = l.args(mods, args)?;
    let f = integer::dot_bytes(a.is_signed(), b.is_signed());
    simple(l, mods, args, Some(f), (Type::B32, 32))
}

fn product<'a>(
    l: &mut Lowerer<'_, 'a>,
    mods: &mut Mods<'_>,
    args: &[Arg<'a>],
    ty: Type,
) -> Result<bool, PtxError> {
    mods.take_type();
    let is_mad = mods.name == "mad";
    let is_wide = mods.take("wide");
    let f = match (is_wide, mods.take("hi"), mods.take("lo")) {
        (true, false, false) if is_mad => integer::mad_wide(ty),
        (true, false, false) => integer::mul_wide(ty),
        (false, true, false) if is_mad => integer::mad_high(ty),
        (false, true, false) => integer::mul_high(ty),
        (false, false, true) if is_mad => integer::mad_low(ty),
        (false, false, true) => integer::binary("mul", ty),
        _ => None,
    };
    let f = known(l, mods, f)?;
    let wide = match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        _ => Type::S64,
    };
    let result = if is_wide { wide } else { ty };
    let (Some(a), Some(b)) = (args.get(1), args.get(2)) else {
        return Err(l.unsupported(mods, "too few operands".to_owned()));
    };
    let mut src = vec![l.source(a, ty)?, l.source(b, ty)?];
    if is_mad {
        let [_, _, _, c] = l.args(mods, args)?;
        src.push(l.source(c, result)?);
    } else {
        let [_, _, _] = l.args(mods, args)?;
    }
    let d = l.target(&args[0], result.bits())?;
    l.emit(Op::Map(f), &[d], &src);
    Ok(true)
}
