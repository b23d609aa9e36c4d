//! What functions answer where the driver does not.

use std::ffi::{CStr, c_char, c_void};

/// `CUDA_SUCCESS`.
const SUCCESS: u32 = 0;
/// `CUDA_ERROR_INVALID_VALUE`.
const INVALID_VALUE: u32 = 1;
/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: u32 = 100;

/// Whether a function has an answer besides "no device".
pub(crate) fn is_own(name: &str) -> bool {
    matches!(name, "cuGetErrorString" | "cuGetErrorName")
}

/// The address of the function that answers for `name`.
pub(crate) fn without_driver(name: &str) -> *const c_void {
    match name {
        "cuGetErrorString" => error_string as *const c_void,
        "cuGetErrorName" => error_name as *const c_void,
        _ => no_device as *const c_void,
    }
}

extern "C" fn no_device() -> u32 {
    NO_DEVICE
}

/// # Safety
/// `text` is null or may be written to.
unsafe extern "C" fn error_string(error: u32, text: *mut *const c_char) -> u32 {
    let words = match error {
        SUCCESS => c"no error",
        2 => c"out of memory",
        NO_DEVICE => c"no CUDA-capable device is detected",
        218 => c"the device kernel image is invalid",
        _ => c"an error that only the CUDA driver can explain",
    };
    // SAFETY: as this function's own.
    unsafe { answer(words, text) }
}

/// # Safety
/// `text` is null or may be written to.
unsafe extern "C" fn error_name(error: u32, text: *mut *const c_char) -> u32 {
    let words = match error {
        SUCCESS => c"CUDA_SUCCESS",
        2 => c"CUDA_ERROR_OUT_OF_MEMORY",
        NO_DEVICE => c"CUDA_ERROR_NO_DEVICE",
        218 => c"CUDA_ERROR_INVALID_PTX",
        _ => c"CUDA_ERROR",
    };
    // SAFETY: as this function's own.
    unsafe { answer(words, text) }
}

/// # Safety
/// `text` is null or may be written to.
unsafe fn answer(words: &'static CStr, text: *mut *const c_char) -> u32 {
    if text.is_null() {
        return INVALID_VALUE;
    }
    // SAFETY: not null, and the caller lets it be written to.
    unsafe { text.write(words.as_ptr()) };
    SUCCESS
}
