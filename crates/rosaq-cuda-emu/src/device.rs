//! The driver, its one device, contexts, streams and events.

use std::ffi::{c_char, c_int, c_uint};
use std::time::Instant;

use crate::api::{answer, give};
use crate::state::{Status, state};

/// CUDA 12.4, whose driver reads the PTX that is committed.
const VERSION: c_int = 12_040;
/// The number of the only context and of every stream.
const CONTEXT: usize = 1;
const STREAM: usize = 2;
/// Numbers of attributes.
const MULTIPROCESSORS: c_int = 16;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

macro_rules! nothing_to_do {
    ($($name:ident($($argument:ty),*);)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> u32 {
            answer(|| state().check())
        })*
    };
}

nothing_to_do! {
    cuInit(c_uint);
    cuDevicePrimaryCtxSetFlags_v2(c_int, c_uint);
    cuDevicePrimaryCtxRelease_v2(c_int);
    cuCtxSetCurrent(usize);
    cuCtxSynchronize();
    cuStreamDestroy_v2(usize);
    cuStreamSynchronize(usize);
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: Option<&mut c_int>) -> u32 {
    answer(|| give(version, VERSION))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: Option<&mut c_int>) -> u32 {
    answer(|| give(count, 1))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: Option<&mut c_int>, ordinal: c_int) -> u32 {
    answer(|| match ordinal {
        0 => give(device, 0),
        _ => Err(Status::InvalidDevice),
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, _device: c_int) -> u32 {
    let text = c"PTX emulator";
    answer(|| {
        let bytes = text.to_bytes_with_nul();
        if name.is_null() || usize::try_from(len).is_ok_and(|len| len < bytes.len()) {
            return Err(Status::InvalidValue);
        }
        // SAFETY: there is room for `len` bytes, the caller promises.
        unsafe { name.copy_from(text.as_ptr(), bytes.len()) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: Option<&mut c_int>, attribute: c_int, _: c_int) -> u32 {
    let found = match attribute {
        MULTIPROCESSORS => 4,
        CAPABILITY_MAJOR => 8,
        CAPABILITY_MINOR => 0,
        _ => 1,
    };
    answer(|| give(value, found))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: Option<&mut usize>, _device: c_int) -> u32 {
    answer(|| give(bytes, state().memory.capacity()))
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(context: Option<&mut usize>, _device: c_int) -> u32 {
    answer(|| give(context, CONTEXT))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(context: Option<&mut usize>) -> u32 {
    answer(|| give(context, CONTEXT))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetDevice(device: Option<&mut c_int>) -> u32 {
    answer(|| give(device, 0))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreateWithPriority(stream: Option<&mut usize>, _: c_uint, _: c_int) -> u32 {
    answer(|| give(stream, STREAM))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(stream: Option<&mut usize>, _: c_uint) -> u32 {
    answer(|| give(stream, STREAM))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(event: Option<&mut usize>, _: c_uint) -> u32 {
    answer(|| {
        let mut state = state();
        let number = state.number();
        state.events.insert(number, None);
        give(event, number)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: usize) -> u32 {
    answer(|| state().events.remove(&event).map(drop).ok_or(Status::InvalidHandle))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: usize, _stream: usize) -> u32 {
    answer(|| {
        let mut state = state();
        let found = state.events.get_mut(&event).ok_or(Status::InvalidHandle)?;
        *found = Some(Instant::now());
        state.check()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: usize) -> u32 {
    answer(|| {
        let state = state();
        state.events.get(&event).ok_or(Status::InvalidHandle)?;
        state.check()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime(to: Option<&mut f32>, start: usize, end: usize) -> u32 {
    answer(|| {
        let state = state();
        let at = |event: usize| state.events.get(&event).copied().flatten();
        let (Some(start), Some(end)) = (at(start), at(end)) else {
            return Err(Status::InvalidHandle);
        };
        give(to, end.saturating_duration_since(start).as_secs_f32() * 1000.0)
    })
}
