//! Without a driver: programs link, start, and say what is missing.
#![allow(unsafe_code, reason = "the environment is written to")]

use rosaq_cuda::{CudaDevice, CudaError};

#[test]
fn opening_a_device_says_that_there_is_no_driver() {
    // SAFETY: the only test of this program, so that no other thread reads the environment.
    unsafe { std::env::set_var("ROSAQ_CUDA_DRIVER", "no-such-library.so") };
    let error = CudaDevice::open(0).expect_err("no driver");
    assert_eq!(error, CudaError::NoDriver);
    let expected = "no CUDA driver found; install the NVIDIA driver or run with --backend cpu";
    assert_eq!(error.to_string(), expected);
    let refused = cust::init(cust::CudaFlags::empty());
    assert_eq!(refused, Err(cust::error::CudaError::NoDevice));
    // cust asks the driver for these words, and panics where there are none.
    assert_eq!(
        refused.expect_err("no driver").to_string(),
        "\"no CUDA-capable device is detected\""
    );
}
