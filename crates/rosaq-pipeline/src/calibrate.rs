//! The dense forward pass over the calibration set, layer by layer; statistics of every layer go to a file.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rosaq_calib::{
    Collecting, Fingerprint, LayerStats, Products, Requirements, StatsCollector, load_layer,
    save_layer,
};
use rosaq_cpu::bench::gemm_rate_gflops_all_threads;
use rosaq_model::{ModelConfig, SourceModel};
use rosaq_runtime::{LayerPass, LoadedBlock, RopeTable, RuntimeError};
use rosaq_text::TokenWindows;

use crate::{PipelineError, Progress};

/// Statistics of all layers, on disk.
#[derive(Debug, Clone)]
pub struct StatsDir {
    dir: PathBuf,
    key: Fingerprint,
    collecting: Collecting,
}

impl StatsDir {
    /// The statistics in `dir`, which is made if need be, that belong to `key`.
    pub(crate) fn open(
        dir: PathBuf,
        key: Fingerprint,
        collecting: Collecting,
    ) -> Result<Self, PipelineError> {
        fs::create_dir_all(&dir).map_err(PipelineError::disk("create", &dir))?;
        Ok(Self { dir, key, collecting })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// What the statistics belong to.
    pub(crate) fn key(&self) -> &Fingerprint {
        &self.key
    }

    fn layer_path(&self, layer: usize) -> PathBuf {
        self.dir.join(format!("layer-{layer:03}.stats"))
    }

    /// Loads the statistics of one layer.
    ///
    /// # Errors
    /// Files that are missing, damaged or of another calibration.
    pub fn load(&self, layer: usize, config: &ModelConfig) -> Result<LayerStats, PipelineError> {
        let path = self.layer_path(layer);
        match load_layer(&path, &self.key, config)? {
            Some(stats) => Ok(stats),
            None => {
                Err(rosaq_calib::CalibError::Damaged { path, reason: "it is of another run" }
                    .into())
            }
        }
    }

    /// Whether the statistics of all layers are there.
    pub(crate) fn is_complete(&self, config: &ModelConfig, requirements: Requirements) -> bool {
        (0..config.n_layers).all(|layer| self.has(layer, config, requirements))
    }

    fn has(&self, layer: usize, config: &ModelConfig, requirements: Requirements) -> bool {
        let loaded = load_layer(&self.layer_path(layer), &self.key, config);
        matches!(loaded, Ok(Some(stats)) if stats.covers(requirements))
    }
}

/// Least time between two snapshots of the hidden states: writing them costs less than a hundredth of that.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(20);

/// Measurements of the machine's GEMM rate, spread over the pass: what its time is to be compared with.
const RATE_SAMPLES: usize = 15;
/// Products of a pass below which its time is not worth comparing: measuring takes about a second.
const RATE_WORTHWHILE: f64 = 5e12;

/// What a calibration came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calibrated {
    /// Whether anything was missing.
    pub(crate) worked: bool,
    /// The mean f32 GEMM rate of one core met on the way, in 1e9 operations per second, when there was much to do.
    pub(crate) gemm_rate: Option<f64>,
}

/// Makes sure that `stats` holds what `requirements` ask for, for every layer.
///
/// # Errors
/// Models that cannot be loaded or overflow, a full disk.
pub(crate) fn calibrate(
    source: &SourceModel,
    windows: &TokenWindows,
    requirements: Requirements,
    stats: &StatsDir,
    progress: Progress,
) -> Result<Calibrated, PipelineError> {
    let config = source.config();
    let missing: Vec<bool> =
        (0..config.n_layers).map(|l| !stats.has(l, config, requirements)).collect();
    let Some(last) = missing.iter().rposition(|&m| m) else {
        return Ok(Calibrated { worked: false, gemm_rate: None });
    };
    let snapshot = Snapshot { path: stats.dir.join("hidden.state"), key: stats.key };
    let first_missing = missing.iter().position(|&m| m).unwrap_or(0);
    let (first, mut hidden) = match snapshot.load(windows.tokens().len() * config.hidden_size) {
        Some((layer, hidden)) if layer <= first_missing => (layer, hidden),
        _ => (0, source.embed(windows.tokens())?.data),
    };
    let stage = progress.stage("calibrate");
    let lengths = vec![windows.context(); windows.len()];
    let rope = RopeTable::new(config, windows.context());
    let mut last_snapshot = Instant::now();
    let mut rates = Vec::new();
    let products = 2.0 * windows.tokens().len() as f64 * config.quantizable_weights() as f64;
    let is_long = products > RATE_WORTHWHILE;
    for (layer, &is_missing) in missing.iter().enumerate().take(last + 1).skip(first) {
        if is_long && (layer - first).is_multiple_of((last + 1 - first).div_ceil(RATE_SAMPLES)) {
            rates.push(gemm_rate_gflops_all_threads());
        }
        let block = source.load_block(layer)?;
        let block = match stats.collecting.products {
            Products::F32 => LoadedBlock::Owned(Box::new(block)),
            Products::Bf16 => LoadedBlock::rounded(block),
        };
        source.release();
        let report = |share: f64| -> Result<(), RuntimeError> {
            stage.set(((layer - first) as f64 + share) / (last + 1 - first) as f64);
            Ok(())
        };
        let needed = if is_missing { requirements } else { Requirements::NONE };
        let mut collector = StatsCollector::new(config, needed, stats.collecting);
        let pass = LayerPass { config, rope: &rope, layer };
        pass.run(&block, &lengths, &mut hidden, &mut collector, &report)?;
        if is_missing {
            save_layer(&stats.layer_path(layer), &stats.key, &collector.finish())?;
        }
        if last_snapshot.elapsed() >= SNAPSHOT_INTERVAL && layer < last {
            snapshot.save(layer + 1, &hidden)?;
            last_snapshot = Instant::now();
        }
    }
    snapshot.remove();
    stage.finish();
    let gemm_rate = is_long.then(|| rates.iter().sum::<f64>() / rates.len() as f64);
    Ok(Calibrated { worked: true, gemm_rate })
}

