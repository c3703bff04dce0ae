//! Requests on their way in, at one intake.
//!
//! Decides when senders that wait for Kafka stop waiting for company: when nobody is on the way any
//! more, no record can join theirs, and lingering would only cost time. So senders that come
//! together share their batches, as in a group commit, and one that comes alone is served at once.

use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(super) struct Arrivals(AtomicUsize);

impl Arrivals {
    /// A request begins to come in. When it is in, or is given up, and was the last of those that
    /// were coming, `when_none` is called.
    pub(super) fn begin<F: Fn()>(&self, when_none: F) -> Arriving<'_, F> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Arriving { arrivals: self, when_none }
    }
}

/// A request that comes in until this is dropped.
#[derive(Debug)]
#[must_use = "it is in when this is dropped"]
pub(super) struct Arriving<'a, F: Fn()> {
    arrivals: &'a Arrivals,
    when_none: F,
}

impl<F: Fn()> Drop for Arriving<'_, F> {
    fn drop(&mut self) {
        // Whoever is the last sees what the others have handed over.
        if self.arrivals.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.when_none)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_last_to_come_in_is_company_for_all_and_tells() {
        let (arrivals, told) = (Arrivals::default(), Cell::new(0));
        let begin = || arrivals.begin(|| told.set(told.get() + 1));
        let (first, second) = (begin(), begin());
        drop(first);
        assert_eq!(told.get(), 0);
        let third = begin();
        drop(second);
        assert_eq!(told.get(), 0);
        drop(third);
        assert_eq!(told.get(), 1);
        drop(begin());
        assert_eq!(told.get(), 2);
    }
}
