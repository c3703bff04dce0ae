//! How long to wait before trying again: exponential, with jitter (KIP-580).

use super::partitioner::Random;
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max }
    }

    pub(super) const fn base(&self) -> Duration {
        self.base
    }

    /// The wait after `failures` earlier ones, without jitter.
    pub(super) fn plain(&self, failures: u32) -> Duration {
        // Beyond 2^20 times the base every configuration has reached its maximum.
        self.base.saturating_mul(1 << failures.min(20)).min(self.max)
    }

    /// The wait after `failures` earlier ones, a fifth shorter to a fifth longer, but never longer
    /// than the maximum.
    pub(super) fn jittered(&self, failures: u32, random: &mut Random) -> Duration {
        let percent = 80 + u32::try_from(random.below(41)).unwrap_or(20);
        (self.plain(failures).saturating_mul(percent) / 100).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_stay_within_a_fifth_and_end_at_the_maximum() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut random = Random::new(3);
        for (failures, plain) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            assert_eq!(backoff.plain(failures), Duration::from_millis(plain));
            for _ in 0..100 {
                let wait = backoff.jittered(failures, &mut random).as_millis();
                let plain = u128::from(plain);
                assert!(wait * 10 >= plain * 8 && wait * 10 <= plain * 12 && wait <= 1000);
            }
        }
    }
}
