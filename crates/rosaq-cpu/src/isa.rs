//! Instruction sets that have kernels, and which of them is used.

use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::{avx2::Avx2, avx512::Avx512, avx512_vnni::Avx512Vnni};

/// An instruction set that has kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, on every processor: the reference.
    Scalar,
    /// NEON, on 64-bit Arm.
    Neon,
    /// The same with the products of bytes of Armv8.4, which products with activations of eight bits use.
    NeonDot,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW and VL with F16C.
    Avx512,
    /// The same with VNNI and VBMI, which products with activations of eight bits use.
    Avx512Vnni,
}

impl Isa {
    /// All of them, the widest last.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Neon, Self::NeonDot, Self::Avx2, Self::Avx512, Self::Avx512Vnni];

    /// The environment variable that names the one to use, to compare them and to test each.
    pub const VARIABLE: &'static str = "ROSAQ_ISA";

    /// The one that [`Self::VARIABLE`] names if this processor has it, else the widest one that it has. Looked up once.
    #[must_use]
    pub fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| Self::forced().ok().flatten().unwrap_or_else(Self::widest))
    }

    /// The one that [`Self::VARIABLE`] names; `None` where it is not set.
    ///
    /// # Errors
    /// A sentence that says what may be set, when there is no such instruction set or this processor lacks it.
    pub fn forced() -> Result<Option<Self>, String> {
        let Some(name) = std::env::var_os(Self::VARIABLE) else { return Ok(None) };
        let named = Self::ALL.into_iter().find(|isa| isa.name() == name && isa.is_available());
        let of_here = Self::ALL.iter().filter(|isa| isa.is_available()).map(|isa| isa.name());
        named.map(Some).ok_or_else(|| {
            let of_here = of_here.collect::<Vec<_>>().join(", ");
            format!("{} is {name:?}; this processor has {of_here}", Self::VARIABLE)
        })
    }

    /// The widest one that this processor has.
    #[must_use]
    pub fn widest() -> Self {
        Self::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }

    /// True when this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Avx512Vnni::new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::<false>::new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => Neon::<true>::new().is_some(),
            _ => false,
        }
    }

    /// Its name in reports: "scalar", "neon", "neon-dot", "avx2", "avx512" or "avx512-vnni".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dot",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
