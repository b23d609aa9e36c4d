//! The inner loops: one readable reference, one generic kernel for vectors of any width, and one file
//! of vector operations for each instruction set.
//!
//! Every kernel adds `W x` of one segment to `out`, row-major `[rows, tokens]`, for a range of
//! rows. What a row and a token yield does not depend on the rows and tokens beside them.

#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64;
pub(crate) mod all;
pub(crate) mod attention;
pub(crate) mod elementwise;
pub(crate) mod generic;
pub(crate) mod plain_bytes;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;
