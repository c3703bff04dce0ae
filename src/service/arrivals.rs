//! Requests on their way in, at one intake.
//!
//! Decides when senders that wait for Kafka stop waiting for company: when nobody is on the way any
//! more, no record can join theirs, and lingering would only cost time. So senders that come
//! together share their batches, as in a group commit, and one that comes alone is served at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are.
#[derive(Debug, Default)]
pub(super) struct Arrivals(AtomicUsize);

impl Arrivals {
    /// One more begins to come in.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One is in, or is given up. Whether it was the last.
    pub(super) fn end(&self) -> bool {
        // Whoever is the last sees what the others have handed over.
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_come_in_is_company_for_all() {
        let arrivals = Arrivals::default();
        arrivals.begin();
        arrivals.begin();
        assert!(!arrivals.end());
        arrivals.begin();
        assert!(!arrivals.end());
        assert!(arrivals.end());
        arrivals.begin();
        assert!(arrivals.end());
    }
}
