//! Shared memory of one block, with a shadow that knows who used what since the last barrier.

use crate::fault::FaultKind;

/// What is known of a grain: the bytes of the smallest access.
#[derive(Clone, Copy, Default, Debug)]
struct Shadow {
    /// The barrier after which a warp wrote it last, from 1.
    write_epoch: u32,
    write_warp: u32,
    /// The store that wrote it last.
    stamp: u32,
    /// The barrier after which warps read it last, and which.
    read_epoch: u32,
    readers: u32,
    is_written: bool,
    is_in_flight: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    bytes: Vec<u8>,
    shadow: Vec<Shadow>,
    grain: usize,
    /// How many barriers the block has passed, plus one.
    epoch: u32,
    stamp: u32,
}

impl Shared {
    pub(crate) fn new(bytes: usize, grain: usize) -> Self {
        let n = bytes.div_ceil(grain);
        Self {
            bytes: vec![0xff; bytes],
            shadow: vec![Shadow::default(); n],
            grain,
            epoch: 1,
            stamp: 0,
        }
    }

    pub(crate) const fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// As fresh as for a new block.
    pub(crate) fn reset(&mut self) {
        self.bytes.fill(0xff);
        self.shadow.fill(Shadow::default());
        self.epoch = 1;
        self.stamp = 0;
    }

    pub(crate) fn pass_barrier(&mut self) {
        self.epoch += 1;
    }

    /// Begins a store, whose lanes must not contradict each other.
    pub(crate) fn begin_store(&mut self) {
        self.stamp += 1;
    }

    fn check(&self, address: u64, bytes: usize) -> Result<usize, FaultKind> {
        let at = usize::try_from(address).unwrap_or(usize::MAX);
        if at.checked_add(bytes).is_none_or(|end| end > self.bytes.len()) {
            return Err(FaultKind::OutOfBounds { space: "shared", address, bytes });
        }
        if !at.is_multiple_of(bytes) {
            return Err(FaultKind::Misaligned { address, bytes });
        }
        Ok(at)
    }

    pub(crate) fn read(
        &mut self,
        warp: u32,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), FaultKind> {
        let at = self.check(address, into.len())?;
        let epoch = self.epoch;
        for shadow in &mut self.shadow[at / self.grain..(at + into.len()).div_ceil(self.grain)] {
            if shadow.is_in_flight {
                return Err(FaultKind::InFlight { access: "reads", address });
            }
            if !shadow.is_written {
                return Err(FaultKind::Uninitialized { space: "shared", address });
            }
            if shadow.write_epoch == epoch && shadow.write_warp != warp {
                let (other, access, other_access) = (shadow.write_warp, "reads", "wrote");
                return Err(FaultKind::Race { access, address, other, other_access });
            }
            if shadow.read_epoch != epoch {
                shadow.read_epoch = epoch;
                shadow.readers = 0;
            }
            shadow.readers |= 1 << warp;
        }
        into.copy_from_slice(&self.bytes[at..at + into.len()]);
        Ok(())
    }

    pub(crate) fn write(&mut self, warp: u32, address: u64, bytes: &[u8]) -> Result<(), FaultKind> {
        let at = self.check(address, bytes.len())?;
        let (epoch, stamp) = (self.epoch, self.stamp);
        let grains = at / self.grain..(at + bytes.len()).div_ceil(self.grain);
        for shadow in &mut self.shadow[grains] {
            shadow.check_write(warp, epoch, address)?;
            let is_repeated = shadow.stamp == stamp && shadow.write_epoch == epoch;
            if is_repeated && self.bytes[at..at + bytes.len()] != *bytes {
                return Err(FaultKind::Conflict { address });
            }
            shadow.stamp = stamp;
            shadow.written_by(warp, epoch);
        }
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// An asynchronous copy of 16 bytes begins: until it lands nobody may use them.
    pub(crate) fn begin_copy(&mut self, warp: u32, address: u64) -> Result<(), FaultKind> {
        let at = self.check(address, 16)?;
        let epoch = self.epoch;
        for shadow in &mut self.shadow[at / self.grain..(at + 16).div_ceil(self.grain)] {
            shadow.check_write(warp, epoch, address)?;
            shadow.is_in_flight = true;
        }
        self.bytes[at..at + 16].fill(0xff);
        Ok(())
    }

    /// The copy is there, and its warp has waited for it.
    pub(crate) fn land_copy(&mut self, warp: u32, address: u64, bytes: &[u8; 16]) {
        let at = address as usize;
        let epoch = self.epoch;
        for shadow in &mut self.shadow[at / self.grain..(at + 16).div_ceil(self.grain)] {
            shadow.is_in_flight = false;
            shadow.written_by(warp, epoch);
        }
        self.bytes[at..at + 16].copy_from_slice(bytes);
    }
}

impl Shadow {
    fn written_by(&mut self, warp: u32, epoch: u32) {
        self.is_written = true;
        self.write_epoch = epoch;
        self.write_warp = warp;
    }

