//! Without a driver: every function answers, and none ends the program.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(unsafe_code, reason = "the functions under test are foreign to Rust")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

extern crate rosaq_cuda_shim as _;

unsafe extern "C" {
    fn cuInit(flags: c_uint) -> u32;
    fn cuGetErrorString(error: u32, text: *mut *const c_char) -> u32;
    fn cuDeviceGetCount(count: *mut c_int) -> u32;
    fn cuLaunchKernel(
        function: *mut c_void,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: *mut c_void,
        arguments: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> u32;
}

/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: u32 = 100;

#[test]
fn every_call_says_no_device() {
    // SAFETY: a single test, so that no other thread reads the environment; the functions touch none of their arguments
    // without a driver.
    unsafe {
        std::env::set_var(rosaq_cuda_shim::DRIVER_VARIABLE, "no-such-library.so");
        assert!(!rosaq_cuda_shim::driver_is_there());
        let mut count = 7;
        for _ in 0..2 {
            assert_eq!(cuInit(0), NO_DEVICE);
            assert_eq!(cuDeviceGetCount(&raw mut count), NO_DEVICE);
            let null = std::ptr::null_mut();
            let launched =
                cuLaunchKernel(null, 1, 1, 1, 1, 1, 1, 0, null, null.cast(), null.cast());
            assert_eq!(launched, NO_DEVICE);
        }
        assert_eq!(count, 7);
        let mut text = std::ptr::null();
        assert_eq!(cuGetErrorString(NO_DEVICE, &raw mut text), 0);
        assert_eq!(CStr::from_ptr(text), c"no CUDA-capable device is detected");
    }
}
