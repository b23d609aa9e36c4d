//! Attention of one token over keys and values that several query heads share.

use std::ops::Range;

use super::{Kernel, Simd};
use crate::AttentionShape;
use crate::arch::elementwise::softmax;

/// Keys and values of one sequence, row-major `[tokens, n_kv_heads * head_dim]`.
#[derive(Clone, Copy)]
pub(crate) struct KeysValues<'a> {
    pub(crate) shape: AttentionShape,
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
}

/// [`crate::arch::attention::attend_token`]: rows are heads of keys and values, `out` holds those of all their query heads.
pub(crate) struct AttentionRows;

/// Query heads at most that read keys and values together.
const TOGETHER: usize = 4;
/// Vectors of a value that are weighted side by side, which hides the latency of sums.
const ABREAST: usize = 4;

impl<const L: usize> Kernel<L> for AttentionRows {
    type Segment<'a> = KeysValues<'a>;
    type Tokens<'a> = [f32];

    #[inline(always)]
    fn run<V: Simd<L>>(
        isa: V,
        states: &KeysValues<'_>,
        query: &[f32],
        kv_heads: Range<usize>,
        out: &mut [f32],
    ) {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = states.shape;
        let shared = n_heads / n_kv_heads * head_dim;
        let n_tokens = states.keys.len() / (n_kv_heads * head_dim);
        let mut scores = vec![0.0_f32; TOGETHER * n_tokens];
        let heads = query.chunks_exact(shared).zip(out.chunks_exact_mut(shared)).zip(kv_heads);
        for ((query, out), kv_head) in heads {
            let of_head = |all| Strided {
                states: all,
                width: n_kv_heads * head_dim,
                first: kv_head * head_dim,
            };
            let states = [of_head(states.keys), of_head(states.values)];
            let together = TOGETHER * head_dim;
            for (query, out) in query.chunks(together).zip(out.chunks_mut(together)) {
                let n = query.len() / head_dim;
                let scores = &mut scores[..n * n_tokens];
                match n {
                    1 => attend::<V, L, 1>(isa, states, query, scores, out),
                    2 => attend::<V, L, 2>(isa, states, query, scores, out),
                    3 => attend::<V, L, 3>(isa, states, query, scores, out),
                    _ => attend::<V, L, TOGETHER>(isa, states, query, scores, out),
                }
            }
        }
    }
}

/// One head's channels of all tokens.
#[derive(Clone, Copy)]
struct Strided<'a> {
    states: &'a [f32],
    width: usize,
    first: usize,
}

impl<'a> Strided<'a> {
    #[inline(always)]
    fn row(self, token: usize, head_dim: usize) -> &'a [f32] {
        &self.states[token * self.width + self.first..][..head_dim]
    }
}

/// `H` query heads; `scores` `[H, tokens]` is room for what keys score.
#[inline(always)]
fn attend<V: Simd<L>, const L: usize, const H: usize>(
    isa: V,
    [keys, values]: [Strided<'_>; 2],
    query: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let (head_dim, n_tokens) = (query.len() / H, scores.len() / H);
    let scale = 1.0 / (head_dim as f32).sqrt();
    for token in 0..n_tokens {
        let dots = dots::<V, L, H>(isa, keys.row(token, head_dim), query);
        for head in 0..H {
            scores[head * n_tokens + token] = scale * dots[head];
        }
    }
    scores.chunks_exact_mut(n_tokens).for_each(softmax);
    let mut channel = 0;
    while channel + ABREAST * L <= head_dim {
        weighted::<V, L, H, ABREAST>(isa, values, (channel, head_dim), scores, out);
        channel += ABREAST * L;
    }
    while channel + L <= head_dim {
        weighted::<V, L, H, 1>(isa, values, (channel, head_dim), scores, out);
        channel += L;
    }
    for (out, weights) in out.chunks_exact_mut(head_dim).zip(scores.chunks_exact(n_tokens)) {
        let out = &mut out[channel..];
        out.fill(0.0);
        for (token, weight) in weights.iter().enumerate() {
            for (out, value) in out.iter_mut().zip(&values.row(token, head_dim)[channel..]) {
                *out += weight * value;
            }
        }
    }
}

/// The products of one key with `H` queries.
#[inline(always)]
fn dots<V: Simd<L>, const L: usize, const H: usize>(
    isa: V,
    key: &[f32],
    query: &[f32],
) -> [f32; H] {
    let mut sums = [isa.splat(0.0); H];
    let (vectors, rest) = key.as_chunks::<L>();
    for (idx, vector) in vectors.iter().enumerate() {
        let vector = isa.load(vector);
        for head in 0..H {
            let query = &query[head * key.len()..].as_chunks::<L>().0[idx];
            sums[head] = isa.mul_add(vector, isa.load(query), sums[head]);
        }
    }
    let mut dots = [0.0; H];
    for head in 0..H {
        dots[head] = isa.sum_lanes(sums[head]);
        let query = &query[head * key.len() + vectors.len() * L..];
        for (key, query) in rest.iter().zip(query) {
            dots[head] += key * query;
        }
    }
    dots
}

/// `N` vectors of values from `channel` on, weighted for `H` heads.
#[inline(always)]
fn weighted<V: Simd<L>, const L: usize, const H: usize, const N: usize>(
    isa: V,
    values: Strided<'_>,
    (channel, head_dim): (usize, usize),
    weights: &[f32],
    out: &mut [f32],
) {
    let n_tokens = weights.len() / H;
    let mut sums = [[isa.splat(0.0); N]; H];
    for token in 0..n_tokens {
        let row = values.row(token, head_dim)[channel..].as_chunks::<L>().0;
        let mut vectors = [isa.splat(0.0); N];
        for n in 0..N {
            vectors[n] = isa.load(&row[n]);
        }
        for head in 0..H {
            let weight = isa.splat(weights[head * n_tokens + token]);
            for n in 0..N {
                sums[head][n] = isa.mul_add(weight, vectors[n], sums[head][n]);
            }
        }
    }
    for head in 0..H {
        let out = out[head * head_dim + channel..].as_chunks_mut::<L>().0;
        for n in 0..N {
            isa.store(&mut out[n], sums[head][n]);
        }
    }
}
