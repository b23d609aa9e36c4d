//! The committed PTX, and which kernel is in which.

use crate::{DECODE_PTX, GEMM_PTX};

/// PTX of one kernel source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// The source's name without `.cu`.
    pub(crate) name: &'static str,
    pub(crate) ptx: &'static str,
    /// How its kernels' names begin.
    kernels: &'static str,
}

/// All of it.
pub(crate) const SOURCES: [Source; 2] = [
    Source { name: "decode", ptx: DECODE_PTX, kernels: "rosaq_decode" },
    Source { name: "gemm", ptx: GEMM_PTX, kernels: "rosaq_gemm_" },
];

/// The index in [`SOURCES`] of the source that holds a kernel.
///
/// # Panics
/// If none does; names of kernels are this crate's own.
pub(crate) fn source_of(kernel: &str) -> usize {
    let found = SOURCES.iter().position(|source| kernel.starts_with(source.kernels));
    found.expect("every kernel that is launched has a source")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;

    #[test]
    fn sources_hold_the_kernels_that_they_are_found_by() {
        for kernel in ["rosaq_decode", "rosaq_gemm_32", "rosaq_gemm_64", "rosaq_gemm_128"] {
            let source = SOURCES[source_of(kernel)];
            assert!(parameters(source.ptx, kernel).is_some(), "{kernel} in {}", source.name);
        }
    }
}
