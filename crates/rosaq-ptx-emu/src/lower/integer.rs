//! Integer, logic and shift instructions as functions over columns.

use crate::number::{MapFn, map1, map2, map3, map4};
use crate::types::Type;

/// One function for each width and sign that the type may have.
macro_rules! by_type {
    ($ty:expr, $map:ident, |$($a:ident),*| $e:expr) => {
        match $ty {
            Type::B16 | Type::U16 => Some($map!(u16, |$($a),*| $e)),
            Type::S16 => Some($map!(i16, |$($a),*| $e)),
            Type::B32 | Type::U32 => Some($map!(u32, |$($a),*| $e)),
            Type::S32 => Some($map!(i32, |$($a),*| $e)),
            Type::B64 | Type::U64 => Some($map!(u64, |$($a),*| $e)),
            Type::S64 => Some($map!(i64, |$($a),*| $e)),
            _ => None,
        }
    };
}

/// The same for bits alone.
macro_rules! by_bits {
    ($ty:expr, $map:ident, |$($a:ident),*| $e:expr) => {
        match $ty.bits() {
            16 => Some($map!(u16, |$($a),*| $e)),
            32 => Some($map!(u32, |$($a),*| $e)),
            64 => Some($map!(u64, |$($a),*| $e)),
            _ => None,
        }
    };
}

/// The same for signed types.
macro_rules! signed {
    ($ty:expr, $map:ident, |$($a:ident),*| $e:expr) => {
        match $ty {
            Type::S16 => Some($map!(i16, |$($a),*| $e)),
            Type::S32 => Some($map!(i32, |$($a),*| $e)),
            Type::S64 => Some($map!(i64, |$($a),*| $e)),
            _ => None,
        }
    };
}

/// Instructions `op d, a`.
pub(super) fn unary(name: &str, ty: Type) -> Option<MapFn> {
    match name {
        "neg" => signed!(ty, map1, |a| a.wrapping_neg()),
        "abs" => signed!(ty, map1, |a| a.wrapping_abs()),
        "not" => by_bits!(ty, map1, |a| !a),
        "cnot" => by_bits!(ty, map1, |a| u64::from(a == 0)),
        "popc" => match ty {
            Type::B32 => Some(map1!(u32, |a| a.count_ones())),
            Type::B64 => Some(map1!(u64, |a| a.count_ones())),
            _ => None,
        },
        "clz" => match ty {
            Type::B32 => Some(map1!(u32, |a| a.leading_zeros())),
            Type::B64 => Some(map1!(u64, |a| a.leading_zeros())),
            _ => None,
        },
        "brev" => match ty {
            Type::B32 => Some(map1!(u32, |a| a.reverse_bits())),
            Type::B64 => Some(map1!(u64, |a| a.reverse_bits())),
            _ => None,
        },
        _ => None,
    }
}

/// `bfind`, whose result is the number of the highest bit that differs from the sign, or the shift
/// that would bring it to the top.
pub(super) fn bfind(ty: Type, is_shift: bool) -> Option<MapFn> {
    macro_rules! find {
        ($t:ty, $bits:expr) => {
            if is_shift {
                map1!($t, |a| highest(a as i64, $bits).map_or(u32::MAX, |at| $bits - 1 - at))
            } else {
                map1!($t, |a| highest(a as i64, $bits).unwrap_or(u32::MAX))
            }
        };
    }
    Some(match ty {
        Type::U32 => find!(u32, 32),
        Type::S32 => find!(i32, 32),
        Type::U64 => {
            if is_shift {
                map1!(u64, |a| if a == 0 { u32::MAX } else { a.leading_zeros() })
            } else {
                map1!(u64, |a| if a == 0 { u32::MAX } else { 63 - a.leading_zeros() })
            }
        }
        Type::S64 => find!(i64, 64),
        _ => return None,
    })
}

/// The highest bit of `a`, or of `!a` where `a` is negative.
fn highest(a: i64, _bits: u32) -> Option<u32> {
    let magnitude = if a < 0 { !a } else { a };
    (magnitude != 0).then(|| 63 - magnitude.leading_zeros())
}

