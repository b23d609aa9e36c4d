//! Collects the statistics of one block during a forward pass.

use rosaq_model::{ActivationObserver, ActivationSite, ModelConfig, SITES};

use crate::gram::Buffers;
use crate::{ChannelMagnitude, Gram, LayerStats, SiteStats};

/// Which statistics a method needs. Magnitudes always come along: they cost almost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Whether the Gram matrix of each site (in the order of [`SITES`]) is needed.
    pub grams: [bool; 4],
    /// Whether anything is needed at all.
    pub any: bool,
}

impl Requirements {
    /// No calibration at all.
    pub const NONE: Self = Self { grams: [false; 4], any: false };
    /// Every Gram matrix.
    pub const ALL: Self = Self { grams: [true; 4], any: true };

    /// Magnitudes, and Gram matrices at `sites`.
    #[must_use]
    pub fn grams_at(sites: &[ActivationSite]) -> Self {
        Self { grams: SITES.map(|site| sites.contains(&site)), any: true }
    }

    /// What either needs.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let grams = std::array::from_fn(|i| self.grams[i] || other.grams[i]);
        Self { grams, any: self.any || other.any }
    }
}

/// How much a token counts in the Gram matrices of what is not normalized: the heads' output and the down input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenWeighting {
    /// As much as its activations are large: `H = xᵀx`.
    #[default]
    Equal,
    /// By one over the mean square of the residual behind the block: what its error amounts to after the next norm. Attention
    /// sinks, whose residual is hundreds of times that of other tokens, then no longer decide. The weights have a mean of 1.
    ByResidual,
}

/// In which precision activations are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Products {
    /// In f32.
    #[default]
    F32,
    /// Rounded to bf16, eight bits, and added in f32: twice as fast on processors that multiply pairs of them. What is off by
    /// `2^-9` at random in each factor adds `1e-6` of a channel's energy to it, far below the damping of whatever solves with it.
    Bf16,
}

/// How statistics are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collecting {
    /// How much each token counts.
    pub weighting: TokenWeighting,
    /// The precision of Gram matrices' products.
    pub products: Products,
}

/// An observer that fills the statistics of one layer.
#[derive(Debug)]
pub struct StatsCollector {
    sites: [SiteStats; 4],
    collecting: Collecting,
    /// Inputs that wait for the weights of their tokens.
    waiting: [Vec<f32>; 4],
    /// Sum of all weights.
    total_weight: f64,
    buffers: Buffers,
}

impl StatsCollector {
    /// Empty statistics for one block of a model.
    #[must_use]
    pub fn new(config: &ModelConfig, requirements: Requirements, collecting: Collecting) -> Self {
        let sites = SITES.map(|site| {
            let channels = site_channels(config, site);
            let gram = requirements.grams[site.index()].then(|| Gram::new(channels));
            SiteStats { magnitude: ChannelMagnitude::new(channels), gram }
        });
        let waiting = [const { Vec::new() }; 4];
        Self { sites, collecting, waiting, total_weight: 0.0, buffers: Buffers::default() }
    }

    fn is_weighted(&self, site: ActivationSite) -> bool {
        let normalized = matches!(site, ActivationSite::AttentionInput | ActivationSite::MlpInput);
        self.collecting.weighting == TokenWeighting::ByResidual && !normalized
    }

    /// The finished statistics.
    #[must_use]
    pub fn finish(mut self) -> LayerStats {
        for site in SITES {
            let is_weighted = self.is_weighted(site);
            let Some(gram) = &mut self.sites[site.index()].gram else { continue };
            if is_weighted && self.total_weight > 0.0 {
                gram.scale(gram.tokens() as f64 / self.total_weight);
            }
            gram.mirror();
        }
        LayerStats { sites: self.sites }
    }
}

