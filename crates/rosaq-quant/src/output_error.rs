//! What rounding costs a linear's output.

use std::cmp::Ordering;

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use rosaq_pack::PackedLinear;
use rosaq_tensor::Matrix;

/// The error of a linear's output on the tokens behind a Gram matrix, beside the output itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputError {
    /// `tr(E H Eᵀ)`: squared output errors, summed over tokens and outputs.
    pub error: f64,
    /// `tr(W H Wᵀ)`: squared outputs, summed likewise.
    pub energy: f64,
}

impl OutputError {
    /// The root of error over energy: 0.1 means outputs off by a tenth of their root mean square. Zero without error,
    /// infinite for an error beside no energy.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { (self.error / self.energy).sqrt() }
    }
}

/// Rows measured together: enough for an efficient product, and fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;

/// Compares `packed` with the weights `w` `[out, in]` it was made from, through `gram` `[in, in]`, the Gram matrix `H = xᵀx`
/// of the inputs (its lower triangle is read), both in the model's channel order whatever the order of storage. `E` is `w`
/// minus the packed values. Products in f32, summed in f64; two products of `out x in x in / 2`.
///
/// # Panics
/// If the shapes differ.
#[must_use]
pub fn output_error(w: &Matrix, packed: &PackedLinear, gram: MatRef<'_, f64>) -> OutputError {
    let (rows, n) = (w.rows, w.cols);
    assert_eq!((packed.out_features, packed.in_features), (rows, n), "the shape of the weights");
    assert_eq!((gram.nrows(), gram.ncols()), (n, n), "a square gram of {n}");
    let half_gram = half_gram(gram);
    let order = packed.order.permutation(n);
    let sums: Vec<(f64, f64)> = (0..rows.div_ceil(ROWS))
        .into_par_iter()
        .map(|chunk| {
            let range = chunk * ROWS..rows.min((chunk + 1) * ROWS);
            let weights = &w.data[range.start * n..range.end * n];
            let mut stored = vec![0.0; weights.len()];
            packed.dequantize_rows_into(range, &mut stored);
            let mut errors = weights.to_vec();
            for (errors, stored) in errors.chunks_exact_mut(n).zip(stored.chunks_exact(n)) {
                for (i, value) in stored.iter().enumerate() {
                    errors[order.as_ref().map_or(i, |order| order[i] as usize)] -= value;
                }
            }
            let half_gram = half_gram.as_ref();
            (output_energy(&errors, half_gram), output_energy(weights, half_gram))
        })
        .collect();
    // The energy of a positive semidefinite matrix is negative by rounding only.
    OutputError {
        error: sums.iter().map(|s| s.0).sum::<f64>().max(0.0),
        energy: sums.iter().map(|s| s.1).sum::<f64>().max(0.0),
    }
}

/// `tr(R H Rᵀ)` of the row-major `rows` through [`half_gram`]; products in f32, summed in f64.
pub(crate) fn output_energy(rows: &[f32], half_gram: MatRef<'_, f32>) -> f64 {
    let n = half_gram.nrows();
    let r = MatRef::from_row_major_slice(rows, rows.len() / n, n);
    let mut through = Mat::<f32>::zeros(n, r.nrows());
    matmul(
        through.as_mut(),
        BlockStructure::Rectangular,
        Accum::Replace,
        half_gram,
        BlockStructure::TriangularLower,
        r.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    let mut energy = 0.0;
    for (row_idx, row) in rows.chunks_exact(n).enumerate() {
        let column = through.col(row_idx);
        energy += row
            .iter()
            .enumerate()
            .map(|(i, &value)| f64::from(value) * f64::from(column[i]))
            .sum::<f64>();
    }
    2.0 * energy
}

/// The lower triangle `T` of the Gram matrix with half its diagonal, in f32: `H = T + Tᵀ`, so that `tr(E H Eᵀ)` is
/// `2 tr(E T Eᵀ)` for half the operations.
#[expect(clippy::cast_possible_truncation, reason = "energies are measured in f32")]
pub(crate) fn half_gram(gram: MatRef<'_, f64>) -> Mat<f32> {
    Mat::from_fn(gram.nrows(), gram.ncols(), |i, j| match i.cmp(&j) {
        Ordering::Less => 0.0,
        Ordering::Equal => (0.5 * gram[(i, j)]) as f32,
        Ordering::Greater => gram[(i, j)] as f32,
    })
}

#[cfg(test)]
mod tests {
    use rosaq_pack::{Bits, ChannelOrder, Segment};

    use super::*;
    use crate::pack_nearest;

    #[test]
    fn it_is_the_error_of_the_outputs() {
        // Against the definition in f64, `|x E|²` over five tokens, with a permuted storage order and f16 channels.
        let (rows, n) = (70, 24);
        let data = (0..rows * n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 60.0).collect();
        let w = Matrix::new(rows, n, data);
        let x = Mat::<f64>::from_fn(5, n, |t, i| ((t * 7 + i * 3) % 11) as f64 - 5.0);
        let gram = x.transpose() * &x;
        let order: Vec<u32> = (0..24).map(|i| i * 7 % 24).collect();
        let segments = [Segment::f16(3), Segment::asymmetric(21, Bits::THREE, 8)];
        let order = ChannelOrder::Explicit(order);
        let packed = pack_nearest(&w, &segments, order.clone()).unwrap();
        let found = output_error(&w, &packed, gram.as_ref());

        let order = order.permutation(n).unwrap();
        let values = packed.dequantize();
        let (mut error, mut energy) = (0.0, 0.0);
        for row in 0..rows {
            for t in 0..5 {
                let of = |weight: &dyn Fn(usize) -> f64| -> f64 {
                    (0..n).map(|i| weight(i) * x[(t, order[i] as usize)]).sum::<f64>().powi(2)
                };
                let original = |i: usize| f64::from(w.row(row)[order[i] as usize]);
                energy += of(&original);
                error += of(&|i| original(i) - f64::from(values[row * n + i]));
            }
        }
        // f32 products of 24 terms.
        assert!((found.error - error).abs() < 1e-5 * error, "{found:?}, expected {error}");
        assert!((found.energy - energy).abs() < 1e-5 * energy, "{found:?}, expected {energy}");
        assert_eq!(found.relative(), (found.error / found.energy).sqrt());
    }

    #[test]
    fn nothing_lost_is_zero() {
        let w = Matrix::new(2, 4, vec![0.5; 8]);
        let packed = pack_nearest(&w, &[Segment::f16(4)], ChannelOrder::Identity).unwrap();
        let found = output_error(&w, &packed, Mat::<f64>::zeros(4, 4).as_ref());
        assert_eq!(found, OutputError { error: 0.0, energy: 0.0 });
        assert_eq!(found.relative(), 0.0);
    }
}
