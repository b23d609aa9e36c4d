//! Memory of the device, and copies.

use std::ffi::c_uint;

use rosaq_ptx_emu::MemoryError;

use crate::api::{answer, give};
use crate::state::{Done, Status, state};

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn status(error: MemoryError) -> Status {
    match error {
        MemoryError::Full { .. } => Status::OutOfMemory,
        _ => Status::InvalidValue,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: Option<&mut usize>, total: Option<&mut usize>) -> u32 {
    answer(|| {
        let state = state();
        let (used, capacity) = (state.memory.used(), state.memory.capacity());
        give(free, capacity - used)?;
        give(total, capacity)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(address: Option<&mut u64>, bytes: usize) -> u32 {
    answer(|| {
        let mut state = state();
        state.check()?;
        let found = state.memory.allocate(bytes).map_err(status)?;
        give(address, found)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    answer(|| state().memory.free(address).map_err(status))
}

fn fill(address: u64, value: &[u8], n: usize) -> Done {
    let mut state = state();
    state.check()?;
    let bytes = n.checked_mul(value.len()).ok_or(Status::InvalidValue)?;
    if bytes > state.memory.capacity() {
        return Err(Status::InvalidValue);
    }
    state.memory.write(address, &value.repeat(n)).map_err(status)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8_v2(address: u64, value: u8, n: usize) -> u32 {
    answer(|| fill(address, &[value], n))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32_v2(address: u64, value: c_uint, n: usize) -> u32 {
    answer(|| fill(address, &value.to_le_bytes(), n))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize) -> u32 {
    answer(|| {
        let mut state = state();
        state.check()?;
        if bytes == 0 {
            return Ok(());
        }
        if from.is_null() {
            return Err(Status::InvalidValue);
        }
        // SAFETY: it is good for so many bytes, the caller promises.
        let from = unsafe { std::slice::from_raw_parts(from, bytes) };
        state.memory.write(to, from).map_err(status)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) -> u32 {
    answer(|| {
        let state = state();
        state.check()?;
        if bytes == 0 {
            return Ok(());
        }
        if to.is_null() {
            return Err(Status::InvalidValue);
        }
        // SAFETY: it is good for so many bytes, the caller promises.
        let to = unsafe { std::slice::from_raw_parts_mut(to, bytes) };
        state.memory.read(from, to).map_err(status)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> u32 {
    answer(|| {
        let mut state = state();
        state.check()?;
        if bytes > state.memory.capacity() {
            return Err(Status::InvalidValue);
        }
        let mut copied = vec![0; bytes];
        state.memory.read(from, &mut copied).map_err(status)?;
        state.memory.write(to, &copied).map_err(status)
    })
}
