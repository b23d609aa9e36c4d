//! What can be wrong with a problem or a descent.

use rosaq_rotate::RotateError;

/// Why no rotation could be learned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// A weight or an entry of a gram is NaN or infinite.
    #[error("{what} [{rows}, {cols}]: expected finite numbers, found {value} at [{row}, {col}]")]
    NotFinite {
        /// "weight" or "gram".
        what: &'static str,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Row of the first such number.
        row: usize,
        /// Column of the first such number.
        col: usize,
        /// The number.
        value: f64,
    },
    /// The linear's output is zero over the whole calibration set, so errors cannot be set in relation to it.
    #[error(
        "linear [{rows}, {cols}]: expected a positive output energy over the calibration set, found \
         {energy}; leave this linear out"
    )]
    NoEnergy {
        /// Outputs of the linear.
        rows: usize,
        /// Channels of the linear.
        cols: usize,
        /// What was found.
        energy: f64,
    },
    /// There is nothing to learn from.
    #[error("expected at least one problem with a positive loss weight, found none")]
    NoProblems,
    /// The start is no rotation, or a gradient is not finite.
    #[error("cannot step the rotation")]
    Rotation(#[from] RotateError),
}
