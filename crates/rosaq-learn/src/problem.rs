//! One linear whose rounding error a rotation shall make small.

use faer::{Mat, MatRef};
use rosaq_quant::Grid;
use rosaq_tensor::Matrix;

use crate::LearnError;
use crate::products::{product, product_sum};

/// On which side of a stored weight `w` `[out, in]` the rotation `r` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The linear reads `x r`: stored `w r`, gram `rᵀ gram r`. The order of `r` is the number of channels.
    Input,
    /// The linear writes `y r`: stored `rᵀ w`, the gram as it was. The order of `r` is the number of outputs.
    Output,
}

/// A linear, the statistics of its input, the grid it will be rounded to, and where the rotation stands.
///
/// Linears that read the same input may be stacked into one weight: their errors add up.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) weight: Matrix,
    /// Divided by its trace: f32 then holds the gram of any number of tokens.
    pub(crate) gram: Mat<f32>,
    /// `tr(w gram wᵀ)` with that gram.
    pub(crate) energy: f64,
    pub(crate) grid: Grid,
    pub(crate) group_size: usize,
    pub(crate) side: Side,
    pub(crate) loss_weight: f64,
}

impl Problem {
    /// A problem of the stored `weight` `[out, in]` and `gram = xᵀx` `[in, in]`, in any unit; groups of `group_size`
    /// consecutive channels, the last may be short. `loss_weight` is 1 unless [`Self::weighted`] says otherwise.
    ///
    /// # Errors
    /// [`LearnError::NotFinite`], [`LearnError::NoEnergy`].
    ///
    /// # Panics
    /// If the gram is not square of the weight's channels, or the group size is zero.
    pub fn new(
        weight: Matrix,
        gram: MatRef<'_, f64>,
        grid: Grid,
        group_size: usize,
        side: Side,
    ) -> Result<Self, LearnError> {
        let (rows, cols) = (weight.rows, weight.cols);
        assert_eq!((gram.nrows(), gram.ncols()), (cols, cols), "gram of {cols} channels");
        assert!(group_size > 0, "a group has at least one channel");
        check_finite("weight", rows, cols, |row, col| f64::from(weight.data[row * cols + col]))?;
        check_finite("gram", cols, cols, |row, col| gram[(row, col)])?;
        let gram = normalized(gram);
        let w = in_by_out(&weight);
        let energy = product_sum(w, product(gram.as_ref(), w).as_ref());
        if energy <= 0.0 || !energy.is_finite() {
            return Err(LearnError::NoEnergy { rows, cols, energy });
        }
        Ok(Self { weight, gram, energy, grid, group_size, side, loss_weight: 1.0 })
    }

    /// The same with a weight in the mean over problems, such as the sensitivity of the model to this linear.
    ///
    /// # Panics
    /// If the weight is negative or not finite.
    #[must_use]
    pub fn weighted(mut self, loss_weight: f64) -> Self {
        assert!(loss_weight >= 0.0 && loss_weight.is_finite(), "a loss weight of {loss_weight}");
        self.loss_weight = loss_weight;
        self
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * (self.weight.data.len() + self.gram.nrows() * self.gram.ncols())
    }

    /// Order of the rotation that this problem is about.
    #[must_use]
    pub fn rotation_order(&self) -> usize {
        match self.side {
            Side::Input => self.weight.cols,
            Side::Output => self.weight.rows,
        }
    }

    /// The paper's `W`, channels x outputs.
    pub(crate) fn w(&self) -> MatRef<'_, f32> {
        in_by_out(&self.weight)
    }
}

/// Hands out problems one at a time, so that a large model need not be held as a whole.
pub trait ProblemSource {
    /// Why a problem cannot be loaded.
    type Error: From<LearnError>;

    /// How many there are.
    fn n_problems(&self) -> usize;

    /// Problem `problem_idx`, the same each time it is asked for.
    ///
    /// # Errors
    /// What reading or building the problem may fail with.
    fn load(&self, problem_idx: usize) -> Result<Problem, Self::Error>;
}

/// Problems in memory.
impl ProblemSource for [Problem] {
    type Error = LearnError;

    fn n_problems(&self) -> usize {
        self.len()
    }

    fn load(&self, problem_idx: usize) -> Result<Problem, LearnError> {
        Ok(self[problem_idx].clone())
    }
}

/// A stored weight, row-major `[out, in]`, seen as channels x outputs without a copy.
fn in_by_out(weight: &Matrix) -> MatRef<'_, f32> {
    MatRef::from_column_major_slice(&weight.data, weight.cols, weight.rows)
}

#[expect(clippy::cast_possible_truncation, reason = "products run in f32")]
fn normalized(gram: MatRef<'_, f64>) -> Mat<f32> {
    let trace = gram.diagonal().column_vector().sum();
    let factor = if trace > 0.0 { 1.0 / trace } else { 0.0 };
    Mat::from_fn(gram.nrows(), gram.ncols(), |row, col| (gram[(row, col)] * factor) as f32)
}

fn check_finite(
    what: &'static str,
    rows: usize,
    cols: usize,
    value: impl Fn(usize, usize) -> f64,
) -> Result<(), LearnError> {
    for row in 0..rows {
        for col in 0..cols {
            let value = value(row, col);
            if !value.is_finite() {
                return Err(LearnError::NotFinite { what, rows, cols, row, col, value });
            }
        }
    }
    Ok(())
}
