//! Collects the statistics of one block during a forward pass.

use rosaq_model::{ActivationObserver, ActivationSite, ModelConfig, SITES};

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

/// An observer that fills the statistics of one layer.
#[derive(Debug)]
pub struct StatsCollector {
    sites: [SiteStats; 4],
}

impl StatsCollector {
    /// Empty statistics for one block of a model.
    #[must_use]
    pub fn new(config: &ModelConfig, requirements: Requirements) -> Self {
        let sites = SITES.map(|site| {
            let channels = site_channels(config, site);
            let gram = requirements.grams[site.index()].then(|| Gram::new(channels));
            SiteStats { magnitude: ChannelMagnitude::new(channels), gram }
        });
        Self { sites }
    }

    /// The finished statistics.
    #[must_use]
    pub fn finish(mut self) -> LayerStats {
        for gram in self.sites.iter_mut().filter_map(|site| site.gram.as_mut()) {
            gram.mirror();
        }
        LayerStats { sites: self.sites }
    }
}

impl ActivationObserver for StatsCollector {
    fn observe(&mut self, site: ActivationSite, tokens: usize, x: &[f32]) {
        let stats = &mut self.sites[site.index()];
        stats.magnitude.accumulate(x);
        if let Some(gram) = &mut stats.gram {
            gram.accumulate(tokens, x);
        }
    }
}

/// Channels that enter a site.
pub(crate) fn site_channels(config: &ModelConfig, site: ActivationSite) -> usize {
    match site {
        ActivationSite::AttentionInput | ActivationSite::MlpInput => config.hidden_size,
        ActivationSite::HeadsOutput => config.n_heads * config.head_dim,
        ActivationSite::DownInput => config.intermediate_size,
    }
}
