//! A launch: its sizes, its parameters, and the order in which its warps take turns.

/// How a kernel is launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub dynamic_shared: usize,
    /// The parameters, laid out as [`ParamSlot`](crate::ParamSlot) says.
    pub params: Vec<u8>,
    /// Blocks that run at the same time.
    pub resident_blocks: usize,
    /// Zero runs blocks in order, and each warp up to the next barrier. Other seeds shuffle the
    /// blocks, and let warps take turns at random.
    pub seed: u64,
}

impl Launch {
    /// A launch with no shared memory and no parameters, two blocks at a time, in order.
    #[must_use]
    pub const fn new(grid: [u32; 3], block: [u32; 3]) -> Self {
        Self { grid, block, dynamic_shared: 0, params: Vec::new(), resident_blocks: 2, seed: 0 }
    }
}

/// Parameters one after the other, each at a multiple of its size.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<u8>);

impl Params {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An address.
    #[must_use]
    pub fn address(self, value: u64) -> Self {
        self.push(&value.to_le_bytes())
    }

    /// A word of 32 bits.
    #[must_use]
    pub fn word(self, value: u32) -> Self {
        self.push(&value.to_le_bytes())
    }

    /// A number of 32 bits.
    #[must_use]
    pub fn f32(self, value: f32) -> Self {
        self.push(&value.to_le_bytes())
    }

    /// The bytes for [`Launch::params`].
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn push(mut self, bytes: &[u8]) -> Self {
        self.0.resize(self.0.len().next_multiple_of(bytes.len()), 0);
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Numbers that follow from a seed (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
