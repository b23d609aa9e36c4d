//! Launches of the elementwise kernels.

use half::f16;

use crate::driver::Argument;
use crate::rows::size;
use crate::{CudaDevice, CudaError, DeviceBuffer, DeviceRows, THREADS};

use Argument::{Address, Float};

/// Most points of a Walsh-Hadamard block: 32 KiB of shared memory.
pub const MAX_HADAMARD_POINTS: usize = 8192;

impl CudaDevice {
    /// Adds `branch` to the residual `hidden`, if there is one, and writes the residual's normalized rows times `gain` to `out`.
    /// `hidden` and `branch`: `[tokens, channels]`, without gaps; sums in f32.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn rms_norm(
        &self,
        hidden: &mut DeviceRows<f32>,
        branch: Option<&DeviceRows<f32>>,
        gain: &DeviceBuffer<f32>,
        eps: f32,
        out: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        let shape = hidden.shape();
        assert_eq!(shape, out.shape(), "residual and result");
        assert_eq!(shape.1, gain.len(), "channels and gains");
        if let Some(branch) = branch {
            assert_eq!(shape, branch.shape(), "residual and branch");
        }
        self.launch_on(
            "rosaq_rms_norm",
            ([shape.0, 1], THREADS),
            0,
            vec![
                Address(self.address(&hidden.values)),
                Address(branch.map_or(0, |branch| self.address(&branch.values))),
                Address(self.address(gain)),
                Address(self.address(&out.values)),
                size(shape.1)?,
                size(out.stride())?,
                Float(eps),
            ],
        )
    }

    /// Normalizes every head of `x` by itself, in place; a head has as many channels as `gain`.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If `x` is not whole heads.
    pub fn head_norm(
        &self,
        x: &mut DeviceRows<f16>,
        gain: &DeviceBuffer<f32>,
        eps: f32,
    ) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        let head_dim = gain.len();
        assert!(head_dim > 0 && channels.is_multiple_of(head_dim), "{channels} in {head_dim}");
        self.launch_on(
            "rosaq_head_norm",
            ([channels / head_dim, tokens], 32),
            0,
            vec![
                Address(self.address(&x.values)),
                Address(self.address(gain)),
                size(head_dim)?,
                size(x.stride())?,
                Float(eps),
            ],
        )
    }

    /// `out = silu(gate) * up`, in `gate`.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn silu_mul(
        &self,
        gate: &mut DeviceRows<f16>,
        up: &DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        assert_eq!(gate.shape(), up.shape(), "gate and up");
        let (tokens, channels) = gate.shape();
        self.launch_on(
            "rosaq_silu_mul",
            ([tokens, 1], THREADS),
            0,
            vec![
                Address(self.address(&gate.values)),
                Address(self.address(&up.values)),
                Address(self.address(&gate.values)),
                size(channels)?,
                size(gate.stride())?,
            ],
        )
    }

    /// Every `points` consecutive channels of `x` become their Walsh-Hadamard transform over `sqrt(points)`, in place.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If `points` is no power of two from 2 to [`MAX_HADAMARD_POINTS`] or does not divide the channels.
    pub fn walsh_hadamard(&self, x: &mut DeviceRows<f16>, points: usize) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        let fits = points.is_power_of_two() && (2..=MAX_HADAMARD_POINTS).contains(&points);
        assert!(fits && channels.is_multiple_of(points), "{points} points in {channels} channels");
        let arguments = vec![Address(self.address(&x.values)), size(points)?, size(x.stride())?];
        // At most 32 KiB, as was just checked.
        let shared_bytes = u32::try_from(4 * points).unwrap_or(u32::MAX);
        self.launch_on(
            "rosaq_hadamard",
            ([channels / points, tokens], THREADS),
            shared_bytes,
            arguments,
        )
    }

    /// Adds `bias` to every row of `x`, in place.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If there is not one bias a channel.
    pub fn add_bias(
        &self,
        x: &mut DeviceRows<f16>,
        bias: &DeviceBuffer<f32>,
    ) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        assert_eq!(channels, bias.len(), "channels and biases");
        let arguments = vec![
            Address(self.address(&x.values)),
            Address(self.address(bias)),
            size(channels)?,
            size(x.stride())?,
        ];
        self.launch_on("rosaq_add_bias", ([tokens, 1], THREADS), 0, arguments)
    }

    /// As [`Self::add_bias`], for f32.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If there is not one bias a channel.
    pub fn add_bias_f32(
        &self,
        x: &mut DeviceRows<f32>,
        bias: &DeviceBuffer<f32>,
    ) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        assert_eq!(channels, bias.len(), "channels and biases");
        let arguments = vec![
            Address(self.address(&x.values)),
            Address(self.address(bias)),
            size(channels)?,
            size(x.stride())?,
        ];
        self.launch_on("rosaq_add_bias_f32", ([tokens, 1], THREADS), 0, arguments)
    }

    /// `y[t][c] = x[t][order[c]]`; every number in `order` must be below the channels, which is not checked.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn gather_channels(
        &self,
        x: &DeviceRows<f16>,
        order: &DeviceBuffer<u32>,
        y: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        assert_eq!((tokens, channels), y.shape(), "input and result");
        assert_eq!(channels, order.len(), "channels and their order");
        self.launch_on(
            "rosaq_gather_channels",
            ([tokens, 1], THREADS),
            0,
            vec![
                Address(self.address(&x.values)),
                Address(self.address(&y.values)),
                Address(self.address(order)),
                size(channels)?,
                size(x.stride())?,
            ],
        )
    }

    /// `y = x`, rounded to f16.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn round_rows(
        &self,
        x: &DeviceRows<f32>,
        y: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        assert_eq!((tokens, channels), y.shape(), "input and result");
        self.launch_on(
            "rosaq_round_rows",
            ([tokens, 1], THREADS),
            0,
            vec![
                Address(self.address(&x.values)),
                Address(self.address(&y.values)),
                size(channels)?,
                size(y.stride())?,
            ],
        )
    }
}
