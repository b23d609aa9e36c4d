//! What can go wrong when a rotation is made or stepped.

/// Why there is no such rotation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// No product of Sylvester's and Paley's matrices has this order.
    #[error(
        "no hadamard matrix of order {n} is constructed: expected 1, 2, or a product of powers of two \
         and orders q + 1 or 2 (q + 1) of Paley for prime powers q; take a random orthogonal matrix \
         instead"
    )]
    NoHadamard {
        /// The order asked for.
        n: usize,
    },
    /// Channels that cannot be cut into transforms of this length.
    #[error(
        "blocks of a hadamard transform: expected a power of two that divides {n} channels, found {points}"
    )]
    HadamardBlock {
        /// Points of one transform.
        points: usize,
        /// Channels.
        n: usize,
    },
    /// A matrix that was to be a rotation is not square.
    #[error("rotation: expected a square matrix, found [{rows}, {cols}]")]
    NotSquare {
        /// Number of rows found.
        rows: usize,
        /// Number of columns found.
        cols: usize,
    },
    /// A matrix that was to be a rotation is too far from one to be repaired.
    #[error(
        "rotation of {n} channels: expected an orthogonal matrix, found one whose rᵀr is {distance} \
         from the identity (frobenius norm, at most {allowed} is repaired)"
    )]
    NotOrthogonal {
        /// Number of channels.
        n: usize,
        /// Frobenius norm of `rᵀr - 1`.
        distance: f64,
        /// The largest distance that is repaired.
        allowed: f64,
    },
    /// A gradient, or a step along it, is NaN or infinite.
    #[error(
        "rotation of {n} channels: the gradient is not finite; look for NaN in weights or statistics"
    )]
    NotFinite {
        /// Number of channels.
        n: usize,
    },
}
