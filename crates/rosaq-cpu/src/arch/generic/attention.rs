//! Attention of one token over keys and values that several query heads share.

use std::marker::PhantomData;
use std::ops::Range;

use half::f16;

use super::{Kernel, Simd};
use crate::AttentionShape;
use crate::arch::elementwise::softmax;

/// Keys and values of one sequence, row-major `[tokens, n_kv_heads * head_dim]`.
#[derive(Clone, Copy)]
pub(crate) struct KeysValues<'a, S> {
    pub(crate) shape: AttentionShape,
    pub(crate) keys: &'a [S],
    pub(crate) values: &'a [S],
}

/// A number as it is kept: widened to f32 when it is read.
pub(crate) trait Kept: Copy + Sync + 'static {
    /// As f32.
    fn widened(self) -> f32;

    /// A vector of f32.
    fn load<V: Simd<L>, const L: usize>(isa: V, from: &[Self; L]) -> V::Floats;
}

impl Kept for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load<V: Simd<L>, const L: usize>(isa: V, from: &[Self; L]) -> V::Floats {
        isa.load(from)
    }
}

impl Kept for f16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn load<V: Simd<L>, const L: usize>(isa: V, from: &[Self; L]) -> V::Floats {
        isa.load_f16(from)
    }
}

/// [`crate::arch::attention::attend_token`]: rows are heads of keys and values, `out` holds those of all their query heads.
pub(crate) struct AttentionRows<S>(PhantomData<S>);

/// Query heads at most that read a head of keys or values together.
const TOGETHER: usize = 4;
/// Vectors of a value that are weighted side by side, which hides the latency of sums.
const ABREAST: usize = 4;
/// Tokens whose values stay in the first-level cache while all heads read them: memory is read from start to end.
const BLOCK: usize = 16;

impl<S: Kept, const L: usize> Kernel<L> for AttentionRows<S> {
    type Segment<'a> = KeysValues<'a, S>;
    type Tokens<'a> = [f32];

    #[inline(always)]
    fn run<V: Simd<L>>(
        isa: V,
        states: &KeysValues<'_, S>,
        query: &[f32],
        kv_heads: Range<usize>,
        out: &mut [f32],
    ) {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = states.shape;
        let (group, width) = (n_heads / n_kv_heads, n_kv_heads * head_dim);
        let n_tokens = states.keys.len() / width;
        let mut scores = vec![0.0_f32; n_heads * n_tokens];
        for token in 0..n_tokens {
            let row = &states.keys[token * width..][..width];
            for (kv_head, key) in kv_heads.clone().zip(row.chunks_exact(head_dim)) {
                let first = kv_head * group;
                for head in (first..first + group).step_by(TOGETHER) {
                    let query = &query[head * head_dim..];
                    let scores = &mut scores[head * n_tokens + token..];
                    match (first + group - head).min(TOGETHER) {
                        1 => score::<V, S, L, 1>(isa, key, query, n_tokens, scores),
                        2 => score::<V, S, L, 2>(isa, key, query, n_tokens, scores),
                        3 => score::<V, S, L, 3>(isa, key, query, n_tokens, scores),
                        _ => score::<V, S, L, TOGETHER>(isa, key, query, n_tokens, scores),
                    }
                }
            }
        }
        scores.chunks_exact_mut(n_tokens).for_each(softmax);
        out.fill(0.0);
        for start in (0..n_tokens).step_by(BLOCK) {
            let tokens = start..n_tokens.min(start + BLOCK);
            for kv_head in kv_heads.clone() {
                let values =
                    Strided { states: states.values, width, first: kv_head * head_dim, head_dim };
                let first = kv_head * group;
                for head in (first..first + group).step_by(TOGETHER) {
                    let weights = Weights { of_heads: &scores[head * n_tokens..], n_tokens };
                    let out = &mut out[head * head_dim..];
                    let tokens = tokens.clone();
                    match (first + group - head).min(TOGETHER) {
                        1 => add::<V, S, L, 1>(isa, values, weights, tokens, out),
                        2 => add::<V, S, L, 2>(isa, values, weights, tokens, out),
                        3 => add::<V, S, L, 3>(isa, values, weights, tokens, out),
                        _ => add::<V, S, L, TOGETHER>(isa, values, weights, tokens, out),
                    }
                }
            }
        }
    }
}

