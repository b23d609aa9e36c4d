//! The f32 work matrix of the whole project.

/// A dense row-major matrix of f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// `rows * cols` numbers, row after row.
    pub data: Vec<f32>,
}

impl Matrix {
    /// A matrix from its `rows * cols` numbers, row after row.
    ///
    /// # Panics
    ///
    /// If `data` is not `rows * cols` long.
    #[must_use]
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Self {
        assert_eq!(
            rows.checked_mul(cols),
            Some(data.len()),
            "expected {rows} x {cols} numbers, found {}",
            data.len()
        );
        Self { rows, cols, data }
    }

    /// A matrix of zeros.
    ///
    /// # Panics
    ///
    /// If `rows * cols` overflows.
    #[must_use]
    pub fn zeros(rows: usize, cols: usize) -> Self {
        let Some(n_elements) = rows.checked_mul(cols) else {
            panic!("a matrix of {rows} x {cols} numbers cannot be addressed");
        };
        Self { rows, cols, data: vec![0.0; n_elements] }
    }

    /// Row `row_idx`, `cols` numbers.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row_idx: usize) -> &[f32] {
        assert!(row_idx < self.rows, "row {row_idx} of a matrix of {} rows", self.rows);
        &self.data[row_idx * self.cols..][..self.cols]
    }

    /// Row `row_idx`, `cols` numbers, to be changed.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn row_mut(&mut self, row_idx: usize) -> &mut [f32] {
        assert!(row_idx < self.rows, "row {row_idx} of a matrix of {} rows", self.rows);
        &mut self.data[row_idx * self.cols..][..self.cols]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_consecutive() {
        let mut matrix = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(matrix.row(1), [4.0, 5.0, 6.0]);
        matrix.row_mut(0)[2] = 9.0;
        assert_eq!(matrix.data[2], 9.0);
        assert_eq!(Matrix::zeros(2, 0).row(1), [0.0; 0]);
    }

    #[test]
    #[should_panic(expected = "expected 2 x 3 numbers, found 5")]
    fn a_wrong_length_is_refused() {
        let _ = Matrix::new(2, 3, vec![0.0; 5]);
    }
}
