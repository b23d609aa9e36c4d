//! Reading little-endian values from a slice, with every length checked against what is left.

use std::path::Path;

use crate::error::TensorError;

/// A position in a file. `what` names the thing that is read, for messages.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    path: &'a Path,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], path: &'a Path) -> Self {
        Self { bytes, position: 0, path }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, what: &'static str, n: usize) -> Result<&'a [u8], TensorError> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..n).ok_or_else(|| self.truncated(what, n as u64))?;
        self.position += n;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], TensorError> {
        let rest = &self.bytes[self.position..];
        let taken = *rest.first_chunk().ok_or_else(|| self.truncated(what, N as u64))?;
        self.position += N;
        Ok(taken)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, TensorError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, TensorError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A u64 count of things that take `min_bytes` each at least: at most `limit`, and no more than
    /// the rest of the file can hold.
    pub(super) fn count(
        &mut self,
        what: &'static str,
        min_bytes: usize,
        limit: u64,
    ) -> Result<usize, TensorError> {
        let count = self.u64(what)?;
        self.check_limit(what, count, limit)?;
        let needed = count.saturating_mul(min_bytes as u64);
        if needed > (self.bytes.len() - self.position) as u64 {
            return Err(self.truncated(what, needed));
        }
        // It is no more than the length of a slice.
        usize::try_from(count).map_err(|_| self.truncated(what, needed))
    }

    /// A string after its u64 length.
    pub(super) fn string(&mut self, what: &'static str, limit: u64) -> Result<String, TensorError> {
        let length = self.count(what, 1, limit)?;
        let text = std::str::from_utf8(self.take(what, length)?);
        let text =
            text.map_err(|source| TensorError::Utf8 { path: self.path.to_owned(), what, source })?;
        Ok(text.to_owned())
    }

    pub(super) fn check_limit(
        &self,
        what: &'static str,
        found: u64,
        limit: u64,
    ) -> Result<(), TensorError> {
        if found <= limit {
            return Ok(());
        }
        Err(TensorError::Limit { path: self.path.to_owned(), what, found, limit })
    }

    /// The value just read, of `size` bytes, is none that exists.
    pub(super) fn invalid(&self, what: &'static str, size: usize, found: u64) -> TensorError {
        let offset = self.position - size;
        TensorError::GgufValue { path: self.path.to_owned(), what, offset, found }
    }

    fn truncated(&self, what: &'static str, needed: u64) -> TensorError {
        TensorError::Truncated {
            path: self.path.to_owned(),
            what,
            offset: self.position,
            needed,
            available: self.bytes.len() - self.position,
        }
    }
}
