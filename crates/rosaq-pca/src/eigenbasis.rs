//! The principal components of activations: eigenvectors of a Gram matrix, largest first.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, MatRef, Par, Spec};

use crate::PcaError;

/// Relative rounding of a Gram matrix whose chunks were multiplied in f32: sums of a thousand
/// products err by about `sqrt(1000) * 2^-24 = 2e-6` of the largest entry, and a mirrored pair by
/// twice that. Anything beyond is a mistake of the caller, not rounding.
const ROUNDING: f64 = 1e-5;

/// The eigenvectors of a Gram matrix and their eigenvalues, largest first.
///
/// `vectors` is the rotation `r` of ROSAQ: activations `x` (tokens x channels) become `x r`,
/// weights `w` (channels x outputs) become `rᵀ w`, and channel `i` of the result carries the
/// energy `values[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigenbasis {
    /// Orthogonal, channels x channels; column `i` belongs to `values[i]`. The entry of largest
    /// magnitude of every column is positive.
    pub vectors: Mat<f64>,
    /// Eigenvalues in descending order, none negative; their sum is the trace of the Gram matrix.
    pub values: Vec<f64>,
}

impl Eigenbasis {
    /// Number of channels.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.values.len()
    }

    /// The share of the activations' energy, from 0 to 1, that the first `n_channels` components
    /// carry; 1 for a zero Gram matrix, which has no energy to lose. A count past the last channel
    /// means all of them.
    #[must_use]
    pub fn energy_share(&self, n_channels: usize) -> f64 {
        let trace: f64 = self.values.iter().sum();
        let kept: f64 = self.values.iter().take(n_channels).sum();
        if trace > 0.0 { kept / trace } else { 1.0 }
    }
}

/// Computes the eigenbasis of the Gram matrix `gram = xᵀx` (ROSAQ section 3.1.1).
///
/// `gram` is channels x channels, in squared units of the activations, and need not be divided by
/// the number of tokens. It may be asymmetric by the rounding of f32 products (1e-5 of its largest
/// entry): the mean of both triangles is taken. Eigenvalues that are negative by no more than that
/// share of the trace become zero. A zero matrix gives the identity.
///
/// Everything is computed in f64 on the calling thread, so the result does not depend on the number
/// of threads; to use all cores, compute the bases of several sites in parallel.
///
/// # Errors
///
/// [`PcaError::Empty`], [`PcaError::NotSquare`], [`PcaError::NonFinite`],
/// [`PcaError::TraceOverflow`], [`PcaError::Asymmetric`] or [`PcaError::Indefinite`] when `gram`
/// cannot be a Gram matrix; [`PcaError::NoConvergence`] when the eigenvalue iteration fails.
pub fn eigenbasis(gram: MatRef<'_, f64>) -> Result<Eigenbasis, PcaError> {
    let scale = checked_scale(gram)?;
    if scale == 0.0 {
        let dim = gram.nrows();
        return Ok(Eigenbasis { vectors: Mat::identity(dim, dim), values: vec![0.0; dim] });
    }
    let (vectors, ascending) = decompose(scaled_symmetric(gram, scale).as_ref())?;
    let values = clamped_descending(&ascending, scale)?;
    Ok(Eigenbasis { vectors: reversed_with_fixed_signs(vectors.as_ref()), values })
}

/// Checks shape, entries and symmetry, and returns a power of two near the largest magnitude, or 0
/// for a zero matrix.
fn checked_scale(gram: MatRef<'_, f64>) -> Result<f64, PcaError> {
    let (rows, cols) = (gram.nrows(), gram.ncols());
    if rows != cols {
        return Err(PcaError::NotSquare { rows, cols });
    }
    if rows == 0 {
        return Err(PcaError::Empty);
    }
    let mut largest = 0.0_f64;
    for col in 0..cols {
        for row in 0..rows {
            let value = gram[(row, col)];
            if !value.is_finite() {
                return Err(PcaError::NonFinite { row, col, value });
            }
            largest = largest.max(value.abs());
        }
    }
    if (0..rows).map(|i| gram[(i, i)].abs()).sum::<f64>().is_infinite() {
        return Err(PcaError::TraceOverflow { dim: rows });
    }
    check_symmetry(gram, ROUNDING * largest)?;
    Ok(power_of_two_below(largest))
}

