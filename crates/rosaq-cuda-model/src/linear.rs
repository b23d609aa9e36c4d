//! One linear on a device.

use half::f16;
use rosaq_cuda::{CudaDevice, CudaError, CudaLinear, DeviceBuffer, DeviceRows, Output, Workspace};
use rosaq_model::LinearWeights;
use rosaq_pack::device::DeviceLinear;
use rosaq_pack::{PackError, PackedLinear, PackedLinearBuilder, Segment, SegmentValues};
use rosaq_tensor::Matrix;

use crate::CudaModelError;

/// A packed linear, the order of its channels, its bias.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: CudaLinear,
    /// The original channel at each stored position, unless channels are stored as they come.
    order: Option<DeviceBuffer<u32>>,
    bias: Option<DeviceBuffer<f32>>,
}

impl Linear {
    /// `name` makes the weight's name, for messages.
    pub(crate) fn upload(
        device: &CudaDevice,
        linear: &LinearWeights<PackedLinear>,
        name: impl FnOnce() -> String,
    ) -> Result<Self, CudaModelError> {
        let LinearWeights { weight, bias } = linear;
        let made = Self::of_weight(device, weight, name)?;
        let bias = bias.as_ref().map(|bias| device.upload(bias)).transpose()?;
        Ok(Self { bias, ..made })
    }

    /// Without a bias.
    pub(crate) fn of_weight(
        device: &CudaDevice,
        weight: &PackedLinear,
        name: impl FnOnce() -> String,
    ) -> Result<Self, CudaModelError> {
        let order = weight.order.permutation(weight.in_features);
        let order = order.map(|order| device.upload(&order)).transpose()?;
        let arranged = DeviceLinear::new(weight)
            .map_err(|source| CudaModelError::Linear { tensor: name(), source })?;
        Ok(Self { weight: CudaLinear::upload(device, arranged)?, order, bias: None })
    }

    /// A dense matrix `[out, in]` rounded to f16, such as a rotation of block `layer`.
    pub(crate) fn rotation(
        device: &CudaDevice,
        matrix: &Matrix,
        layer: usize,
    ) -> Result<Self, CudaModelError> {
        let packed = in_f16(matrix).map_err(|source| CudaModelError::Rotation { layer, source })?;
        Self::of_weight(device, &packed, || format!("online rotation of block {layer}"))
    }

    pub(crate) const fn out_features(&self) -> usize {
        self.weight.out_features()
    }
}

fn in_f16(matrix: &Matrix) -> Result<PackedLinear, PackError> {
    let values = matrix.data.iter().map(|&x| f16::from_f32(x)).collect();
    let builder = PackedLinearBuilder::new(matrix.rows);
    builder.segment(Segment::f16(matrix.cols), SegmentValues::F16(values)).build()
}

/// What products need besides weights and activations.
#[derive(Debug)]
pub(crate) struct Products {
    workspace: Workspace,
    /// Inputs in the stored order of channels; one for each width, made when first needed.
    ordered: Vec<DeviceRows<f16>>,
}

impl Products {
    pub(crate) fn new(device: &CudaDevice) -> Result<Self, CudaError> {
        Ok(Self { workspace: Workspace::new(device)?, ordered: Vec::new() })
    }

    /// `y = x wᵀ + bias`, rounded to f16.
    pub(crate) fn multiply_f16(
        &mut self,
        device: &CudaDevice,
        linear: &Linear,
        x: &DeviceRows<f16>,
        y: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        self.multiply(device, linear, x, y.as_output())?;
        linear.bias.as_ref().map_or(Ok(()), |bias| device.add_bias(y, bias))
    }

    /// `y = x wᵀ + bias`, in f32.
    pub(crate) fn multiply_f32(
        &mut self,
        device: &CudaDevice,
        linear: &Linear,
        x: &DeviceRows<f16>,
        y: &mut DeviceRows<f32>,
    ) -> Result<(), CudaError> {
        self.multiply(device, linear, x, y.as_output())?;
        linear.bias.as_ref().map_or(Ok(()), |bias| device.add_bias_f32(y, bias))
    }

    fn multiply(
        &mut self,
        device: &CudaDevice,
        linear: &Linear,
        x: &DeviceRows<f16>,
        y: Output<'_>,
    ) -> Result<(), CudaError> {
        let Some(order) = &linear.order else {
            return device.multiply(&linear.weight, x.as_input(), y, &mut self.workspace);
        };
        let (rows, channels) = x.shape();
        // Widths are few; other numbers of rows replace what is there.
        let idx = match self.ordered.iter().position(|kept| kept.shape().1 == channels) {
            Some(idx) if self.ordered[idx].shape().0 == rows => idx,
            found => {
                found.map(|idx| self.ordered.swap_remove(idx));
                self.ordered.push(device.f16_rows(rows, channels)?);
                self.ordered.len() - 1
            }
        };
        let ordered = &mut self.ordered[idx];
        device.gather_channels(x, order, ordered)?;
        device.multiply(&linear.weight, ordered.as_input(), y, &mut self.workspace)
    }
}
