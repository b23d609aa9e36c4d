//! How many bits each linear gets, so that the model is as large as was asked for and diverges least.
//!
//! A linear whose weights are rounded with a mean squared error of `d`, relative to their variance, adds about `s d` to the
//! divergence of the model, with a sensitivity `s` of its own ([`Sensitivity`]). All begin at the least width; then bits go,
//! step by step, to the linear whose next width takes most off the divergence for its bytes. Distortion falls about fourfold
//! with each bit, so that this greedy way ends at the least sum. The last linear takes its next width for a part of its
//! channels, which hits the size.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rosaq_model::{LINEAR_ROLES, ModelConfig};
use rosaq_pack::{Bits, Segment};

use crate::Sensitivity;
use crate::plan::stored_bytes_per_row;

/// A width that linears may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    pub(crate) bits: Bits,
    /// Mean squared error of rounding numbers of unit variance.
    pub(crate) distortion: f64,
}

/// What is to be decided.
pub(crate) struct Allocation<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) sensitivity: &'a Sensitivity,
    /// From the least to the most.
    pub(crate) widths: &'a [Width],
    /// How channels of a width are stored.
    pub(crate) segment: &'a dyn Fn(usize, Bits) -> Segment,
}

/// Channels are given a width in multiples of this, so that rows of codes end at whole bytes.
const CHANNEL_STEP: usize = 8;

/// A linear's next width.
struct Offer {
    /// Nats a byte.
    gain: f64,
    layer: usize,
    role_idx: usize,
    /// Index of the width it is at.
    width: usize,
}

impl Allocation<'_> {
    /// The segments of each linear of each block, which take at most `budget` bytes together; `None` where even the least
    /// width takes more.
    pub(crate) fn segments(&self, budget: u64) -> Option<Vec<[Vec<Segment>; 7]>> {
        let n_layers = self.config.n_layers;
        let mut chosen = vec![[0_usize; 7]; n_layers];
        let mut left = budget;
        let mut offers = BinaryHeap::new();
        for layer in 0..n_layers {
            for role_idx in 0..LINEAR_ROLES.len() {
                left = left.checked_sub(self.bytes(role_idx, 0))?;
                offers.extend(self.offer(layer, role_idx, 0));
            }
        }
        let mut split = None;
        while let Some(Offer { layer, role_idx, width, .. }) = offers.pop() {
            let more = self.bytes(role_idx, width + 1) - self.bytes(role_idx, width);
            if more > left {
                split = Some((layer, role_idx, width));
                break;
            }
            left -= more;
            chosen[layer][role_idx] = width + 1;
            offers.extend(self.offer(layer, role_idx, width + 1));
        }
        let mut all: Vec<[Vec<Segment>; 7]> = chosen
            .iter()
            .map(|widths| {
                std::array::from_fn(|role_idx| vec![self.whole(role_idx, widths[role_idx])])
            })
            .collect();
        if let Some((layer, role_idx, width)) = split {
            all[layer][role_idx] = self.split(role_idx, width, left);
        }
        Some(all)
    }

    /// What the least width takes everywhere.
    pub(crate) fn least_bytes(&self) -> u64 {
        let block: u64 = (0..LINEAR_ROLES.len()).map(|idx| self.bytes(idx, 0)).sum();
        block * self.config.n_layers as u64
    }

    fn offer(&self, layer: usize, role_idx: usize, width: usize) -> Option<Offer> {
        let (now, next) = (self.widths[width], self.widths.get(width + 1)?);
        let saved = self.sensitivity.layers[layer][role_idx] * (now.distortion - next.distortion);
        let more = self.bytes(role_idx, width + 1) - self.bytes(role_idx, width);
        Some(Offer { gain: saved / more as f64, layer, role_idx, width })
    }

    fn whole(&self, role_idx: usize, width: usize) -> Segment {
        let channels = self.config.linear_shape(LINEAR_ROLES[role_idx])[1];
        (self.segment)(channels, self.widths[width].bits)
    }

    fn bytes(&self, role_idx: usize, width: usize) -> u64 {
        self.stored(role_idx, &[self.whole(role_idx, width)])
    }

    fn stored(&self, role_idx: usize, segments: &[Segment]) -> u64 {
        let out = self.config.linear_shape(LINEAR_ROLES[role_idx])[0];
        (out * segments.iter().map(stored_bytes_per_row).sum::<usize>()) as u64
    }

    /// As many channels at the next width as `left` bytes pay for.
    fn split(&self, role_idx: usize, width: usize, left: u64) -> Vec<Segment> {
        let whole = vec![self.whole(role_idx, width)];
        let channels = whole[0].channels;
        let [now, next] = [self.widths[width].bits, self.widths[width + 1].bits];
        let budget = self.stored(role_idx, &whole) + left;
        let counts = (1..channels.div_ceil(CHANNEL_STEP)).rev().map(|n| n * CHANNEL_STEP);
        let splits =
            counts.map(|n| vec![(self.segment)(n, next), (self.segment)(channels - n, now)]);
        let mut fitting = splits.filter(|s| self.stored(role_idx, s) <= budget);
        fitting.next().unwrap_or(whole)
    }
}

