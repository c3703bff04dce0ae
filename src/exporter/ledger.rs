//! The account of an exporter: what came in is filtered, delivered, failed or pending, always.
//!
//! One lock, so that every reading balances.

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
    /// On the way.
    pub pending: u64,
}

/// Keeps the [`Counts`].
#[derive(Debug, Default)]
pub struct Ledger {
    counts: Mutex<Counts>,
}

impl Ledger {
    /// Something was taken in, and is pending.
    pub fn on_received(&self) {
        let mut counts = self.lock();
        counts.received += 1;
        counts.pending += 1;
    }

    /// A pending one is left out.
    pub fn on_filtered(&self) {
        self.end(|counts| counts.filtered += 1);
    }

    /// A pending one is in Kafka.
    pub fn on_delivered(&self) {
        self.end(|counts| counts.delivered += 1);
    }

    /// A pending one is not in Kafka; or, if `may_be_written`, perhaps not.
    pub fn on_failed(&self, may_be_written: bool) {
        self.end(|counts| {
            counts.failed += 1;
            counts.unknown += u64::from(may_be_written);
        });
    }

    /// The account as it is.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    fn end(&self, book: impl FnOnce(&mut Counts)) {
        let mut counts = self.lock();
        debug_assert!(counts.pending > 0, "what ends was received");
        counts.pending = counts.pending.saturating_sub(1);
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
        let ends: [fn(&Ledger); 4] = [
            Ledger::on_filtered,
            Ledger::on_delivered,
            |ledger| ledger.on_failed(false),
            |ledger| ledger.on_failed(true),
        ];
        (0..6).for_each(|_| ledger.on_received());
        for end in ends {
            end(&ledger);
            let Counts { received, filtered, delivered, failed, pending, .. } = ledger.counts();
            assert_eq!(received, filtered + delivered + failed + pending);
        }
        let expected =
            Counts { received: 6, filtered: 1, delivered: 1, failed: 2, unknown: 1, pending: 2 };
        assert_eq!(ledger.counts(), expected);
    }
}
