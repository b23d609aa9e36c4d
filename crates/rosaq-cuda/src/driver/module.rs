//! PTX compiled by the driver.

use std::ffi::{CStr, CString, c_void};
use std::ptr;

use cust::function::Function;
use cust::sys::{self, CUjit_option};

use super::{Context, words};
use crate::CudaError;

/// Bytes for what the driver's compiler says.
const LOG_BYTES: usize = 4096;

/// The kernels of one source.
#[derive(Debug)]
pub(crate) struct Module {
    compiled: cust::module::Module,
}

impl Module {
    /// Compiles PTX for the context's device, which can take many seconds where the driver has not kept the outcome.
    pub(crate) fn load(context: &Context, name: &str, ptx: &str) -> Result<Self, CudaError> {
        context.enter()?;
        let refused = |said| CudaError::Ptx { module: name.to_owned(), said };
        let text = CString::new(ptx).map_err(|_| refused("a byte of it is zero".to_owned()))?;
        match cust::module::Module::from_ptx_cstr(&text, &[]) {
            Ok(compiled) => Ok(Self { compiled }),
            Err(error) => {
                let log = compiler_log(&text);
                let cause = words(error);
                Err(refused(if log.is_empty() { cause } else { format!("{cause}\n{log}") }))
            }
        }
    }

    pub(super) fn function(&self, name: &str) -> Result<Function<'_>, CudaError> {
        self.compiled
            .get_function(name)
            .map_err(|error| CudaError::Launch { kernel: name.to_owned(), cause: words(error) })
    }
}

/// Compiles once more, to hear what the compiler objects to: cust passes no buffer for its words.
fn compiler_log(text: &CStr) -> String {
    let mut log = vec![0u8; LOG_BYTES];
    let mut options =
        [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values: [*mut c_void; 2] =
        [log.as_mut_ptr().cast(), ptr::without_provenance_mut(LOG_BYTES - 1)];
    let mut module = ptr::null_mut();
    // SAFETY: `text` ends with a zero, the options are as many as said, and the log has one byte more than the driver is told
    // of, so that a zero ends it in any case. All of it outlives the call.
    let done = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut module,
            text.as_ptr().cast(),
            2,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    if done == sys::CUresult::CUDA_SUCCESS {
        // SAFETY: the module was just loaded, and nothing of it is in use.
        let _ = unsafe { sys::cuModuleUnload(module) };
    }
    let text = CStr::from_bytes_until_nul(&log).unwrap_or_default();
    text.to_string_lossy().trim().to_owned()
}