impl PartialEq for Offer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Offer {}

impl PartialOrd for Offer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Offer {
    /// The largest gain first; of equal ones the first linear.
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |offer: &Self| (offer.layer, offer.role_idx);
        self.gain.total_cmp(&other.gain).then_with(|| place(other).cmp(&place(self)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const WIDTHS: [Width; 3] = [
        Width { bits: Bits::TWO, distortion: 0.07 },
        Width { bits: Bits::THREE, distortion: 0.02 },
        Width { bits: Bits::FOUR, distortion: 0.005 },
    ];

    fn config(n_layers: usize) -> ModelConfig {
        let json = format!(
            r#"{{"architectures":["LlamaForCausalLM"],"hidden_size":48,"intermediate_size":72,
            "num_hidden_layers":{n_layers},"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":10}}"#
        );
        ModelConfig::from_hf_json(&json, Path::new("config.json")).unwrap()
    }

    fn segment(channels: usize, bits: Bits) -> Segment {
        Segment::symmetric(channels, bits, channels)
    }

    /// Predicted divergence of segments, channels of a linear counting alike.
    fn divergence(s: &Sensitivity, all: &[[Vec<Segment>; 7]]) -> f64 {
        let of_linear = |s: f64, segments: &Vec<Segment>| -> f64 {
            let channels: usize = segments.iter().map(|s| s.channels).sum();
            let part = |segment: &Segment| {
                let width =
                    WIDTHS.iter().find(|w| segment == &self::segment(segment.channels, w.bits));
                width.unwrap().distortion * segment.channels as f64 / channels as f64
            };
            s * segments.iter().map(part).sum::<f64>()
        };
        let pairs = s.layers.iter().flatten().zip(all.iter().flatten());
        pairs.map(|(&s, segments)| of_linear(s, segments)).sum()
    }

    proptest! {
        #[test]
        fn the_budget_is_used_and_no_exchange_of_steps_is_better(
            s in prop::collection::vec(prop::array::uniform7(0.1_f64..10.0), 2),
            thousandths in 0_u64..1000,
        ) {
            let (config, sensitivity) = (config(2), Sensitivity { layers: s });
            let allocation = Allocation {
                config: &config, sensitivity: &sensitivity, widths: &WIDTHS, segment: &segment,
            };
            let at = |width| 2 * (0..7).map(|idx| allocation.bytes(idx, width)).sum::<u64>();
            let budget = at(0) + (at(2) - at(0)) * thousandths / 1000;
            let all = allocation.segments(budget).unwrap();
            let used: u64 = all.iter().flat_map(|block| block.iter().enumerate())
                .map(|(idx, segments)| allocation.stored(idx, segments)).sum();
            // One step of channels of the largest linear, and the scales of a second segment, may be left over.
            let step = 72 * (CHANNEL_STEP as u64 / 8 + 2);
            prop_assert!(used <= budget && budget - used <= step, "{used} of {budget}");

            let found = divergence(&sensitivity, &all);
            // Taking a step from one linear and giving steps of no more bytes to another never helps.
            for from in 0..14 {
                for to in 0..14 {
                    let (mut other, place) = (all.clone(), |i: usize| (i / 7, i % 7));
                    let ((fl, fr), (tl, tr)) = (place(from), place(to));
                    let width = |l: usize, r: usize| {
                        let segments: &[Segment] = &all[l][r];
                        let whole = (segments.len() == 1).then(|| segments[0])?;
                        WIDTHS.iter().position(|w| whole == segment(whole.channels, w.bits))
                    };
                    let (Some(from_width), Some(to_width)) = (width(fl, fr), width(tl, tr)) else { continue };
                    if from == to || from_width == 0 || to_width == 2 { continue }
                    let freed = allocation.bytes(fr, from_width) - allocation.bytes(fr, from_width - 1);
                    if allocation.bytes(tr, to_width + 1) - allocation.bytes(tr, to_width) < freed { continue }
                    other[fl][fr] = vec![allocation.whole(fr, from_width - 1)];
                    other[tl][tr] = allocation.split(tr, to_width, freed);
                    prop_assert!(divergence(&sensitivity, &other) >= found * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn less_than_the_least_widths_is_no_budget() {
        let (config, widths) = (config(1), &WIDTHS);
        let sensitivity = &Sensitivity::usual(&config);
        let allocation = Allocation { config: &config, sensitivity, widths, segment: &segment };
        let least: u64 = (0..7).map(|idx| allocation.bytes(idx, 0)).sum();
        assert!(allocation.segments(least).is_some());
        assert!(allocation.segments(least - 1).is_none());
    }
}
