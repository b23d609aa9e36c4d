//! Floating-point arithmetic: f32, f64, f16 and bf16.

use super::Lowerer;
use super::mods::Mods;
use crate::PtxError;
use crate::counters::OpClass;
use crate::number::{HalfKind, HalfOp, HalfSpec, MapFn, Rounding};
use crate::number::{add_to_odd, flush, map1, map2, map3, saturate};
use crate::program::Op;
use crate::syntax::Arg;
use crate::types::Type;

impl<'a> Lowerer<'_, 'a> {
    pub(super) fn float(
        &mut self,
        mods: &mut Mods<'_>,
        args: &[Arg<'a>],
    ) -> Result<bool, PtxError> {
        let ty = match (mods.name, mods.last_type()) {
            ("setp" | "set" | "selp" | "slct" | "mov" | "cvt" | "ld" | "st" | "ldu", _) => {
                return Ok(false);
            }
            ("atom" | "red" | "mma" | "shfl" | "testp" | "copysign", _) => return Ok(false),
            (_, Some(ty)) => ty,
            _ => return Ok(false),
        };
        match ty {
            Type::F32 => self.single(mods, args),
            Type::F64 => self.double(mods, args),
            Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => self.half(mods, args, ty),
            _ => Ok(false),
        }
    }

    fn single(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<bool, PtxError> {
        mods.take_type();
        self.class = OpClass::Float32;
        let flushes = mods.take("ftz");
        let saturates = mods.take("sat");
        mods.take_any(&["approx", "full"]);
        let rounding = mods.take_rounding().unwrap_or(Rounding::Nearest);
        let src = self.float_sources(mods, args, Type::F32)?;
        let d = self.target(&args[0], 32)?;
        let n_operands = src.len() as u8;
        if rounding != Rounding::Nearest
            && matches!(mods.name, "add" | "sub" | "mul" | "fma" | "mad")
        {
            let mut src = src;
            if mods.name == "sub" {
                let negated = self.fresh();
                let sign = map1!(u32, |a| a ^ 0x8000_0000);
                self.emit(Op::Map(sign), &[negated], &[src[1]]);
                src[1] = negated;
            }
            let is_product = matches!(mods.name, "mul" | "fma" | "mad");
            let op = Op::RoundedF32 { n_operands, is_product, rounding, flushes, saturates };
            self.emit(op, &[d], &src);
            return Ok(true);
        }
        let keeps_nan = mods.take("NaN");
        let f =
            if keeps_nan { keeping_nan(mods.name, flushes) } else { single(mods.name, flushes) };
        let Some((f, n)) = f.filter(|_| rounding == Rounding::Nearest) else {
            return Err(self.unsupported(mods, "operation on f32".to_owned()));
        };
        self.check_count(mods, n, src.len())?;
        self.emit(Op::Map(f), &[d], &src);
        if saturates {
            self.emit(Op::Map(map1!(f32, |a| saturate(a))), &[d], &[d]);
        }
        Ok(true)
    }

    fn double(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>]) -> Result<bool, PtxError> {
        mods.take_type();
        self.class = OpClass::Float64;
        // The approximations of f64 are computed exactly, and flush nothing.
        mods.take_any(&["rn", "approx", "ftz"]);
        let src = self.float_sources(mods, args, Type::F64)?;
        let d = self.target(&args[0], 64)?;
        let Some((f, n)) = double(mods.name) else {
            return Err(self.unsupported(mods, "operation on f64".to_owned()));
        };
        self.check_count(mods, n, src.len())?;
        self.emit(Op::Map(f), &[d], &src);
        Ok(true)
    }

    fn half(&mut self, mods: &mut Mods<'_>, args: &[Arg<'a>], ty: Type) -> Result<bool, PtxError> {
        let (op, n) = match mods.name {
            "add" => (HalfOp::Add, 2),
            "sub" => (HalfOp::Sub, 2),
            "mul" => (HalfOp::Mul, 2),
            "fma" => (HalfOp::Fma, 3),
            "min" => (HalfOp::Min, 2),
            "max" => (HalfOp::Max, 2),
            "neg" => (HalfOp::Neg, 1),
            "abs" => (HalfOp::Abs, 1),
            "ex2" => (HalfOp::Ex2, 1),
            "tanh" => (HalfOp::Tanh, 1),
            _ => return Ok(false),
        };
        mods.take_type();
        self.class = OpClass::Half;
        if matches!(op, HalfOp::Ex2 | HalfOp::Tanh) {
            mods.take("approx");
        }
        mods.take("rn");
        let spec = HalfSpec {
            op,
            kind: half_kind(ty),
            is_pair: ty.bits() == 32,
            flushes: mods.take("ftz"),
            saturates: mods.take("sat"),
            is_relu: mods.take("relu"),
            keeps_nan: mods.take("NaN"),
        };
        let src = self.float_sources(mods, args, ty)?;
        self.check_count(mods, n, src.len())?;
        let d = self.target(&args[0], ty.bits())?;
        self.emit(Op::Halves(spec), &[d], &src);
        Ok(true)
    }

    fn check_count(&self, mods: &Mods<'_>, wanted: usize, found: usize) -> Result<(), PtxError> {
        if wanted == found {
            return Ok(());
        }
        Err(self.unsupported(mods, format!("{found} sources instead of {wanted}")))
    }

    fn float_sources(
        &mut self,
        mods: &Mods<'_>,
        args: &[Arg<'a>],
        ty: Type,
    ) -> Result<Vec<u32>, PtxError> {
        if !(2..=4).contains(&args.len()) {
            return Err(self.unsupported(mods, format!("{} operands", args.len())));
        }
        args[1..].iter().map(|arg| self.source(arg, ty)).collect()
    }
}

