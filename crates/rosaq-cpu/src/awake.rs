//! Threads that stay awake between short products.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many callers keep their threads awake.
static KEEPERS: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` while the other threads of the current rayon pool look for its tasks without ever going to sleep.
///
/// A token's products take some microseconds each, no more than it takes to wake a sleeping thread; threads that are awake take a
/// part of them within less than one. It costs the processor time of all threads, so it is for loops of decoding alone. Outside of a
/// pool's threads, or with one thread, `work` just runs.
pub fn keep_awake<R>(work: impl FnOnce() -> R) -> R {
    let Some(caller) = rayon::current_thread_index() else { return work() };
    if rayon::current_num_threads() == 1 {
        return work();
    }
    let is_done = AtomicBool::new(false);
    let look_for_work = || {
        while !is_done.load(Ordering::Acquire) {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                spin_loop();
            }
        }
    };
    rayon::in_place_scope(|scope| {
        scope.spawn_broadcast(|_, context| {
            if context.index() != caller {
                look_for_work();
            }
        });
        // Dropped when `work` panics, too: the scope waits for the others.
        let _awake = Awake::new(&is_done);
        work()
    })
}

/// Whether threads are kept awake somewhere, so that small products are worth sharing.
pub(crate) fn threads_are_awake() -> bool {
    KEEPERS.load(Ordering::Relaxed) > 0
}

struct Awake<'a>(&'a AtomicBool);

impl<'a> Awake<'a> {
    fn new(is_done: &'a AtomicBool) -> Self {
        KEEPERS.fetch_add(1, Ordering::Relaxed);
        Self(is_done)
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        KEEPERS.fetch_sub(1, Ordering::Relaxed);
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn on_pool<R: Send>(n: usize, work: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool").install(work)
    }

    #[test]
    fn work_is_done_and_shared() {
        for n in [1, 2, 3] {
            let sums = on_pool(n, || {
                keep_awake(|| {
                    let sum = |to: u64| (0..to).into_par_iter().map(|x| x * x).sum::<u64>();
                    (0..200).map(sum).collect::<Vec<_>>()
                })
            });
            let expected: Vec<u64> = (0..200).map(|to| (0..to).map(|x| x * x).sum()).collect();
            assert_eq!(sums, expected, "{n} threads");
        }
        assert_eq!(keep_awake(|| 7), 7, "outside of a pool");
    }

    #[test]
    fn panics_leave_no_thread_behind() {
        on_pool(3, || {
            let caught = std::panic::catch_unwind(|| keep_awake(|| panic!("as asked")));
            assert!(caught.is_err());
            assert_eq!((0..100).into_par_iter().sum::<i32>(), 4950);
        });
    }
}
