//! The dense forward pass over the calibration set, layer by layer; statistics of every layer go to a file.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rosaq_calib::{Fingerprint, LayerStats, Requirements, StatsCollector, load_layer, save_layer};
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
}

impl StatsDir {
    /// The statistics in `dir`, which is made if need be, that belong to `key`.
    pub(crate) fn open(dir: PathBuf, key: Fingerprint) -> Result<Self, PipelineError> {
        fs::create_dir_all(&dir).map_err(PipelineError::disk("create", &dir))?;
        Ok(Self { dir, key })
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

    fn has(&self, layer: usize, config: &ModelConfig, requirements: Requirements) -> bool {
        let loaded = load_layer(&self.layer_path(layer), &self.key, config);
        matches!(loaded, Ok(Some(stats)) if stats.covers(requirements))
    }
}

/// Least time between two snapshots of the hidden states: writing them costs less than a hundredth of that.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(20);

/// Measurements of the machine's GEMM rate, spread over the pass: what its time is to be compared with.
const RATE_SAMPLES: usize = 4;
/// Products of a pass below which its time is not worth comparing: measuring takes about a second.
const RATE_WORTHWHILE: f64 = 5e12;

/// Makes sure that `stats` holds what `requirements` ask for, for every layer. Returns the mean f32 GEMM rate of one core
/// met on the way, in 1e9 operations per second, when there was much to do.
///
/// # Errors
/// Models that cannot be loaded or overflow, a full disk.
pub(crate) fn calibrate(
    source: &SourceModel,
    windows: &TokenWindows,
    requirements: Requirements,
    stats: &StatsDir,
    progress: Progress,
) -> Result<Option<f64>, PipelineError> {
    let config = source.config();
    let missing: Vec<bool> =
        (0..config.n_layers).map(|l| !stats.has(l, config, requirements)).collect();
    let Some(last) = missing.iter().rposition(|&m| m) else {
        return Ok(None);
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
        let block = LoadedBlock::Owned(Box::new(source.load_block(layer)?));
        source.release();
        let report = |share: f64| -> Result<(), RuntimeError> {
            stage.set(((layer - first) as f64 + share) / (last + 1 - first) as f64);
            Ok(())
        };
        let needed = if is_missing { requirements } else { Requirements::NONE };
        let mut collector = StatsCollector::new(config, needed);
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
    Ok(is_long.then(|| rates.iter().sum::<f64>() / rates.len() as f64))
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
