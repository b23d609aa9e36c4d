//! Head-wise bases equal separate decompositions of the pooled blocks.

mod reference;

use faer::Mat;
use proptest::prelude::*;
use reference::{gram_of, matrix};
use rosaq_pca::{PcaError, eigenbasis, headwise_eigenbases};

/// The sum of the blocks of one value head's query heads, entry by entry.
fn pooled(gram: &Mat<f64>, kv: usize, group: usize, head_dim: usize) -> Mat<f64> {
    Mat::from_fn(head_dim, head_dim, |i, j| {
        (kv * group..(kv + 1) * group)
            .map(|head| gram[(head * head_dim + i, head * head_dim + j)])
            .fold(0.0, |sum, entry| sum + entry)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn equals_separate_runs(
        group in 1_usize..4,
        n_kv_heads in 1_usize..4,
        head_dim in 1_usize..6,
        x in matrix(8..20, 54..55),
    ) {
        let dim = group * n_kv_heads * head_dim;
        let gram = gram_of(&x).submatrix(0, 0, dim, dim).to_owned();
        let bases = headwise_eigenbases(gram.as_ref(), group * n_kv_heads, n_kv_heads, head_dim);
        let bases = bases.expect("every pooled block is a Gram matrix");
        prop_assert_eq!(bases.len(), n_kv_heads);
        for (kv, basis) in bases.iter().enumerate() {
            let alone = eigenbasis(pooled(&gram, kv, group, head_dim).as_ref());
            prop_assert_eq!(Ok(basis), alone.as_ref());
        }
    }
}

#[test]
fn refuses_heads_that_do_not_fit() {
    let gram = Mat::<f64>::identity(12, 12);
    for (n_heads, n_kv_heads) in [(0, 1), (3, 0), (3, 2), (1, 2)] {
        assert_eq!(
            headwise_eigenbases(gram.as_ref(), n_heads, n_kv_heads, 4),
            Err(PcaError::HeadCounts { n_heads, n_kv_heads })
        );
    }
    for head_dim in [3, 0, usize::MAX] {
        let error = headwise_eigenbases(gram.as_ref(), 3, 1, head_dim).expect_err("wrong shape");
        assert!(error.to_string().contains("found [12, 12]"), "{error}");
    }
}

#[test]
fn products_between_heads_do_not_matter() {
    let mut gram = Mat::<f64>::identity(4, 4);
    let plain = headwise_eigenbases(gram.as_ref(), 2, 2, 2);
    gram[(0, 3)] = f64::NAN;
    assert_eq!(headwise_eigenbases(gram.as_ref(), 2, 2, 2), plain);
}
