//! Vectors that begin at the start of a cache line.

use std::ops::{Deref, DerefMut};

use super::CHUNK;
use super::mmap::Part;

/// A slice of vectors of `L` lanes; none of them straddles two cache lines.
#[derive(Debug, Clone)]
pub(crate) struct Lanes<const L: usize>(Part<u8>);

impl<const L: usize> Lanes<L> {
    /// `len` vectors of zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self(Part::zeros(len * L * CHUNK))
    }

    /// A copy that is soon dropped again.
    pub(crate) fn short_lived(&self) -> Self {
        Self(self.0.clone_to_heap())
    }
}

impl<const L: usize> Deref for Lanes<L> {
    type Target = [[[u8; CHUNK]; L]];

    fn deref(&self) -> &[[[u8; CHUNK]; L]] {
        self.0.numbers().as_chunks().0.as_chunks().0
    }
}

impl<const L: usize> DerefMut for Lanes<L> {
    fn deref_mut(&mut self) -> &mut [[[u8; CHUNK]; L]] {
        self.0.numbers_mut().as_chunks_mut().0.as_chunks_mut().0
    }
}
