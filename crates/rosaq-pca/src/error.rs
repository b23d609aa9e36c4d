//! What can be wrong with a Gram matrix.

/// Why a Gram matrix has no usable eigenbasis.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PcaError {
    /// The matrix has no rows.
    #[error("gram matrix is empty: expected at least one channel")]
    Empty,
    /// The matrix is not square.
    #[error("gram matrix: expected a square shape, found [{rows}, {cols}]")]
    NotSquare {
        /// Number of rows found.
        rows: usize,
        /// Number of columns found.
        cols: usize,
    },
    /// An entry is NaN or infinite.
    #[error(
        "gram matrix, row {row}, column {col}: expected a finite number, found {value}; \
         the activations it was collected from overflowed or were not finite"
    )]
    NonFinite {
        /// Row of the first such entry.
        row: usize,
        /// Column of the first such entry.
        col: usize,
        /// The entry itself.
        value: f64,
    },
    /// The sum of the diagonal exceeds the range of f64.
    #[error("gram matrix of {dim} channels: its trace overflows f64; scale the activations down")]
    TraceOverflow {
        /// Number of channels.
        dim: usize,
    },
    /// Two mirrored entries differ by more than rounding explains.
    #[error(
        "gram matrix: expected a symmetric matrix, found {upper} at [{row}, {col}] and {lower} \
         at [{col}, {row}] (tolerance {tolerance}); fill both triangles"
    )]
    Asymmetric {
        /// Row of the entry above the diagonal.
        row: usize,
        /// Column of the entry above the diagonal.
        col: usize,
        /// The entry above the diagonal.
        upper: f64,
        /// Its mirror below the diagonal.
        lower: f64,
        /// The largest difference that is taken for rounding.
        tolerance: f64,
    },
    /// An eigenvalue is negative beyond rounding, so the matrix is no Gram matrix.
    #[error(
        "gram matrix: expected no negative eigenvalue, found {eigenvalue} (tolerance {tolerance}); \
         a sum of x\u{1d40}x has none, so this matrix is something else"
    )]
    Indefinite {
        /// The most negative eigenvalue.
        eigenvalue: f64,
        /// The largest magnitude that is taken for rounding.
        tolerance: f64,
    },
    /// The eigenvalue iteration did not converge.
    #[error("gram matrix of {dim} channels: the eigenvalue iteration did not converge")]
    NoConvergence {
        /// Number of channels.
        dim: usize,
    },
    /// The head counts do not divide each other.
    #[error(
        "head-wise eigenbases: expected `n_heads` to be a positive multiple of `n_kv_heads`, \
         found {n_heads} and {n_kv_heads}"
    )]
    HeadCounts {
        /// Number of query heads.
        n_heads: usize,
        /// Number of key-value heads.
        n_kv_heads: usize,
    },
    /// The matrix is not that of `n_heads` heads of `head_dim` channels.
    #[error(
        "head-wise eigenbases: expected a gram matrix of {n_heads} heads x {head_dim} channels, \
         found [{rows}, {cols}]"
    )]
    HeadShape {
        /// Number of query heads.
        n_heads: usize,
        /// Channels of one head.
        head_dim: usize,
        /// Number of rows found.
        rows: usize,
        /// Number of columns found.
        cols: usize,
    },
}
