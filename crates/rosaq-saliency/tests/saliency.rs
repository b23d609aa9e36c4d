//! Selections and orders against their definitions.

use proptest::prelude::*;
use rosaq_saliency::{
    ChannelOrder, SaliencyError, SaliencyRule, default_salient, default_salient_per_head,
    select_channels,
};

fn any_rule() -> impl Strategy<Value = SaliencyRule> {
    prop_oneof![
        Just(SaliencyRule::Top),
        Just(SaliencyRule::Bottom),
        any::<u64>().prop_map(|seed| SaliencyRule::Random { seed }),
        Just(SaliencyRule::TopBottom),
        Just(SaliencyRule::Magnitude),
    ]
}

/// Scores with many ties, and a count that fits.
fn scores_and_count() -> impl Strategy<Value = (Vec<f64>, usize)> {
    let score = prop_oneof![Just(0.0), Just(-0.0), (0_i32..4).prop_map(f64::from), -1e9_f64..1e9];
    proptest::collection::vec(score, 0..40).prop_flat_map(|scores| {
        let n = scores.len();
        (Just(scores), 0..=n)
    })
}

fn score_sum(scores: &[f64], k: usize, rule: SaliencyRule) -> f64 {
    let salient = select_channels(scores, k, rule).expect("a legal request");
    salient.channels().iter().map(|&channel| scores[channel]).sum()
}

proptest! {
    #[test]
    fn exactly_k_distinct_channels((scores, k) in scores_and_count(), rule in any_rule()) {
        let salient = select_channels(&scores, k, rule).expect("a legal request");
        prop_assert_eq!(salient.len(), k);
        prop_assert_eq!(salient.n_channels(), scores.len());
        prop_assert_eq!(salient.mask().iter().filter(|&&is_salient| is_salient).count(), k);
    }

    #[test]
    fn the_order_is_a_permutation_that_its_inverse_undoes(
        (scores, k) in scores_and_count(),
        rule in any_rule(),
    ) {
        let salient = select_channels(&scores, k, rule).expect("a legal request");
        let order = ChannelOrder::salient_first(&salient);
        let inverse = order.inverse();
        for channel in 0..scores.len() {
            prop_assert_eq!(order.permutation()[inverse[channel]], channel);
            prop_assert_eq!(inverse[order.permutation()[channel]], channel);
        }
        prop_assert_eq!(order.n_salient(), k);
        prop_assert_eq!(&order.permutation()[..k], salient.channels());
        prop_assert!(order.permutation()[k..].is_sorted());
    }

    #[test]
    fn nothing_outside_beats_the_top((scores, k) in scores_and_count()) {
        let salient = select_channels(&scores, k, SaliencyRule::Top).expect("a legal request");
        let mask = salient.mask();
        prop_assert!(salient.channels().is_sorted_by(|&a, &b| scores[a] >= scores[b]));
        for &inside in salient.channels() {
            for outside in (0..scores.len()).filter(|&channel| !mask[channel]) {
                let (kept, left) = (scores[inside], scores[outside]);
                prop_assert!(kept > left || kept == left && inside < outside);
            }
        }
    }

    #[test]
    fn top_beats_every_rule_and_every_rule_beats_bottom(
        (scores, k) in scores_and_count(),
        rule in any_rule(),
    ) {
        let sum = score_sum(&scores, k, rule);
        let slack = 1e-6; // sums of up to 40 scores of up to 1e9, in f64
        prop_assert!(score_sum(&scores, k, SaliencyRule::Top) >= sum - slack);
        prop_assert!(score_sum(&scores, k, SaliencyRule::Bottom) <= sum + slack);
    }

    #[test]
    fn a_random_block_is_consecutive_and_repeatable(n in 1_usize..200, seed: u64, part in 0.0..1.0_f64) {
        #[expect(clippy::cast_possible_truncation, reason = "a part of n fits")]
        let k = (part * n as f64) as usize;
        let rule = SaliencyRule::Random { seed };
        let block = select_channels(&vec![0.0; n], k, rule).expect("a legal request");
        prop_assert!(block.channels().windows(2).all(|pair| pair[1] == pair[0] + 1));
        prop_assert_eq!(&block, &select_channels(&vec![1.0; n], k, rule).expect("the same request"));
    }
}

#[track_caller]
fn check(rule: SaliencyRule, k: usize, expected: &[usize]) {
    let scores = [3.0, 9.0, 1.0, 9.0, 4.0, 1.0];
    let salient = select_channels(&scores, k, rule).expect("a legal request");
    assert_eq!(salient.channels(), expected, "{rule}, {k} channels");
}

#[test]
fn ties_go_to_the_lowest_channel() {
    check(SaliencyRule::Top, 1, &[1]);
    check(SaliencyRule::Top, 3, &[1, 3, 4]);
    check(SaliencyRule::Magnitude, 3, &[1, 3, 4]);
    check(SaliencyRule::Bottom, 1, &[2]);
    check(SaliencyRule::Bottom, 3, &[2, 5, 0]);
    check(SaliencyRule::TopBottom, 0, &[]);
    check(SaliencyRule::TopBottom, 1, &[1]);
    check(SaliencyRule::TopBottom, 3, &[1, 3, 2]);
    check(SaliencyRule::TopBottom, 6, &[1, 3, 4, 2, 5, 0]);
}

#[test]
fn random_blocks_reach_every_place() {
    let mut seen = [false; 5];
    for seed in 0..100 {
        let block = select_channels(&[0.0; 7], 3, SaliencyRule::Random { seed });
        seen[block.expect("a legal request").channels()[0]] = true;
    }
    assert_eq!(seen, [true; 5]);
}

#[test]
fn a_seed_means_the_same_block_forever() {
    let block = select_channels(&[0.0; 576], 16, SaliencyRule::Random { seed: 1 });
    assert_eq!(block.expect("a legal request").channels()[0], 225);
}

#[test]
fn descending_scores_give_the_identity() {
    let salient = select_channels(&[4.0, 3.0, 2.0, 1.0], 2, SaliencyRule::Top).expect("legal");
    assert!(ChannelOrder::from(&salient).is_identity());
    let salient = select_channels(&[4.0, 3.0, 2.0, 1.0], 2, SaliencyRule::Bottom).expect("legal");
    assert_eq!(ChannelOrder::from(&salient).permutation(), [3, 2, 0, 1]);
    assert!(!ChannelOrder::from(&salient).is_identity());
}

#[test]
fn refuses_nan_and_too_many() {
    assert_eq!(
        select_channels(&[1.0, f64::NAN], 1, SaliencyRule::Random { seed: 0 }),
        Err(SaliencyError::NotANumber { channel: 1, n_channels: 2 })
    );
    assert_eq!(
        select_channels(&[1.0, 2.0], 3, SaliencyRule::TopBottom),
        Err(SaliencyError::TooMany { k: 3, n_channels: 2 })
    );
}

#[test]
fn default_counts() {
    for (hidden_size, k) in [(576, 16), (960, 32), (2048, 64), (4096, 128), (8192, 256), (64, 8)] {
        assert_eq!(default_salient(hidden_size), k, "hidden size {hidden_size}");
    }
    assert_eq!(default_salient(4), 4);
    for (head_dim, k) in [(64, 2), (80, 2), (96, 4), (128, 4), (256, 8), (16, 2), (1, 1)] {
        assert_eq!(default_salient_per_head(head_dim), k, "head dimension {head_dim}");
    }
}
