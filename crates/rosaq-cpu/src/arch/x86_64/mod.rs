//! Kernels for 64-bit x86.

#![expect(unsafe_code, reason = "vector loads take pointers")]
#![expect(clippy::needless_range_loop, reason = "register tiles are indexed by row and token")]

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod elementwise;

/// The first `N` elements.
///
/// # Panics
/// If there are fewer.
#[inline]
#[track_caller]
fn first_chunk<T, const N: usize>(slice: &[T]) -> &[T; N] {
    slice.first_chunk().expect("the last rows of a segment are padded")
}
