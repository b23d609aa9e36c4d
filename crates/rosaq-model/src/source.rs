//! A checkpoint opened as a model: every shape checked, weights loaded block by block.

use std::fs;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rosaq_tensor::{Matrix, TensorStore, TensorView};

use crate::gguf_config::{ROPE_DIVISORS, is_interleaved, separate_rotary_halves};
use crate::{
    BlockRotations, BlockWeights, LINEAR_ROLES, LinearWeights, ModelConfig, ModelEnds, ModelError,
    NameTable, Role,
};

/// A model checkpoint, memory-mapped; nothing is read before it is asked for.
#[derive(Debug)]
pub struct SourceModel {
    store: TensorStore,
    config: ModelConfig,
    is_gguf: bool,
}

impl SourceModel {
    /// Opens a Hugging Face directory or a GGUF file and compares all tensors with the configuration.
    ///
    /// # Errors
    /// Unknown architectures, missing tensors, wrong shapes, biases that the configuration does not announce.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let store = TensorStore::open(path)?;
        let config = match store.gguf() {
            Some(gguf) => ModelConfig::from_gguf(&store, gguf)?,
            None => read_hf_config(path)?,
        };
        let is_gguf = store.gguf().is_some();
        let model = Self { store, config, is_gguf };
        model.check_tensors()?;
        Ok(model)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The tensors beneath.
    #[must_use]
    pub fn store(&self) -> &TensorStore {
        &self.store
    }

    /// Loads decoder block `layer` as f32.
    ///
    /// GGUF tensors are rounded to f16 once, as a conversion to an f16 checkpoint would: that is the model every
    /// comparison calls FP16.
    ///
    /// # Errors
    /// Weights that are NaN or infinite, by tensor name.
    pub fn load_block(&self, layer: usize) -> Result<BlockWeights, ModelError> {
        let linear = |role| self.load_linear(role, layer);
        let qk_norm = |role| {
            let has = self.config.family.has_qk_norm;
            has.then(|| self.load_vector(role, layer)).transpose()
        };
        Ok(BlockWeights {
            attention_norm: self.load_vector(Role::AttentionNorm, layer)?,
            query: linear(Role::Query)?,
            key: linear(Role::Key)?,
            value: linear(Role::Value)?,
            output: linear(Role::Output)?,
            query_norm: qk_norm(Role::QueryNorm)?,
            key_norm: qk_norm(Role::KeyNorm)?,
            mlp_norm: self.load_vector(Role::MlpNorm, layer)?,
            gate: linear(Role::Gate)?,
            up: linear(Role::Up)?,
            down: linear(Role::Down)?,
            rotations: BlockRotations::default(),
        })
    }

    /// Loads embedding, final norm and head as f32.
    ///
    /// # Errors
    /// Weights that are NaN or infinite, by tensor name.
    pub fn load_ends(&self) -> Result<ModelEnds, ModelError> {
        let head =
            if self.config.tied_embeddings { None } else { Some(self.load_matrix(Role::Head, 0)?) };
        Ok(ModelEnds {
            embedding: self.load_matrix(Role::Embedding, 0)?,
            final_norm: self.load_vector(Role::FinalNorm, 0)?,
            head_input: None,
            head_basis: None,
            head,
        })
    }

    /// Embeds `tokens`: row-major `[tokens, hidden_size]`, reading only the rows asked for.
    ///
    /// # Errors
    /// Ids outside the table.
    pub fn embed(&self, tokens: &[u32]) -> Result<Matrix, ModelError> {
        let d = self.config.hidden_size;
        let view = self.view(Role::Embedding, 0)?;
        let mut out = Matrix::zeros(tokens.len(), d);
        for (token_idx, &id) in tokens.iter().enumerate() {
            let row = id as usize;
            if row >= self.config.vocab_size {
                return Err(ModelError::TokenOutOfRange { id, vocab_size: self.config.vocab_size });
            }
            let mut values = view.rows_to_f32(row..row + 1)?;
            self.round(&mut values);
            out.row_mut(token_idx).copy_from_slice(&values);
        }
        Ok(out)
    }

    /// Lets the operating system drop the pages read so far, so that the resident set stays near one block.
    pub fn release(&self) {
        self.store.release();
    }

