//! A PTX text, ready to run.

use crate::counters::Counters;
use crate::execute::Idle;
use crate::fault::Fault;
use crate::launch::Launch;
use crate::memory::Memory;
use crate::program::{ParamSlot, Program};
use crate::{PtxError, execute, lower, syntax};

/// The kernels of one PTX text.
#[derive(Debug)]
pub struct Module {
    entries: Vec<Entry>,
}

/// A kernel, and blocks of it that ran before.
#[derive(Debug)]
struct Entry {
    program: Program,
    idle: Idle,
}

/// One kernel of a [`Module`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a>(&'a Entry);

impl Module {
    /// Reads a PTX text (PTX ISA, chapters 4 to 10) and decodes all of its entries.
    ///
    /// # Errors
    /// [`PtxError`], where the text is no PTX, or has what the emulator does not execute.
    pub fn parse(text: &str) -> Result<Self, PtxError> {
        let parsed = syntax::parse(text)?;
        let entries = 0..parsed.functions.len();
        let entry =
            |entry| Ok(Entry { program: lower::lower(&parsed, entry)?, idle: Idle::default() });
        Ok(Self { entries: entries.map(entry).collect::<Result<_, PtxError>>()? })
    }

    /// All kernels, in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = Kernel<'_>> {
        self.entries.iter().map(Kernel)
    }

    /// The kernel of that name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<Kernel<'_>> {
        self.kernels().find(|kernel| kernel.name() == name)
    }
}

impl<'a> Kernel<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.0.program.name
    }

    /// Its parameters, in order.
    #[must_use]
    pub fn params(&self) -> &'a [ParamSlot] {
        &self.0.program.params
    }

    /// Bytes of all parameters.
    #[must_use]
    pub const fn param_bytes(&self) -> usize {
        self.0.program.param_bytes
    }

    /// Bytes of static shared memory.
    #[must_use]
    pub const fn static_shared(&self) -> usize {
        self.0.program.static_shared
    }

    /// Runs the kernel to its end.
    ///
    /// # Errors
    /// The first [`Fault`]; memory is then as the kernel left it.
    pub fn launch(&self, launch: &Launch, memory: &mut Memory) -> Result<Counters, Fault> {
        execute::launch(&self.0.program, &self.0.idle, launch, memory)
    }
}
