//! Seeded random signs and orthogonal matrices.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::qr::no_pivoting::factor::{
    qr_in_place, qr_in_place_scratch, recommended_block_size,
};
use faer::{Conj, Mat, Par};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::randomized_hadamard;

/// `n` random signs; the same seed gives the same ones everywhere, 64 a draw, low bits first.
pub(crate) fn random_signs(n: usize, seed: u64) -> Vec<i8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draws: Vec<u64> = (0..n.div_ceil(64)).map(|_| rng.next_u64()).collect();
    (0..n).map(|i| if draws[i / 64] >> (i % 64) & 1 == 1 { -1 } else { 1 }).collect()
}

/// An orthogonal matrix of order `n`, f64, uniformly distributed (Haar): the orthogonal factor of a Gaussian matrix, columns
/// signed so that the triangular factor has a positive diagonal. The fallback where no Hadamard matrix is known; it spreads a
/// large channel over all others as well, but not evenly.
///
/// On one thread, so the bytes depend on the seed and the instruction set alone. Source: Mezzadri, "How to generate random
/// matrices from the classical compact groups", Notices of the AMS 54 (2007).
#[must_use]
pub fn random_orthogonal(n: usize, seed: u64) -> Mat<f64> {
    let mut q = Mat::identity(n, n);
    if n == 0 {
        return q;
    }
    let mut normal = Gaussian { rng: ChaCha8Rng::seed_from_u64(seed), spare: None };
    let mut factors = Mat::from_fn(n, n, |_, _| normal.next());
    let block = recommended_block_size::<f64>(n, n);
    let mut coefficients = Mat::zeros(block, n);
    let scratch = qr_in_place_scratch::<f64>(n, n, block, Par::Seq, faer::Spec::default())
        .or(apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(n, block, n));
    let mut memory = MemBuffer::new(scratch);
    qr_in_place(
        factors.as_mut(),
        coefficients.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
        faer::Spec::default(),
    );
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        factors.as_ref(),
        coefficients.as_ref(),
        Conj::No,
        q.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
    );
    for col in 0..n {
        if factors[(col, col)] < 0.0 {
            q.col_mut(col).iter_mut().for_each(|value| *value = -*value);
        }
    }
    q
}

/// Standard normal numbers by Marsaglia's polar method.
struct Gaussian {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Gaussian {
    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.uniform(), self.uniform());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }

    /// From -1 to 1 in steps of 2^-52.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// The basis of a seed: a randomized Hadamard matrix; where none of that size is known, a random orthogonal one.
///
/// Checkpoints store the seed alone, so that what it stands for never changes.
#[must_use]
pub fn randomized_basis(n: usize, seed: u64) -> Mat<f64> {
    randomized_hadamard(n, seed).unwrap_or_else(|_| random_orthogonal(n, seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::products::orthogonality_error;

    #[test]
    fn random_matrices_are_orthogonal_and_seeded() {
        for n in [0, 1, 2, 3, 7, 86, 172] {
            let r = random_orthogonal(n, 11);
            assert!(orthogonality_error(r.as_ref()) < 1e-12, "{n}");
            assert_eq!(r, random_orthogonal(n, 11));
        }
        assert_ne!(random_orthogonal(8, 1), random_orthogonal(8, 2));
    }

    /// Over the orthogonal group the mean is zero and squares average 1/n: the sign convention of a plain QR would show.
    #[test]
    fn entries_are_centered() {
        let n = 4;
        let draws: Vec<Mat<f64>> = (0..2000).map(|seed| random_orthogonal(n, seed)).collect();
        for row in 0..n {
            for col in 0..n {
                let mean = draws.iter().map(|r| r[(row, col)]).sum::<f64>() / 2000.0;
                let square = draws.iter().map(|r| r[(row, col)].powi(2)).sum::<f64>() / 2000.0;
                // Five standard errors: 0.5 / sqrt(2000) for the mean, less than half of that for the square.
                assert!(mean.abs() < 0.056, "mean {mean} at {row}, {col}");
                assert!((square - 0.25).abs() < 0.028, "square {square} at {row}, {col}");
            }
        }
    }
}
