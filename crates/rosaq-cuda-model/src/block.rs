//! One decoder block on a device.

use half::f16;
use rosaq_cuda::{
    Angles, CudaDevice, CudaError, DeviceBuffer, DeviceRows, HeadShape, MAX_HADAMARD_POINTS,
    TokenPlaces,
};
use rosaq_model::{BlockWeights, ModelConfig, Role};
use rosaq_pack::PackedLinear;
use rosaq_tensor::Matrix;

use crate::CudaModelError;
use crate::activations::Activations;
use crate::linear::{Linear, Products};

/// Keys and values of a layer, `[rows, n_kv_heads * head_dim]`, rotary embedding applied.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: DeviceRows<f16>,
    values: DeviceRows<f16>,
}

impl LayerCache {
    pub(crate) fn new(
        device: &CudaDevice,
        config: &ModelConfig,
        rows: usize,
    ) -> Result<Self, CudaError> {
        let states = || device.f16_rows(rows, config.n_kv_heads * config.head_dim);
        Ok(Self { keys: states()?, values: states()? })
    }
}

/// What a pass needs besides weights.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    pub(crate) device: &'a CudaDevice,
    pub(crate) config: &'a ModelConfig,
    pub(crate) angles: &'a Angles,
    pub(crate) places: &'a TokenPlaces,
    pub(crate) products: &'a mut Products,
    pub(crate) activations: &'a mut Activations,
}

/// The weights of a block.
#[derive(Debug)]
pub(crate) struct Block {
    attention_norm: DeviceBuffer<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: Option<DeviceBuffer<f32>>,
    key_norm: Option<DeviceBuffer<f32>>,
    mlp_norm: DeviceBuffer<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
    attention_input: Option<Linear>,
    mlp_input: Option<Linear>,
    heads_output: Option<Linear>,
    shortcut_attention: Option<Linear>,
    shortcut_mlp: Option<Linear>,
    down_hadamard: Option<usize>,
}

impl Block {
    pub(crate) fn upload(
        device: &CudaDevice,
        config: &ModelConfig,
        layer: usize,
        block: &BlockWeights<PackedLinear>,
    ) -> Result<Self, CudaModelError> {
        let linear = |role: Role| {
            Linear::upload(device, block.linear(role), || config.tensor_name(role, layer))
        };
        let gains =
            |gains: &Option<Vec<f32>>| gains.as_ref().map(|gains| device.upload(gains)).transpose();
        let rotations = &block.rotations;
        let rotation = |matrix: &Option<Matrix>| {
            matrix.as_ref().map(|matrix| Linear::rotation(device, matrix, layer)).transpose()
        };
        if let Some(points) = rotations.down_hadamard
            && points > MAX_HADAMARD_POINTS
        {
            return Err(CudaModelError::Hadamard { points, most: MAX_HADAMARD_POINTS });
        }
        Ok(Self {
            attention_norm: device.upload(&block.attention_norm)?,
            query: linear(Role::Query)?,
            key: linear(Role::Key)?,
            value: linear(Role::Value)?,
            output: linear(Role::Output)?,
            query_norm: gains(&block.query_norm)?,
            key_norm: gains(&block.key_norm)?,
            mlp_norm: device.upload(&block.mlp_norm)?,
            gate: linear(Role::Gate)?,
            up: linear(Role::Up)?,
            down: linear(Role::Down)?,
            attention_input: rotation(&rotations.attention_input)?,
            mlp_input: rotation(&rotations.mlp_input)?,
            heads_output: rotation(&rotations.heads_output)?,
            shortcut_attention: rotation(&rotations.shortcut_attention)?,
            shortcut_mlp: rotation(&rotations.shortcut_mlp)?,
            down_hadamard: rotations.down_hadamard.filter(|&points| points > 1),
        })
    }

