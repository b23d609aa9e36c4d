//! Global memory: allocations with gaps between them, and what is known of each of their bytes.

use std::ops::Range;

use crate::fault::FaultKind;

/// Bytes of a sector: what a request to global memory moves at least.
pub(crate) const SECTOR: usize = 32;
/// Where the first allocation lies.
const FIRST: u64 = 0x7000_0000_0000;
/// Between two allocations, so that an access beyond one's end lies in none.
const GAP: u64 = 1 << 16;
/// What fresh memory holds: as f16, f32 or an index it is of no use.
const FRESH: u8 = 0xff;

/// An access of the host, or a size, that the memory does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// No allocation holds all of these bytes.
    #[error("{bytes} bytes at {address:#x} lie outside of every allocation")]
    OutOfBounds {
        /// The first byte.
        address: u64,
        /// How many.
        bytes: usize,
    },
    /// No allocation begins there.
    #[error("no allocation begins at {0:#x}")]
    NotAllocated(u64),
    /// More than there is.
    #[error("no room for {asked} bytes: {used} of {capacity} are in use")]
    Full {
        /// What was asked for.
        asked: usize,
        /// What is in use.
        used: usize,
        /// All there is.
        capacity: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Allocation {
    base: u64,
    bytes: Vec<u8>,
    /// A bit a byte: something wrote it. Empty where something wrote all.
    written: Vec<u64>,
    /// A bit a sector: the launch touched it.
    touched: Vec<u64>,
}

/// The memory of a device.
#[derive(Debug)]
pub struct Memory {
    /// In the order of their addresses.
    allocations: Vec<Allocation>,
    next: u64,
    used: usize,
    capacity: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(8 << 30)
    }
}

impl Memory {
    /// Memory of `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { allocations: Vec::new(), next: FIRST, used: 0, capacity }
    }

    /// Bytes in all.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that allocations have.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// The address, a multiple of 256, of `bytes` bytes that nothing wrote yet.
    ///
    /// # Errors
    /// [`MemoryError::Full`]
    pub fn allocate(&mut self, bytes: usize) -> Result<u64, MemoryError> {
        if bytes > self.capacity - self.used {
            let (used, capacity) = (self.used, self.capacity);
            return Err(MemoryError::Full { asked: bytes, used, capacity });
        }
        let base = self.next;
        self.next = (base + bytes as u64 + GAP).next_multiple_of(256);
        self.used += bytes;
        self.allocations.push(Allocation {
            base,
            bytes: vec![FRESH; bytes],
            written: vec![0; bytes.div_ceil(64)],
            touched: vec![0; bytes.div_ceil(SECTOR).div_ceil(64)],
        });
        Ok(base)
    }

    /// Gives an allocation back.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`]
    pub fn free(&mut self, address: u64) -> Result<(), MemoryError> {
        let found = self.allocations.iter().position(|a| a.base == address);
        let at = found.ok_or(MemoryError::NotAllocated(address))?;
        self.used -= self.allocations.remove(at).bytes.len();
        Ok(())
    }

    /// Where the allocation that holds `address` begins, and how many bytes it has.
    #[must_use]
    pub fn allocation_at(&self, address: u64) -> Option<(u64, usize)> {
        let at = self.find(address, 0)?;
        Some((self.allocations[at].base, self.allocations[at].bytes.len()))
    }

    /// Writes, as the host does.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`]
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let (at, range) = self.host_range(address, bytes.len())?;
        let allocation = &mut self.allocations[at];
        allocation.bytes[range.clone()].copy_from_slice(bytes);
        allocation.mark_written(range);
        Ok(())
    }

    /// Reads, as the host does. Bytes that nothing wrote are all ones.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`]
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let (at, range) = self.host_range(address, into.len())?;
        into.copy_from_slice(&self.allocations[at].bytes[range]);
        Ok(())
    }

    /// Bytes of the sectors in `addresses` that the last launch touched.
    #[must_use]
    pub fn touched_bytes(&self, addresses: Range<u64>) -> u64 {
        let mut n = 0;
        for allocation in &self.allocations {
            for sector in 0..allocation.bytes.len().div_ceil(SECTOR) {
                let at = allocation.base + (sector * SECTOR) as u64;
                let is_touched = allocation.touched[sector / 64] >> (sector % 64) & 1 == 1;
                n += u64::from(is_touched && addresses.contains(&at)) * SECTOR as u64;
            }
        }
        n
    }

    pub(crate) fn begin_launch(&mut self) {
        for allocation in &mut self.allocations {
            allocation.touched.fill(0);
        }
    }

    pub(crate) fn unique_bytes(&self) -> u64 {
        let words = self.allocations.iter().flat_map(|allocation| &allocation.touched);
        words.map(|word| u64::from(word.count_ones())).sum::<u64>() * SECTOR as u64
    }

    /// The number of the allocation that holds `bytes` bytes at `address`.
    #[inline]
    fn find(&self, address: u64, bytes: usize) -> Option<usize> {
        let at = self.allocations.partition_point(|a| a.base <= address).checked_sub(1)?;
        let offset = (address - self.allocations[at].base) as usize;
        let end = offset.checked_add(bytes)?;
        (end <= self.allocations[at].bytes.len()).then_some(at)
    }

    fn host_range(&self, address: u64, bytes: usize) -> Result<(usize, Range<usize>), MemoryError> {
        let at = self.find(address, bytes).ok_or(MemoryError::OutOfBounds { address, bytes })?;
        let from = (address - self.allocations[at].base) as usize;
        Ok((at, from..from + bytes))
    }

    /// A kernel's access: checked, aligned, and counted as touched. `hint` is the allocation that
    /// the access before it fell into.
    #[inline]
    fn place(
        &mut self,
        address: u64,
        bytes: usize,
        hint: &mut usize,
    ) -> Result<(&mut Allocation, usize), FaultKind> {
        let is_hit = self.allocations.get(*hint).is_some_and(|allocation| {
            let offset = address.wrapping_sub(allocation.base);
            offset.checked_add(bytes as u64).is_some_and(|end| end <= allocation.bytes.len() as u64)
        });
        if !is_hit {
            *hint = self.find(address, bytes).ok_or(FaultKind::OutOfBounds {
                space: "global",
                address,
                bytes,
            })?;
        }
        if !address.is_multiple_of(bytes.next_power_of_two() as u64) {
            return Err(FaultKind::Misaligned { address, bytes });
        }
        let allocation = &mut self.allocations[*hint];
        let offset = (address - allocation.base) as usize;
        let sector = offset / SECTOR;
        allocation.touched[sector / 64] |= 1 << (sector % 64);
        Ok((allocation, offset))
    }

    /// A kernel's read of up to 16 bytes.
    #[inline]
    pub(crate) fn load(
        &mut self,
        address: u64,
        into: &mut [u8],
        hint: &mut usize,
    ) -> Result<(), FaultKind> {
        let (allocation, offset) = self.place(address, into.len(), hint)?;
        if !allocation.is_written(offset..offset + into.len()) {
            return Err(FaultKind::Uninitialized { space: "global", address });
        }
        into.copy_from_slice(&allocation.bytes[offset..offset + into.len()]);
        Ok(())
    }

    /// A kernel's write of up to 16 bytes.
    #[inline]
    pub(crate) fn store(
        &mut self,
        address: u64,
        bytes: &[u8],
        hint: &mut usize,
    ) -> Result<(), FaultKind> {
        let (allocation, offset) = self.place(address, bytes.len(), hint)?;
        allocation.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        allocation.mark_written(offset..offset + bytes.len());
        Ok(())
    }
}

