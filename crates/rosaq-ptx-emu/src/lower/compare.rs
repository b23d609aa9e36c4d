//! Relations of `setp` and `set` as functions over columns.

use crate::number::{Lane, flush};
use crate::program::CompareFn;
use crate::types::Type;

/// Modifiers that are relations.
pub(super) const RELATIONS: [&str; 18] = [
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu",
    "geu", "num", "nan",
];

macro_rules! lanes_where {
    ($t:ty, |$a:ident, $b:ident| $e:expr) => {{
        fn compare(x: &crate::number::Col, y: &crate::number::Col) -> u32 {
            let mut mask = 0;
            for lane in 0..32 {
                let $a = <$t as Lane>::take(x[lane]);
                let $b = <$t as Lane>::take(y[lane]);
                mask |= u32::from($e) << lane;
            }
            mask
        }
        compare as CompareFn
    }};
}

macro_rules! ordered {
    ($relation:expr, $t:ty) => {
        match $relation {
            "eq" => lanes_where!($t, |a, b| a == b),
            "ne" => lanes_where!($t, |a, b| a != b),
            "lt" | "lo" => lanes_where!($t, |a, b| a < b),
            "le" | "ls" => lanes_where!($t, |a, b| a <= b),
            "gt" | "hi" => lanes_where!($t, |a, b| a > b),
            "ge" | "hs" => lanes_where!($t, |a, b| a >= b),
            _ => return None,
        }
    };
}

/// Lanes in which a relation holds.
pub(super) fn comparison(relation: &str, ty: Type, flushes: bool) -> Option<CompareFn> {
    Some(match ty {
        Type::B16 | Type::U16 => ordered!(relation, u16),
        Type::S16 => ordered!(relation, i16),
        Type::B32 | Type::U32 => ordered!(relation, u32),
        Type::S32 => ordered!(relation, i32),
        Type::B64 | Type::U64 => ordered!(relation, u64),
        Type::S64 => ordered!(relation, i64),
        Type::F32 => return compare_f32(relation, flushes),
        Type::F64 => return compare_f64(relation),
        _ => return None,
    })
}

macro_rules! float_comparisons {
    ($relation:expr, $t:ty, $prepare:expr) => {
        match $relation {
            "eq" => lanes_where!($t, |a, b| $prepare(a) == $prepare(b)),
            // Only true of numbers.
            "ne" => lanes_where!($t, |a, b| {
                let (a, b) = ($prepare(a), $prepare(b));
                a < b || a > b
            }),
            "lt" => lanes_where!($t, |a, b| $prepare(a) < $prepare(b)),
            "le" => lanes_where!($t, |a, b| $prepare(a) <= $prepare(b)),
            "gt" => lanes_where!($t, |a, b| $prepare(a) > $prepare(b)),
            "ge" => lanes_where!($t, |a, b| $prepare(a) >= $prepare(b)),
            // Also true where one is NaN.
            "equ" => lanes_where!($t, |a, b| {
                let (a, b) = ($prepare(a), $prepare(b));
                !(a < b || a > b)
            }),
            "neu" => lanes_where!($t, |a, b| $prepare(a) != $prepare(b)),
            "ltu" => lanes_where!($t, |a, b| !($prepare(a) >= $prepare(b))),
            "leu" => lanes_where!($t, |a, b| !($prepare(a) > $prepare(b))),
            "gtu" => lanes_where!($t, |a, b| !($prepare(a) <= $prepare(b))),
            "geu" => lanes_where!($t, |a, b| !($prepare(a) < $prepare(b))),
            "num" => lanes_where!($t, |a, b| !(a.is_nan() || b.is_nan())),
            "nan" => lanes_where!($t, |a, b| a.is_nan() || b.is_nan()),
            _ => return None,
        }
    };
}

#[allow(
    clippy::double_comparisons,
    clippy::neg_cmp_op_on_partial_ord,
    reason = "NaN makes every ordered relation false and every unordered one true"
)]
fn compare_f32(relation: &str, flushes: bool) -> Option<CompareFn> {
    Some(if flushes {
        float_comparisons!(relation, f32, flush)
    } else {
        float_comparisons!(relation, f32, std::convert::identity)
    })
}

#[allow(
    clippy::double_comparisons,
    clippy::neg_cmp_op_on_partial_ord,
    reason = "NaN makes every ordered relation false and every unordered one true"
)]
fn compare_f64(relation: &str) -> Option<CompareFn> {
    Some(float_comparisons!(relation, f64, std::convert::identity))
}

/// The same of two values.
#[allow(
    clippy::double_comparisons,
    clippy::neg_cmp_op_on_partial_ord,
    reason = "NaN makes every ordered relation false and every unordered one true"
)]
pub(super) fn float_relation(relation: &str) -> Option<fn(f32, f32) -> bool> {
    Some(match relation {
        "eq" => |a, b| a == b,
        "ne" => |a, b| a < b || a > b,
        "lt" => |a, b| a < b,
        "le" => |a, b| a <= b,
        "gt" => |a, b| a > b,
        "ge" => |a, b| a >= b,
        "equ" => |a, b| !(a < b || a > b),
        "neu" => |a, b| a != b,
        "ltu" => |a: f32, b: f32| a < b || a.is_nan() || b.is_nan(),
        "leu" => |a: f32, b: f32| a <= b || a.is_nan() || b.is_nan(),
        "gtu" => |a: f32, b: f32| a > b || a.is_nan() || b.is_nan(),
        "geu" => |a: f32, b: f32| a >= b || a.is_nan() || b.is_nan(),
        "num" => |a: f32, b: f32| !(a.is_nan() || b.is_nan()),
        "nan" => |a: f32, b: f32| a.is_nan() || b.is_nan(),
        _ => return None,
    })
}
