//! What the driver keeps: memory, modules, functions and events, all found by number.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rosaq_ptx_emu::{Launch, Memory, Module};

/// Numbers of `CUresult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    InvalidDevice = 101,
    InvalidPtx = 218,
    InvalidHandle = 400,
    NotFound = 500,
    LaunchFailed = 719,
}

/// A failed call.
pub(crate) type Done = Result<(), Status>;

/// A kernel that was asked for.
struct Function {
    module: usize,
    name: String,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) memory: Memory,
    modules: HashMap<usize, Module>,
    functions: HashMap<usize, Function>,
    pub(crate) events: HashMap<usize, Option<Instant>>,
    last: usize,
    /// A kernel went wrong: nothing works any more.
    is_lost: bool,
}

/// The driver. One caller at a time; a panic of another does not make its numbers unsound.
pub(crate) fn state() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn check(&self) -> Done {
        if self.is_lost { Err(Status::LaunchFailed) } else { Ok(()) }
    }

    /// A number that nothing has yet.
    pub(crate) fn number(&mut self) -> usize {
        self.last += 1;
        self.last
    }

    /// Reads a module; or what is wrong with it.
    pub(crate) fn load(&mut self, text: &str) -> Result<usize, CString> {
        let module = Module::parse(text)
            .map_err(|error| CString::new(error.to_string()).unwrap_or_default())?;
        let number = self.number();
        self.modules.insert(number, module);
        Ok(number)
    }

    pub(crate) fn unload(&mut self, module: usize) -> Done {
        self.functions.retain(|_, function| function.module != module);
        self.modules.remove(&module).map(drop).ok_or(Status::InvalidHandle)
    }

    pub(crate) fn function(&mut self, module: usize, name: &str) -> Result<usize, Status> {
        let found = self.modules.get(&module).ok_or(Status::InvalidHandle)?;
        found.kernel(name).ok_or(Status::NotFound)?;
        let number = self.number();
        self.functions.insert(number, Function { module, name: name.to_owned() });
        Ok(number)
    }

    /// Where a kernel's parameters begin and how many bytes each has; and how many bytes they have in all.
    pub(crate) fn params(&self, function: usize) -> Result<(Vec<(usize, usize)>, usize), Status> {
        let function = self.functions.get(&function).ok_or(Status::InvalidHandle)?;
        let module = self.modules.get(&function.module).ok_or(Status::InvalidHandle)?;
        let kernel = module.kernel(&function.name).ok_or(Status::NotFound)?;
        let params = kernel.params().iter().map(|param| (param.offset, param.bytes));
        Ok((params.collect(), kernel.param_bytes()))
    }

    /// Runs a kernel to its end.
    pub(crate) fn launch(&mut self, function: usize, launch: &Launch) -> Done {
        self.check()?;
        let function = self.functions.get(&function).ok_or(Status::InvalidHandle)?;
        let module = self.modules.get(&function.module).ok_or(Status::InvalidHandle)?;
        let kernel = module.kernel(&function.name).ok_or(Status::NotFound)?;
        kernel.launch(launch, &mut self.memory).map(drop).map_err(|fault| {
            eprintln!("emulated kernel: {fault}");
            self.is_lost = true;
            Status::LaunchFailed
        })
    }
}