impl Allocation {
    #[inline]
    fn is_written(&self, range: Range<usize>) -> bool {
        let mut at = range;
        self.written.is_empty() || at.all(|byte| self.written[byte / 64] >> (byte % 64) & 1 == 1)
    }

    fn mark_written(&mut self, range: Range<usize>) {
        if range.len() == self.bytes.len() {
            self.written = Vec::new();
        }
        if self.written.is_empty() {
            return;
        }
        for byte in range {
            self.written[byte / 64] |= 1 << (byte % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_stay_within_one_allocation() {
        let mut memory = Memory::new(1000);
        let (a, b) = (memory.allocate(100).unwrap(), memory.allocate(64).unwrap());
        assert!(a.is_multiple_of(256) && b.is_multiple_of(256));
        memory.write(a, &[7; 100]).unwrap();
        let mut bytes = [0; 4];
        assert_eq!(memory.load(a + 96, &mut bytes, &mut 0), Ok(()));
        assert_eq!(bytes, [7; 4]);
        assert!(matches!(
            memory.load(a + 100, &mut bytes, &mut 0),
            Err(FaultKind::OutOfBounds { .. })
        ));
        assert!(matches!(
            memory.load(a + 2, &mut bytes, &mut 0),
            Err(FaultKind::Misaligned { .. })
        ));
        assert!(matches!(memory.load(b, &mut bytes, &mut 0), Err(FaultKind::Uninitialized { .. })));
        memory.store(b + 4, &[1; 4], &mut 0).unwrap();
        assert_eq!(memory.load(b + 4, &mut bytes, &mut 1), Ok(()));
        assert!(matches!(memory.write(b + 61, &[0; 4]), Err(MemoryError::OutOfBounds { .. })));
    }

    #[test]
    fn memory_ends_and_comes_back() {
        let mut memory = Memory::new(100);
        let a = memory.allocate(60).unwrap();
        assert_eq!(
            memory.allocate(41),
            Err(MemoryError::Full { asked: 41, used: 60, capacity: 100 })
        );
        memory.free(a).unwrap();
        assert_eq!(memory.free(a), Err(MemoryError::NotAllocated(a)));
        assert_eq!(memory.allocation_at(a), None);
        memory.allocate(100).unwrap();
    }

    #[test]
    fn touched_sectors_are_counted_once() {
        let mut memory = Memory::default();
        let a = memory.allocate(1024).unwrap();
        memory.write(a, &[0; 1024]).unwrap();
        memory.begin_launch();
        let mut bytes = [0; 16];
        for offset in [0, 16, 32, 512, 512] {
            memory.load(a + offset, &mut bytes, &mut 0).unwrap();
        }
        assert_eq!(memory.unique_bytes(), 96);
        assert_eq!(memory.touched_bytes(a..a + 64), 64);
    }
}