    fn check_write(&self, warp: u32, epoch: u32, address: u64) -> Result<(), FaultKind> {
        let access = "writes";
        if self.is_in_flight {
            return Err(FaultKind::InFlight { access, address });
        }
        if self.write_epoch == epoch && self.write_warp != warp {
            let (other, other_access) = (self.write_warp, "wrote");
            return Err(FaultKind::Race { access, address, other, other_access });
        }
        let others = self.readers & !(1 << warp);
        if self.read_epoch == epoch && others != 0 {
            let (other, other_access) = (others.trailing_zeros(), "read");
            return Err(FaultKind::Race { access, address, other, other_access });
        }
        Ok(())
    }
}

/// Passes over the 32 banks that lanes need to read or write `bytes` bytes each, lanes that use the
/// same words together: 4 bytes a lane take one pass of 32 lanes at best, 8 bytes two of 16, 16
/// bytes four of 8.
pub(crate) fn wavefronts(addresses: &[Option<u64>; 32], bytes: usize) -> usize {
    let lanes_at_once = 32 / bytes.div_ceil(4).clamp(1, 4);
    addresses.chunks(lanes_at_once).map(|lanes| passes(lanes, bytes)).sum()
}

fn passes(lanes: &[Option<u64>], bytes: usize) -> usize {
    let mut words: Vec<u64> = lanes
        .iter()
        .flatten()
        .flat_map(|address| address / 4..(address + bytes as u64).div_ceil(4))
        .collect();
    words.sort_unstable();
    words.dedup();
    let mut banks = [0; 32];
    for word in words {
        banks[(word % 32) as usize] += 1;
    }
    banks.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn race(other: u32, access: &'static str, other_access: &'static str) -> FaultKind {
        FaultKind::Race { access, address: 4, other, other_access }
    }

    #[test]
    fn barriers_separate_warps() {
        let mut shared = Shared::new(64, 4);
        let mut word = [0; 4];
        let fresh = FaultKind::Uninitialized { space: "shared", address: 4 };
        assert_eq!(shared.read(0, 4, &mut word), Err(fresh));
        shared.write(0, 4, &[1; 4]).unwrap();
        shared.read(0, 4, &mut word).unwrap();
        assert_eq!(shared.read(1, 4, &mut word), Err(race(0, "reads", "wrote")));
        assert_eq!(shared.write(1, 4, &[2; 4]), Err(race(0, "writes", "wrote")));
        shared.pass_barrier();
        shared.read(1, 4, &mut word).unwrap();
        assert_eq!(word, [1; 4]);
        assert_eq!(shared.write(0, 4, &[2; 4]), Err(race(1, "writes", "read")));
        shared.pass_barrier();
        shared.write(0, 4, &[2; 4]).unwrap();
    }

    #[test]
    fn copies_are_nobodys_until_they_land() {
        let mut shared = Shared::new(64, 4);
        let mut word = [0; 4];
        shared.begin_copy(2, 16).unwrap();
        let early = FaultKind::InFlight { access: "reads", address: 20 };
        assert_eq!(shared.read(2, 20, &mut word), Err(early));
        shared.pass_barrier();
        shared.land_copy(2, 16, &[9; 16]);
        shared.read(2, 20, &mut word).unwrap();
        assert!(matches!(shared.read(0, 20, &mut word), Err(FaultKind::Race { .. })));
        shared.pass_barrier();
        shared.read(0, 20, &mut word).unwrap();
        assert_eq!(word, [9; 4]);
        assert!(matches!(shared.begin_copy(2, 16), Err(FaultKind::Race { .. })));
    }

    #[test]
    fn lanes_of_one_store_agree() {
        let mut shared = Shared::new(64, 4);
        shared.begin_store();
        shared.write(0, 8, &[1; 4]).unwrap();
        shared.write(0, 8, &[1; 4]).unwrap();
        assert_eq!(shared.write(0, 8, &[2; 4]), Err(FaultKind::Conflict { address: 8 }));
        shared.begin_store();
        shared.write(0, 8, &[2; 4]).unwrap();
        assert!(matches!(shared.write(0, 62, &[0; 4]), Err(FaultKind::OutOfBounds { .. })));
        assert!(matches!(shared.write(0, 6, &[0; 4]), Err(FaultKind::Misaligned { .. })));
    }

    #[test]
    fn wavefronts_are_the_fullest_banks_words() {
        let strided = |by: u64| std::array::from_fn(|lane| Some(lane as u64 * by));
        assert_eq!(wavefronts(&strided(4), 4), 1);
        assert_eq!(wavefronts(&strided(0), 4), 1);
        assert_eq!(wavefronts(&strided(8), 4), 2);
        assert_eq!(wavefronts(&strided(128), 4), 32);
        assert_eq!(wavefronts(&strided(8), 8), 2);
        assert_eq!(wavefronts(&strided(16), 16), 4);
    }
}
