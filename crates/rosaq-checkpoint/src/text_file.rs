//! Small JSON files: read with a limit, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::CheckpointError;

/// Longest configuration or index that is read, in bytes; thirty times that of the largest models.
const MAX_BYTES: u64 = 64 << 20;

/// The whole file, which must be text.
pub(crate) fn read(path: &Path) -> Result<String, CheckpointError> {
    let failed = |source| CheckpointError::Read { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(failed)?.len();
    if found > MAX_BYTES {
        return Err(CheckpointError::TooLong { path: path.to_owned(), found, limit: MAX_BYTES });
    }
    fs::read_to_string(path).map_err(failed)
}

/// Writes beside the target, flushes, renames: `path` holds the old text or the new one.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), CheckpointError> {
    // Hidden, as the temporary files of shards are: a resumed run removes what a killed one left.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_through(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The failure that led here is the one to report.
        drop(fs::remove_file(&temporary));
        CheckpointError::Write { path: path.to_owned(), source }
    })
}

fn write_through(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
