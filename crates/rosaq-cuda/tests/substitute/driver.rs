//! A library in the driver's place, compiled by the test beside it. It keeps memory on the host, runs no kernel, and fails as the
//! variable `ROSAQ_TEST_DRIVER` says.
#![allow(non_snake_case)]

use std::alloc::{Layout, alloc};
use std::ffi::{c_char, c_int, c_uint, c_void};

const SUCCESS: u32 = 0;
const NO_MEMORY: u32 = 2;
const NO_DEVICE: u32 = 100;
const INVALID_PTX: u32 = 218;
const LAUNCH_FAILED: u32 = 719;
/// Bytes that the device says are free.
const FREE: usize = 1 << 20;

fn fails_by(fault: &str) -> bool {
    std::env::var("ROSAQ_TEST_DRIVER").is_ok_and(|named| named == fault)
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> u32 {
    if fails_by("no device") { NO_DEVICE } else { SUCCESS }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    unsafe { *version = if fails_by("old driver") { 11_020 } else { 12_040 } };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    unsafe { *count = 1 };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    unsafe { *device = ordinal };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, _len: c_int, _device: c_int) -> u32 {
    let text = c"Substitute";
    unsafe { name.copy_from(text.as_ptr(), text.count_bytes() + 1) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _: c_int) -> u32 {
    let old = fails_by("old device");
    unsafe {
        *value = match attribute {
            16 => 4, // multiprocessors
            75 => {
                if old {
                    7
                } else {
                    8
                }
            } // compute capability, major
            76 => {
                if old {
                    5
                } else {
                    0
                }
            } // and minor
            _ => 1,
        }
    };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> u32 {
    unsafe { *bytes = FREE };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, _device: c_int) -> u32 {
    unsafe { *context = 1 };
    SUCCESS
}

macro_rules! nothing_to_do {
    ($($name:ident($($argument:ty),*);)*) => {
        $(#[unsafe(no_mangle)] extern "C" fn $name($(_: $argument),*) -> u32 { SUCCESS })*
    };
}

nothing_to_do! {
    cuDevicePrimaryCtxRelease_v2(c_int);
    cuCtxSetCurrent(usize);
    cuCtxSynchronize();
    cuStreamDestroy_v2(usize);
    cuStreamSynchronize(usize);
    cuModuleUnload(usize);
    cuMemFree_v2(u64);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreateWithPriority(stream: *mut usize, _: c_uint, _: c_int) -> u32 {
    unsafe { *stream = 2 };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(stream: *mut usize, _: c_uint) -> u32 {
    unsafe { *stream = 2 };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    unsafe { (*free, *total) = (FREE, FREE) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32 {
    if bytes > FREE {
        return NO_MEMORY;
    }
    let Ok(layout) = Layout::from_size_align(bytes, 256) else { return NO_MEMORY };
    unsafe { *address = alloc(layout) as u64 }; // never freed: a test is short
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemsetD8_v2(address: u64, value: u8, bytes: usize) -> u32 {
    unsafe { (address as *mut u8).write_bytes(value, bytes) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize) -> u32 {
    unsafe { (to as *mut u8).copy_from(from, bytes) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) -> u32 {
    unsafe { to.copy_from(from as *const u8, bytes) };
    SUCCESS
}

/// Refuses text that does not begin as PTX does, and says so in the log if there is one.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut usize,
    image: *const u8,
    n_options: c_uint,
    options: *const c_uint,
    values: *const *mut c_char,
) -> u32 {
    if unsafe { std::slice::from_raw_parts(image, 9) } == b".version " {
        unsafe { *module = 3 };
        return SUCCESS;
    }
    let said = c"ptxas fatal : no version";
    for idx in 0..n_options as usize {
        if unsafe { *options.add(idx) } == 5 {
            unsafe { (*values.add(idx)).copy_from(said.as_ptr(), said.count_bytes() + 1) };
        }
    }
    INVALID_PTX
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(function: *mut usize, _: usize, _: *const c_char) -> u32 {
    unsafe { *function = 4 };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(_function: usize, _attribute: c_int, _value: c_int) -> u32 {
    SUCCESS
}

/// Does no product: writes 1000 times the grid's width plus the row to the first f32 of every row of y.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    _function: usize,
    grid_x: c_uint,
    _grid_y: c_uint,
    _grid_z: c_uint,
    threads: c_uint,
    _block_y: c_uint,
    _block_z: c_uint,
    _shared: c_uint,
    stream: usize,
    arguments: *const *const c_void,
    extra: *const *const c_void,
) -> u32 {
    if fails_by("launch") || threads != 256 || stream != 2 || !extra.is_null() {
        return LAUNCH_FAILED;
    }
    let address = |idx: usize| unsafe { *(*arguments.add(idx)).cast::<u64>() };
    let word = |idx: usize| unsafe { *(*arguments.add(idx)).cast::<u32>() };
    let (batch, y, y_stride) = (word(6) as usize, address(7) as *mut f32, word(8) as usize);
    for row in 0..batch {
        unsafe { *y.add(row * y_stride) = (1000 * grid_x) as f32 + row as f32 };
    }
    SUCCESS
}
