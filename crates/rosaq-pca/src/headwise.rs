//! One eigenbasis for every value head (ROSAQ's head-wise rotation of `W_V` and `W_O`).

use faer::{Mat, MatRef};

use crate::{Eigenbasis, PcaError, eigenbasis};

/// Computes one eigenbasis per value head from the Gram matrix of the heads' output.
///
/// `gram` is `n_heads * head_dim` square: the output projection's input, head after head, each of
/// `head_dim` channels. Under grouped-query attention the query heads `kv * g .. (kv + 1) * g`,
/// `g = n_heads / n_kv_heads`, read value head `kv`; rotating that value head's output rotates all
/// of them alike, so their diagonal blocks are added in f64 and share one basis. Products between
/// heads do not matter and are not looked at. The result has `n_kv_heads` bases of `head_dim`
/// channels, in the order of the value heads.
///
/// # Errors
///
/// [`PcaError::HeadCounts`] when `n_heads` is not a positive multiple of `n_kv_heads`,
/// [`PcaError::HeadShape`] when `gram` has another shape, and the errors of [`eigenbasis`] for a
/// block; rows and columns in those are counted inside the block.
pub fn headwise_eigenbases(
    gram: MatRef<'_, f64>,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
) -> Result<Vec<Eigenbasis>, PcaError> {
    if n_heads == 0 || n_kv_heads == 0 || !n_heads.is_multiple_of(n_kv_heads) {
        return Err(PcaError::HeadCounts { n_heads, n_kv_heads });
    }
    let (rows, cols) = (gram.nrows(), gram.ncols());
    if rows != cols || n_heads.checked_mul(head_dim) != Some(rows) {
        return Err(PcaError::HeadShape { n_heads, head_dim, rows, cols });
    }
    let group = n_heads / n_kv_heads;
    (0..n_kv_heads)
        .map(|kv| eigenbasis(pooled_block(gram, kv * group, group, head_dim).as_ref()))
        .collect()
}

/// The sum of the diagonal blocks of `n_heads` heads from `first_head` on, in head order.
fn pooled_block(
    gram: MatRef<'_, f64>,
    first_head: usize,
    n_heads: usize,
    head_dim: usize,
) -> Mat<f64> {
    let mut sum = Mat::zeros(head_dim, head_dim);
    for head in first_head..first_head + n_heads {
        let start = head * head_dim;
        sum += gram.submatrix(start, start, head_dim, head_dim);
    }
    sum
}
