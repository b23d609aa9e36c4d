//! How many CTAs a multiprocessor can hold, from what the compiler says.

use crate::{Architecture, Usage};

/// Registers of a multiprocessor.
const REGISTERS: u32 = 65_536;
/// Registers are given to warps in pieces of this many.
const REGISTER_PIECE: u32 = 256;
/// Shared memory is given to CTAs in pieces of this many bytes.
const SHARED_PIECE: u32 = 128;
/// Bytes of shared memory that the system takes of each CTA.
const SHARED_OF_SYSTEM: u32 = 1024;

/// What a multiprocessor holds of a kernel at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// CTAs.
    pub ctas: u32,
    /// Its warps in percent of those that the multiprocessor could hold, rounded down.
    pub percent: u32,
}

/// The occupancy of a kernel with CTAs of `threads` and so many bytes of dynamic shared memory beside its static ones.
///
/// Source: the occupancy calculator of the CUDA toolkit, for capabilities from 8.0 on.
#[must_use]
pub fn occupancy(
    architecture: Architecture,
    usage: &Usage,
    threads: u32,
    dynamic_shared: u32,
) -> Occupancy {
    let warps = threads.div_ceil(32).max(1);
    let registers_of_warp = (usage.registers.max(1) * 32).next_multiple_of(REGISTER_PIECE);
    let by_registers = REGISTERS / registers_of_warp / warps;
    let shared = usage.shared.saturating_add(dynamic_shared).saturating_add(SHARED_OF_SYSTEM);
    let by_shared = architecture.shared_bytes() / shared.next_multiple_of(SHARED_PIECE);
    let by_warps = architecture.max_warps() / warps;
    let ctas = by_registers.min(by_shared).min(by_warps).min(architecture.max_ctas());
    Occupancy { ctas, percent: 100 * ctas * warps / architecture.max_warps() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_binds_somewhere() {
        let usage = |registers, shared| Usage { registers, shared, ..Usage::default() };
        let of = |usage, threads| occupancy(Architecture::Sm86, &usage, threads, 0).ctas;
        assert_eq!(of(usage(255, 0), 256), 1); // registers
        assert_eq!(of(usage(32, 48 << 10), 64), 2); // shared memory, with the system's share
        assert_eq!(of(usage(32, 0), 256), 6); // warps
        assert_eq!(of(usage(16, 0), 32), 16); // CTAs
        assert_eq!(of(usage(32, 101 << 10), 256), 0); // cannot run
    }
}
