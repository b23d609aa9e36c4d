//! Memory for weights, on large pages where the system has them.
//!
//! A product reads all weights from start to end, some ten thousand pages of 4 KiB in a small model alone, and each costs a walk
//! through page tables; prefetching stops at their ends, too. Linux gives out pages of 2 MiB for mappings that ask for them, but
//! single linears may be smaller than that. So parts of large mappings are handed out, one behind the other. A
//! mapping goes when the last of its parts does: it is for what lives about as long as a model.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use half::f16;
use memmap2::{MmapMut, MmapRaw};

/// Bytes of a mapping that parts share. What has not been handed out is not touched, and takes no memory.
const SHARED: usize = 64 << 20;
/// Parts from this size on get a mapping of their own.
const OWN: usize = SHARED / 4;
/// Bytes of a cache line, and of the widest vector: where parts begin.
const LINE: usize = 64;

/// The mapping that the next part comes from. It lives as long as the last of its parts.
static CURRENT: Mutex<Current> = Mutex::new(Current { mapping: Weak::new(), used: 0 });

struct Current {
    mapping: Weak<MmapRaw>,
    /// Bytes from its start that were handed out.
    used: usize,
}

/// Numbers of which any bits are one, zeros among them.
///
/// # Safety
/// That they are, hold no bytes in between, and may begin wherever a line does.
#[expect(unsafe_code, reason = "it says what slices of raw memory rely on")]
pub(super) unsafe trait Plain: Copy {
    const ZERO: Self;
}

#[expect(unsafe_code, reason = "every byte is a number")]
// SAFETY: every byte is a number.
unsafe impl Plain for u8 {
    const ZERO: Self = 0;
}

#[expect(unsafe_code, reason = "any 16 bits are a number")]
// SAFETY: it is a transparent wrapper of 16 bits, any of which are a number.
unsafe impl Plain for f16 {
    const ZERO: Self = Self::ZERO;
}

/// Numbers that are zero at first and begin at the start of a cache line.
#[derive(Debug)]
pub(super) struct Part<T> {
    memory: Memory<T>,
    /// Of the first number, counted in numbers from the memory's.
    start: usize,
    len: usize,
}

#[derive(Debug)]
enum Memory<T> {
    /// Of these numbers no other part has any.
    Mapped(Arc<MmapRaw>, PhantomData<T>),
    /// Where nothing could be mapped.
    Heap(Vec<T>),
}

impl<T: Plain> Part<T> {
    /// Numbers of a line.
    const LINE: usize = LINE / size_of::<T>();

    /// `len` numbers.
    pub(super) fn zeros(len: usize) -> Self {
        Self::mapped(len).unwrap_or_else(|| Self::on_heap(len))
    }

    fn mapped(len: usize) -> Option<Self> {
        let n_bytes = len.checked_mul(size_of::<T>())?;
        let of = |mapping, start| Self { memory: Memory::Mapped(mapping, PhantomData), start, len };
        if n_bytes >= OWN {
            return Some(of(Arc::new(map(n_bytes)?), 0));
        }
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        let open = current.mapping.upgrade().filter(|_| SHARED - current.used >= n_bytes);
        let mapping = if let Some(mapping) = open {
            mapping
        } else {
            let mapping = Arc::new(map(SHARED)?);
            *current = Current { mapping: Arc::downgrade(&mapping), used: 0 };
            mapping
        };
        let start = current.used / size_of::<T>();
        // A mapping is a multiple of a line, as what is used of it is, so that it never uses more.
        current.used += n_bytes.next_multiple_of(LINE);
        Some(of(mapping, start))
    }

    fn on_heap(len: usize) -> Self {
        let numbers = vec![T::ZERO; len + Self::LINE];
        // Nothing but speed depends on it.
        let start = numbers.as_ptr().align_offset(LINE).min(Self::LINE);
        Self { memory: Memory::Heap(numbers), start, len }
    }

    /// A copy from the heap, whose memory is used again as soon as it is dropped; that of a mapping is not before all its parts are.
    pub(super) fn clone_to_heap(&self) -> Self {
        self.copied_to(Self::on_heap(self.len))
    }

