//! The devices that kernels are assembled for, and what their multiprocessors hold.

/// A compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// 8.0: A100.
    Sm80,
    /// 8.6: A10, RTX 30, RTX A6000.
    Sm86,
    /// 8.9: L4, L40, RTX 40.
    Sm89,
    /// 9.0: H100.
    Sm90,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sm80, Self::Sm86, Self::Sm89, Self::Sm90];

    /// Its name in flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm86 => "sm_86",
            Self::Sm89 => "sm_89",
            Self::Sm90 => "sm_90",
        }
    }

    // Source of the limits: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".

    /// Warps that a multiprocessor holds at once.
    pub(crate) const fn max_warps(self) -> u32 {
        match self {
            Self::Sm80 | Self::Sm90 => 64,
            Self::Sm86 | Self::Sm89 => 48,
        }
    }

    /// CTAs that a multiprocessor holds at once.
    pub(crate) const fn max_ctas(self) -> u32 {
        match self {
            Self::Sm80 | Self::Sm90 => 32,
            Self::Sm86 => 16,
            Self::Sm89 => 24,
        }
    }

    /// Bytes of shared memory of a multiprocessor.
    pub(crate) const fn shared_bytes(self) -> u32 {
        match self {
            Self::Sm80 => 164 << 10,
            Self::Sm86 | Self::Sm89 => 100 << 10,
            Self::Sm90 => 228 << 10,
        }
    }
}
