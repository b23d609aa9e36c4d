//! What stands before the first block, on the host, and after the last one, on the device.

use half::f16;
use rosaq_cuda::{CudaDevice, CudaError, DeviceBuffer, DeviceRows};
use rosaq_model::{ModelConfig, ModelEnds, ModelError, Role};
use rosaq_pack::PackedLinear;

use crate::CudaModelError;
use crate::linear::{Linear, Products};

/// The ends of a model.
#[derive(Debug)]
pub(crate) struct Ends {
    embedding: PackedLinear,
    final_norm: DeviceBuffer<f32>,
    head_input: Option<Linear>,
    head: Linear,
}

impl Ends {
    pub(crate) fn upload(
        device: &CudaDevice,
        config: &ModelConfig,
        ends: ModelEnds<PackedLinear>,
    ) -> Result<Self, CudaModelError> {
        let role = if ends.head.is_some() { Role::Head } else { Role::Embedding };
        let name = || config.tensor_name(role, 0);
        let head_input = ends.head_input.as_ref();
        Ok(Self {
            final_norm: device.upload(&ends.final_norm)?,
            head_input: head_input
                .map(|matrix| Linear::rotation(device, matrix, config.n_layers))
                .transpose()?,
            head: Linear::of_weight(device, ends.head_table(), name)?,
            embedding: ends.embedding,
        })
    }

    /// Tokens of the vocabulary.
    pub(crate) const fn vocab_size(&self) -> usize {
        self.head.out_features()
    }

    /// Embeddings of `tokens`, row-major `[tokens, hidden_size]`.
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let PackedLinear { out_features: vocab_size, in_features: width, .. } = self.embedding;
        let mut hidden = vec![0.0; tokens.len() * width];
        for (row, &id) in hidden.chunks_exact_mut(width).zip(tokens) {
            if id as usize >= vocab_size {
                return Err(ModelError::TokenOutOfRange { id, vocab_size });
            }
            self.embedding.dequantize_row_into(id as usize, row);
        }
        Ok(hidden)
    }

    /// Adds the last branch, if there is one, to `hidden`, and normalizes it.
    pub(crate) fn normalize(
        &self,
        device: &CudaDevice,
        (hidden, branch): (&mut DeviceRows<f32>, Option<&DeviceRows<f32>>),
        eps: f32,
        out: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        device.rms_norm(hidden, branch, &self.final_norm, eps, out)
    }

    /// Logits of normalized rows.
    pub(crate) fn logits(
        &self,
        device: &CudaDevice,
        products: &mut Products,
        x: &DeviceRows<f16>,
        logits: &mut DeviceRows<f32>,
    ) -> Result<(), CudaError> {
        let Some(rotation) = &self.head_input else {
            return products.multiply_f32(device, &self.head, x, logits);
        };
        let mut turned = device.f16_rows(x.shape().0, rotation.out_features())?;
        products.multiply_f16(device, rotation, x, &mut turned)?;
        products.multiply_f32(device, &self.head, &turned, logits)
    }
}