fn check_symmetry(gram: MatRef<'_, f64>, tolerance: f64) -> Result<(), PcaError> {
    for col in 1..gram.ncols() {
        for row in 0..col {
            let (upper, lower) = (gram[(row, col)], gram[(col, row)]);
            if (upper - lower).abs() > tolerance {
                return Err(PcaError::Asymmetric { row, col, upper, lower, tolerance });
            }
        }
    }
    Ok(())
}

/// The largest power of two that is at most `value`, which is finite and not negative; a subnormal
/// `value` gives the smallest normal number. Dividing by it is exact, and keeps squares inside the
/// decomposition from overflowing or vanishing.
fn power_of_two_below(value: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    match value {
        0.0 => 0.0,
        _ => f64::from_bits(value.to_bits() & EXPONENT).max(f64::MIN_POSITIVE),
    }
}

fn scaled_symmetric(gram: MatRef<'_, f64>, scale: f64) -> Mat<f64> {
    Mat::from_fn(gram.nrows(), gram.ncols(), |row, col| {
        0.5 * (gram[(row, col)] / scale) + 0.5 * (gram[(col, row)] / scale)
    })
}

/// Eigenvectors as columns and eigenvalues, both in ascending order as faer gives them.
fn decompose(symmetric: MatRef<'_, f64>) -> Result<(Mat<f64>, Vec<f64>), PcaError> {
    let dim = symmetric.nrows();
    let mut vectors = Mat::zeros(dim, dim);
    let mut values = Diag::zeros(dim);
    let scratch =
        self_adjoint_evd_scratch::<f64>(dim, ComputeEigenvectors::Yes, Par::Seq, Spec::default());
    self_adjoint_evd(
        symmetric,
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Spec::default(),
    )
    .map_err(|_| PcaError::NoConvergence { dim })?;
    let values: Vec<f64> = values.column_vector().iter().copied().collect();
    if !vectors.is_all_finite() || values.iter().any(|value| !value.is_finite()) {
        return Err(PcaError::NoConvergence { dim });
    }
    Ok((vectors, values))
}

fn clamped_descending(ascending: &[f64], scale: f64) -> Result<Vec<f64>, PcaError> {
    let trace: f64 = ascending.iter().sum();
    let tolerance = ROUNDING * trace;
    match ascending.first() {
        Some(&smallest) if smallest < -tolerance => {
            let (eigenvalue, tolerance) = (smallest * scale, tolerance.max(0.0) * scale);
            Err(PcaError::Indefinite { eigenvalue, tolerance })
        }
        _ => Ok(ascending.iter().rev().map(|value| value.max(0.0) * scale).collect()),
    }
}

fn reversed_with_fixed_signs(ascending: MatRef<'_, f64>) -> Mat<f64> {
    let dim = ascending.ncols();
    let signs: Vec<f64> = (0..dim).map(|col| sign_of_largest(ascending, dim - 1 - col)).collect();
    Mat::from_fn(dim, dim, |row, col| signs[col] * ascending[(row, dim - 1 - col)])
}

/// The sign of the entry of largest magnitude in a column; the first one decides a tie.
fn sign_of_largest(vectors: MatRef<'_, f64>, col: usize) -> f64 {
    let mut largest = 0.0_f64;
    for row in 0..vectors.nrows() {
        let value = vectors[(row, col)];
        if value.abs() > largest.abs() {
            largest = value;
        }
    }
    if largest < 0.0 { -1.0 } else { 1.0 }
}
