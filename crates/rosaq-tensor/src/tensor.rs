//! One tensor in a mapped file.

use std::ops::Range;
use std::path::Path;

use half::f16;

use crate::dequant;
use crate::dtype::DType;
use crate::error::TensorError;
use crate::mat::Matrix;

/// Elements that are converted and checked at a time: 64 KiB of output stay in the cache between
/// both. A multiple of every block.
const SLAB: usize = 16 * 1024;

/// A named, shaped run of bytes of a file, row-major, little-endian.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Name in the file.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first: `[out, in]` for a linear.
    pub shape: &'a [usize],
    /// The stored elements.
    pub bytes: &'a [u8],
    /// The file, for messages.
    pub file: &'a Path,
}

/// Name, type, shape and place of a tensor, out of a checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Bytes of the file that hold the elements.
    pub range: Range<usize>,
}

impl TensorEntry {
    /// The tensor itself, given the bytes of the whole `file`.
    ///
    /// # Panics
    ///
    /// If `bytes` is shorter than the file from which the entry was read.
    #[must_use]
    pub fn view<'a>(&'a self, bytes: &'a [u8], file: &'a Path) -> TensorView<'a> {
        TensorView {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
            bytes: &bytes[self.range.clone()],
            file,
        }
    }
}

/// What [`TensorView::to_f32`] expects.
const REAL: &str = "a floating-point or block-quantized type";