impl ActivationObserver for StatsCollector {
    fn observe(&mut self, site: ActivationSite, tokens: usize, x: &[f32]) {
        let (is_weighted, products) = (self.is_weighted(site), self.collecting.products);
        let stats = &mut self.sites[site.index()];
        stats.magnitude.accumulate(x);
        if let Some(gram) = &mut stats.gram {
            if is_weighted {
                self.waiting[site.index()].extend_from_slice(x);
            } else {
                gram.accumulate_in(tokens, x, products, &mut self.buffers);
            }
        }
    }

    fn residual(&mut self, tokens: usize, hidden: &[f32]) {
        if tokens == 0 {
            return;
        }
        let channels = hidden.len() / tokens;
        let weights: Vec<f32> = hidden.chunks_exact(channels).map(one_over_rms).collect();
        self.total_weight += weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
        let products = self.collecting.products;
        for (site, waiting) in self.sites.iter_mut().zip(&mut self.waiting) {
            let Some(gram) = site.gram.as_mut().filter(|_| !waiting.is_empty()) else { continue };
            for (row, weight) in waiting.chunks_exact_mut(gram.dim()).zip(&weights) {
                row.iter_mut().for_each(|x| *x *= weight);
            }
            gram.accumulate_in(tokens, waiting, products, &mut self.buffers);
            waiting.clear();
        }
    }
}

/// The root of a token's weight. Squares in f64: those of sinks overflow smaller types.
#[expect(clippy::cast_possible_truncation, reason = "a factor on f32 activations")]
fn one_over_rms(row: &[f32]) -> f32 {
    let squares: f64 = row.iter().map(|&h| f64::from(h).powi(2)).sum();
    let rms = (squares / row.len().max(1) as f64).sqrt();
    if rms > 0.0 { (1.0 / rms) as f32 } else { 0.0 }
}

/// Channels that enter a site.
pub(crate) fn site_channels(config: &ModelConfig, site: ActivationSite) -> usize {
    match site {
        ActivationSite::AttentionInput | ActivationSite::MlpInput => config.hidden_size,
        ActivationSite::HeadsOutput => config.n_heads * config.head_dim,
        ActivationSite::DownInput => config.intermediate_size,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn weighted_tokens_count_by_what_stands_behind_the_block() {
        let json = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":4,"intermediate_size":6,
            "num_hidden_layers":1,"num_attention_heads":2,"vocab_size":10}"#;
        let config = ModelConfig::from_hf_json(json, Path::new("config.json")).unwrap();
        let weighting = TokenWeighting::ByResidual;
        let collecting = Collecting { weighting, ..Collecting::default() };
        let mut collector = StatsCollector::new(&config, Requirements::ALL, collecting);
        // Two batches of two tokens; the first token is a sink in activations and residual alike.
        for batch in 0..2_u8 {
            let loud = if batch == 0 { 1000.0 } else { 1.0 };
            let down: Vec<f32> = (0..12).map(|i| if i < 6 { loud } else { 2.0 }).collect();
            collector.observe(ActivationSite::AttentionInput, 2, &[3.0; 8]);
            collector.observe(ActivationSite::DownInput, 2, &down);
            let hidden: Vec<f32> = (0..8).map(|i| if i < 4 { loud } else { 0.5 }).collect();
            collector.residual(2, &hidden);
        }
        let stats = collector.finish();
        // (1000 / 1000)² + (2 / 0.5)² + (1 / 1)² + (2 / 0.5)², over the mean of 1e-6, 4, 1 and 4.
        let down = stats.gram(ActivationSite::DownInput).unwrap();
        assert!((down.view()[(0, 5)] - 34.0 * 4.0 / 9.000_001).abs() < 1e-4);
        assert_eq!(down.tokens(), 4);
        let attention = stats.gram(ActivationSite::AttentionInput).unwrap();
        assert_eq!(attention.view()[(0, 0)], 36.0, "normalized inputs count alike");
        let mean = stats.site(ActivationSite::DownInput).magnitude.means()[0];
        assert_eq!(mean, (1000.0 + 2.0 + 1.0 + 2.0) / 4.0, "magnitudes are not weighted");
    }
}
