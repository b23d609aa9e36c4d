//! Chooses an instruction set at run time and enters its kernels.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "a function with target features may run only after detection")
)]

use std::fmt;
use std::ops::Range;

use crate::arch;
use crate::prepare::{Activations, Arranged};
use crate::segment::{CodeSegment, F16Segment, RowReach, SegmentRows};

/// An instruction set that has kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, on every processor: the reference.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW and VL with F16C.
    Avx512,
}

impl Isa {
    /// All of them, the widest last.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The widest one that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        let widest_first = [Self::Avx512, Self::Avx2];
        widest_first.into_iter().find(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }

    /// True when this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                has_avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Its name in reports: "scalar", "avx2" or "avx512".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Panics unless the processor has it: what the entries into the kernels rely on.
    fn assert_available(self) {
        assert!(self.is_available(), "this processor has no {self}");
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Arranges a segment's activations, one slice of its channels a token, for `isa`.
pub(crate) fn arrange(isa: Isa, segment: &SegmentRows<'_>, x: &[&[f32]]) -> Activations {
    let SegmentRows::Codes(segment) = segment else { return Activations::Plain };
    match isa {
        Isa::Avx2 if Arranged::<8>::fits(segment) => {
            Activations::Lanes8(Arranged::new(segment, x.iter().copied()))
        }
        Isa::Avx512 if Arranged::<16>::fits(segment) => {
            Activations::Lanes16(Arranged::new(segment, x.iter().copied()))
        }
        _ => Activations::Plain,
    }
}

/// Adds the product of rows `rows` of one segment with each token to `out` `[rows, tokens]`.
pub(crate) fn add_rows(
    isa: Isa,
    segment: &SegmentRows<'_>,
    (x, arranged): (&[&[f32]], &Activations),
    rows: Range<usize>,
    out: &mut [f32],
) {
    isa.assert_available();
    match (segment, arranged) {
        (SegmentRows::F16(segment), _) => f16_rows(isa, segment, x, rows, out),
        (SegmentRows::Codes(segment), Activations::Plain) => {
            any_group_rows(isa, segment, x, rows, out);
        }
        #[cfg(target_arch = "x86_64")]
        (SegmentRows::Codes(segment), Activations::Lanes8(arranged)) => {
            use arch::x86_64::avx2;
            let reach = arranged.reach(segment, avx2::SPAN);
            with_padding(segment, x.len(), reach, (rows, out), |segment, rows, out| {
                // SAFETY: `Lanes8` is made for `Isa::Avx2` alone, and its availability was asserted.
                unsafe { avx2::code_rows(segment, arranged, x.len(), rows, out) }
            });
        }
        #[cfg(target_arch = "x86_64")]
        (SegmentRows::Codes(segment), Activations::Lanes16(arranged)) => {
            use arch::x86_64::avx512;
            let reach = arranged.reach(segment, avx512::SPAN);
            with_padding(segment, x.len(), reach, (rows, out), |segment, rows, out| {
                // SAFETY: `Lanes16` is made for `Isa::Avx512` alone, and its availability was
                // asserted.
                unsafe { avx512::code_rows(segment, arranged, x.len(), rows, out) }
            });
        }
        #[cfg(not(target_arch = "x86_64"))]
        (SegmentRows::Codes(segment), _) => any_group_rows(isa, segment, x, rows, out),
    }
}

fn f16_rows(isa: Isa, segment: &F16Segment<'_>, x: &[&[f32]], rows: Range<usize>, out: &mut [f32]) {
    isa.assert_available();
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the availability of AVX2, FMA and F16C was asserted.
        Isa::Avx2 => unsafe { arch::x86_64::avx2::f16_rows(segment, x, rows, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the availability of AVX-512 F, BW, VL and F16C was asserted.
        Isa::Avx512 => unsafe { arch::x86_64::avx512::f16_rows(segment, x, rows, out) },
        _ => arch::all::f16_rows(segment, x, rows, out),
    }
}

fn any_group_rows(
    isa: Isa,
    segment: &CodeSegment<'_>,
    x: &[&[f32]],
    rows: Range<usize>,
    out: &mut [f32],
) {
    isa.assert_available();
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the availability of AVX2, FMA and F16C was asserted.
        Isa::Avx2 => unsafe { arch::x86_64::avx2::any_group_rows(segment, x, rows, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the availability of AVX-512 F, BW, VL and F16C was asserted.
        Isa::Avx512 => unsafe { arch::x86_64::avx512::any_group_rows(segment, x, rows, out) },
        _ => arch::all::code_rows(segment, x, rows, out),
    }
}

/// Calls `kernel` for the rows that have enough bytes after them, then for a padded copy of the
/// others.
#[cfg(target_arch = "x86_64")]
fn with_padding(
    segment: &CodeSegment<'_>,
    n_tokens: usize,
    reach: RowReach,
    (rows, out): (Range<usize>, &mut [f32]),
    kernel: impl Fn(&CodeSegment<'_>, Range<usize>, &mut [f32]),
) {
    let n_direct = segment.n_rows_within(reach).clamp(rows.start, rows.end);
    let (direct, padded) = out.split_at_mut((n_direct - rows.start) * n_tokens);
    kernel(segment, rows.start..n_direct, direct);
    if n_direct < rows.end {
        let tail = segment.padded_tail(n_direct, reach);
        kernel(&tail.segment(), 0..rows.end - n_direct, padded);
    }
}

/// Softmax of `row` in place, in f32; the same bits on every instruction set.
pub fn softmax(row: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the availability of AVX2 was just checked.
        return unsafe { arch::x86_64::elementwise::softmax(row) };
    }
    arch::elementwise::softmax(row);
}

/// `gate = silu(gate) * up` in f32, with `silu(x) = x / (1 + exp(-x))`; the same bits on every instruction set.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up have the same length");
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the availability of AVX2 was just checked.
        return unsafe { arch::x86_64::elementwise::silu_mul(gate, up) };
    }
    arch::elementwise::silu_mul(gate, up);
}
