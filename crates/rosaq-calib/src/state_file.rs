//! Private run state on disk: what kind it is, what it belongs to, a checksum, and the content by bincode.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CalibError, Fingerprint};

const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 32 + 32;
/// No statistics of one layer are larger: a Gram of 32,768 channels takes 4.3 GB packed.
const SIZE_LIMIT: usize = 16 << 30;

fn encoding() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<SIZE_LIMIT>()
}

/// Writes `content` under `key`; the file appears whole or not at all.
///
/// # Errors
/// [`CalibError::Io`].
pub fn save_state<T: Serialize>(
    path: &Path,
    magic: &[u8; 8],
    key: &Fingerprint,
    content: &T,
) -> Result<(), CalibError> {
    let io = |source| CalibError::Io { action: "write", path: path.to_owned(), source };
    let payload = bincode::serde::encode_to_vec(content, encoding())
        .map_err(|e| io(std::io::Error::other(e)))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
    for part in
        [&magic[..], &VERSION.to_le_bytes(), key, blake3::hash(&payload).as_bytes(), &payload]
    {
        file.write_all(part).map_err(io)?;
    }
    file.as_file().sync_data().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Reads what [`save_state`] wrote. `None` when the file belongs to another key.
///
/// # Errors
/// [`CalibError::Io`] and [`CalibError::Damaged`].
pub fn load_state<T: DeserializeOwned>(
    path: &Path,
    magic: &[u8; 8],
    key: &Fingerprint,
) -> Result<Option<T>, CalibError> {
    let io = |source| CalibError::Io { action: "read", path: path.to_owned(), source };
    let damaged = |reason| CalibError::Damaged { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(io)?;
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
        return Err(damaged("it is too short"));
    };
    if &header[..8] != magic || header[8..12] != VERSION.to_le_bytes() {
        return Err(damaged("it was not written by this version of rosaq"));
    }
    if header[12..44] != key[..] {
        return Ok(None);
    }
    if header[44..] != blake3::hash(payload).as_bytes()[..] {
        return Err(damaged("its checksum is wrong"));
    }
    let (content, _) = bincode::serde::decode_from_slice(payload, encoding())
        .map_err(|_| damaged("its content is malformed"))?;
    Ok(Some(content))
}
