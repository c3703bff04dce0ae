//! Numbers that need not be unpredictable, only spread: SplitMix64.
//!
//! [`Random`] is for one owner, [`SharedRandom`] for many threads at once.

use std::sync::atomic::{AtomicU64, Ordering};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(in crate::producer) struct Random {
    state: u64,
}

impl Random {
    pub(in crate::producer) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next one.
    pub(in crate::producer) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `bound`, which is not zero.
    pub(in crate::producer) const fn below(&mut self, bound: usize) -> usize {
        reduce(self.next(), bound)
    }
}

/// A sequence of numbers that threads draw from without a lock.
#[derive(Debug)]
pub(super) struct SharedRandom {
    state: AtomicU64,
}

impl SharedRandom {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&self, bound: usize) -> usize {
        let state = self.state.fetch_add(STEP, Ordering::Relaxed);
        reduce(mix(state.wrapping_add(STEP)), bound)
    }
}

const fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
const fn reduce(number: u64, bound: usize) -> usize {
    (number % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_sequence_is_the_one_of_its_seed() {
        let (mut owned, shared) = (Random::new(7), SharedRandom::new(7));
        for bound in 1..100 {
            assert_eq!(owned.below(bound), shared.below(bound));
        }
    }

    #[test]
    fn numbers_spread_over_their_range() {
        let mut random = Random::new(1);
        let mut drawn = [0; 10];
        (0..10_000).for_each(|_| drawn[random.below(10)] += 1);
        assert!(drawn.iter().all(|count| (850..1150).contains(count)), "{drawn:?}");
    }
}
