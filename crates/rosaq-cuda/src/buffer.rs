//! Typed buffers on a device.

use std::marker::PhantomData;

use crate::CudaError;
use crate::driver::Memory;

pub use crate::driver::Element;

/// Values on a device, freed when dropped. Made by [`CudaDevice::upload`](crate::CudaDevice::upload) and
/// [`CudaDevice::zeroed`](crate::CudaDevice::zeroed).
#[derive(Debug)]
pub struct DeviceBuffer<T> {
    pub(crate) memory: Memory,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Element> DeviceBuffer<T> {
    /// `memory` holds exactly `len` values.
    pub(crate) const fn new(memory: Memory, len: usize) -> Self {
        Self { memory, len, values: PhantomData }
    }

    /// Values it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Overwrites all values, after what was launched before.
    ///
    /// # Errors
    /// The driver's, among them that of a kernel launched before.
    ///
    /// # Panics
    /// If there are more or fewer `values` than the buffer holds.
    pub fn write(&mut self, values: &[T]) -> Result<(), CudaError> {
        self.memory.write(values)
    }

    /// Copies all values to the host, after what was launched before.
    ///
    /// # Errors
    /// The driver's, among them that of a kernel launched before.
    pub fn to_vec(&self) -> Result<Vec<T>, CudaError> {
        let mut values = vec![T::default(); self.len];
        self.memory.read(&mut values)?;
        Ok(values)
    }
}
