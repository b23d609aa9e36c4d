//! What all entry points share.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::state::{Done, Status};

/// The number of what `call` came to. Panics must not leave through foreign frames.
pub(crate) fn answer(call: impl FnOnce() -> Done) -> u32 {
    let done = catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Status::LaunchFailed));
    done.err().unwrap_or(Status::Success) as u32
}

/// Writes to where the caller wants its answer; a reference that may be missing is what a pointer that may be null is.
pub(crate) fn give<T>(to: Option<&mut T>, value: T) -> Done {
    *to.ok_or(Status::InvalidValue)? = value;
    Ok(())
}