    fn names(&self) -> &'static NameTable {
        if self.is_gguf { self.config.family.gguf_names } else { self.config.family.hf_names }
    }

    fn name(&self, role: Role, layer: usize) -> String {
        self.names().weight(role, layer).expect("every table lists every role")
    }

    fn bias_name(&self, role: Role, layer: usize) -> String {
        self.names().bias(role, layer).expect("every table lists every role")
    }

    fn view(&self, role: Role, layer: usize) -> Result<TensorView<'_>, ModelError> {
        Ok(self.store.get(&self.name(role, layer))?)
    }

    fn round(&self, values: &mut [f32]) {
        if self.is_gguf {
            let mut rounded = vec![f16::ZERO; values.len()];
            rounded.convert_from_f32_slice(values);
            rounded.convert_to_f32_slice(values);
        }
    }

    fn load_vector(&self, role: Role, layer: usize) -> Result<Vec<f32>, ModelError> {
        let mut values = self.view(role, layer)?.to_f32()?;
        self.round(&mut values);
        Ok(values)
    }

    fn load_matrix(&self, role: Role, layer: usize) -> Result<Matrix, ModelError> {
        let [rows, cols] = self.config.linear_shape(role);
        let mut values = self.load_vector(role, layer)?;
        if self.needs_row_separation(role) {
            separate_rotary_halves(&mut values, cols, self.config.head_dim);
        }
        Ok(Matrix::new(rows, cols, values))
    }

    fn load_linear(&self, role: Role, layer: usize) -> Result<LinearWeights, ModelError> {
        let weight = self.load_matrix(role, layer)?;
        let bias = if self.config.biased.contains(&role) {
            let mut bias = self.store.get(&self.bias_name(role, layer))?.to_f32()?;
            self.round(&mut bias);
            if self.needs_row_separation(role) {
                separate_rotary_halves(&mut bias, 1, self.config.head_dim);
            }
            Some(bias)
        } else {
            None
        };
        Ok(LinearWeights { weight, bias })
    }

    fn needs_row_separation(&self, role: Role) -> bool {
        self.is_gguf && self.config.family.gguf_interleaved_rope && is_interleaved(role)
    }

    fn check_tensors(&self) -> Result<(), ModelError> {
        let config = &self.config;
        expect(&self.view(Role::Embedding, 0)?, &config.linear_shape(Role::Embedding))?;
        expect(&self.view(Role::FinalNorm, 0)?, &[config.hidden_size])?;
        if !config.tied_embeddings {
            expect(&self.view(Role::Head, 0)?, &config.linear_shape(Role::Head))?;
        }
        for layer in 0..config.n_layers {
            for role in LINEAR_ROLES {
                let shape = config.linear_shape(role);
                expect(&self.view(role, layer)?, &shape)?;
                self.check_bias(role, layer, shape[0])?;
            }
            for role in [Role::AttentionNorm, Role::MlpNorm] {
                expect(&self.view(role, layer)?, &[config.hidden_size])?;
            }
            for role in [Role::QueryNorm, Role::KeyNorm] {
                self.check_qk_norm(role, layer)?;
            }
        }
        let beyond = self.name(Role::AttentionNorm, config.n_layers);
        if self.store.contains(&beyond) {
            let reason = format!("it has only {} layers", config.n_layers);
            return self.contradiction(beyond, &reason);
        }
        if let crate::RopeScaling::Divisors(divisors) = &config.rope_scaling {
            expect(&self.store.get(ROPE_DIVISORS)?, &[config.head_dim / 2])?;
            if divisors.iter().any(|&d| d <= 0.0) {
                return self.contradiction(ROPE_DIVISORS.to_owned(), "divisors must be positive");
            }
        }
        Ok(())
    }

    fn check_bias(&self, role: Role, layer: usize, len: usize) -> Result<(), ModelError> {
        let name = self.bias_name(role, layer);
        if self.config.biased.contains(&role) {
            expect(&self.store.get(&name)?, &[len])?;
        } else if self.store.contains(&name) {
            return self.contradiction(name, "it announces no bias for this linear");
        }
        Ok(())
    }

    fn check_qk_norm(&self, role: Role, layer: usize) -> Result<(), ModelError> {
        if self.config.family.has_qk_norm {
            expect(&self.view(role, layer)?, &[self.config.head_dim])?;
        } else if self.store.contains(&self.name(role, layer)) {
            let reason = format!("family `{}` has no such norm", self.config.family.name);
            return self.contradiction(self.name(role, layer), &reason);
        }
        Ok(())
    }

    fn contradiction<T>(&self, tensor: String, reason: &str) -> Result<T, ModelError> {
        let path = self.store.path().to_owned();
        Err(ModelError::Contradiction { path, tensor, reason: reason.to_owned() })
    }
}

/// Demands a tensor of real numbers in this shape.
fn expect(view: &TensorView<'_>, shape: &[usize]) -> Result<(), ModelError> {
    view.expect_shape(shape)?;
    Ok(view.expect_real()?)
}

fn read_hf_config(path: &Path) -> Result<ModelConfig, ModelError> {
    let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let file = dir.join("config.json");
    let json = fs::read_to_string(&file)
        .map_err(|source| ModelError::ConfigUnreadable { path: file.clone(), source })?;
    let config = ModelConfig::from_hf_json(&json, &file)?;
    // Foreign formats are refused there already; this one is read by `rosaq-checkpoint`.
    if config.hf.get("quantization_config").is_some_and(|quantization| !quantization.is_null()) {
        return Err(ModelError::AlreadyQuantized { path: file, quant_method: "rosaq".to_owned() });
    }
    Ok(config)
}