    fn copied_to(&self, mut other: Self) -> Self {
        other.numbers_mut().copy_from_slice(self.numbers());
        other
    }

    pub(super) fn numbers(&self) -> &[T] {
        match &self.memory {
            #[expect(unsafe_code, reason = "parts of a mapping have no safe form")]
            Memory::Mapped(mapping, _) => {
                debug_assert!((self.start + self.len) * size_of::<T>() <= mapping.len());
                // SAFETY: the mapping holds these numbers, zeroed when it was made, and lives as long as this part. They begin
                // with a line. No other part has them, since each begins behind those before, so that they change only through
                // `numbers_mut` of this one.
                unsafe {
                    let first = mapping.as_ptr().cast::<T>().add(self.start);
                    std::slice::from_raw_parts(first, self.len)
                }
            }
            Memory::Heap(numbers) => &numbers[self.start..][..self.len],
        }
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [T] {
        match &mut self.memory {
            #[expect(unsafe_code, reason = "parts of a mapping have no safe form")]
            Memory::Mapped(mapping, _) => {
                debug_assert!((self.start + self.len) * size_of::<T>() <= mapping.len());
                // SAFETY: as for `numbers`; `self` is borrowed alone, and the mapping can be written.
                unsafe {
                    let first = mapping.as_mut_ptr().cast::<T>().add(self.start);
                    std::slice::from_raw_parts_mut(first, self.len)
                }
            }
            Memory::Heap(numbers) => &mut numbers[self.start..][..self.len],
        }
    }
}

impl<T: Plain> Clone for Part<T> {
    fn clone(&self) -> Self {
        self.copied_to(Self::zeros(self.len))
    }
}

/// Memory of zeros, on large pages if the system agrees.
fn map(len: usize) -> Option<MmapRaw> {
    let mapping = MmapMut::map_anon(len).ok()?;
    #[cfg(target_os = "linux")]
    // A kernel without large pages refuses, which costs nothing but speed.
    let _ = mapping.advise(memmap2::Advice::HugePage);
    Some(mapping.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths about those at which parts and mappings end.
    const LENGTHS: [usize; 9] = [0, 1, 63, 64, 65, 1 << 20, OWN - 1, OWN, OWN + 1];

    fn check<T: Plain + PartialEq + std::fmt::Debug>(make: fn(usize) -> Part<T>, other: T) {
        for len in LENGTHS {
            let mut part = make(len);
            assert_eq!(part.numbers().len(), len);
            assert_eq!(part.numbers().as_ptr().addr() % LINE, 0, "{len} numbers");
            assert!(part.numbers().iter().all(|n| *n == T::ZERO), "{len} numbers");
            part.numbers_mut().fill(other);
            assert!(part.clone().numbers().iter().all(|n| *n == other), "{len} numbers");
            assert_eq!(part.clone_to_heap().numbers(), part.numbers(), "{len} numbers");
        }
    }

    #[test]
    fn parts_begin_with_lines_and_are_zeros() {
        check(Part::zeros, 3_u8);
        check(Part::on_heap, 3_u8);
        check(Part::zeros, f16::ONE);
        check(Part::on_heap, f16::ONE);
    }

    /// Several threads make, fill and drop parts of several mappings; what one wrote stays until it drops it.
    #[test]
    fn no_two_parts_share_a_byte() {
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                scope.spawn(move || {
                    let mut parts = Vec::new();
                    for i in 0..60_u8 {
                        let mut part = Part::<u8>::zeros((usize::from(i) + 1) * 70_001 % OWN);
                        let name = thread * 60 + i + 1;
                        assert!(part.numbers().iter().all(|&byte| byte == 0));
                        part.numbers_mut().fill(name);
                        parts.push((name, part));
                        if i % 3 == 2 {
                            parts.remove(parts.len() / 2);
                        }
                    }
                    for (name, part) in parts {
                        assert!(part.numbers().iter().all(|&byte| byte == name));
                    }
                });
            }
        });
    }
}