pub(super) fn half_kind(ty: Type) -> HalfKind {
    if matches!(ty, Type::Bf16 | Type::Bf16x2) { HalfKind::Bf16 } else { HalfKind::F16 }
}

/// With `.ftz`, sources and result lose what is subnormal.
macro_rules! maybe_flushed {
    ($flushes:expr, |$($a:ident),*| $e:expr) => {
        if $flushes {
            maybe_flushed!(@map |$($a),*| { $(let $a = flush($a);)* flush($e) })
        } else {
            maybe_flushed!(@map |$($a),*| $e)
        }
    };
    (@map |$a:ident| $e:expr) => { (map1!(f32, |$a| $e), 1) };
    (@map |$a:ident, $b:ident| $e:expr) => { (map2!(f32, |$a, $b| $e), 2) };
    (@map |$a:ident, $b:ident, $c:ident| $e:expr) => { (map3!(f32, f32, |$a, $b, $c| $e), 3) };
}

/// Functions on f32 and how many operands they have.
fn single(name: &str, flushes: bool) -> Option<(MapFn, usize)> {
    Some(match name {
        "add" => maybe_flushed!(flushes, |a, b| a + b),
        "sub" => maybe_flushed!(flushes, |a, b| a - b),
        "mul" => maybe_flushed!(flushes, |a, b| a * b),
        "div" => maybe_flushed!(flushes, |a, b| a / b),
        "fma" | "mad" => maybe_flushed!(flushes, |a, b, c| fused(a, b, c)),
        "min" => maybe_flushed!(flushes, |a, b| crate::number::least(a, b)),
        "max" => maybe_flushed!(flushes, |a, b| crate::number::largest(a, b)),
        "rcp" => maybe_flushed!(flushes, |a| 1.0 / a),
        "sqrt" => maybe_flushed!(flushes, |a| a.sqrt()),
        "rsqrt" => maybe_flushed!(flushes, |a| (1.0 / f64::from(a).sqrt()) as f32),
        "ex2" => maybe_flushed!(flushes, |a| f64::from(a).exp2() as f32),
        "lg2" => maybe_flushed!(flushes, |a| f64::from(a).log2() as f32),
        "sin" => maybe_flushed!(flushes, |a| f64::from(a).sin() as f32),
        "cos" => maybe_flushed!(flushes, |a| f64::from(a).cos() as f32),
        "tanh" => maybe_flushed!(flushes, |a| f64::from(a).tanh() as f32),
        "neg" if flushes => (map1!(f32, |a| -flush(a)), 1),
        "abs" if flushes => (map1!(f32, |a| flush(a).abs()), 1),
        // These work on bits, NaNs included.
        "neg" => (map1!(u32, |a| a ^ 0x8000_0000), 1),
        "abs" => (map1!(u32, |a| a & 0x7fff_ffff), 1),
        _ => return None,
    })
}

fn keeping_nan(name: &str, flushes: bool) -> Option<(MapFn, usize)> {
    Some(match name {
        "min" => maybe_flushed!(flushes, |a, b| {
            if a.is_nan() || b.is_nan() { f32::NAN } else { crate::number::least(a, b) }
        }),
        "max" => maybe_flushed!(flushes, |a, b| {
            if a.is_nan() || b.is_nan() { f32::NAN } else { crate::number::largest(a, b) }
        }),
        _ => return None,
    })
}

/// The product is exact in f64, and the sum rounded to odd, so that one rounding counts.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    add_to_odd(f64::from(a) * f64::from(b), f64::from(c)) as f32
}

fn double(name: &str) -> Option<(MapFn, usize)> {
    Some(match name {
        "add" => (map2!(f64, |a, b| a + b), 2),
        "sub" => (map2!(f64, |a, b| a - b), 2),
        "mul" => (map2!(f64, |a, b| a * b), 2),
        "div" => (map2!(f64, |a, b| a / b), 2),
        "min" => (map2!(f64, |a, b| a.min(b)), 2),
        "max" => (map2!(f64, |a, b| a.max(b)), 2),
        "fma" | "mad" => (map3!(f64, f64, |a, b, c| a.mul_add(b, c)), 3),
        "rcp" => (map1!(f64, |a| 1.0 / a), 1),
        "sqrt" => (map1!(f64, |a| a.sqrt()), 1),
        "rsqrt" => (map1!(f64, |a| 1.0 / a.sqrt()), 1),
        "neg" => (map1!(u64, |a| a ^ (1 << 63)), 1),
        "abs" => (map1!(u64, |a| a & !(1 << 63)), 1),
        _ => return None,
    })
}
