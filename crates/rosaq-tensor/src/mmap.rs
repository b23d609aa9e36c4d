//! A read-only memory-mapped file: the only unsafe code of this crate.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::TensorError;

/// A file mapped into memory for reading.
///
/// The file must not change while it is mapped. Replacing it by a rename, as
/// [`crate::write_safetensors`] does, is fine: the map keeps the old contents. Writing into it makes
/// the bytes seen here change, and truncating it ends the process with a signal on the next access.
/// No operating system call can rule this out, so it is a condition on whoever runs the program.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    ///
    /// [`TensorError::Read`] if the file cannot be opened or mapped, for instance a directory.
    #[expect(unsafe_code, reason = "mapping a file has no safe form")]
    pub fn open(path: &Path) -> Result<Self, TensorError> {
        let read_error = |source| TensorError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read_error)?;
        // SAFETY: the map is read-only and private to this struct, which hands out shared slices
        // only. That nobody changes the file meanwhile is the documented condition of use.
        let map = unsafe { Mmap::map(&file) }.map_err(read_error)?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Where the file was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the kernel that the pages read so far may be dropped from this process.
    ///
    /// Bounds peak memory while a large checkpoint is walked through once. Pages that are needed
    /// again are read again. Does nothing where the system has no such call.
    #[cfg_attr(unix, expect(unsafe_code, reason = "MADV_DONTNEED has no safe form"))]
    pub fn release(&self) {
        #[cfg(unix)]
        // SAFETY: MADV_DONTNEED discards changes that only memory holds. This map is read-only and
        // backed by a file, so there are none, and the next access reads the same bytes again.
        let advised = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        #[cfg(unix)]
        drop(advised); // Advice that the kernel declines costs memory, not correctness.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_a_release() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let contents: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &contents).unwrap();
        let file = MappedFile::open(&path).unwrap();
        assert_eq!(file.bytes(), contents);
        file.release();
        assert_eq!(file.bytes(), contents);
    }

    #[test]
    fn an_empty_file_is_empty_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, []).unwrap();
        assert!(MappedFile::open(&path).unwrap().bytes().is_empty());
        let error = MappedFile::open(&dir.path().join("absent")).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}
