//! What a launch did, in numbers that do not depend on time.

/// Kinds of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpClass {
    /// Integers, logic, shifts and permutations.
    Integer,
    /// f32 arithmetic.
    Float32,
    /// f64 arithmetic.
    Float64,
    /// f16 and bf16 arithmetic.
    Half,
    /// Comparisons and selections.
    Predicate,
    /// Moves between registers.
    Move,
    /// Conversions between types.
    Convert,
    /// Loads, stores, atomics and asynchronous copies.
    Memory,
    /// `ldmatrix` and `mma`.
    Matrix,
    /// Exchanges between lanes.
    Warp,
    /// Barriers and fences.
    Barrier,
    /// Branches and returns.
    Control,
}

impl OpClass {
    const COUNT: usize = Self::Control as usize + 1;
}

/// Requests of one kind to memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Instructions of warps.
    pub requests: u64,
    /// Sectors of 32 bytes that the requests touch, each counted once a request. For shared memory,
    /// wavefronts: passes over its 32 banks of four bytes.
    pub sectors: u64,
    /// Different bytes of each request.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, sectors: usize, bytes: usize) {
        self.requests += 1;
        self.sectors += sectors as u64;
        self.bytes += bytes as u64;
    }

    /// Wavefronts, or sectors, of a request in the mean; zero without requests.
    #[must_use]
    pub fn per_request(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.sectors as f64 / self.requests as f64 }
    }
}

/// Counts over all blocks of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub(crate) by_class: [u64; OpClass::COUNT],
    /// Loads that leave the first-level cache alone (`.L1::no_allocate`): weights.
    pub streamed_loads: Traffic,
    /// Other loads from global memory.
    pub global_loads: Traffic,
    /// Stores to global memory, and atomics.
    pub global_stores: Traffic,
    /// Asynchronous copies from global memory.
    pub copies: Traffic,
    /// Loads from shared memory; `sectors` are wavefronts.
    pub shared_loads: Traffic,
    /// Stores to shared memory; `sectors` are wavefronts.
    pub shared_stores: Traffic,
    /// `ldmatrix`; `sectors` are wavefronts, one a matrix at least.
    pub matrix_loads: Traffic,
    /// Bytes of the sectors of global memory that were touched at all: the least that DRAM moves.
    pub unique_bytes: u64,
}

impl Counters {
    /// Instructions of warps of one kind.
    #[must_use]
    pub const fn instructions(&self, class: OpClass) -> u64 {
        self.by_class[class as usize]
    }

    /// Instructions of warps of all kinds.
    #[must_use]
    pub fn all_instructions(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// Bytes of all sectors of all requests to global memory: what the second-level cache moves
    /// when the first holds nothing.
    #[must_use]
    pub const fn requested_bytes(&self) -> u64 {
        let sectors = self.streamed_loads.sectors
            + self.global_loads.sectors
            + self.global_stores.sectors
            + self.copies.sectors;
        sectors * 32
    }

    /// Adds what another launch did; unique bytes are those of both.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.by_class.iter_mut().zip(&other.by_class) {
            *mine += theirs;
        }
        let pairs = [
            (&mut self.streamed_loads, &other.streamed_loads),
            (&mut self.global_loads, &other.global_loads),
            (&mut self.global_stores, &other.global_stores),
            (&mut self.copies, &other.copies),
            (&mut self.shared_loads, &other.shared_loads),
            (&mut self.shared_stores, &other.shared_stores),
            (&mut self.matrix_loads, &other.matrix_loads),
        ];
        for (mine, theirs) in pairs {
            mine.requests += theirs.requests;
            mine.sectors += theirs.sectors;
            mine.bytes += theirs.bytes;
        }
        self.unique_bytes += other.unique_bytes;
    }
}
