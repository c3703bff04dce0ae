//! The account of an exporter: what came in is filtered, delivered, failed or pending, always.
//!
//! Counted are items: traces, or spans, data points and log records. One lock, so that every reading
//! balances.

use std::iter::Sum;
use std::ops::Add;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What became of everything received so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Everything that was taken in.
    pub received: u64,
    /// Left out on purpose.
    pub filtered: u64,
    /// In Kafka.
    pub delivered: u64,
    /// Not in Kafka, or perhaps not.
    pub failed: u64,
    /// Of those, the ones that may be in Kafka all the same.
    pub unknown: u64,
    /// Of those that failed, the ones that were given up for want of room.
    pub dropped: u64,
    /// On the way.
    pub pending: u64,
    /// Not taken in for want of room, and its sender was told so. Not among those received.
    pub refused: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            filtered: self.filtered + other.filtered,
            delivered: self.delivered + other.delivered,
            failed: self.failed + other.failed,
            unknown: self.unknown + other.unknown,
            dropped: self.dropped + other.dropped,
            pending: self.pending + other.pending,
            refused: self.refused + other.refused,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// Keeps the [`Counts`].
#[derive(Debug, Default)]
pub struct Ledger {
    counts: Mutex<Counts>,
}

impl Ledger {
    /// Items were taken in, and are pending.
    pub fn on_received(&self, items: u64) {
        let mut counts = self.lock();
        counts.received += items;
        counts.pending += items;
    }

    /// Pending ones were not taken in after all, and their sender is told.
    pub fn on_refused(&self, items: u64) {
        self.end(items, |counts| {
            counts.received = counts.received.saturating_sub(items);
            counts.refused += items;
        });
    }

    /// Pending ones are left out.
    pub fn on_filtered(&self, items: u64) {
        self.end(items, |counts| counts.filtered += items);
    }

    /// Pending ones are in Kafka.
    pub fn on_delivered(&self, items: u64) {
        self.end(items, |counts| counts.delivered += items);
    }

    /// Pending ones are not in Kafka; or, if they `may_be_written`, perhaps not.
    pub fn on_failed(&self, items: u64, may_be_written: bool) {
        self.end(items, |counts| {
            counts.failed += items;
            counts.unknown += if may_be_written { items } else { 0 };
        });
    }

    /// Pending ones are given up for want of room.
    pub fn on_dropped(&self, items: u64) {
        self.end(items, |counts| {
            counts.failed += items;
            counts.dropped += items;
        });
    }

    /// The account as it is.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    fn end(&self, items: u64, book: impl FnOnce(&mut Counts)) {
        let mut counts = self.lock();
        debug_assert!(counts.pending >= items, "what ends was received");
        counts.pending = counts.pending.saturating_sub(items);
        book(&mut counts);
        debug_assert!(
            counts.received == counts.filtered + counts.delivered + counts.failed + counts.pending
        );
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_balances_after_every_entry() {
        let ledger = Ledger::default();
        let ends: [fn(&Ledger); 6] = [
            |ledger| ledger.on_filtered(1),
            |ledger| ledger.on_delivered(2),
            |ledger| ledger.on_failed(1, false),
            |ledger| ledger.on_failed(3, true),
            |ledger| ledger.on_dropped(5),
            |ledger| ledger.on_refused(4),
        ];
        ledger.on_received(20);
        for end in ends {
            end(&ledger);
            let Counts { received, filtered, delivered, failed, pending, .. } = ledger.counts();
            assert_eq!(received, filtered + delivered + failed + pending);
        }
        let expected = Counts {
            received: 16,
            filtered: 1,
            delivered: 2,
            failed: 9,
            unknown: 3,
            dropped: 5,
            pending: 4,
            refused: 4,
        };
        assert_eq!(ledger.counts(), expected);
        assert_eq!([expected, expected].into_iter().sum::<Counts>().received, 32);
    }
}
