//! The work directory beside the target: finished parts wait there until the whole is published by one rename.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use faer::{Mat, MatRef};
use rosaq_calib::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::learned::Learning;

/// A directory of finished parts.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    /// Whether an earlier run of the same job was here.
    resumed: bool,
    /// Held while the job runs; the system lets go of it when the process ends, however it ends.
    _lock: fs::File,
}

/// What the parts belong to.
#[derive(Serialize, Deserialize)]
struct ResumeState {
    magic: [u8; 8],
    version: u32,
    job: Fingerprint,
}

/// A learned rotation on disk, as bits: numbers read from JSON may be off by their last digit.
#[derive(Serialize, Deserialize)]
struct SavedRotation {
    columns: Vec<u64>,
    learning: Learning,
}

const MAGIC: [u8; 8] = *b"ROSAQJOB";
const VERSION: u32 = 1;
const SIZE_LIMIT: usize = 4096;

fn encoding() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<SIZE_LIMIT>()
}

impl WorkDir {
    /// Opens the work directory of `target`, keeping what an earlier run of the same `job` left there. Shards of another job
    /// are removed; calibration statistics carry their own fingerprint and stay. `fresh` removes everything.
    pub(crate) fn open(
        target: &Path,
        job: &Fingerprint,
        fresh: bool,
    ) -> Result<Self, PipelineError> {
        let root = beside(target, ".work")?;
        fs::create_dir_all(&root).map_err(PipelineError::disk("create", &root))?;
        let lock = lock(&root, target)?;
        let mut work = Self { root, resumed: false, _lock: lock };
        restore(&work.replaced(), target)?;
        if fresh {
            remove_dir(&work.statistics())?;
        }
        work.resumed = !fresh && work.belongs_to(job);
        if !work.resumed {
            let _ = fs::remove_file(work.rotation()); // of another job, or none
            remove_dir(&work.staging())?;
        }
        for dir in [work.statistics(), work.staging()] {
            fs::create_dir_all(&dir).map_err(PipelineError::disk("create", &dir))?;
            remove_temporaries(&dir)?;
        }
        work.claim(job)?;
        Ok(work)
    }

    /// Whether this run goes on where another one of the same job ended.
    pub(crate) fn resumed(&self) -> bool {
        self.resumed
    }

    /// The directory itself, where small parts are kept.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where statistics are saved.
    pub(crate) fn statistics(&self) -> PathBuf {
        self.root.join("statistics")
    }

    /// Where the checkpoint grows.
    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// Keeps a learned rotation.
    pub(crate) fn save_rotation(
        &self,
        rotation: &Mat<f64>,
        learning: &Learning,
    ) -> Result<(), PipelineError> {
        let columns = rotation.col_iter().flat_map(|col| col.iter().map(|v| v.to_bits())).collect();
        let saved = SavedRotation { columns, learning: learning.clone() };
        let path = self.rotation();
        let json = serde_json::to_vec(&saved).map_err(|e| PipelineError::Disk {
            action: "write",
            path: path.clone(),
            source: e.into(),
        })?;
        let temporary = self.root.join("rotation.tmp");
        let written = fs::write(&temporary, json).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(PipelineError::disk("write", path))
    }

    /// The rotation of order `n` that an earlier run of this job learned.
    pub(crate) fn load_rotation(&self, n: usize) -> Option<(Mat<f64>, Learning)> {
        let saved: SavedRotation = serde_json::from_slice(&fs::read(self.rotation()).ok()?).ok()?;
        if Some(saved.columns.len()) != n.checked_mul(n) {
            return None;
        }
        let columns: Vec<f64> = saved.columns.into_iter().map(f64::from_bits).collect();
        let rotation = MatRef::from_column_major_slice(&columns, n, n).to_owned();
        Some((rotation, saved.learning))
    }

    fn rotation(&self) -> PathBuf {
        self.root.join("rotation.json")
    }

    fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    fn belongs_to(&self, job: &Fingerprint) -> bool {
        let Ok(bytes) = fs::read(self.state()) else { return false };
        let decoded: Result<(ResumeState, usize), _> =
            bincode::serde::decode_from_slice(&bytes, encoding());
        decoded.is_ok_and(|(s, _)| s.magic == MAGIC && s.version == VERSION && s.job == *job)
    }

