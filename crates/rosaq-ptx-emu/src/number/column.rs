//! One register of a warp: 32 lanes, and functions over whole columns.

use super::small::canonical;

/// A register's value in each lane, zero above the bits of its type.
pub(crate) type Col = [u64; 32];

/// An instruction without side effects, applied to all lanes alike.
pub(crate) type MapFn = fn([&Col; 4], &mut Col);

/// A type that a lane's 64 bits can be read as.
pub(crate) trait Lane {
    fn take(bits: u64) -> Self;
    fn put(self) -> u64;
}

macro_rules! integer_lanes {
    ($($t:ty as $unsigned:ty),*) => {$(
        impl Lane for $t {
            #[inline(always)]
            fn take(bits: u64) -> Self { bits as Self }
            #[inline(always)]
            fn put(self) -> u64 { u64::from(self as $unsigned) }
        }
    )*};
}
integer_lanes!(u8 as u8, u16 as u16, u32 as u32, u64 as u64);
integer_lanes!(i8 as u8, i16 as u16, i32 as u32, i64 as u64);

impl Lane for f32 {
    #[inline(always)]
    fn take(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }
    #[inline(always)]
    fn put(self) -> u64 {
        u64::from(canonical(self))
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn take(bits: u64) -> Self {
        Self::from_bits(bits)
    }
    #[inline(always)]
    fn put(self) -> u64 {
        self.to_bits()
    }
}

/// A [`MapFn`] of one operand.
macro_rules! map1 {
    ($t:ty, |$a:ident| $e:expr) => {{
        fn map(s: [&$crate::number::Col; 4], out: &mut $crate::number::Col) {
            for lane in 0..32 {
                let $a = <$t as $crate::number::Lane>::take(s[0][lane]);
                out[lane] = $crate::number::Lane::put($e);
            }
        }
        map as $crate::number::MapFn
    }};
}

/// A [`MapFn`] of two operands of one type.
macro_rules! map2 {
    ($t:ty, |$a:ident, $b:ident| $e:expr) => {{
        fn map(s: [&$crate::number::Col; 4], out: &mut $crate::number::Col) {
            for lane in 0..32 {
                let $a = <$t as $crate::number::Lane>::take(s[0][lane]);
                let $b = <$t as $crate::number::Lane>::take(s[1][lane]);
                out[lane] = $crate::number::Lane::put($e);
            }
        }
        map as $crate::number::MapFn
    }};
}

/// A [`MapFn`] of three operands, the third of its own type.
macro_rules! map3 {
    ($t:ty, $u:ty, |$a:ident, $b:ident, $c:ident| $e:expr) => {{
        fn map(s: [&$crate::number::Col; 4], out: &mut $crate::number::Col) {
            for lane in 0..32 {
                let $a = <$t as $crate::number::Lane>::take(s[0][lane]);
                let $b = <$t as $crate::number::Lane>::take(s[1][lane]);
                let $c = <$u as $crate::number::Lane>::take(s[2][lane]);
                out[lane] = $crate::number::Lane::put($e);
            }
        }
        map as $crate::number::MapFn
    }};
}

/// A [`MapFn`] of two operands of one type and two of u32.
macro_rules! map4 {
    ($t:ty, |$a:ident, $b:ident, $c:ident, $d:ident| $e:expr) => {{
        fn map(s: [&$crate::number::Col; 4], out: &mut $crate::number::Col) {
            for lane in 0..32 {
                let $a = <$t as $crate::number::Lane>::take(s[0][lane]);
                let $b = <$t as $crate::number::Lane>::take(s[1][lane]);
                let $c = s[2][lane] as u32;
                let $d = s[3][lane] as u32;
                out[lane] = $crate::number::Lane::put($e);
            }
        }
        map as $crate::number::MapFn
    }};
}

pub(crate) use {map1, map2, map3, map4};
