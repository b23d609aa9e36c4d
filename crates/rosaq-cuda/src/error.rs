//! What can go wrong on the way to a device and on it.

/// Why a device could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no driver on this machine.
    #[error("no CUDA driver found; install the NVIDIA driver or run with --backend cpu")]
    NoDriver,
    /// There is a driver, but it sees no device.
    #[error("the CUDA driver finds no device; check `nvidia-smi` or run with --backend cpu")]
    NoDevice,
    /// There are devices, but not that one.
    #[error("no CUDA device {index}; the driver finds {found}, counted from 0")]
    NoSuchDevice {
        /// The device asked for.
        index: usize,
        /// Devices there are.
        found: usize,
    },
    /// The driver is older than the PTX.
    #[error(
        "the CUDA driver is made for CUDA {}.{}, expected {}.{} or newer; update the NVIDIA driver",
        found.0, found.1, needed.0, needed.1
    )]
    OldDriver {
        /// Major and minor version of what the driver supports.
        found: (i32, i32),
        /// Those that the kernels need.
        needed: (i32, i32),
    },
    /// The device lacks instructions that the kernels use.
    #[error(
        "CUDA device `{name}` has compute capability {}.{}, expected {}.{} or higher; run with --backend cpu",
        found.0, found.1, needed.0, needed.1
    )]
    OldDevice {
        /// The device's name.
        name: String,
        /// Major and minor version of its compute capability.
        found: (i32, i32),
        /// Those that the kernels need.
        needed: (i32, i32),
    },
    /// The device has no room.
    #[error("CUDA device out of memory: {wanted} bytes wanted, {free} free")]
    OutOfMemory {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that the driver called free right after.
        free: usize,
    },
    /// The driver's compiler refused a module.
    #[error("the CUDA driver refuses the PTX of `{module}`: {said}")]
    Ptx {
        /// The module: a kernel source's name without `.cu`.
        module: String,
        /// What the compiler said, or else the driver.
        said: String,
    },
    /// A module lacks a kernel, or declares it with other parameters.
    #[error("kernel `{kernel}`: expected parameters {expected:?}, found {found:?}")]
    Signature {
        /// The kernel.
        kernel: String,
        /// What the launch passes.
        expected: Vec<crate::Parameter>,
        /// What the PTX declares, if it declares the kernel.
        found: Option<Vec<crate::Parameter>>,
    },
    /// A kernel could not be launched, or failed while the launch waited for it.
    #[error("kernel `{kernel}` failed to launch: {cause}")]
    Launch {
        /// The kernel.
        kernel: String,
        /// What the driver said.
        cause: String,
    },
    /// Any other call of the driver failed. A kernel that fails while it runs is reported by the next call that waits for it.
    #[error("CUDA: {what} failed: {cause}")]
    Driver {
        /// What was tried.
        what: &'static str,
        /// What the driver said.
        cause: String,
    },
    /// A size that no kernel takes.
    #[error("{what} is {value}, more than the 32 bits of a kernel's argument")]
    TooLarge {
        /// What has the size.
        what: &'static str,
        /// The size.
        value: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_what_was_found_and_the_remedy() {
        let old = CudaError::OldDriver { found: (11, 2), needed: (11, 4) };
        let expected = "the CUDA driver is made for CUDA 11.2, expected 11.4 or newer; update the NVIDIA driver";
        assert_eq!(old.to_string(), expected);
        let device =
            CudaError::OldDevice { name: "Old One".to_owned(), found: (7, 5), needed: (8, 0) };
        let expected = "CUDA device `Old One` has compute capability 7.5, expected 8.0 or higher; run with --backend cpu";
        assert_eq!(device.to_string(), expected);
        let memory = CudaError::OutOfMemory { wanted: 100, free: 50 };
        assert_eq!(memory.to_string(), "CUDA device out of memory: 100 bytes wanted, 50 free");
    }
}
