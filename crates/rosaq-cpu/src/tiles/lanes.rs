//! Vectors that begin at the start of a cache line.

use std::ops::{Deref, DerefMut};

use super::CHUNK;

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// A slice of vectors of `L` lanes; none of them straddles two cache lines.
#[derive(Debug)]
pub(crate) struct Lanes<const L: usize> {
    buffer: Vec<[u8; CHUNK]>,
    /// Lanes before the first line.
    start: usize,
    len: usize,
}

impl<const L: usize> Lanes<L> {
    /// `len` vectors of zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let buffer = vec![[0; CHUNK]; len * L + LINE / CHUNK];
        // Nothing but speed depends on it.
        let start = buffer.as_ptr().cast::<u8>().align_offset(LINE) / CHUNK;
        Self { buffer, start: start.min(LINE / CHUNK), len }
    }
}

impl<const L: usize> Deref for Lanes<L> {
    type Target = [[[u8; CHUNK]; L]];

    fn deref(&self) -> &[[[u8; CHUNK]; L]] {
        self.buffer[self.start..][..self.len * L].as_chunks().0
    }
}

impl<const L: usize> DerefMut for Lanes<L> {
    fn deref_mut(&mut self) -> &mut [[[u8; CHUNK]; L]] {
        self.buffer[self.start..][..self.len * L].as_chunks_mut().0
    }
}

impl<const L: usize> Clone for Lanes<L> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}
