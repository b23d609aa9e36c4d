//! What stands before the first and after the last block, with tables that are dense or packed.

use rosaq_model::{ModelEnds, ModelError};
use rosaq_pack::PackedLinear;
use rosaq_tensor::Matrix;

use crate::RuntimeError;
use crate::arranged::{Activations, ArrangedLinear};
use crate::linear::LinearOp;
use crate::rms_norm::{apply_gain, normalize};

/// The ends of a model.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a model holds one of these")]
pub enum Ends {
    /// Tables in f32.
    Dense(ModelEnds),
    /// Tables as a checkpoint keeps them, or laid out anew; products are computed from the codes.
    Packed(ModelEnds<ArrangedLinear>),
}

impl From<ModelEnds> for Ends {
    fn from(ends: ModelEnds) -> Self {
        Self::Dense(ends)
    }
}

impl From<ModelEnds<PackedLinear>> for Ends {
    fn from(ends: ModelEnds<PackedLinear>) -> Self {
        Self::Packed(ArrangedLinear::ends(ends, Activations::F32))
    }
}

impl Ends {
    /// Tokens of the vocabulary.
    pub(crate) fn vocab_size(&self) -> usize {
        match self {
            Self::Dense(ends) => ends.head_table().rows,
            Self::Packed(ends) => ends.head_table().out_features(),
        }
    }

    /// Embeddings of `tokens`, row-major `[tokens, hidden_size]`.
    pub(crate) fn embed(
        &self,
        tokens: impl Iterator<Item = u32>,
    ) -> Result<Vec<f32>, RuntimeError> {
        match self {
            Self::Dense(ends) => embed(&ends.embedding, tokens),
            Self::Packed(ends) => embed(&ends.embedding, tokens),
        }
    }

    /// Logits, row-major `[tokens, vocab_size]`, of hidden states of `hidden_size`.
    pub(crate) fn logits_into(&self, hidden: &[f32], eps: f32, out: &mut [f32]) {
        match self {
            Self::Dense(ends) => logits_into(ends, hidden, eps, out),
            Self::Packed(ends) => logits_into(ends, hidden, eps, out),
        }
    }
}

/// A table of which single rows can be had.
trait Table: LinearOp {
    /// Writes one row.
    fn row_into(&self, row: usize, out: &mut [f32]);
}

impl Table for Matrix {
    fn row_into(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(self.row(row));
    }
}

impl Table for ArrangedLinear {
    fn row_into(&self, row: usize, out: &mut [f32]) {
        Self::row_into(self, row, out);
    }
}

fn embed<T: Table>(table: &T, tokens: impl Iterator<Item = u32>) -> Result<Vec<f32>, RuntimeError> {
    let (vocab_size, width) = (table.out_features(), table.in_features());
    let mut hidden = Vec::new();
    for id in tokens {
        let row = id as usize;
        if row >= vocab_size {
            return Err(ModelError::TokenOutOfRange { id, vocab_size }.into());
        }
        let start = hidden.len();
        hidden.resize(start + width, 0.0);
        table.row_into(row, &mut hidden[start..]);
    }
    Ok(hidden)
}

fn logits_into<T: Table>(ends: &ModelEnds<T>, hidden: &[f32], eps: f32, out: &mut [f32]) {
    let d = ends.final_norm.len();
    let mut x = vec![0.0; hidden.len()];
    normalize(hidden, d, eps, &mut x);
    apply_gain(&mut x, &ends.final_norm);
    let tokens = hidden.len() / d;
    if let Some(m) = &ends.head_input {
        let mut turned = vec![0.0; tokens * m.rows];
        m.apply(tokens, &x, &mut turned);
        x = turned;
    }
    ends.head_table().apply(tokens, &x, out);
}
