//! Modules, functions and launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use rosaq_ptx_emu::Launch;

use crate::api::{answer, give};
use crate::state::{Done, Status, state};

/// Options of `cuModuleLoadDataEx`: where the compiler's errors go, and how many bytes have room.
const ERROR_LOG: c_uint = 5;
const ERROR_LOG_BYTES: c_uint = 6;
/// Seeds the order of blocks and warps.
const SEED_VARIABLE: &str = "ROSAQ_EMULATOR_SEED";

/// A text of the caller's.
///
/// # Safety
/// It is null, or ends with a zero.
unsafe fn text<'a>(from: *const c_char) -> Result<&'a str, Status> {
    if from.is_null() {
        return Err(Status::InvalidValue);
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(from) }.to_str().map_err(|_| Status::InvalidPtx)
}

fn load(module: Option<&mut usize>, ptx: &str, log: impl FnOnce(&CStr)) -> Done {
    let mut state = state();
    state.check()?;
    let number = state.load(ptx).map_err(|reason| {
        log(&reason);
        Status::InvalidPtx
    })?;
    give(module, number)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(module: Option<&mut usize>, image: *const c_char) -> u32 {
    // SAFETY: PTX ends with a zero, the caller promises.
    answer(|| load(module, unsafe { text(image) }?, |_| ()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    module: Option<&mut usize>,
    image: *const c_char,
    n_options: c_uint,
    options: *const c_uint,
    values: *const *mut c_char,
) -> u32 {
    let value_of = |wanted: c_uint| {
        // SAFETY: both have so many elements, the caller promises.
        let at = |idx: usize| unsafe { (*options.add(idx), *values.add(idx)) };
        (0..n_options as usize).map(at).find(|&(option, _)| option == wanted).map(|found| found.1)
    };
    let log = |reason: &CStr| {
        let Some(to) = value_of(ERROR_LOG).filter(|to| !to.is_null()) else { return };
        // The number of bytes stands in the place of a pointer.
        let room = value_of(ERROR_LOG_BYTES).map_or(0, |bytes| bytes as usize);
        let bytes = reason.to_bytes_with_nul();
        if room >= bytes.len() {
            // SAFETY: there is room.
            unsafe { to.copy_from(bytes.as_ptr().cast(), bytes.len()) };
        }
    };
    // SAFETY: PTX ends with a zero, the caller promises.
    answer(|| load(module, unsafe { text(image) }?, log))
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: usize) -> u32 {
    answer(|| state().unload(module))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(
    function: Option<&mut usize>,
    module: usize,
    name: *const c_char,
) -> u32 {
    answer(|| {
        // SAFETY: names end with a zero, the caller promises.
        let number = state().function(module, unsafe { text(name) }?)?;
        give(function, number)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: usize, _attribute: c_int, _value: c_int) -> u32 {
    answer(|| state().params(function).map(drop))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    _stream: usize,
    arguments: *const *const c_void,
    extra: *const *const c_void,
) -> u32 {
    answer(|| {
        let mut state = state();
        state.check()?;
        let (slots, n_bytes) = state.params(function)?;
        if !extra.is_null() || (arguments.is_null() && !slots.is_empty()) {
            return Err(Status::InvalidValue);
        }
        let mut params = vec![0; n_bytes];
        for (idx, (offset, bytes)) in slots.into_iter().enumerate() {
            // SAFETY: there is a pointer for each parameter, the caller promises.
            let from = unsafe { *arguments.add(idx) };
            if from.is_null() {
                return Err(Status::InvalidValue);
            }
            // SAFETY: to as many bytes as the parameter has.
            let value = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
            params[offset..offset + bytes].copy_from_slice(value);
        }
        let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let launch = Launch {
            dynamic_shared: shared_bytes as usize,
            params,
            seed: seed.unwrap_or(0),
            ..Launch::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z])
        };
        state.launch(function, &launch)
    })
}
