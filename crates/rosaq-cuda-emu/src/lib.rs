#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "a foreign interface is implemented here")]
#![allow(non_snake_case, reason = "the driver's names")]

mod api;
mod device;
mod execution;
mod memory;
mod state;
