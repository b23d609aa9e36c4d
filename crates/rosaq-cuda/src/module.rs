//! The committed PTX, and which kernel is in which.

use crate::{DECODE_PTX, GEMM_PTX};

/// PTX of one kernel source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// The source's name without `.cu`.
    pub(crate) name: &'static str,
    pub(crate) ptx: &'static str,
    /// How its kernels' names begin.
    kernels: &'static [&'static str],
}

/// All of it.
pub(crate) const SOURCES: [Source; 8] = [
    Source { name: "decode", ptx: DECODE_PTX, kernels: &["rosaq_decode"] },
    Source { name: "gemm", ptx: GEMM_PTX, kernels: &["rosaq_gemm_"] },
    Source {
        name: "rms_norm",
        ptx: include_str!("../ptx/rms_norm.ptx"),
        kernels: &["rosaq_rms_norm", "rosaq_head_norm"],
    },
    Source { name: "rope", ptx: include_str!("../ptx/rope.ptx"), kernels: &["rosaq_rope"] },
    Source {
        name: "silu_mul",
        ptx: include_str!("../ptx/silu_mul.ptx"),
        kernels: &["rosaq_silu_mul"],
    },
    Source {
        name: "hadamard",
        ptx: include_str!("../ptx/hadamard.ptx"),
        kernels: &["rosaq_hadamard"],
    },
    Source {
        name: "rows",
        ptx: include_str!("../ptx/rows.ptx"),
        kernels: &["rosaq_add_bias", "rosaq_gather_", "rosaq_scatter_", "rosaq_round_"],
    },
    Source {
        name: "attention_decode",
        ptx: include_str!("../ptx/attention_decode.ptx"),
        kernels: &["rosaq_attention_"],
    },
];

/// The index in [`SOURCES`] of the source that holds a kernel.
///
/// # Panics
/// If none does; names of kernels are this crate's own.
pub(crate) fn source_of(kernel: &str) -> usize {
    let found = SOURCES
        .iter()
        .position(|source| source.kernels.iter().any(|name| kernel.starts_with(name)));
    found.expect("every kernel that is launched has a source")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;

    #[test]
    fn sources_hold_the_kernels_that_they_are_found_by() {
        for (idx, source) in SOURCES.iter().enumerate() {
            assert!(source.ptx.starts_with(".version 7.4\n.target sm_80\n"), "{}", source.name);
            let entries =
                source.ptx.lines().filter_map(|line| line.strip_prefix(".visible .entry "));
            for kernel in entries.map(|rest| rest.trim_end_matches('(')) {
                assert_eq!(source_of(kernel), idx, "{kernel} in {}", source.name);
                assert!(parameters(source.ptx, kernel).is_some(), "{kernel} in {}", source.name);
            }
        }
    }
}
