//! The weights of one decoder block and of the model's two ends, by role.

use rosaq_tensor::Matrix;

use crate::Role;

/// A linear: weights in some form `W` and an optional bias.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearWeights<W = Matrix> {
    /// The weights; as [`Matrix`], row-major `[out_features, in_features]`.
    pub weight: W,
    /// Bias, `[out_features]`.
    pub bias: Option<Vec<f32>>,
}

/// Rotations that a block applies at run time, each stored like a linear's weight, `[out, in]` (the transpose of the
/// paper's R). All are absent in a plain model and in one whose rotations are absorbed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlockRotations {
    /// Applied to the normalized input of query, key and value.
    pub attention_input: Option<Matrix>,
    /// Applied to the normalized input of gate and up.
    pub mlp_input: Option<Matrix>,
    /// Applied to the concatenated outputs of the heads, before the output projection.
    pub heads_output: Option<Matrix>,
    /// Applied to the residual while attention's output is added: passage into the MLP's basis.
    pub shortcut_attention: Option<Matrix>,
    /// Applied to the residual while the MLP's output is added: passage into the next block's basis.
    pub shortcut_mlp: Option<Matrix>,
    /// Length, a power of two that divides `intermediate_size`, of the orthonormal Walsh-Hadamard transforms that consecutive
    /// channels of the down input go through.
    pub down_hadamard: Option<usize>,
}

/// One decoder block. `W` is the form in which linears are held: [`Matrix`] when dense, packed elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockWeights<W = Matrix> {
    /// Gain of the norm before attention, `[hidden_size]`.
    pub attention_norm: Vec<f32>,
    /// Query projection.
    pub query: LinearWeights<W>,
    /// Key projection.
    pub key: LinearWeights<W>,
    /// Value projection.
    pub value: LinearWeights<W>,
    /// Attention output projection.
    pub output: LinearWeights<W>,
    /// Per-head gain of queries, `[head_dim]`.
    pub query_norm: Option<Vec<f32>>,
    /// Per-head gain of keys, `[head_dim]`.
    pub key_norm: Option<Vec<f32>>,
    /// Gain of the norm before the MLP, `[hidden_size]`.
    pub mlp_norm: Vec<f32>,
    /// Gate projection.
    pub gate: LinearWeights<W>,
    /// Up projection.
    pub up: LinearWeights<W>,
    /// Down projection.
    pub down: LinearWeights<W>,
    /// Rotations applied at run time.
    pub rotations: BlockRotations,
}

impl<W> BlockWeights<W> {
    /// The linear of `role`.
    ///
    /// # Panics
    /// If `role` is no linear of a block.
    #[must_use]
    pub fn linear(&self, role: Role) -> &LinearWeights<W> {
        match role {
            Role::Query => &self.query,
            Role::Key => &self.key,
            Role::Value => &self.value,
            Role::Output => &self.output,
            Role::Gate => &self.gate,
            Role::Up => &self.up,
            Role::Down => &self.down,
            other => panic!("role `{other}` is no linear of a block"),
        }
    }

    /// The linear of `role`, to change.
    ///
    /// # Panics
    /// If `role` is no linear of a block.
    #[must_use]
    pub fn linear_mut(&mut self, role: Role) -> &mut LinearWeights<W> {
        match role {
            Role::Query => &mut self.query,
            Role::Key => &mut self.key,
            Role::Value => &mut self.value,
            Role::Output => &mut self.output,
            Role::Gate => &mut self.gate,
            Role::Up => &mut self.up,
            Role::Down => &mut self.down,
            other => panic!("role `{other}` is no linear of a block"),
        }
    }

    /// The same block with every linear's weights turned into another form by `f`.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<V, E>(
        self,
        mut f: impl FnMut(Role, W) -> Result<V, E>,
    ) -> Result<BlockWeights<V>, E> {
        let mut one = |role, linear: LinearWeights<W>| -> Result<LinearWeights<V>, E> {
            Ok(LinearWeights { weight: f(role, linear.weight)?, bias: linear.bias })
        };
        Ok(BlockWeights {
            attention_norm: self.attention_norm,
            query: one(Role::Query, self.query)?,
            key: one(Role::Key, self.key)?,
            value: one(Role::Value, self.value)?,
            output: one(Role::Output, self.output)?,
            query_norm: self.query_norm,
            key_norm: self.key_norm,
            mlp_norm: self.mlp_norm,
            gate: one(Role::Gate, self.gate)?,
            up: one(Role::Up, self.up)?,
            down: one(Role::Down, self.down)?,
            rotations: self.rotations,
        })
    }
}

/// A residual basis made from a seed, in which a model with a shared table leaves its last block.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadBasis {
    /// Of the basis.
    pub seed: u64,
    /// Gain of the last norm in the model's own basis, `[hidden_size]`.
    pub gain: Vec<f32>,
}

/// What stands before the first and after the last block; tables are dense or packed.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEnds<T = Matrix> {
    /// Token embeddings, `[vocab_size, hidden_size]`.
    pub embedding: T,
    /// Gain of the last norm, `[hidden_size]`.
    pub final_norm: Vec<f32>,
    /// Matrix `[hidden_size, hidden_size]` applied to the head's input, for rotated models that keep a shared table.
    pub head_input: Option<Matrix>,
    /// What `head_input` is made of, where a seed and the norm's gain say it all.
    pub head_basis: Option<HeadBasis>,
    /// The head, `[vocab_size, hidden_size]`; `None` when it is the embedding table.
    pub head: Option<T>,
}

impl<T> ModelEnds<T> {
    /// The table that turns the head's input into logits.
    #[must_use]
    pub fn head_table(&self) -> &T {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// The same with tables of another form.
    ///
    /// # Errors
    /// The first that `one` gives.
    pub fn try_map<U, E>(
        self,
        mut one: impl FnMut(Role, T) -> Result<U, E>,
    ) -> Result<ModelEnds<U>, E> {
        Ok(ModelEnds {
            embedding: one(Role::Embedding, self.embedding)?,
            final_norm: self.final_norm,
            head_input: self.head_input,
            head_basis: self.head_basis,
            head: self.head.map(|head| one(Role::Head, head)).transpose()?,
        })
    }
}
