//! Memory of a device.

use std::sync::Arc;

use cust::error::CudaError as DriverError;
use cust::memory::{CopyDestination, DeviceBuffer, mem_get_info};

use super::{Context, failed};
use crate::CudaError;

/// Bytes on a device, freed when dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `None` for no bytes, which the driver does not allocate.
    bytes: Option<DeviceBuffer<u8>>,
    context: Arc<Context>,
}

impl Memory {
    /// So many bytes, all zero.
    pub(crate) fn zeroed(context: &Arc<Context>, n_bytes: usize) -> Result<Self, CudaError> {
        context.enter()?;
        let bytes = match n_bytes {
            0 => None,
            _ => {
                Some(DeviceBuffer::zeroed(n_bytes).map_err(|error| not_allocated(error, n_bytes))?)
            }
        };
        Ok(Self { bytes, context: Arc::clone(context) })
    }

    pub(crate) fn address(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.as_device_ptr().as_raw())
    }

    pub(crate) const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Overwrites all of it, after what runs on the device.
    ///
    /// # Panics
    /// If the sizes differ.
    pub(crate) fn write<T: Element>(&mut self, values: &[T]) -> Result<(), CudaError> {
        self.context.enter()?;
        let from = bytes_of(values);
        let Some(bytes) = &mut self.bytes else {
            assert!(from.is_empty(), "{} bytes written to an empty buffer", from.len());
            return Ok(());
        };
        assert_eq!(from.len(), bytes.len(), "bytes written to a buffer");
        bytes.copy_from(from).map_err(failed("copying to the device"))
    }

    /// Reads all of it, after what runs on the device.
    ///
    /// # Panics
    /// If the sizes differ.
    pub(crate) fn read<T: Element>(&self, values: &mut [T]) -> Result<(), CudaError> {
        self.context.enter()?;
        let to = bytes_of_mut(values);
        let Some(bytes) = &self.bytes else {
            assert!(to.is_empty(), "{} bytes read from an empty buffer", to.len());
            return Ok(());
        };
        assert_eq!(to.len(), bytes.len(), "bytes read from a buffer");
        bytes.copy_to(to).map_err(failed("copying from the device"))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Kernels may still use the memory, which is freed right after this; the thread may have another context. Should
        // this fail, the context is lost, and its memory with it.
        let _ = self.context.synchronize();
    }
}

/// Bytes of the device's memory that are free.
pub(crate) fn free_bytes(context: &Context) -> Result<usize, CudaError> {
    context.enter()?;
    Ok(mem_get_info().map_err(failed("asking for free memory"))?.0)
}

fn not_allocated(error: DriverError, wanted: usize) -> CudaError {
    match error {
        DriverError::OutOfMemory => {
            let free = mem_get_info().map_or(0, |(free, _)| free);
            CudaError::OutOfMemory { wanted, free }
        }
        error => failed("taking memory of the device")(error),
    }
}

mod sealed {
    /// Types without padding of which every pattern of bits is a value.
    pub trait Plain: Copy + Default {}
    impl Plain for u8 {}
    impl Plain for u16 {}
    impl Plain for u32 {}
    impl Plain for f32 {}
    impl Plain for half::f16 {}
}

/// What a buffer may hold: `u8`, `u16`, `u32`, `f32` and `half::f16`.
pub trait Element: sealed::Plain {}
impl<T: sealed::Plain> Element for T {}

fn bytes_of<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: elements are plain numbers without padding, and the bytes are exactly those of the slice.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_of_mut<T: Element>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes_of`, and any bytes make valid elements.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