/// Hidden states between two layers, on disk, from which a killed run goes on.
struct Snapshot {
    path: PathBuf,
    key: Fingerprint,
}

const SNAPSHOT_MAGIC: &[u8; 8] = b"ROSAQHID";

impl Snapshot {
    /// The first layer not yet run and its input, when the file belongs to this calibration and is whole.
    fn load(&self, len: usize) -> Option<(usize, Vec<f32>)> {
        let mut file = fs::File::open(&self.path).ok()?;
        let mut header = [0; 8 + 32 + 8 + 32];
        file.read_exact(&mut header).ok()?;
        let layer = u64::from_le_bytes(header[40..48].try_into().ok()?);
        if header[..8] != SNAPSHOT_MAGIC[..] || header[8..40] != self.key {
            return None;
        }
        if file.metadata().ok()?.len() != (header.len() + len * 4) as u64 {
            return None;
        }
        let mut bytes = Vec::with_capacity(len * 4);
        file.read_to_end(&mut bytes).ok()?;
        if header[48..] != blake3::hash(&bytes).as_bytes()[..] {
            return None;
        }
        let (values, _) = bytes.as_chunks::<4>();
        Some((
            usize::try_from(layer).ok()?,
            values.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        ))
    }

    fn save(&self, layer: usize, hidden: &[f32]) -> Result<(), PipelineError> {
        let failed =
            |source| PipelineError::Disk { action: "write", path: self.path.clone(), source };
        let mut hasher = blake3::Hasher::new();
        for values in hidden.chunks(SNAPSHOT_CHUNK) {
            hasher.update(&to_bytes(values));
        }
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        file.write_all(SNAPSHOT_MAGIC).map_err(failed)?;
        file.write_all(&self.key).map_err(failed)?;
        file.write_all(&(layer as u64).to_le_bytes()).map_err(failed)?;
        file.write_all(hasher.finalize().as_bytes()).map_err(failed)?;
        for values in hidden.chunks(SNAPSHOT_CHUNK) {
            file.write_all(&to_bytes(values)).map_err(failed)?;
        }
        file.persist(&self.path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    fn remove(&self) {
        // Nothing is lost if it stays: it is checked before it is used.
        let _ = fs::remove_file(&self.path);
    }
}

/// Values turned into bytes at a time.
const SNAPSHOT_CHUNK: usize = 1 << 20;

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use rosaq_model::ActivationSite;

    use super::*;

    const KEY: Fingerprint = [3; 32];

    fn model() -> SourceModel {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tiny-llama");
        SourceModel::open(Path::new(fixture)).unwrap()
    }

    fn windows() -> TokenWindows {
        TokenWindows::new((0..128).map(|i| i * 7 % 256).collect(), 32).unwrap()
    }

    fn collect(dir: &Path) -> Vec<Vec<u8>> {
        let (source, stats) =
            (model(), StatsDir::open(dir.to_owned(), KEY, Collecting::default()).unwrap());
        let needs = Requirements::grams_at(&[ActivationSite::DownInput]);
        assert!(calibrate(&source, &windows(), needs, &stats, Progress::Quiet).unwrap().worked);
        assert!(!calibrate(&source, &windows(), needs, &stats, Progress::Quiet).unwrap().worked);
        (0..source.config().n_layers).map(|l| fs::read(stats.layer_path(l)).unwrap()).collect()
    }

    /// What a run leaves that was killed after layer 0: its statistics and the hidden states behind it.
    fn leave_after_first_layer(dir: &Path, whole: &[Vec<u8>], scale: f32) {
        let source = model();
        let mut hidden = source.embed(windows().tokens()).unwrap().data;
        let rope = RopeTable::new(source.config(), 32);
        let block = LoadedBlock::Owned(Box::new(source.load_block(0).unwrap()));
        let mut ignored =
            StatsCollector::new(source.config(), Requirements::NONE, Collecting::default());
        let pass = LayerPass { config: source.config(), rope: &rope, layer: 0 };
        pass.run(&block, &[32; 4], &mut hidden, &mut ignored, &|_| Ok(())).unwrap();
        hidden.iter_mut().for_each(|h| *h *= scale);
        let stats = StatsDir::open(dir.to_owned(), KEY, Collecting::default()).unwrap();
        fs::write(stats.layer_path(0), &whole[0]).unwrap();
        Snapshot { path: dir.join("hidden.state"), key: KEY }.save(1, &hidden).unwrap();
    }

    #[test]
    fn a_snapshot_of_the_hidden_states_is_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let whole = collect(&dir.path().join("whole"));
        let resumed = dir.path().join("resumed");
        leave_after_first_layer(&resumed, &whole, 1.0);
        assert!(collect(&resumed) == whole);
        // Were it not read, other hidden states would change nothing.
        let other = dir.path().join("other");
        leave_after_first_layer(&other, &whole, 2.0);
        assert!(collect(&other) != whole);
        assert!(!other.join("hidden.state").exists());
    }

    #[test]
    fn a_damaged_snapshot_is_not_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let whole = collect(&dir.path().join("whole"));
        let damaged = dir.path().join("damaged");
        leave_after_first_layer(&damaged, &whole, 2.0);
        let path = damaged.join("hidden.state");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(collect(&damaged) == whole);
    }
}