    /// Runs the block over the residual, to which the branch before it is added first if `has_branch`; its own last branch is left
    /// for the next norm to add.
    pub(crate) fn forward(
        &self,
        pass: &mut Pass<'_>,
        cache: &mut LayerCache,
        has_branch: bool,
    ) -> Result<(), CudaError> {
        self.attention(pass, cache, has_branch)?;
        turn_residual(pass, self.shortcut_attention.as_ref())?;
        self.mlp(pass)?;
        turn_residual(pass, self.shortcut_mlp.as_ref())
    }

    /// Leaves what attention adds to the residual in the branch.
    fn attention(
        &self,
        pass: &mut Pass<'_>,
        cache: &mut LayerCache,
        has_branch: bool,
    ) -> Result<(), CudaError> {
        let Pass { device, config, angles, places, products, activations } = pass;
        let Activations { hidden, branch, input, turned, query, key, value, heads, .. } =
            &mut **activations;
        let eps = config.rms_norm_eps;
        let added = has_branch.then_some(&*branch);
        device.rms_norm(hidden, added, &self.attention_norm, eps, input)?;
        let x = rotated(device, products, self.attention_input.as_ref(), input, turned)?;
        products.multiply_f16(device, &self.query, x, query)?;
        products.multiply_f16(device, &self.key, x, key)?;
        products.multiply_f16(device, &self.value, x, value)?;
        if let Some(gain) = &self.query_norm {
            device.head_norm(query, gain, eps)?;
        }
        if let Some(gain) = &self.key_norm {
            device.head_norm(key, gain, eps)?;
        }
        device.rope(query, angles, places)?;
        device.rope_into_cache(key, angles, places, &mut cache.keys)?;
        device.copy_into_cache(value, places, &mut cache.values)?;
        let cached = [&cache.keys, &cache.values];
        device.attention(head_shape(config), query, cached, places, heads)?;
        let turned = &mut activations.turned_heads;
        let heads = &activations.heads;
        let x = rotated(device, products, self.heads_output.as_ref(), heads, turned)?;
        products.multiply_f32(device, &self.output, x, &mut activations.branch)
    }

    /// Leaves what the MLP adds to the residual in the branch.
    fn mlp(&self, pass: &mut Pass<'_>) -> Result<(), CudaError> {
        let Pass { device, config, products, activations, .. } = pass;
        let Activations { hidden, branch, input, turned, gate, up, .. } = &mut **activations;
        device.rms_norm(hidden, Some(branch), &self.mlp_norm, config.rms_norm_eps, input)?;
        let x = rotated(device, products, self.mlp_input.as_ref(), input, turned)?;
        products.multiply_f16(device, &self.gate, x, gate)?;
        products.multiply_f16(device, &self.up, x, up)?;
        device.silu_mul(gate, up)?;
        if let Some(points) = self.down_hadamard {
            device.walsh_hadamard(gate, points)?;
        }
        products.multiply_f32(device, &self.down, gate, branch)
    }
}

/// `x` turned, in `turned`, or `x` itself when there is no rotation.
fn rotated<'a>(
    device: &CudaDevice,
    products: &mut Products,
    rotation: Option<&Linear>,
    x: &'a DeviceRows<f16>,
    turned: &'a mut DeviceRows<f16>,
) -> Result<&'a DeviceRows<f16>, CudaError> {
    let Some(rotation) = rotation else { return Ok(x) };
    products.multiply_f16(device, rotation, x, turned)?;
    Ok(turned)
}

/// Turns the residual, rounded to f16 on the way, into the basis of the branch that waits to be added.
fn turn_residual(pass: &mut Pass<'_>, shortcut: Option<&Linear>) -> Result<(), CudaError> {
    let Some(shortcut) = shortcut else { return Ok(()) };
    let Pass { device, products, activations, .. } = pass;
    let Activations { hidden, input, .. } = &mut **activations;
    device.round_rows(hidden, input)?;
    products.multiply_f32(device, shortcut, input, hidden)
}

pub(crate) fn head_shape(config: &ModelConfig) -> HeadShape {
    HeadShape { n_heads: config.n_heads, n_kv_heads: config.n_kv_heads, head_dim: config.head_dim }
}
