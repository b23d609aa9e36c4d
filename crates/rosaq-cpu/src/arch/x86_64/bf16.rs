//! Products of bf16 by AVX-512 BF16.

use std::arch::x86_64::*;

use super::avx512::Avx512;
use crate::bf16::{Panel, Sums, TILE_PANELS, TILE_ROWS};

/// Proof that the processor has AVX-512 BF16 besides what [`Avx512`] stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// `None` where the processor lacks one of them.
    pub(crate) fn new() -> Option<Self> {
        let found = Avx512::new().is_some() && is_x86_feature_detected!("avx512bf16");
        found.then_some(Self(()))
    }

    /// The sums of a tile: rows `8 half..` of `left` with up to three panels, one after another.
    ///
    /// # Panics
    /// If `half` is neither 0 nor 1, or there are not one to three panels of the length of `left`.
    pub(crate) fn tile(self, left: &[Panel], half: usize, right: &[Panel]) -> Sums {
        assert!(half < 2, "a panel has two halves");
        let panels = right.len() / left.len().max(1);
        assert_eq!(right.len(), panels * left.len(), "panels of the same length");
        let mut sums = Sums::default();
        // SAFETY: `self` proves the features.
        unsafe {
            match panels {
                0 => {}
                1 => add_tile::<1>(left, half, right, &mut sums),
                2 => add_tile::<2>(left, half, right, &mut sums),
                3 => add_tile::<3>(left, half, right, &mut sums),
                _ => panic!("{panels} panels do not fit a tile"),
            }
        }
        sums
    }

    /// Runs `task`, if it is inlined, with all registers.
    pub(crate) fn run(self, task: impl FnOnce()) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
        fn entry(task: impl FnOnce()) {
            task();
        }
        // SAFETY: `self` proves the features.
        unsafe { entry(task) }
    }
}

/// The first `N` panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
fn add_tile<const N: usize>(left: &[Panel], half: usize, right: &[Panel], sums: &mut Sums) {
    const { assert!(N <= TILE_PANELS) };
    let pairs = left.len();
    assert_eq!(right.len(), N * pairs);
    let mut lanes = [[_mm512_setzero_ps(); N]; TILE_ROWS];
    for (pair, a) in left.iter().enumerate() {
        let a = a.as_chunks::<TILE_ROWS>().0[half];
        let mut b = [_mm512_setzero_si512(); N];
        for (n, b) in b.iter_mut().enumerate() {
            // SAFETY: `right` has `N` times as many pairs as `left`, each of the 64 bytes that an unaligned load reads.
            *b = unsafe {
                _mm512_loadu_si512(right.get_unchecked(n * pairs + pair).as_ptr().cast())
            };
        }
        for (lanes, a) in lanes.iter_mut().zip(a) {
            let a = _mm512_set1_epi32(a.cast_signed());
            for (lanes, b) in lanes.iter_mut().zip(b) {
                // SAFETY: both are 512 bits, whatever they mean.
                let (a, b) = unsafe { (bf16s(a), bf16s(b)) };
                *lanes = _mm512_dpbf16_ps(*lanes, a, b);
            }
        }
    }
    for (sums, lanes) in sums.iter_mut().zip(lanes) {
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            // SAFETY: the array has the 64 bytes that an unaligned store writes.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), lanes) };
        }
    }
}

/// Pairs of bf16 as the instruction takes them.
#[inline(always)]
unsafe fn bf16s(bits: __m512i) -> __m512bh {
    // SAFETY: two types of the same 512 bits.
    unsafe { std::mem::transmute(bits) }
}
