//! The driver's library and the addresses of its functions.

use std::ffi::{OsString, c_void};
use std::sync::OnceLock;

use libloading::Library;

use crate::DRIVER_VARIABLE;
use crate::answers;

/// Opened once; stays open until the program ends, since its functions may be called at any time.
static DRIVER: OnceLock<Option<Library>> = OnceLock::new();

/// The library, unless there is none.
fn driver() -> Option<&'static Library> {
    let open = || {
        let named = std::env::var_os(DRIVER_VARIABLE);
        let name = named.unwrap_or_else(|| OsString::from("libcuda.so.1"));
        // SAFETY: what runs while the CUDA driver is loaded is the system's; a library that the user names in its place is
        // the user's word.
        unsafe { Library::new(name) }.ok()
    };
    DRIVER.get_or_init(open).as_ref()
}

/// Whether there is a driver at all.
#[must_use]
pub fn driver_is_there() -> bool {
    driver().is_some()
}

/// The address to jump to for a function: the driver's, or that of an answer of our own.
pub(crate) fn address_of(name: &str) -> *const c_void {
    let Some(driver) = driver() else { return answers::without_driver(name) };
    // SAFETY: only the address is taken; whoever calls it has declared the function's true type.
    let found = unsafe { driver.get::<unsafe extern "C" fn()>(name.as_bytes()) };
    match found {
        Ok(function) => *function as *const c_void,
        Err(_) => {
            if !answers::is_own(name) {
                eprintln!("rosaq-cuda-shim: the CUDA driver has no function `{name}`");
            }
            answers::without_driver(name)
        }
    }
}
