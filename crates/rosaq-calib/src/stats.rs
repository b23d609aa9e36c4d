//! Statistics of one layer, in memory and on disk.

use std::path::Path;

use rosaq_model::{ActivationSite, ModelConfig, SITES};
use serde::{Deserialize, Serialize};

use crate::collector::site_channels;
use crate::state_file::{load_state, save_state};
use crate::{CalibError, ChannelMagnitude, Gram, Requirements};

/// Identifies model, text and settings that statistics belong to: a blake3 hash.
pub type Fingerprint = [u8; 32];

/// Statistics of one activation site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteStats {
    /// Mean |x| per channel.
    pub magnitude: ChannelMagnitude,
    /// The Gram matrix, where it was required.
    pub gram: Option<Gram>,
}

/// Statistics of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerStats {
    /// In the order of [`SITES`].
    pub sites: [SiteStats; 4],
}

impl LayerStats {
    /// The statistics of `site`.
    #[must_use]
    pub fn site(&self, site: ActivationSite) -> &SiteStats {
        &self.sites[site.index()]
    }

    /// The Gram matrix of `site`.
    ///
    /// # Errors
    /// [`CalibError::MissingGram`] when it was not collected.
    pub fn gram(&self, site: ActivationSite) -> Result<&Gram, CalibError> {
        self.site(site).gram.as_ref().ok_or(CalibError::MissingGram { site: site.word() })
    }

    /// Whether everything in `requirements` is there.
    #[must_use]
    pub fn covers(&self, requirements: Requirements) -> bool {
        let mut pairs = self.sites.iter().zip(requirements.grams);
        pairs.all(|(site, needed)| site.gram.is_some() || !needed)
    }

    fn fits(&self, config: &ModelConfig) -> bool {
        SITES.iter().all(|&site| {
            let (stats, channels) = (self.site(site), site_channels(config, site));
            stats.magnitude.sums.len() == channels
                && stats.gram.as_ref().is_none_or(|g| g.dim() == channels)
        })
    }
}

const MAGIC: &[u8; 8] = b"ROSAQCAL";

/// A site as it stands in the file.
#[derive(Serialize, Deserialize)]
struct StoredSite {
    tokens: u64,
    magnitude_sums: Vec<f64>,
    gram_lower: Option<Vec<f64>>,
}

/// Writes the statistics of one layer; the file appears whole or not at all.
///
/// # Errors
/// [`CalibError::Io`].
pub fn save_layer(path: &Path, key: &Fingerprint, stats: &LayerStats) -> Result<(), CalibError> {
    let stored: Vec<StoredSite> = stats
        .sites
        .iter()
        .map(|site| StoredSite {
            tokens: site.magnitude.tokens,
            magnitude_sums: site.magnitude.sums.clone(),
            gram_lower: site.gram.as_ref().map(Gram::to_packed),
        })
        .collect();
    save_state(path, MAGIC, key, &stored)
}

/// Reads the statistics of one layer. `None` when the file belongs to another model, text or setting.
///
/// # Errors
/// [`CalibError::Io`] and [`CalibError::Damaged`].
pub fn load_layer(
    path: &Path,
    key: &Fingerprint,
    config: &ModelConfig,
) -> Result<Option<LayerStats>, CalibError> {
    let damaged = |reason| CalibError::Damaged { path: path.to_owned(), reason };
    let Some(stored) = load_state::<Vec<StoredSite>>(path, MAGIC, key)? else { return Ok(None) };
    let sites: Vec<SiteStats> = stored
        .into_iter()
        .map(restore)
        .collect::<Option<_>>()
        .ok_or_else(|| damaged("a matrix has the wrong size"))?;
    let sites = sites.try_into().map_err(|_| damaged("it holds the wrong number of sites"))?;
    let stats = LayerStats { sites };
    if stats.fits(config) { Ok(Some(stats)) } else { Err(damaged("it fits another model")) }
}

fn restore(site: StoredSite) -> Option<SiteStats> {
    let channels = site.magnitude_sums.len();
    let gram = match site.gram_lower {
        None => None,
        Some(lower) => Some(Gram::from_packed(channels, site.tokens, &lower)?),
    };
    let magnitude = ChannelMagnitude { tokens: site.tokens, sums: site.magnitude_sums };
    Some(SiteStats { magnitude, gram })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rosaq_model::ActivationObserver;

    use super::*;
    use crate::{Collecting, StatsCollector};

    fn config() -> ModelConfig {
        let json = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":12,
            "num_hidden_layers":1,"num_attention_heads":2,"vocab_size":10}"#;
        ModelConfig::from_hf_json(json, Path::new("config.json")).unwrap()
    }

    fn stats() -> LayerStats {
        let mut collector =
            StatsCollector::new(&config(), Requirements::ALL, Collecting::default());
        for site in SITES {
            let channels = site_channels(&config(), site);
            let x: Vec<f32> = (0..3 * channels).map(|i| (i as f32 * 0.7).sin()).collect();
            collector.observe(site, 3, &x);
        }
        collector.finish()
    }

    #[test]
    fn saved_statistics_come_back_and_know_their_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer-000.stats");
        save_layer(&path, &[7; 32], &stats()).unwrap();
        assert_eq!(load_layer(&path, &[7; 32], &config()).unwrap(), Some(stats()));
        assert_eq!(load_layer(&path, &[8; 32], &config()).unwrap(), None);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer-000.stats");
        save_layer(&path, &[7; 32], &stats()).unwrap();
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(13) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            fs::write(&path, flipped).unwrap();
            let loaded = load_layer(&path, &[7; 32], &config());
            assert!(!matches!(loaded, Ok(Some(_))), "byte {at}");
        }
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(load_layer(&path, &[7; 32], &config()).is_err());
    }
}