    fn claim(&self, job: &Fingerprint) -> Result<(), PipelineError> {
        let failed = |source| PipelineError::Disk { action: "write", path: self.state(), source };
        let state = ResumeState { magic: MAGIC, version: VERSION, job: *job };
        let bytes = bincode::serde::encode_to_vec(&state, encoding())
            .map_err(|e| failed(std::io::Error::other(e)))?;
        let temporary = self.root.join("state.tmp");
        fs::write(&temporary, bytes).map_err(failed)?;
        fs::rename(&temporary, self.state()).map_err(failed)
    }

    /// Moves the finished checkpoint to `target` and removes the work directory. What stands there is set aside first and
    /// removed last; the caller has made sure that it may be replaced.
    pub(crate) fn publish(self, target: &Path) -> Result<(), PipelineError> {
        let old = self.replaced();
        if target.exists() {
            remove_dir(&old)?;
            fs::rename(target, &old).map_err(PipelineError::disk("replace", target))?;
        }
        if let Err(source) = fs::rename(self.staging(), target) {
            restore(&old, target)?;
            return Err(PipelineError::Disk { action: "create", path: target.to_owned(), source });
        }
        remove_dir(&self.root)
    }

    /// Removes everything: what was found wrong will be wrong again.
    pub(crate) fn abandon(self) {
        // The error that led here matters more than one on the way out.
        let _ = remove_dir(&self.root);
    }

    fn replaced(&self) -> PathBuf {
        self.root.join("replaced")
    }
}

/// Removes what a run killed after its last rename left beside a finished `target`.
pub(crate) fn remove_leftovers(target: &Path) -> Result<(), PipelineError> {
    let root = beside(target, ".work")?;
    if !root.exists() {
        return Ok(());
    }
    let _lock = lock(&root, target)?;
    remove_dir(&root)
}

/// Puts back what a killed run had set aside when nothing took its place.
fn restore(old: &Path, target: &Path) -> Result<(), PipelineError> {
    if old.exists() && !target.exists() {
        fs::rename(old, target).map_err(PipelineError::disk("restore", target))?;
    }
    Ok(())
}

/// `path` with `suffix` behind a hidden form of its name, in the same directory.
fn beside(path: &Path, suffix: &str) -> Result<PathBuf, PipelineError> {
    let Some(name) = path.file_name() else {
        let reason = "is no name for a directory";
        return Err(PipelineError::TargetExists {
            path: path.to_owned(),
            reason,
            replaceable: false,
        });
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(suffix);
    Ok(path.with_file_name(hidden))
}

/// Takes the lock of the directory `root`, which serves the making of `target`; it goes when the process ends.
pub(crate) fn lock(root: &Path, target: &Path) -> Result<fs::File, PipelineError> {
    let path = root.join("lock");
    let file = fs::File::create(&path).map_err(PipelineError::disk("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(PipelineError::Busy { path: target.to_owned() }),
        Err(fs::TryLockError::Error(source)) => {
            Err(PipelineError::Disk { action: "lock", path, source })
        }
    }
}

pub(crate) fn remove_dir(path: &Path) -> Result<(), PipelineError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(PipelineError::Disk { action: "remove", path: path.to_owned(), source: e })
        }
        _ => Ok(()),
    }
}

/// Removes what a killed run was still writing.
fn remove_temporaries(dir: &Path) -> Result<(), PipelineError> {
    let failed = |source| PipelineError::Disk { action: "read", path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden && path.is_file() {
            fs::remove_file(&path).map_err(PipelineError::disk("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_rotation_comes_back_bit_for_bit_and_for_its_own_job_only() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let rotation = rosaq_rotate::random_orthogonal(24, 5);
        let learning =
            Learning { loss_before: 0.3, loss_after: 0.1, chosen_step: 2, losses: vec![0.3, 0.2] };
        let work = WorkDir::open(&target, &[1; 32], false).unwrap();
        assert!(work.load_rotation(24).is_none());
        work.save_rotation(&rotation, &learning).unwrap();
        drop(work);
        let work = WorkDir::open(&target, &[1; 32], false).unwrap();
        let (found, how) = work.load_rotation(24).unwrap();
        assert!(found == rotation && how == learning);
        assert!(work.load_rotation(25).is_none());
        drop(work);
        let work = WorkDir::open(&target, &[2; 32], false).unwrap();
        assert!(work.load_rotation(24).is_none());
    }
}
