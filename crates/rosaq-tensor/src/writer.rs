//! Writes safetensors files: the same tensors give the same bytes, and a file appears whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dtype::DType;
use crate::error::TensorError;
use crate::safetensors::METADATA_KEY;

/// One tensor to be written.
#[derive(Debug, Clone)]
pub struct TensorData<'a> {
    /// Name in the file.
    pub name: String,
    /// Element type; a plain one, the block formats of GGUF cannot be stored in safetensors.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements, row-major, little-endian.
    pub bytes: Cow<'a, [u8]>,
}

/// Writes a safetensors file with these tensors and this text.
///
/// The bytes depend on the arguments only, and not on the order of `tensors`: data stand by falling
/// element size, then by name, so that every tensor is aligned. The file is written beside its
/// target under a temporary name, flushed to the disk and renamed, so that `path` holds either what
/// it held before or the whole new file; on failure the temporary file is removed.
///
/// # Errors
///
/// [`TensorError::Write`] for failures of the disk; [`TensorError::DuplicateTensor`],
/// [`TensorError::TensorBytes`], [`TensorError::InvalidSize`] or [`TensorError::UnsupportedDType`]
/// for tensors that cannot be stored, before anything is written.
pub fn write_safetensors(
    path: &Path,
    tensors: &[TensorData<'_>],
    metadata: BTreeMap<String, String>,
) -> Result<(), TensorError> {
    let mut ordered: Vec<&TensorData<'_>> = tensors.iter().collect();
    ordered.sort_by(|a, b| (b.dtype.block_bytes(), &a.name).cmp(&(a.dtype.block_bytes(), &b.name)));
    check(path, &ordered)?;
    let header = header_json(&ordered, &metadata);
    write_atomically(path, |file| {
        let mut file = BufWriter::new(file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        ordered.iter().try_for_each(|tensor| file.write_all(&tensor.bytes))?;
        file.flush()
    })
    .map_err(|source| TensorError::Write { path: path.to_owned(), source })
}

/// Demands distinct names, types that the format has, and bytes that fit the shapes.
fn check(path: &Path, tensors: &[&TensorData<'_>]) -> Result<(), TensorError> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| &*tensor.name).collect();
    names.push(METADATA_KEY); // The format takes this name for itself.
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let tensor = pair[0].to_owned();
        return Err(TensorError::DuplicateTensor { path: path.to_owned(), tensor });
    }
    for tensor in tensors {
        let (path, dtype) = (path.to_owned(), tensor.dtype);
        if DType::from_safetensors_name(dtype.name()).is_none() {
            let (tensor, found) = (tensor.name.clone(), dtype.name().to_owned());
            return Err(TensorError::UnsupportedDType { path, tensor, found });
        }
        let n_elements = tensor.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let Some(expected) = n_elements.and_then(|n| dtype.storage_bytes(n)) else {
            let shape = tensor.shape.iter().map(|&d| d as u64).collect();
            let tensor = tensor.name.clone();
            return Err(TensorError::InvalidSize { path, tensor, shape, dtype });
        };
        if expected != tensor.bytes.len() {
            let (expected, found) = (expected as u64, tensor.bytes.len() as u64);
            let tensor = tensor.name.clone();
            return Err(TensorError::TensorBytes { path, tensor, expected, found });
        }
    }
    Ok(())
}

/// The JSON header, padded with spaces so that data begin at a multiple of eight bytes.
fn header_json(tensors: &[&TensorData<'_>], metadata: &BTreeMap<String, String>) -> String {
    let mut entries = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<String> =
            metadata.iter().map(|(key, value)| format!("{}:{}", json(key), json(value))).collect();
        entries.push(format!("{}:{{{}}}", json(METADATA_KEY), pairs.join(",")));
    }
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.bytes.len();
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        entries.push(format!(
            r#"{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{start},{end}]}}"#,
            json(&tensor.name),
            tensor.dtype,
            shape.join(","),
        ));
        start = end;
    }
    let mut header = format!("{{{}}}", entries.join(","));
    let padding = header.len().next_multiple_of(8) - header.len();
    let _ = write!(header, "{:padding$}", "");
    header
}

/// Text as a JSON string.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Lets `fill` write a temporary file beside `path`, flushes it to the disk and renames it.
fn write_atomically(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let (file, temporary) = TemporaryFile::create_beside(path)?;
    fill(&file)?;
    file.sync_all()?;
    drop(file);
    temporary.rename_to(path)?;
    sync_directory(path)
}

/// Makes the rename itself survive a crash, where directories can be flushed.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory_of(path))?.sync_all() } else { Ok(()) }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that is removed when dropped, unless it was renamed before.
struct TemporaryFile {
    path: Option<PathBuf>,
}

impl TemporaryFile {
    /// A new file in the directory of `target`, under a name no other thread or process uses.
    fn create_beside(target: &Path) -> io::Result<(File, Self)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let Some(name) = target.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let mut temporary_name = std::ffi::OsString::from(".");
            temporary_name.push(name);
            temporary_name.push(format!(".{}-{count}.tmp", std::process::id()));
            let path = directory_of(target).join(temporary_name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Self { path: Some(path) })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file its final name.
    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            std::fs::rename(path, target)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // The failure that led here is the one to report.
            drop(std::fs::remove_file(path));
        }
    }
}
