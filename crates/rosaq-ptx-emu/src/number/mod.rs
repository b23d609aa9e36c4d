//! Arithmetic on the bits of registers: what the host's numbers do not offer.

mod column;
mod convert;
mod halves;
mod round;
mod small;

pub(crate) use column::{Col, Lane, MapFn, map1, map2, map3, map4};
pub(crate) use convert::{Conversion, convert};
pub(crate) use halves::{HalfKind, HalfOp, HalfSpec, compare_halves, halves, largest, least};
pub(crate) use round::{Rounding, add_to_odd, flush, rounded_f32, saturate};
pub(crate) use small::{f16_to_f32, f32_to_f16};
