//! Loads, stores, atomics and asynchronous copies.

use super::shared::{Shared, wavefronts};
use super::warp::{Copy, Warp, World};
use crate::counters::Traffic;
use crate::fault::FaultKind;
use crate::memory::SECTOR;
use crate::program::{Access, Caching, Inst};
use crate::syntax::Space;

/// Addresses by lane; none where a lane does not take part.
type Addresses = [Option<u64>; 32];

impl Warp {
    /// Addresses of the lanes of `mask`. Those of shared memory and parameters have 32 bits.
    pub(super) fn addresses(&self, slot: u32, offset: i64, is_wide: bool, mask: u32) -> Addresses {
        let base = &self.regs[slot as usize];
        std::array::from_fn(|lane| {
            let address = base[lane].wrapping_add_signed(offset);
            let address = if is_wide { address } else { u64::from(address as u32) };
            (mask >> lane & 1 == 1).then_some(address)
        })
    }

    pub(super) fn load(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        (access, inst): (Access, &Inst),
        mask: u32,
    ) -> Result<(), FaultKind> {
        let is_wide = access.space == Space::Global;
        let addresses = self.addresses(inst.src[0], access.offset, is_wide, mask);
        let n = access.len();
        let mut hint = 0;
        for (lane, address) in present(&addresses) {
            self.lane = Some(lane as u32);
            let mut bytes = [0; 16];
            let into = &mut bytes[..n];
            match access.space {
                Space::Global => world.memory.load(address, into, &mut hint)?,
                Space::Shared => shared.read(self.number, address, into)?,
                Space::Param => read_params(world.params, address, into)?,
            }
            let size = usize::from(access.bytes);
            for (element, &slot) in bytes[..n].chunks_exact(size).zip(&inst.dst) {
                self.regs[slot as usize][lane] = extended(element, access.extends_to);
            }
        }
        let counters = &mut *world.counters;
        match (access.space, access.caching) {
            (Space::Global, Caching::Streamed) => {
                count(&mut counters.streamed_loads, &addresses, n)
            }
            (Space::Global, Caching::Usual) => count(&mut counters.global_loads, &addresses, n),
            (Space::Shared, _) => {
                counters.shared_loads.add(wavefronts(&addresses, n), distinct(&addresses, 1) * n);
            }
            (Space::Param, _) => {}
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        (access, inst): (Access, &Inst),
        mask: u32,
    ) -> Result<(), FaultKind> {
        let is_wide = access.space == Space::Global;
        let addresses = self.addresses(inst.src[0], access.offset, is_wide, mask);
        let (n, size) = (access.len(), usize::from(access.bytes));
        let mut hint = 0;
        shared.begin_store();
        for (lane, address) in present(&addresses) {
            self.lane = Some(lane as u32);
            let mut bytes = [0; 16];
            for (element, &slot) in bytes[..n].chunks_exact_mut(size).zip(&inst.src[1..]) {
                element.copy_from_slice(&self.regs[slot as usize][lane].to_le_bytes()[..size]);
            }
            if is_wide {
                world.memory.store(address, &bytes[..n], &mut hint)?;
            } else {
                shared.write(self.number, address, &bytes[..n])?;
            }
        }
        if is_wide {
            count(&mut world.counters.global_stores, &addresses, n);
        } else {
            let bytes = distinct(&addresses, 1) * n;
            world.counters.shared_stores.add(wavefronts(&addresses, n), bytes);
        }
        Ok(())
    }

    /// One lane after the other.
    pub(super) fn atomic_add(
        &mut self,
        world: &mut World<'_>,
        (offset, inst): (i64, &Inst),
        mask: u32,
    ) -> Result<(), FaultKind> {
        let addresses = self.addresses(inst.src[0], offset, true, mask);
        let mut hint = 0;
        for (lane, address) in present(&addresses) {
            self.lane = Some(lane as u32);
            let mut bytes = [0; 4];
            world.memory.load(address, &mut bytes, &mut hint)?;
            let before = u32::from_le_bytes(bytes);
            let after = before.wrapping_add(self.regs[inst.src[1] as usize][lane] as u32);
            world.memory.store(address, &after.to_le_bytes(), &mut hint)?;
            self.regs[inst.dst[0] as usize][lane] = u64::from(before);
        }
        count(&mut world.counters.global_stores, &addresses, 4);
        Ok(())
    }

    /// Bytes are read now, and land when the warp waits for them: as late as is allowed.
    pub(super) fn copy(
        &mut self,
        world: &mut World<'_>,
        shared: &mut Shared,
        (inst, to, from): (&Inst, i64, i64),
        mask: u32,
    ) -> Result<(), FaultKind> {
        let targets = self.addresses(inst.src[0], to, false, mask);
        let mut sources = self.addresses(inst.src[1], from, true, mask);
        let mut hint = 0;
        for (lane, to) in present(&targets) {
            self.lane = Some(lane as u32);
            let n = self.regs[inst.src[2] as usize][lane] as u32;
            if n > 16 {
                return Err(FaultKind::CopySize(n));
            }
            let mut bytes = [0; 16];
            match sources[lane] {
                // Nothing is read, so that the address may lie anywhere.
                Some(_) if n == 0 => sources[lane] = None,
                Some(address) if !address.is_multiple_of(16) => {
                    return Err(FaultKind::Misaligned { address, bytes: 16 });
                }
                Some(address) => {
                    for (i, pair) in bytes[..n as usize].chunks_mut(2).enumerate() {
                        world.memory.load(address + 2 * i as u64, pair, &mut hint)?;
                    }
                }
                None => {}
            }
            shared.begin_copy(self.number, to)?;
            self.open.push(Copy { to, bytes });
        }
        count(&mut world.counters.copies, &sources, 16);
        Ok(())
    }

    pub(super) fn wait(&mut self, shared: &mut Shared, n: u32, mask: u32) -> Result<(), FaultKind> {
        self.whole("cp.async.wait_group", mask)?;
        while self.groups.len() > n as usize {
            for copy in self.groups.pop_front().into_iter().flatten() {
                shared.land_copy(self.number, copy.to, &copy.bytes);
            }
        }
        Ok(())
    }
}

fn present(addresses: &Addresses) -> impl Iterator<Item = (usize, u64)> {
    addresses.iter().enumerate().filter_map(|(lane, address)| Some((lane, (*address)?)))
}

fn read_params(params: &[u8], address: u64, into: &mut [u8]) -> Result<(), FaultKind> {
    let bytes = into.len();
    let found = usize::try_from(address).ok().and_then(|at| params.get(at..at.checked_add(bytes)?));
    let Some(found) = found else {
        return Err(FaultKind::OutOfBounds { space: "parameter", address, bytes });
    };
    into.copy_from_slice(found);
    Ok(())
}

/// A register's bits for an element in memory.
fn extended(element: &[u8], to_bits: Option<u8>) -> u64 {
    let mut bytes = [0; 8];
    bytes[..element.len()].copy_from_slice(element);
    let value = u64::from_le_bytes(bytes);
    let Some(bits) = to_bits else { return value };
    let unused = 64 - 8 * element.len() as u32;
    let signed = ((value << unused) as i64) >> unused;
    signed as u64 & (u64::MAX >> (64 - u32::from(bits)))
}

/// How many different multiples of `unit` the addresses lie in.
fn distinct(addresses: &Addresses, unit: u64) -> usize {
    let mut units = [u64::MAX; 32];
    let mut n = 0;
    for (_, address) in present(addresses) {
        units[n] = address / unit;
        n += 1;
    }
    let units = &mut units[..n];
    units.sort_unstable();
    n - units.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

fn count(traffic: &mut Traffic, addresses: &Addresses, bytes: usize) {
    traffic.add(distinct(addresses, SECTOR as u64), distinct(addresses, 1) * bytes);
}
