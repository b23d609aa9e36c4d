//! What a kernel did wrong.

use std::fmt;

/// A launch that went wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kernel's name.
    pub kernel: String,
    /// Line of the PTX text, from 1; zero where no instruction is to blame.
    pub line: u32,
    /// The block.
    pub block: [u32; 3],
    /// The thread within its block, counted along x, then y, then z; none where it is the whole
    /// block's or the launch's fault.
    pub thread: Option<u32>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// Kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The launch asks for what no device does.
    #[error("the launch is refused: {0}")]
    Launch(String),
    /// An address outside of every allocation, or of shared memory or the parameters.
    #[error("{bytes} bytes at {address:#x} of {space} memory lie outside of what there is")]
    OutOfBounds {
        /// Which memory.
        space: &'static str,
        /// The first byte.
        address: u64,
        /// How many.
        bytes: usize,
    },
    /// An address that is no multiple of the access.
    #[error("{address:#x} is no multiple of the {bytes} bytes accessed there")]
    Misaligned {
        /// The address.
        address: u64,
        /// The access.
        bytes: usize,
    },
    /// Bytes that nothing wrote.
    #[error("reads {space} memory at {address:#x}, which nothing wrote")]
    Uninitialized {
        /// Which memory.
        space: &'static str,
        /// The first byte.
        address: u64,
    },
    /// Two warps use the same bytes of shared memory with no barrier between.
    #[error(
        "{access} shared memory at {address:#x} with no barrier since warp {other} {other_access} it"
    )]
    Race {
        /// `reads` or `writes`.
        access: &'static str,
        /// The first byte.
        address: u64,
        /// A warp of the same block.
        other: u32,
        /// `read` or `wrote`.
        other_access: &'static str,
    },
    /// Shared memory that an asynchronous copy still writes.
    #[error("{access} shared memory at {address:#x}, which an asynchronous copy still writes")]
    InFlight {
        /// `reads` or `writes`.
        access: &'static str,
        /// The first byte.
        address: u64,
    },
    /// Two lanes of one store write different values to one place.
    #[error("two lanes of one store write different values to {address:#x} of shared memory")]
    Conflict {
        /// The first byte.
        address: u64,
    },
    /// An instruction of whole warps, executed by some lanes.
    #[error("`{instruction}` is executed by lanes {lanes:#010x} of {live:#010x}")]
    Divergent {
        /// The instruction.
        instruction: &'static str,
        /// Lanes that execute it.
        lanes: u32,
        /// Lanes that have not exited.
        live: u32,
    },
    /// Warps of one block wait at different barriers.
    #[error("warps of one block wait at different barriers: {0} and {1}")]
    Barriers(u8, u8),
    /// An asynchronous copy of more bytes than it has.
    #[error("an asynchronous copy of {0} of 16 bytes")]
    CopySize(u32),
    /// `trap`.
    #[error("trap")]
    Trap,
    /// More instructions than allowed.
    #[error("does not end within {0} instructions of warps")]
    Endless(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kernel)?;
        if self.line > 0 {
            write!(f, ", PTX line {}", self.line)?;
            let [x, y, z] = self.block;
            write!(f, ", block ({x}, {y}, {z})")?;
        }
        if let Some(thread) = self.thread {
            write!(f, ", thread {thread}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}