/// One head's channels of all tokens.
#[derive(Clone, Copy)]
struct Strided<'a, S> {
    states: &'a [S],
    width: usize,
    first: usize,
    head_dim: usize,
}

impl<'a, S> Strided<'a, S> {
    #[inline(always)]
    fn row(self, token: usize) -> &'a [S] {
        &self.states[token * self.width + self.first..][..self.head_dim]
    }
}

/// What tokens weigh for some heads, `[heads, n_tokens]`.
#[derive(Clone, Copy)]
struct Weights<'a> {
    of_heads: &'a [f32],
    n_tokens: usize,
}

/// What one key scores with `H` queries, `stride` apart.
#[inline(always)]
fn score<V: Simd<L>, S: Kept, const L: usize, const H: usize>(
    isa: V,
    key: &[S],
    query: &[f32],
    stride: usize,
    scores: &mut [f32],
) {
    let mut sums = [isa.splat(0.0); H];
    let (vectors, rest) = key.as_chunks::<L>();
    for (idx, vector) in vectors.iter().enumerate() {
        let vector = S::load(isa, vector);
        for head in 0..H {
            let query = &query[head * key.len()..].as_chunks::<L>().0[idx];
            sums[head] = isa.mul_add(vector, isa.load(query), sums[head]);
        }
    }
    let scale = 1.0 / (key.len() as f32).sqrt();
    for head in 0..H {
        let mut dot = isa.sum_lanes(sums[head]);
        let query = &query[head * key.len() + vectors.len() * L..];
        for (key, query) in rest.iter().zip(query) {
            dot += key.widened() * query;
        }
        scores[head * stride] = scale * dot;
    }
}

/// Adds some tokens' values, weighted for `H` heads, to `out`.
#[inline(always)]
fn add<V: Simd<L>, S: Kept, const L: usize, const H: usize>(
    isa: V,
    values: Strided<'_, S>,
    weights: Weights<'_>,
    tokens: Range<usize>,
    out: &mut [f32],
) {
    let head_dim = values.head_dim;
    let mut channel = 0;
    while channel + ABREAST * L <= head_dim {
        add_vectors::<V, S, L, H, ABREAST>(isa, (values, channel), weights, tokens.clone(), out);
        channel += ABREAST * L;
    }
    while channel + L <= head_dim {
        add_vectors::<V, S, L, H, 1>(isa, (values, channel), weights, tokens.clone(), out);
        channel += L;
    }
    for (head, out) in out.chunks_exact_mut(head_dim).take(H).enumerate() {
        for token in tokens.clone() {
            let weight = weights.of_heads[head * weights.n_tokens + token];
            for (out, value) in out[channel..].iter_mut().zip(&values.row(token)[channel..]) {
                *out += weight * value.widened();
            }
        }
    }
}

/// [`add`] for `N` vectors of channels.
#[inline(always)]
fn add_vectors<V: Simd<L>, S: Kept, const L: usize, const H: usize, const N: usize>(
    isa: V,
    (values, channel): (Strided<'_, S>, usize),
    weights: Weights<'_>,
    tokens: Range<usize>,
    out: &mut [f32],
) {
    let mut sums = [[isa.splat(0.0); N]; H];
    for head in 0..H {
        let out = out[head * values.head_dim + channel..].as_chunks::<L>().0;
        for n in 0..N {
            sums[head][n] = isa.load(&out[n]);
        }
    }
    for token in tokens {
        let row = values.row(token)[channel..].as_chunks::<L>().0;
        let mut vectors = [isa.splat(0.0); N];
        for n in 0..N {
            vectors[n] = S::load(isa, &row[n]);
            isa.prefetch(row[n].as_ptr().wrapping_add(BLOCK * values.width).cast());
        }
        for (head, sums) in sums.iter_mut().enumerate() {
            let weight = isa.splat(weights.of_heads[head * weights.n_tokens + token]);
            for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                *sum = isa.mul_add(weight, vector, *sum);
            }
        }
    }
    for head in 0..H {
        let out = out[head * values.head_dim + channel..].as_chunks_mut::<L>().0;
        for n in 0..N {
            isa.store(&mut out[n], sums[head][n]);
        }
    }
}
