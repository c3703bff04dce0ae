//! What is said of records that fail or are altered: no more than a log can bear.
//!
//! Decides which of them are told one by one. While brokers are away, all of thousands a second fail
//! for the same reason: the first few of each while are told, the others counted, and their number
//! is told with the next one, or at the end. What failed is counted elsewhere, all of it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many are told in each [`WHILE`].
const TOLD_MAX: u32 = 10;
const WHILE: Duration = Duration::from_secs(10);

/// Lets failures be told at a bounded rate.
#[derive(Debug)]
pub(super) struct Complaints {
    /// What the exporter's sentences begin with.
    exporter: &'static str,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

/// Failures that were not told; nothing to read, if there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Untold(u64);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} others before it, not told one by one)"),
        }
    }
}

impl Complaints {
    pub(super) fn new(exporter: &'static str) -> Self {
        Self { exporter, present: Mutex::default() }
    }

    /// Logs a failure, unless many were told of late.
    #[expect(clippy::disallowed_methods, reason = "it rules how often something is told only")]
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if let Some(untold) = self.admit(Instant::now()) {
            tracing::error!("{}: {}{untold}", self.exporter, what());
        }
    }

    /// Logs what is a pity and no failure, unless much was told of late.
    #[cfg(feature = "otlp")]
    #[expect(clippy::disallowed_methods, reason = "it rules how often something is told only")]
    pub(super) fn remark(&self, what: impl FnOnce() -> String) {
        if let Some(untold) = self.admit(Instant::now()) {
            tracing::warn!("{}: {}{untold}", self.exporter, what());
        }
    }

    /// Whether one more may be told, and how many before it were not.
    fn admit(&self, now: Instant) -> Option<Untold> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.since.is_none_or(|since| now.saturating_duration_since(since) >= WHILE) {
            present.since = Some(now);
            present.told = 0;
        }
        if present.told == TOLD_MAX {
            present.untold += 1;
            return None;
        }
        present.told += 1;
        Some(Untold(std::mem::take(&mut present.untold)))
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        let untold = self.present.get_mut().unwrap_or_else(PoisonError::into_inner).untold;
        if untold > 0 {
            tracing::error!("{}: {untold} more were not told one by one", self.exporter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_while_are_told_and_the_others_counted() {
        let complaints = Complaints::new("test");
        #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
        let start = Instant::now();
        for _ in 0..TOLD_MAX {
            assert_eq!(complaints.admit(start), Some(Untold(0)));
        }
        for _ in 0..1234 {
            assert_eq!(complaints.admit(start + WHILE - Duration::from_millis(1)), None);
        }
        let next = complaints.admit(start + WHILE).unwrap();
        assert_eq!(next.to_string(), " (and 1234 others before it, not told one by one)");
        assert_eq!(complaints.admit(start + WHILE).unwrap().to_string(), "");
    }
}
