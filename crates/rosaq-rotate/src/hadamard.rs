//! Hadamard matrices as rotations, computed for every order that Sylvester's and Paley's constructions reach.

use faer::Mat;

use crate::RotateError;
use crate::paley::{SignMatrix, is_paley_order, paley};
use crate::random::random_signs;

/// The Hadamard matrix of order `n` divided by `sqrt(n)`: orthogonal, every entry `1/sqrt(n)` in magnitude, f64.
///
/// Kronecker products of Paley's matrices of both kinds over fields of any odd prime power, and of Sylvester's of order
/// `2^k`; nothing is tabulated. Among the widths of common models 576 = 12 x 12 x 4, 896 = 28 x 32, 11008 = 344 x 32 and
/// 14336 = 28 x 512 are reached, 92 x odd and 172 x odd are not.
///
/// # Errors
/// [`RotateError::NoHadamard`] for an order that these constructions do not reach. There is no silent substitute: the caller
/// may choose [`crate::random_orthogonal`].
pub fn hadamard_rotation(n: usize) -> Result<Mat<f64>, RotateError> {
    let hadamard = Hadamard::of_order(n)?;
    Ok(scaled(n, |row, col| hadamard.sign(row, col)))
}

/// `D H / sqrt(n)` with the matrix of [`hadamard_rotation`] and a random diagonal `D` of signs: `x R` flips channels first
/// and mixes them after. (Flips after the mix would change no magnitude, and so no quantization error.) The same seed gives
/// the same bytes on every platform. Source: `QuIP#` (arXiv 2402.04396), section 3.
///
/// # Errors
/// [`RotateError::NoHadamard`] as for [`hadamard_rotation`].
pub fn randomized_hadamard(n: usize, seed: u64) -> Result<Mat<f64>, RotateError> {
    let hadamard = Hadamard::of_order(n)?;
    let flips = random_signs(n, seed);
    Ok(scaled(n, |row, col| flips[row] * hadamard.sign(row, col)))
}

#[expect(clippy::cast_precision_loss, reason = "an order is far below 2^53")]
fn scaled(n: usize, sign: impl Fn(usize, usize) -> i8) -> Mat<f64> {
    let magnitude = 1.0 / (n as f64).sqrt();
    Mat::from_fn(n, n, |row, col| magnitude * f64::from(sign(row, col)))
}

/// The Kronecker product of `cores`, in order, and Sylvester's matrix of order `sylvester`, a power of two.
struct Hadamard {
    cores: Vec<SignMatrix>,
    sylvester: usize,
}

impl Hadamard {
    fn of_order(n: usize) -> Result<Self, RotateError> {
        let missing = RotateError::NoHadamard { n };
        let orders = core_orders(n).ok_or_else(|| missing.clone())?;
        let sylvester = n / orders.iter().product::<usize>();
        let cores: Option<_> = orders.into_iter().map(paley).collect();
        Ok(Self { cores: cores.ok_or(missing)?, sylvester })
    }

    fn sign(&self, row: usize, col: usize) -> i8 {
        let low = (row % self.sylvester) & (col % self.sylvester);
        let start = if low.count_ones().is_multiple_of(2) { 1 } else { -1 };
        let (mut row, mut col, mut sign) = (row / self.sylvester, col / self.sylvester, start);
        for core in self.cores.iter().rev() {
            let order = core.order;
            sign *= core.signs[row % order * order + col % order];
            (row, col) = (row / order, col / order);
        }
        sign
    }
}

/// Orders of Paley's matrices, the smallest possible first, whose product divides `n` with a power of two left.
fn core_orders(n: usize) -> Option<Vec<usize>> {
    if n.is_power_of_two() {
        return Some(Vec::new());
    }
    let divisors = (12..=n).step_by(4).filter(|d| n.is_multiple_of(*d) && !d.is_power_of_two());
    divisors.filter(|d| is_paley_order(*d)).find_map(|order| {
        let mut orders = vec![order];
        orders.extend(core_orders(n / order)?);
        Some(orders)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::products::orthogonality_error;

    #[test]
    fn small_orders_are_orthogonal_and_even() {
        for n in [1_usize, 2, 4, 12, 24, 48, 64, 128, 144, 288, 336, 344, 576, 896] {
            for r in [hadamard_rotation(n).unwrap(), randomized_hadamard(n, 3).unwrap()] {
                // Sums of n products of exact signs and one rounded magnitude.
                assert!(orthogonality_error(r.as_ref()) < 1e-12, "{n}");
                let magnitude = r[(0, 0)].abs();
                assert!(r.col_iter().all(|c| c.iter().all(|v| v.abs() == magnitude)), "{n}");
            }
        }
    }

    /// Large orders in integers, without the matrix: cores are tested one by one, so pairs of rows suffice.
    #[test]
    fn large_orders_have_orthogonal_rows() {
        let widths = [
            960, 1536, 2048, 2560, 3072, 3584, 4096, 4864, 5120, 8192, 8960, 9728, 11008, 13824,
            14336, 18944, 27648, 28672, 29568,
        ];
        for n in widths {
            let hadamard = Hadamard::of_order(n).unwrap();
            for (a, b) in
                [(0, 1), (0, n - 1), (1, n / 2), (n / 3, n / 3 + 1), (n / 5, n - 2), (7, 7)]
            {
                let dot: i64 = (0..n)
                    .map(|col| i64::from(hadamard.sign(a, col) * hadamard.sign(b, col)))
                    .sum();
                let expected = if a == b { i64::try_from(n).unwrap() } else { 0 };
                assert_eq!(dot, expected, "rows {a} and {b} of order {n}");
            }
        }
    }

    #[test]
    fn the_signs_are_a_fixed_function_of_the_seed() {
        let [a, b] = [5, 6].map(|seed| randomized_hadamard(64, seed).unwrap());
        assert_eq!(a, randomized_hadamard(64, 5).unwrap());
        assert_ne!(a, b);
        // The first column of Sylvester's matrix is constant, so it shows the flips: ChaCha8 of seed 5, low bits first.
        let flips: String = (0..16).map(|i| if a[(i, 0)] < 0.0 { '-' } else { '+' }).collect();
        assert_eq!(flips, "--+--+-+--+----+");
    }

    #[test]
    fn orders_out_of_reach_are_named() {
        for n in [0, 3, 18, 92, 172, 188] {
            assert_eq!(hadamard_rotation(n).err(), Some(RotateError::NoHadamard { n }));
        }
    }
}
