#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "symbols of a foreign library are defined here")]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod answers;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod driver;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod names;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod trampoline;

/// Names a library to use in place of `libcuda.so.1`.
pub const DRIVER_VARIABLE: &str = "ROSAQ_CUDA_DRIVER";

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use driver::driver_is_there;
