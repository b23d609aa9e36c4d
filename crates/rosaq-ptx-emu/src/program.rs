//! What a PTX text is decoded into before it runs.

use crate::counters::OpClass;
use crate::number::{Conversion, HalfKind, HalfSpec, MapFn, Rounding};
use crate::syntax::Space;

/// The number of a register of a warp. Constants and special registers are registers too, filled
/// when the warp starts.
pub(crate) type Slot = u32;

/// The number of a predicate of a warp. The first two never change.
pub(crate) type PredSlot = u32;

/// The predicate that is true in every lane.
pub(crate) const ALWAYS: PredSlot = 0;
/// The predicate that is false in every lane.
pub(crate) const NEVER: PredSlot = 1;

/// A predicate or its negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) pred: PredSlot,
    pub(crate) is_negated: bool,
}

impl Guard {
    pub(crate) const ALWAYS: Self = Self { pred: ALWAYS, is_negated: false };
}

/// One decoded instruction.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub(crate) op: Op,
    pub(crate) class: OpClass,
    pub(crate) guard: Guard,
    pub(crate) line: u32,
    pub(crate) n_dst: u8,
    pub(crate) n_src: u8,
    pub(crate) dst: [Slot; 4],
    pub(crate) src: [Slot; 10],
}

pub(crate) type CompareFn = fn(&crate::number::Col, &crate::number::Col) -> u32;

/// How a comparison's result is joined with a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

impl Logic {
    pub(crate) fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

/// What a load says about the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Nothing.
    Usual,
    /// `.L1::no_allocate`: read once, such as weights.
    Streamed,
}

/// A memory access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) caching: Caching,
    /// Added to the address register.
    pub(crate) offset: i64,
    /// Bytes of an element in memory.
    pub(crate) bytes: u8,
    pub(crate) n_elements: u8,
    /// Loaded values are extended by their sign to the register's bits.
    pub(crate) extends_to: Option<u8>,
}

impl Access {
    /// Bytes of all elements.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.bytes) * usize::from(self.n_elements)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Map(MapFn),
    Lop3(u8),
    Compare {
        f: CompareFn,
        joined: Logic,
        with: Guard,
        p: PredSlot,
        q: PredSlot,
    },
    CompareHalves {
        kind: HalfKind,
        is_pair: bool,
        holds: fn(f32, f32) -> bool,
        joined: Logic,
        with: Guard,
        targets: [PredSlot; 2],
    },
    Select(Guard),
    Predicate {
        joined: Logic,
        a: Guard,
        b: Guard,
        to: PredSlot,
    },
    Pack {
        bits: u8,
    },
    Unpack {
        bits: u8,
    },
    Convert(Conversion),
    ConvertPair(Conversion),
    Halves(HalfSpec),
    /// `a + b`, `a * b` or `a * b + c` rounded in an unusual direction.
    RoundedF32 {
        n_operands: u8,
        is_product: bool,
        rounding: Rounding,
        flushes: bool,
        saturates: bool,
    },
    Load(Access),
    Store(Access),
    /// Adds an u32 in global memory; the offset of the address.
    AtomicAdd(i64),
    /// 16 bytes from global to shared memory, or fewer and zeros; offsets of both addresses.
    CopyAsync {
        to: i64,
        from: i64,
    },
    CommitCopies,
    WaitCopies(u32),
    LoadMatrix {
        n: u8,
        is_transposed: bool,
        offset: i64,
    },
    /// m16n8k16 of f16 values with sums in f32.
    Multiply,
    Shuffle {
        mode: ShuffleMode,
        to: PredSlot,
    },
    WarpSync,
    Barrier(u8),
    Fence,
    Branch(u32),
    Exit,
    Trap,
}

/// A register's value when a warp starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Initial {
    Bits(u64),
    /// The address of dynamic shared memory, plus an offset.
    DynamicShared(i64),
    DynamicSharedBytes,
    TotalSharedBytes,
    Thread(u8),
    Block(u8),
    BlockSize(u8),
    GridSize(u8),
    Lane,
    Warp,
    Warps,
    MaskEqual,
    MaskLess,
    MaskLessEqual,
    MaskGreater,
    MaskGreaterEqual,
    /// %smid and %nsmid: the emulator has one of everything.
    Zero,
}

/// One parameter of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSlot {
    /// Its name in the PTX.
    pub name: String,
    /// Where it begins in [`Launch::params`](crate::Launch::params).
    pub offset: usize,
    /// How many bytes it has.
    pub bytes: usize,
}

/// An entry.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) code: Vec<Inst>,
    pub(crate) n_slots: usize,
    pub(crate) n_preds: usize,
    pub(crate) initial: Vec<(Slot, Initial)>,
    pub(crate) params: Vec<ParamSlot>,
    pub(crate) param_bytes: usize,
    pub(crate) static_shared: usize,
    /// The smallest access to shared memory, in bytes: the grain of its shadow.
    pub(crate) shared_grain: usize,
    pub(crate) required_threads: Option<[u32; 3]>,
    pub(crate) most_threads: Option<u32>,
}