impl TensorView<'_> {
    /// Number of elements; 1 for a scalar.
    #[must_use]
    pub fn n_elements(&self) -> usize {
        self.shape.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// All elements as f32, row-major: exact for F32, F16, BF16 and the block formats (which are
    /// defined by f32 arithmetic), rounded to nearest for F64.
    ///
    /// # Errors
    ///
    /// [`TensorError::WrongDType`] for integers, [`TensorError::NonFinite`] for NaN or infinity,
    /// [`TensorError::TensorBytes`] if the view was made with bytes that do not fit its shape.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        self.convert(0..self.n_elements())
    }

    /// Some rows of a two-dimensional tensor as f32, row-major, as in [`TensorView::to_f32`].
    ///
    /// # Errors
    ///
    /// [`TensorError::Rank`] unless there are two dimensions, [`TensorError::Rows`] for rows outside
    /// of the tensor, and those of [`TensorView::to_f32`].
    pub fn rows_to_f32(&self, rows: Range<usize>) -> Result<Vec<f32>, TensorError> {
        let [n_rows, n_cols] = self.two_dimensions()?;
        if rows.start > rows.end || rows.end > n_rows {
            return Err(TensorError::Rows {
                path: self.file.to_owned(),
                tensor: self.name.to_owned(),
                start: rows.start,
                end: rows.end,
                n_rows,
            });
        }
        self.convert(rows.start.saturating_mul(n_cols)..rows.end.saturating_mul(n_cols))
    }

    /// A two-dimensional tensor as a work matrix, as in [`TensorView::to_f32`].
    ///
    /// # Errors
    ///
    /// [`TensorError::Rank`] unless there are two dimensions, and those of [`TensorView::to_f32`].
    pub fn to_matrix(&self) -> Result<Matrix, TensorError> {
        let [rows, cols] = self.two_dimensions()?;
        Ok(Matrix::new(rows, cols, self.to_f32()?))
    }

    /// The elements of an F16 tensor as they are stored.
    ///
    /// # Errors
    ///
    /// [`TensorError::WrongDType`] for any other type, [`TensorError::NonFinite`] for NaN or
    /// infinity.
    pub fn to_f16(&self) -> Result<Vec<f16>, TensorError> {
        self.expect_dtype(DType::F16)?;
        let halves = self.bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b));
        let halves: Vec<f16> = halves.collect();
        match halves.iter().position(|h| !h.is_finite()) {
            Some(index) => Err(self.non_finite(index, halves[index].to_f32())),
            None => Ok(halves),
        }
    }

    /// The elements of a U32 tensor.
    ///
    /// # Errors
    ///
    /// [`TensorError::WrongDType`] for any other type.
    pub fn to_u32(&self) -> Result<Vec<u32>, TensorError> {
        self.expect_dtype(DType::U32)?;
        Ok(self.bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    /// Demands a shape.
    ///
    /// # Errors
    ///
    /// [`TensorError::Shape`] with both shapes.
    pub fn expect_shape(&self, expected: &[usize]) -> Result<(), TensorError> {
        if self.shape == expected {
            return Ok(());
        }
        Err(TensorError::Shape {
            path: self.file.to_owned(),
            tensor: self.name.to_owned(),
            expected: expected.to_owned(),
            found: self.shape.to_owned(),
        })
    }

    /// Demands an element type.
    ///
    /// # Errors
    ///
    /// [`TensorError::WrongDType`] with both types.
    pub fn expect_dtype(&self, expected: DType) -> Result<(), TensorError> {
        if self.dtype == expected { Ok(()) } else { Err(self.wrong_dtype(expected.name())) }
    }

    /// Demands real numbers, which [`TensorView::to_f32`] can give.
    ///
    /// # Errors
    ///
    /// [`TensorError::WrongDType`] for integers.
    pub fn expect_real(&self) -> Result<(), TensorError> {
        if self.dtype.is_real() { Ok(()) } else { Err(self.wrong_dtype(REAL)) }
    }

    /// Elements `range`, which begins and ends at a block.
    fn convert(&self, range: Range<usize>) -> Result<Vec<f32>, TensorError> {
        let Some(converter) = dequant::converter(self.dtype) else {
            return Err(self.wrong_dtype(REAL));
        };
        let expected = self.dtype.storage_bytes(self.n_elements());
        let (Some(_), Some(start), Some(end)) = (
            expected.filter(|&n| n == self.bytes.len()),
            self.dtype.storage_bytes(range.start),
            self.dtype.storage_bytes(range.end),
        ) else {
            return Err(TensorError::TensorBytes {
                path: self.file.to_owned(),
                tensor: self.name.to_owned(),
                expected: expected.map_or(u64::MAX, |n| n as u64),
                found: self.bytes.len() as u64,
            });
        };
        let slab_bytes = SLAB / self.dtype.block_elements() * self.dtype.block_bytes();
        let mut values = vec![0.0; range.len()];
        let slabs = self.bytes[start..end].chunks(slab_bytes).zip(values.chunks_mut(SLAB));
        for (slab_idx, (bytes, out)) in slabs.enumerate() {
            converter(bytes, out);
            if let Some(idx) = first_non_finite(out) {
                return Err(self.non_finite(range.start + slab_idx * SLAB + idx, out[idx]));
            }
        }
        Ok(values)
    }

    fn two_dimensions(&self) -> Result<[usize; 2], TensorError> {
        self.shape.try_into().map_err(|_| TensorError::Rank {
            path: self.file.to_owned(),
            tensor: self.name.to_owned(),
            expected: 2,
            found: self.shape.to_owned(),
        })
    }

    fn wrong_dtype(&self, expected: &'static str) -> TensorError {
        TensorError::WrongDType {
            path: self.file.to_owned(),
            tensor: self.name.to_owned(),
            expected,
            found: self.dtype,
        }
    }

    fn non_finite(&self, index: usize, value: f32) -> TensorError {
        TensorError::NonFinite {
            path: self.file.to_owned(),
            tensor: self.name.to_owned(),
            index,
            value,
        }
    }
}

/// Index of the first NaN or infinity. The first pass has no early exit, so that it vectorizes.
fn first_non_finite(values: &[f32]) -> Option<usize> {
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = values.iter().fold(false, |bad, v| bad | (v.to_bits() & EXPONENT == EXPONENT));
    if bad { values.iter().position(|v| !v.is_finite()) } else { None }
}

#[cfg(test)]
mod tests;
