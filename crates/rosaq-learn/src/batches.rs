//! Seeded batches: every problem once before any comes again.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// An endless sequence of problems, in rounds of freshly shuffled ones.
#[derive(Debug)]
pub(crate) struct Batches {
    rng: ChaCha8Rng,
    order: Vec<usize>,
    position: usize,
}

impl Batches {
    pub(crate) fn new(n_problems: usize, seed: u64) -> Self {
        let order = (0..n_problems).collect();
        Self { rng: ChaCha8Rng::seed_from_u64(seed), order, position: n_problems }
    }

    /// The next problems, sorted, so that sums over all problems run in one order. A batch ends where a round ends, so that no
    /// problem is in it twice.
    pub(crate) fn next_batch(&mut self, size: usize) -> Vec<usize> {
        if self.position >= self.order.len() {
            self.shuffle();
        }
        let end = self.position.saturating_add(size.max(1)).min(self.order.len());
        let mut batch = self.order[self.position..end].to_vec();
        self.position = end;
        batch.sort_unstable();
        batch
    }

    /// Fisher-Yates; the high half of a product maps 64 random bits to a place, the same on every platform.
    fn shuffle(&mut self) {
        for last in (1..self.order.len()).rev() {
            let draw = u128::from(self.rng.next_u64()) * (last as u128 + 1);
            let other =
                usize::try_from(draw >> 64).expect("a place is below the number of problems");
            self.order.swap(last, other);
        }
        self.position = 0;
    }
}

/// `count` of `n` problems at even distances, all when there are no more.
pub(crate) fn spread(n: usize, count: usize) -> Vec<usize> {
    let count = count.clamp(1, n.max(1)).min(n);
    (0..count).map(|i| i * n / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_every_problem_once() {
        let mut batches = Batches::new(10, 7);
        for _ in 0..3 {
            let round: Vec<Vec<usize>> = (0..3).map(|_| batches.next_batch(4)).collect();
            assert_eq!(round.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
            let mut all = round.concat();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
        let twice = [1, 1].map(|seed| Batches::new(50, seed).next_batch(5));
        assert_eq!(twice[0], twice[1]);
        assert_eq!(Batches::new(3, 1).next_batch(usize::MAX), [0, 1, 2]);
    }

    #[test]
    fn spread_problems_are_distinct_and_inside() {
        assert_eq!(spread(10, 3), [0, 3, 6]);
        assert_eq!(spread(3, usize::MAX), [0, 1, 2]);
        assert_eq!(spread(5, 0), [0]);
        assert_eq!(spread(0, 4), [0_usize; 0]);
    }
}
