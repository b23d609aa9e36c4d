//! Activations that stay on a device.

use half::f16;

use crate::device::word;
use crate::driver::{Argument, Launch};
use crate::{CudaDevice, CudaError, DeviceBuffer, Element, Output, Rows};

/// Rows of f16 begin at multiples of this many values: 16 bytes.
const F16_STRIDE: usize = 8;

/// Rows of values, `[rows][stride]`, of which the first `channels` of each row count.
#[derive(Debug)]
pub struct DeviceRows<T> {
    pub(crate) values: DeviceBuffer<T>,
    rows: usize,
    channels: usize,
    stride: usize,
}

impl<T: Element> DeviceRows<T> {
    /// Rows and channels.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.channels)
    }

    /// Values from row to row.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// The values of all rows, without gaps.
    ///
    /// # Errors
    /// As [`DeviceBuffer::to_vec`].
    pub fn to_vec(&self) -> Result<Vec<T>, CudaError> {
        let values = self.values.to_vec()?;
        if self.stride == self.channels {
            return Ok(values);
        }
        let rows = values.chunks(self.stride.max(1)).flat_map(|row| &row[..self.channels]);
        Ok(rows.copied().collect())
    }
}

impl DeviceRows<f16> {
    /// As the input of a product.
    #[must_use]
    pub const fn as_input(&self) -> Rows<'_> {
        Rows { values: &self.values, stride: self.stride, batch: self.rows }
    }

    /// As the result of a product.
    pub const fn as_output(&mut self) -> Output<'_> {
        Output::F16(&mut self.values, self.stride)
    }
}

impl DeviceRows<f32> {
    /// Overwrites all rows, after what was launched before.
    ///
    /// # Errors
    /// As [`DeviceBuffer::write`].
    ///
    /// # Panics
    /// If there are more or fewer `values` than the rows hold.
    pub fn write(&mut self, values: &[f32]) -> Result<(), CudaError> {
        self.values.write(values)
    }

    /// As the result of a product.
    pub const fn as_output(&mut self) -> Output<'_> {
        Output::F32(&mut self.values, self.stride)
    }
}

impl CudaDevice {
    /// Rows of f16 zeros.
    ///
    /// # Errors
    /// As [`CudaDevice::zeroed`].
    pub fn f16_rows(&self, rows: usize, channels: usize) -> Result<DeviceRows<f16>, CudaError> {
        let stride = channels.next_multiple_of(F16_STRIDE);
        Ok(DeviceRows { values: self.zeroed(rows * stride)?, rows, channels, stride })
    }

    /// Rows of f32 zeros, without gaps.
    ///
    /// # Errors
    /// As [`CudaDevice::zeroed`].
    pub fn f32_rows(&self, rows: usize, channels: usize) -> Result<DeviceRows<f32>, CudaError> {
        Ok(DeviceRows { values: self.zeroed(rows * channels)?, rows, channels, stride: channels })
    }

    /// `values`, row-major `[_, channels]`.
    ///
    /// # Errors
    /// As [`CudaDevice::upload`].
    ///
    /// # Panics
    /// If they are not whole rows.
    pub fn upload_f32_rows(
        &self,
        values: &[f32],
        channels: usize,
    ) -> Result<DeviceRows<f32>, CudaError> {
        let rows = whole_rows(values, channels);
        Ok(DeviceRows { values: self.upload(values)?, rows, channels, stride: channels })
    }

    /// `values`, row-major `[_, channels]`, rounded to f16.
    ///
    /// # Errors
    /// As [`CudaDevice::upload`].
    ///
    /// # Panics
    /// If they are not whole rows.
    pub fn upload_f16_rows(
        &self,
        values: &[f32],
        channels: usize,
    ) -> Result<DeviceRows<f16>, CudaError> {
        let rows = whole_rows(values, channels);
        let stride = channels.next_multiple_of(F16_STRIDE);
        let mut rounded = vec![f16::ZERO; rows * stride];
        for (to, from) in rounded.chunks_exact_mut(stride).zip(values.chunks_exact(channels)) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = f16::from_f32(*from);
            }
        }
        Ok(DeviceRows { values: self.upload(&rounded)?, rows, channels, stride })
    }

    /// Launches a kernel on a grid of two sizes, unless one of them is zero.
    pub(crate) fn launch_on(
        &self,
        kernel: &'static str,
        (grid, threads): ([usize; 2], u32),
        shared_bytes: u32,
        arguments: Vec<Argument>,
    ) -> Result<(), CudaError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let size =
            |value| u32::try_from(value).map_err(|_| CudaError::TooLarge { what: "a grid", value });
        let grid = [size(grid[0])?, size(grid[1])?];
        self.launch(&Launch { kernel, grid, threads, shared_bytes, arguments })
    }
}

/// A size as a kernel's argument.
pub(crate) fn size(value: usize) -> Result<Argument, CudaError> {
    word("a size of activations", value)
}

fn whole_rows(values: &[f32], channels: usize) -> usize {
    let n = values.len();
    assert!(channels > 0 && n.is_multiple_of(channels), "{n} values in rows of {channels}");
    n / channels
}
