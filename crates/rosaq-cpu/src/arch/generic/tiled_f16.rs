//! Tiles of f16 values times activations of f32.

use std::ops::Range;

use half::f16;

use super::bytes::{ByteSimd, TileKernel};
use crate::tiles::F16Tiles;

/// Values of f16 with activations of f32.
struct F16Kernel;

/// Adds the product of some tiles of f16 values with each token, `channels` activations, to `out`, `[tiles, tokens]`.
pub(crate) fn add_f16_tiles<V: ByteSimd<L>, const L: usize>(
    isa: V,
    tiles: &F16Tiles<L>,
    x: &[&[f32]],
    range: Range<usize>,
    out: &mut [[f32; L]],
) {
    isa.enter::<F16Kernel>(tiles, x, range, out);
}

/// Channels of one token that are summed apart, and tokens that share a converted value: both hide the latency of additions.
const CHAINS: usize = 4;
const SHARED: usize = 8;

impl<const L: usize> TileKernel<L> for F16Kernel {
    type Tiles = F16Tiles<L>;
    type Tokens<'a> = [&'a [f32]];

    #[inline(always)]
    fn run<V: ByteSimd<L>>(
        isa: V,
        tiles: &F16Tiles<L>,
        x: &[&[f32]],
        range: Range<usize>,
        out: &mut [[f32; L]],
    ) {
        for (tile, out) in range.zip(out.chunks_exact_mut(x.len())) {
            let values = tiles.values_of(tile);
            let (x_shared, x_rest) = x.as_chunks::<SHARED>();
            let (out_shared, out_rest) = out.as_chunks_mut::<SHARED>();
            for (out, x) in out_shared.iter_mut().zip(x_shared) {
                f16_tokens(isa, values, x, out);
            }
            for (out, x) in out_rest.iter_mut().zip(x_rest) {
                f16_token(isa, values, x, out);
            }
        }
    }
}

#[inline(always)]
fn f16_token<V: ByteSimd<L>, const L: usize>(
    isa: V,
    values: &[[f16; L]],
    x: &[f32],
    out: &mut [f32; L],
) {
    let ((fours, rest), (x_fours, x_rest)) =
        (values.as_chunks::<CHAINS>(), x.as_chunks::<CHAINS>());
    let mut sums = [isa.splat(0.0); CHAINS];
    for (values, x) in fours.iter().zip(x_fours) {
        for ((sum, values), &x) in sums.iter_mut().zip(values).zip(x) {
            *sum = isa.mul_add(isa.load_f16(values), isa.splat(x), *sum);
        }
    }
    for (values, &x) in rest.iter().zip(x_rest) {
        sums[0] = isa.mul_add(isa.load_f16(values), isa.splat(x), sums[0]);
    }
    let [a, b, c, d] = sums;
    let sum = isa.add(isa.add(a, b), isa.add(c, d));
    isa.store_f32(out, isa.add(isa.load_f32(out), sum));
}

/// The sums of a token are those of [`f16_token`]: in as many chains, added in the same order.
#[inline(always)]
fn f16_tokens<V: ByteSimd<L>, const L: usize>(
    isa: V,
    values: &[[f16; L]],
    x: &[&[f32]; SHARED],
    out: &mut [[f32; L]; SHARED],
) {
    // One chain at a time, since all of them would not stay in registers.
    let mut totals = [[isa.splat(0.0); SHARED]; CHAINS];
    let whole = values.len() - values.len() % CHAINS;
    let x = x.map(|x| &x[..values.len()]);
    for (chain, totals) in totals.iter_mut().enumerate() {
        let mut sums = [isa.splat(0.0); SHARED];
        let mut channel = chain;
        while channel < whole {
            let weights = isa.load_f16(&values[channel]);
            for token in 0..SHARED {
                sums[token] = isa.mul_add(weights, isa.splat(x[token][channel]), sums[token]);
            }
            channel += CHAINS;
        }
        if chain == 0 {
            for channel in whole..values.len() {
                let weights = isa.load_f16(&values[channel]);
                for token in 0..SHARED {
                    sums[token] = isa.mul_add(weights, isa.splat(x[token][channel]), sums[token]);
                }
            }
        }
        *totals = sums;
    }
    let [a, b, c, d] = totals;
    for token in 0..SHARED {
        let sum = isa.add(isa.add(a[token], b[token]), isa.add(c[token], d[token]));
        let out = &mut out[token];
        isa.store_f32(out, isa.add(isa.load_f32(out), sum));
    }
}
