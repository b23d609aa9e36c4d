//! The emulated driver in the place of a real one.

use std::path::PathBuf;

use rosaq_cuda::CudaDevice;

/// The emulated device. One thread at a time: what goes wrong on a device is reported by the call after.
pub(crate) fn device() -> CudaDevice {
    let tests = std::env::current_exe().expect("a running program");
    // The tests lie in `deps` beside the library.
    let beside = |levels: usize| -> Option<PathBuf> {
        let library = tests.ancestors().nth(levels)?.join("librosaq_cuda_emu.so");
        library.exists().then_some(library)
    };
    let library = beside(2).unwrap_or_else(|| {
        panic!("no emulated driver; first run `cargo build --package rosaq-cuda-emu`")
    });
    // SAFETY: set before the driver is looked up, in a program with one test.
    unsafe { std::env::set_var("ROSAQ_CUDA_DRIVER", library) };
    CudaDevice::open(0).expect("the emulated device")
}
