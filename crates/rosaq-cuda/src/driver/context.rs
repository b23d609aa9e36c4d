//! The way to a device: driver, version, device, context, stream.

use cust::context::CurrentContext;
use cust::device::{Device, DeviceAttribute};
use cust::error::CudaError as DriverError;
use cust::stream::{Stream, StreamFlags};
use cust::{CudaApiVersion, CudaFlags};

use super::failed;
use crate::CudaError;

/// CUDA of the first driver that compiles PTX 7.4 (PTX ISA, "Release History").
const NEEDED_CUDA: (i32, i32) = (11, 4);
/// First compute capability with `mma.m16n8k16` of f16 and `cp.async`, for which the PTX is made.
const NEEDED_CAPABILITY: (i32, i32) = (8, 0);

/// What is known of a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) capability: (i32, i32),
    pub(crate) n_multiprocessors: usize,
    pub(crate) memory_bytes: usize,
    /// Bytes a second between its memory and its caches, at most.
    pub(crate) bandwidth: f64,
}

/// A device's primary context with one stream, on which everything runs in order.
#[derive(Debug)]
pub(crate) struct Context {
    // Dropped before the context that it belongs to.
    stream: Stream,
    context: cust::context::Context,
    facts: Facts,
}

impl Context {
    pub(crate) fn open(index: usize) -> Result<Self, CudaError> {
        let device = find(index)?;
        let facts = facts(device).map_err(failed("asking what the device is"))?;
        if facts.capability < NEEDED_CAPABILITY {
            return Err(CudaError::OldDevice {
                name: facts.name,
                found: facts.capability,
                needed: NEEDED_CAPABILITY,
            });
        }
        let context =
            cust::context::Context::new(device).map_err(failed("taking the device's context"))?;
        // Not `NON_BLOCKING`: copies go through the null stream and must wait for what runs here.
        let stream = Stream::new(StreamFlags::DEFAULT, None).map_err(failed("making a stream"))?;
        Ok(Self { stream, context, facts })
    }

    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Makes this context the calling thread's; every call of the driver needs that before it.
    pub(crate) fn enter(&self) -> Result<(), CudaError> {
        CurrentContext::set_current(&self.context).map_err(failed("entering the device's context"))
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Waits for all that was launched.
    pub(crate) fn synchronize(&self) -> Result<(), CudaError> {
        self.enter()?;
        self.stream.synchronize().map_err(failed("running kernels on the device"))
    }
}

fn find(index: usize) -> Result<Device, CudaError> {
    if !rosaq_cuda_shim::driver_is_there() {
        return Err(CudaError::NoDriver);
    }
    match cust::init(CudaFlags::empty()) {
        Ok(()) => {}
        Err(DriverError::NoDevice) => return Err(CudaError::NoDevice),
        Err(error) => return Err(failed("starting the driver")(error)),
    }
    let version = CudaApiVersion::get().map_err(failed("asking for the driver's version"))?;
    let version = (version.major(), version.minor());
    if version < NEEDED_CUDA {
        return Err(CudaError::OldDriver { found: version, needed: NEEDED_CUDA });
    }
    let found = Device::num_devices().map_err(failed("counting devices"))?;
    if found == 0 {
        return Err(CudaError::NoDevice);
    }
    match u32::try_from(index) {
        Ok(ordinal) if ordinal < found => {
            Device::get_device(ordinal).map_err(failed("opening the device"))
        }
        _ => Err(CudaError::NoSuchDevice { index, found: found as usize }),
    }
}

fn facts(device: Device) -> Result<Facts, DriverError> {
    let number = |attribute| device.get_attribute(attribute);
    Ok(Facts {
        name: device.name()?,
        capability: (
            number(DeviceAttribute::ComputeCapabilityMajor)?,
            number(DeviceAttribute::ComputeCapabilityMinor)?,
        ),
        n_multiprocessors: usize::try_from(number(DeviceAttribute::MultiprocessorCount)?)
            .unwrap_or(1)
            .max(1),
        memory_bytes: device.total_memory()?,
        bandwidth: {
            let kilohertz = number(DeviceAttribute::MemoryClockRate)?;
            let bits = number(DeviceAttribute::GlobalMemoryBusWidth)?;
            // Twice a cycle.
            2.0 * 1e3 * f64::from(kilohertz) * f64::from(bits) / 8.0
        },
    })
}
