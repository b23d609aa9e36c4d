//! A device that multiplies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::driver::{Argument, Context, Launch, Memory, Module, free_bytes, launch};
use crate::module::{SOURCES, Source, source_of};
use crate::{CudaError, DeviceBuffer, Element, Parameter, parameters};

/// One CUDA device. What is launched on it runs in order; only copies to the host and
/// [`synchronize`](Self::synchronize) wait for it.
#[derive(Debug)]
pub struct CudaDevice {
    context: Arc<Context>,
    /// Compiled when first used, as [`SOURCES`].
    modules: [OnceLock<Module>; SOURCES.len()],
    /// Kernels that were launched before, whose parameters are known to be those that the PTX declares.
    checked: Mutex<HashMap<&'static str, Vec<Parameter>>>,
}

impl CudaDevice {
    /// Opens a device, counted from 0 in the driver's order.
    ///
    /// # Errors
    /// No driver, no such device, a driver before CUDA 11.4, a compute capability below 8.0, or what else the driver says.
    pub fn open(index: usize) -> Result<Self, CudaError> {
        let context = Arc::new(Context::open(index)?);
        let modules = [const { OnceLock::new() }; SOURCES.len()];
        Ok(Self { context, modules, checked: Mutex::default() })
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.context.facts().name
    }

    /// Major and minor version of its compute capability.
    #[must_use]
    pub fn compute_capability(&self) -> (i32, i32) {
        self.context.facts().capability
    }

    /// Its multiprocessors.
    #[must_use]
    pub fn n_multiprocessors(&self) -> usize {
        self.context.facts().n_multiprocessors
    }

    /// All of its memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.context.facts().memory_bytes
    }

    /// Bytes a second that its memory gives at most, by its clock and the width of its bus.
    #[must_use]
    pub fn bandwidth(&self) -> f64 {
        self.context.facts().bandwidth
    }

    /// What of its memory is free, in bytes.
    ///
    /// # Errors
    /// The driver's.
    pub fn free_bytes(&self) -> Result<usize, CudaError> {
        free_bytes(&self.context)
    }

    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] where there is no room.
    pub fn zeroed<T: Element>(&self, len: usize) -> Result<DeviceBuffer<T>, CudaError> {
        let too_large = CudaError::TooLarge { what: "a buffer's length", value: len };
        let n_bytes = len.checked_mul(size_of::<T>()).ok_or(too_large)?;
        Ok(DeviceBuffer::new(Memory::zeroed(&self.context, n_bytes)?, len))
    }

    /// A buffer that holds a copy of `values`.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] where there is no room.
    pub fn upload<T: Element>(&self, values: &[T]) -> Result<DeviceBuffer<T>, CudaError> {
        let mut buffer = self.zeroed(values.len())?;
        buffer.write(values)?;
        Ok(buffer)
    }

    /// Waits for all that was launched.
    ///
    /// # Errors
    /// What a kernel that failed left behind; the device is of no more use then.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.context.synchronize()
    }

    /// Compiles all kernels, which otherwise happens at the first launch of each and may take many seconds.
    ///
    /// # Errors
    /// [`CudaError::Ptx`] with what the driver's compiler says.
    pub fn compile(&self) -> Result<(), CudaError> {
        for (idx, _) in SOURCES.iter().enumerate() {
            self.module(idx)?;
        }
        Ok(())
    }

    /// Whether the driver's compiler takes a text of PTX; it is compiled and thrown away.
    ///
    /// # Errors
    /// [`CudaError::Ptx`] with what the compiler says.
    pub fn check_ptx(&self, name: &str, ptx: &str) -> Result<(), CudaError> {
        Module::load(&self.context, name, ptx).map(drop)
    }

    fn module(&self, idx: usize) -> Result<&Module, CudaError> {
        if let Some(module) = self.modules[idx].get() {
            return Ok(module);
        }
        let Source { name, ptx, .. } = SOURCES[idx];
        // Two threads may both compile at first; the second outcome is dropped.
        let compiled = Module::load(&self.context, name, ptx)?;
        Ok(self.modules[idx].get_or_init(|| compiled))
    }

    /// The address of a buffer, as an argument.
    ///
    /// # Panics
    /// If the buffer is another device's.
    pub(crate) fn address<T: Element>(&self, buffer: &DeviceBuffer<T>) -> u64 {
        let own = Arc::ptr_eq(&self.context, buffer.memory.context());
        assert!(own, "a buffer of another device in a launch on `{}`", self.name());
        buffer.memory.address()
    }

    /// Launches a kernel whose sizes the caller has checked.
    pub(crate) fn launch(&self, planned: &Launch) -> Result<(), CudaError> {
        let idx = source_of(planned.kernel);
        // A map of checked kernels is right at any time, even if a thread that held it panicked.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = planned.arguments.iter().map(|a| a.parameter());
        if !checked.get(planned.kernel).is_some_and(|known| passed.eq(known.iter().copied())) {
            check_parameters(SOURCES[idx].ptx, planned)?;
            let declared = planned.arguments.iter().map(|a| a.parameter()).collect();
            checked.insert(planned.kernel, declared);
        }
        drop(checked);
        launch(&self.context, self.module(idx)?, planned)
    }
}

/// Whether a launch passes what the PTX declares.
fn check_parameters(ptx: &str, planned: &Launch) -> Result<(), CudaError> {
    let expected: Vec<Parameter> = planned.arguments.iter().map(|a| a.parameter()).collect();
    let found = parameters(ptx, planned.kernel);
    if found.as_ref() == Some(&expected) {
        return Ok(());
    }
    Err(CudaError::Signature { kernel: planned.kernel.to_owned(), expected, found })
}

/// A size as a kernel's argument.
pub(crate) fn word(what: &'static str, value: usize) -> Result<Argument, CudaError> {
    u32::try_from(value).map(Argument::Word).map_err(|_| CudaError::TooLarge { what, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_buffers_go_from_thread_to_thread() {
        const fn shared<T: Send + Sync>() {}
        shared::<CudaDevice>();
        shared::<DeviceBuffer<u8>>();
    }

    #[test]
    fn launches_with_other_parameters_are_refused() {
        let arguments = vec![Argument::Address(0), Argument::Word(1)];
        let planned =
            Launch { kernel: "one", grid: [1, 1], threads: 32, shared_bytes: 0, arguments };
        let same = ".visible .entry one(\n.param .u64 a,\n.param .u32 b\n)\n";
        assert_eq!(check_parameters(same, &planned), Ok(()));
        let swapped = ".visible .entry one(\n.param .u32 a,\n.param .u64 b\n)\n";
        let error = check_parameters(swapped, &planned).expect_err("other parameters").to_string();
        let expected =
            "kernel `one`: expected parameters [Address, Word], found Some([Word, Address])";
        assert_eq!(error, expected);
    }
}
