//! Choosing the salient channels of a layer.

use std::cmp::Ordering;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{SaliencyError, SaliencyRule};

/// The salient channels of a layer: distinct, the most salient first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalientSet {
    channels: Vec<usize>,
    n_channels: usize,
}

impl SalientSet {
    /// The salient channels in the order of the rule: by descending score for
    /// [`SaliencyRule::Top`] and [`SaliencyRule::Magnitude`], by ascending score for
    /// [`SaliencyRule::Bottom`], both one after the other for [`SaliencyRule::TopBottom`], and in
    /// place for [`SaliencyRule::Random`].
    #[must_use]
    pub fn channels(&self) -> &[usize] {
        &self.channels
    }

    /// Number of salient channels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether no channel is salient.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Number of channels of the layer, salient or not.
    #[must_use]
    pub fn n_channels(&self) -> usize {
        self.n_channels
    }

    /// For every channel of the layer, whether it is salient.
    #[must_use]
    pub fn mask(&self) -> Vec<bool> {
        let mut mask = vec![false; self.n_channels];
        for &channel in &self.channels {
            mask[channel] = true;
        }
        mask
    }
}

/// Chooses `k` salient channels from one score per channel.
///
/// `scores` are eigenvalues or mean magnitudes, in any unit; equal scores are taken from the lowest
/// channel on. [`SaliencyRule::Random`] looks at their number only.
///
/// # Errors
///
/// [`SaliencyError::NotANumber`] when a score is NaN, [`SaliencyError::TooMany`] when `k` is larger
/// than the number of scores.
pub fn select_channels(
    scores: &[f64],
    k: usize,
    rule: SaliencyRule,
) -> Result<SalientSet, SaliencyError> {
    let n_channels = scores.len();
    if let Some(channel) = scores.iter().position(|score| score.is_nan()) {
        return Err(SaliencyError::NotANumber { channel, n_channels });
    }
    if k > n_channels {
        return Err(SaliencyError::TooMany { k, n_channels });
    }
    let channels = match rule {
        SaliencyRule::Top | SaliencyRule::Magnitude => first_by(scores, k, descending),
        SaliencyRule::Bottom => first_by(scores, k, f64::partial_cmp),
        SaliencyRule::Random { seed } => random_block(n_channels, k, seed),
        SaliencyRule::TopBottom => top_and_bottom(scores, k),
    };
    Ok(SalientSet { channels, n_channels })
}

/// Number of salient channels when the user names none: `hidden_size / 32`, rounded to a multiple
/// of 8 and at least 8 (never more than there are), so that small models are not mostly f16. 576
/// gives 16, 4096 gives the paper's 128.
#[must_use]
pub fn default_salient(hidden_size: usize) -> usize {
    (hidden_size.saturating_add(128) / 256 * 8).max(8).min(hidden_size)
}

/// Number of salient channels of each head at the output projection when the user names none:
/// `head_dim / 32`, rounded to a multiple of 2 and at least 2 (never more than there are). 64 gives
/// 2, 128 gives 4.
#[must_use]
pub fn default_salient_per_head(head_dim: usize) -> usize {
    (head_dim.saturating_add(32) / 64 * 2).max(2).min(head_dim)
}

fn descending(a: &f64, b: &f64) -> Option<Ordering> {
    b.partial_cmp(a)
}

/// The first `k` channels when sorted by score; the sort is stable, so equals stay by index.
fn first_by(
    scores: &[f64],
    k: usize,
    compare: impl Fn(&f64, &f64) -> Option<Ordering>,
) -> Vec<usize> {
    let mut channels: Vec<usize> = (0..scores.len()).collect();
    channels.sort_by(|&a, &b| {
        compare(&scores[a], &scores[b]).expect("NaN was refused, so all scores compare")
    });
    channels.truncate(k);
    channels
}

fn random_block(n_channels: usize, k: usize, seed: u64) -> Vec<usize> {
    let n_places = (n_channels - k + 1) as u128;
    // The high half of a product maps 64 random bits to a place; its bias is below 2^-40 for any
    // layer that fits in memory, and unlike a library's sampler it never changes.
    let draw = u128::from(ChaCha8Rng::seed_from_u64(seed).next_u64());
    let start = usize::try_from((draw * n_places) >> 64).expect("a place is below n_places");
    (start..start + k).collect()
}

fn top_and_bottom(scores: &[f64], k: usize) -> Vec<usize> {
    let mut channels = first_by(scores, k.div_ceil(2), descending);
    let mut taken = vec![false; scores.len()];
    for &channel in &channels {
        taken[channel] = true;
    }
    let ascending = first_by(scores, scores.len(), f64::partial_cmp);
    channels.extend(ascending.into_iter().filter(|&channel| !taken[channel]).take(k / 2));
    channels
}