/// Instructions `op d, a, b` whose operands and result have one type.
pub(super) fn binary(name: &str, ty: Type) -> Option<MapFn> {
    match name {
        "add" => by_type!(ty, map2, |a, b| a.wrapping_add(b)),
        "sub" => by_type!(ty, map2, |a, b| a.wrapping_sub(b)),
        "mul" => by_type!(ty, map2, |a, b| a.wrapping_mul(b)),
        // What a division by zero gives is left open; all ones is what devices give.
        "div" => by_type!(ty, map2, |a, b| if b == 0 { !b } else { a.wrapping_div(b) }),
        "rem" => by_type!(ty, map2, |a, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        "min" => by_type!(ty, map2, |a, b| a.min(b)),
        "max" => by_type!(ty, map2, |a, b| a.max(b)),
        "and" => by_bits!(ty, map2, |a, b| a & b),
        "or" => by_bits!(ty, map2, |a, b| a | b),
        "xor" => by_bits!(ty, map2, |a, b| a ^ b),
        _ => None,
    }
}

/// The high half of a product.
pub(super) fn mul_high(ty: Type) -> Option<MapFn> {
    Some(match ty {
        Type::U16 => map2!(u16, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16),
        Type::S16 => map2!(i16, |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16),
        Type::U32 => map2!(u32, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        Type::S32 => map2!(i32, |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32),
        Type::U64 => map2!(u64, |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64),
        Type::S64 => map2!(i64, |a, b| ((i128::from(a) * i128::from(b)) >> 64) as i64),
        _ => return None,
    })
}

/// A product of twice the bits.
pub(super) fn mul_wide(ty: Type) -> Option<MapFn> {
    Some(match ty {
        Type::U16 => map2!(u16, |a, b| u32::from(a) * u32::from(b)),
        Type::S16 => map2!(i16, |a, b| i32::from(a) * i32::from(b)),
        Type::U32 => map2!(u32, |a, b| u64::from(a) * u64::from(b)),
        Type::S32 => map2!(i32, |a, b| i64::from(a) * i64::from(b)),
        _ => return None,
    })
}

/// `mad.lo`.
pub(super) fn mad_low(ty: Type) -> Option<MapFn> {
    Some(match ty.bits() {
        16 => map3!(u16, u16, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        32 => map3!(u32, u32, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        64 => map3!(u64, u64, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        _ => return None,
    })
}

/// `mad.hi`.
pub(super) fn mad_high(ty: Type) -> Option<MapFn> {
    Some(match ty {
        Type::U32 => map3!(u32, u32, |a, b, c| {
            (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
        }),
        Type::S32 => map3!(i32, i32, |a, b, c| {
            (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c)
        }),
        Type::U64 => map3!(u64, u64, |a, b, c| {
            (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)
        }),
        Type::S64 => map3!(i64, i64, |a, b, c| {
            (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c)
        }),
        _ => return None,
    })
}

/// `mad.wide`.
pub(super) fn mad_wide(ty: Type) -> Option<MapFn> {
    Some(match ty {
        Type::U16 => {
            map3!(u16, u32, |a, b, c| (u32::from(a) * u32::from(b)).wrapping_add(c))
        }
        Type::S16 => {
            map3!(i16, i32, |a, b, c| (i32::from(a) * i32::from(b)).wrapping_add(c))
        }
        Type::U32 => {
            map3!(u32, u64, |a, b, c| (u64::from(a) * u64::from(b)).wrapping_add(c))
        }
        Type::S32 => {
            map3!(i32, i64, |a, b, c| (i64::from(a) * i64::from(b)).wrapping_add(c))
        }
        _ => return None,
    })
}

/// Shifts, whose amounts beyond the width give zeros or signs. The amount is a u32.
pub(super) fn shift(name: &str, ty: Type) -> Option<MapFn> {
    macro_rules! shifts {
        ($t:ty, $s:ty) => {
            match (name, ty.is_signed()) {
                ("shl", _) => map3!($t, u32, |a, _b, n| a.checked_shl(n).unwrap_or(0)),
                ("shr", false) => map3!($t, u32, |a, _b, n| a.checked_shr(n).unwrap_or(0)),
                ("shr", true) => map3!($s, u32, |a, _b, n| a >> n.min(<$s>::BITS - 1)),
                _ => return None,
            }
        };
    }
    Some(match ty.bits() {
        16 => shifts!(u16, i16),
        32 => shifts!(u32, i32),
        64 => shifts!(u64, i64),
        _ => return None,
    })
}

/// `shf.l` and `shf.r`: the pair of `b` (high) and `a` shifted by `c`.
pub(super) fn funnel(is_left: bool, wraps: bool) -> MapFn {
    match (is_left, wraps) {
        (true, true) => map3!(u32, u32, |a, b, c| high(a, b, c & 31)),
        (true, false) => map3!(u32, u32, |a, b, c| high(a, b, c.min(32))),
        (false, true) => map3!(u32, u32, |a, b, c| low(a, b, c & 31)),
        (false, false) => map3!(u32, u32, |a, b, c| low(a, b, c.min(32))),
    }
}

fn high(a: u32, b: u32, n: u32) -> u32 {
    (((u64::from(b) << 32 | u64::from(a)) << n) >> 32) as u32
}

fn low(a: u32, b: u32, n: u32) -> u32 {
    ((u64::from(b) << 32 | u64::from(a)) >> n) as u32
}

/// `bfe`: `c` bits of `a` from bit `b` on. Sources in the order a, a, b, c.
pub(super) fn extract(ty: Type) -> Option<MapFn> {
    Some(match ty {
        Type::U32 => map4!(u32, |a, _a, at, n| field(u64::from(a), at, n, 32, false) as u32),
        Type::S32 => map4!(i32, |a, _a, at, n| field(a as i64 as u64, at, n, 32, true) as u32),
        Type::U64 => map4!(u64, |a, _a, at, n| field(a, at, n, 64, false)),
        Type::S64 => map4!(u64, |a, _a, at, n| field(a, at, n, 64, true)),
        _ => return None,
    })
}

fn field(a: u64, at: u32, n: u32, bits: u32, is_signed: bool) -> u64 {
    let (at, n) = (at & 0xff, n & 0xff);
    let is_negative = is_signed && n > 0 && {
        let last = (at + n - 1).min(bits - 1);
        a >> last & 1 == 1
    };
    let picked = if at >= bits { 0 } else { a >> at };
    let kept = n.min(bits.saturating_sub(at));
    let ones = if kept >= 64 { u64::MAX } else { (1 << kept) - 1 };
    (picked & ones) | if is_negative { !ones } else { 0 }
}

/// `bfi`: the low `d` bits of `a` put into `b` at bit `c`.
pub(super) fn insert(ty: Type) -> Option<MapFn> {
    Some(match ty {
        Type::B32 => {
            map4!(u32, |a, b, at, n| put_field(u64::from(a), u64::from(b), at, n) as u32)
        }
        Type::B64 => map4!(u64, |a, b, at, n| put_field(a, b, at, n)),
        _ => return None,
    })
}

fn put_field(a: u64, b: u64, at: u32, n: u32) -> u64 {
    let (at, n) = (at & 0xff, n & 0xff);
    let ones = if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    let ones = ones.checked_shl(at).unwrap_or(0);
    let bits = a.checked_shl(at).unwrap_or(0);
    (b & !ones) | (bits & ones)
}

/// `prmt` in its modes.
pub(super) fn permute(mode: Option<&str>) -> Option<MapFn> {
    Some(match mode {
        None => map3!(u32, u32, |a, b, c| {
            (0..4).fold(0, |word, i| word | chosen_byte(a, b, c >> (4 * i)) << (8 * i))
        }),
        Some("f4e") => map3!(u32, u32, |a, b, c| bytes(a, b, [0, 1, 2, 3].map(|i| i + (c & 3)))),
        Some("b4e") => {
            map3!(u32, u32, |a, b, c| bytes(a, b, [0, 7, 6, 5].map(|i| (i + (c & 3)) & 7)))
        }
        Some("rc8") => map3!(u32, u32, |a, b, c| bytes(a, b, [c & 3; 4])),
        Some("ecl") => map3!(u32, u32, |a, b, c| bytes(a, b, [0, 1, 2, 3].map(|i| i.max(c & 3)))),
        Some("ecr") => map3!(u32, u32, |a, b, c| bytes(a, b, [0, 1, 2, 3].map(|i| i.min(c & 3)))),
        Some("rc16") => {
            map3!(u32, u32, |a, b, c| bytes(a, b, [0, 1, 0, 1].map(|i| i + 2 * (c & 1))))
        }
        _ => return None,
    })
}

fn chosen_byte(a: u32, b: u32, selector: u32) -> u32 {
    let pair = u64::from(b) << 32 | u64::from(a);
    let byte = (pair >> (8 * (selector & 7))) as u32 & 0xff;
    let sign = (byte >> 7) * 0xff;
    if selector & 8 == 0 { byte } else { sign }
}

fn bytes(a: u32, b: u32, from: [u32; 4]) -> u32 {
    (0..4).fold(0, |word, i| word | chosen_byte(a, b, from[i] & 7) << (8 * i))
}

/// `dp4a` by the signs of its two operands.
pub(super) fn dot_bytes(a_is_signed: bool, b_is_signed: bool) -> MapFn {
    match (a_is_signed, b_is_signed) {
        (false, false) => map3!(u32, u32, |a, b, c| dot(a, b, c, false, false)),
        (false, true) => map3!(u32, u32, |a, b, c| dot(a, b, c, false, true)),
        (true, false) => map3!(u32, u32, |a, b, c| dot(a, b, c, true, false)),
        (true, true) => map3!(u32, u32, |a, b, c| dot(a, b, c, true, true)),
    }
}

fn dot(a: u32, b: u32, c: u32, a_is_signed: bool, b_is_signed: bool) -> u32 {
    let byte = |word: u32, i: usize, is_signed| {
        let byte = word.to_le_bytes()[i];
        if is_signed { i32::from(byte as i8) } else { i32::from(byte) }
    };
    (0..4).fold(c, |sum, i| {
        sum.wrapping_add((byte(a, i, a_is_signed) * byte(b, i, b_is_signed)) as u32)
    })
}
