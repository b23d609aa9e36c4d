//! Activations of the tokens that go through a model together.

use half::f16;
use rosaq_cuda::{CudaDevice, CudaError, DeviceRows};
use rosaq_model::ModelConfig;

/// `[tokens, channels]` each, kept from pass to pass of as many tokens.
#[derive(Debug)]
pub(crate) struct Activations {
    /// The residual.
    pub(crate) hidden: DeviceRows<f32>,
    /// What a branch adds to the residual; the next norm adds it.
    pub(crate) branch: DeviceRows<f32>,
    /// The normalized residual.
    pub(crate) input: DeviceRows<f16>,
    /// What an online rotation makes of it.
    pub(crate) turned: DeviceRows<f16>,
    pub(crate) query: DeviceRows<f16>,
    pub(crate) key: DeviceRows<f16>,
    pub(crate) value: DeviceRows<f16>,
    /// The heads' output.
    pub(crate) heads: DeviceRows<f16>,
    /// What an online rotation makes of it.
    pub(crate) turned_heads: DeviceRows<f16>,
    pub(crate) gate: DeviceRows<f16>,
    pub(crate) up: DeviceRows<f16>,
}

impl Activations {
    pub(crate) fn new(
        device: &CudaDevice,
        config: &ModelConfig,
        tokens: usize,
    ) -> Result<Self, CudaError> {
        let width = config.n_heads * config.head_dim;
        let kv_width = config.n_kv_heads * config.head_dim;
        let f32_rows = || device.f32_rows(tokens, config.hidden_size);
        let f16_rows = |channels| device.f16_rows(tokens, channels);
        Ok(Self {
            hidden: f32_rows()?,
            branch: f32_rows()?,
            input: f16_rows(config.hidden_size)?,
            turned: f16_rows(config.hidden_size)?,
            query: f16_rows(width)?,
            key: f16_rows(kv_width)?,
            value: f16_rows(kv_width)?,
            heads: f16_rows(width)?,
            turned_heads: f16_rows(width)?,
            gate: f16_rows(config.intermediate_size)?,
            up: f16_rows(config.intermediate_size)?,
        })
    }

    /// Tokens that there is room for.
    pub(crate) const fn n_tokens(&self) -> usize {
        self.hidden.shape().0
    }
}
