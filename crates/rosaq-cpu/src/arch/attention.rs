//! Attention of one token as plain loops: the twin of the kernel for vectors.

use super::elementwise::softmax;
use super::generic::Kept;

/// Sizes of attention with grouped heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads.
    pub n_heads: usize,
    /// Heads of keys and values, each shared by as many query heads.
    pub n_kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl AttentionShape {
    pub(crate) fn check<S>(self, query: &[f32], (keys, values): (&[S], &[S]), out: &[f32]) {
        let (width, kv_width) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        assert!(
            self.n_heads.is_multiple_of(self.n_kv_heads),
            "{self:?}: heads are not shared alike"
        );
        assert!(query.len() == width && out.len() == width, "{self:?}: query and output");
        let whole = keys.len().is_multiple_of(kv_width) && keys.len() == values.len();
        assert!(whole && !keys.is_empty(), "{self:?}: keys and values of one or more tokens");
    }
}

/// Channels that are multiplied side by side.
const LANES: usize = 8;

/// See [`crate::attend_token`].
#[inline(always)]
pub(crate) fn attend_token<S: Kept>(
    shape: AttentionShape,
    query: &[f32],
    keys: &[S],
    values: &[S],
    out: &mut [f32],
) {
    let AttentionShape { n_heads, n_kv_heads, head_dim } = shape;
    let kv_width = n_kv_heads * head_dim;
    let (n_tokens, group) = (keys.len() / kv_width, n_heads / n_kv_heads);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut scores = vec![0.0_f32; group * n_tokens];
    let heads = query.chunks_exact(group * head_dim).zip(out.chunks_exact_mut(group * head_dim));
    for (kv, (query, out)) in heads.enumerate() {
        let of_head = kv * head_dim..(kv + 1) * head_dim;
        for (token, key) in keys.chunks_exact(kv_width).enumerate() {
            for (head, query) in query.chunks_exact(head_dim).enumerate() {
                scores[head * n_tokens + token] = scale * dot(query, &key[of_head.clone()]);
            }
        }
        scores.chunks_exact_mut(n_tokens).for_each(softmax);
        out.fill(0.0);
        for (token, value) in values.chunks_exact(kv_width).enumerate() {
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                let weight = scores[head * n_tokens + token];
                for (out, value) in out.iter_mut().zip(&value[of_head.clone()]) {
                    *out += weight * value.widened();
                }
            }
        }
    }
}

#[inline(always)]
fn dot<S: Kept>(a: &[f32], b: &[S]) -> f32 {
    let mut sums = [[0.0_f32; LANES]; 2];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (chunk, (a, b)) in a_chunks.iter().zip(b_chunks).enumerate() {
        for ((sum, a), b) in sums[chunk % 2].iter_mut().zip(a).zip(b) {
            *sum += a * b.widened();
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b.widened()).sum();
    let [even, odd] = sums;
    even.iter().zip(&odd).map(|(a, b)| a + b).sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;
    use crate::Isa;
    use crate::arch::generic::KeysValues;
    use crate::dispatch::attend_token_with;

    fn noise(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 25.0 - 2.0).collect()
    }

    /// By the definition, in f64.
    fn reference(shape: AttentionShape, [q, k, v]: [&[f32]; 3]) -> Vec<f64> {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = shape;
        let kv_width = n_kv_heads * head_dim;
        let mut out = Vec::new();
        for head in 0..n_heads {
            let kv = head / (n_heads / n_kv_heads) * head_dim;
            let rows = |states: &'_ [f32]| -> Vec<Vec<f64>> {
                let of_head =
                    |row: &[f32]| row[kv..kv + head_dim].iter().map(|&x| x.into()).collect();
                states.chunks(kv_width).map(of_head).collect()
            };
            let q = &q[head * head_dim..][..head_dim];
            let weights: Vec<f64> = rows(k)
                .iter()
                .map(|k| k.iter().zip(q).map(|(k, &q)| k * f64::from(q)).sum::<f64>())
                .map(|score| (score / (head_dim as f64).sqrt()).exp())
                .collect();
            let total: f64 = weights.iter().sum();
            let rows = rows(v);
            out.extend(
                (0..head_dim)
                    .map(|i| rows.iter().zip(&weights).map(|(v, w)| v[i] * w / total).sum::<f64>()),
            );
        }
        out
    }

    proptest! {
        #[test]
        fn it_is_the_definition(
            group in 1_usize..7, n_kv_heads in 1_usize..4, head_dim in 1_usize..80, tokens in 1_usize..30,
        ) {
            let shape = AttentionShape { n_heads: group * n_kv_heads, n_kv_heads, head_dim };
            let q = noise(shape.n_heads * head_dim, 1);
            let [k, v] = [2, 3].map(|seed| noise(tokens * n_kv_heads * head_dim, seed));
            let expected = reference(shape, [&q, &k, &v]);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                let mut out = vec![f32::NAN; q.len()];
                attend_token_with(isa, KeysValues { shape, keys: &k, values: &v }, &q, &mut out);
                for (found, expected) in out.iter().zip(&expected) {
                    // Values up to 2; sums of 80 terms and an exponential in f32.
                    prop_assert!((f64::from(*found) - expected).abs() < 4e-5, "{isa}: {found} {expected}");
                }
                // Kept in f16, the result is that of the rounded keys and values.
                let [k, v] = [&k, &v].map(|x| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>());
                let wide = [&k, &v].map(|x| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
                let expected = reference(shape, [&q, &wide[0], &wide[1]]);
                attend_token_with(isa, KeysValues { shape, keys: &k, values: &v }, &q, &mut out);
                for (found, expected) in out.iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 4e-5, "{isa}, f16: {found} {expected}");
                }
            }
        }
    }
}
