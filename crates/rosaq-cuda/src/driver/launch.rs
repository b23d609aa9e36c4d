//! Kernels set going.

use std::ffi::c_void;

use cust::function::{BlockSize, Function, GridSize};
use cust::sys::{self, CUfunction_attribute};

use super::{Context, Module, words};
use crate::{CudaError, Parameter};

/// Dynamic shared memory that a launch may have without being asked for (CUDA C++ Programming Guide, compute capability 8.x).
const PLAIN_SHARED_BYTES: u32 = 48 << 10;

/// One argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Argument {
    Address(u64),
    Word(u32),
    Float(f32),
}

impl Argument {
    pub(crate) const fn parameter(self) -> Parameter {
        match self {
            Self::Address(_) => Parameter::Address,
            Self::Word(_) => Parameter::Word,
            Self::Float(_) => Parameter::Float,
        }
    }

    /// The bytes that the driver copies from: the lower ones of eight.
    fn bytes(self) -> [u8; 8] {
        match self {
            Self::Address(address) => address,
            Self::Word(word) => word.into(),
            Self::Float(float) => float.to_bits().into(),
        }
        .to_le_bytes()
    }
}

/// A kernel with its arguments, on a grid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    pub(crate) kernel: &'static str,
    /// CTAs.
    pub(crate) grid: [u32; 2],
    /// Threads of a CTA.
    pub(crate) threads: u32,
    /// Dynamic shared memory, in bytes.
    pub(crate) shared_bytes: u32,
    pub(crate) arguments: Vec<Argument>,
}

/// Puts a launch at the end of the context's stream, without waiting for it.
///
/// The caller has compared the arguments with the parameters that the PTX declares, and the sizes of the buffers behind the
/// addresses with what the kernel reads and writes.
pub(crate) fn launch(context: &Context, module: &Module, launch: &Launch) -> Result<(), CudaError> {
    context.enter()?;
    let failed = |cause| CudaError::Launch { kernel: launch.kernel.to_owned(), cause };
    let function = module.function(launch.kernel)?;
    if launch.shared_bytes > PLAIN_SHARED_BYTES {
        allow_shared(&function, launch.shared_bytes).map_err(failed)?;
    }
    let mut values: Vec<[u8; 8]> = launch.arguments.iter().map(|a| a.bytes()).collect();
    let arguments: Vec<*mut c_void> = values.iter_mut().map(|v| v.as_mut_ptr().cast()).collect();
    let grid = GridSize::xy(launch.grid[0], launch.grid[1]);
    let block = BlockSize::x(launch.threads);
    // SAFETY: there is a pointer for each parameter, to as many bytes or more (the caller's check); the driver copies them
    // before it returns. What the kernel does with its addresses, the caller has bounded.
    let launched =
        unsafe { context.stream().launch(&function, grid, block, launch.shared_bytes, &arguments) };
    launched.map_err(|error| failed(words(error)))
}

/// Lets a kernel have more dynamic shared memory than 48 KiB.
fn allow_shared(function: &Function<'_>, bytes: u32) -> Result<(), String> {
    let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    // SAFETY: the function belongs to a module that is loaded.
    let done = unsafe { sys::cuFuncSetAttribute(function.to_raw(), attribute, value) };
    match done {
        sys::CUresult::CUDA_SUCCESS => Ok(()),
        refused => Err(format!("{bytes} bytes of shared memory refused ({refused:?})")),
    }
}
