//! Buffers of a block's activations.

/// Activations of one batch, `[tokens, channels]` each. Kept from batch to batch: fresh memory has to be cleared by the
/// system page by page, which cost a tenth of a forward pass.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// The normalized residual.
    pub(crate) input: Vec<f32>,
    /// What an online rotation makes of an input.
    pub(crate) turned: Vec<f32>,
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    /// The heads' output.
    pub(crate) heads: Vec<f32>,
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    /// What a branch adds to the residual.
    pub(crate) branch: Vec<f32>,
}

/// `buffer`, made `len` long; its values are arbitrary.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}
