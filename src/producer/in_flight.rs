//! Requests that a connection has sent and not had answered, oldest first.
//!
//! Kafka answers in the order of the requests of a connection. An answer to any but the oldest
//! means that the two sides no longer agree on the stream, and the connection must go.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct InFlight<T> {
    requests: VecDeque<Sent<T>>,
    next_correlation_id: i32,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent<T> {
    pub(super) correlation_id: i32,
    pub(super) sent_at: Instant,
    /// When waiting for its answer ends.
    pub(super) expires_at: Instant,
    pub(super) request: T,
}

/// An answer that belongs to no request, or not to the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("answer {answered} came, {} was due", Due(*expected))]
pub(super) struct OutOfOrder {
    pub(super) answered: i32,
    pub(super) expected: Option<i32>,
}

struct Due(Option<i32>);

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "answer {id}"),
            None => f.write_str("none"),
        }
    }
}

impl<T> InFlight<T> {
    pub(super) const fn new() -> Self {
        Self { requests: VecDeque::new(), next_correlation_id: 0 }
    }

    /// The id of the request that is sent next.
    pub(super) const fn correlation_id(&self) -> i32 {
        self.next_correlation_id
    }

    /// Counts the request in, under the id that [`correlation_id`](Self::correlation_id) gave.
    pub(super) fn sent(&mut self, now: Instant, expires_at: Instant, request: T) -> i32 {
        let correlation_id = self.next_correlation_id;
        // After the largest comes zero: some brokers take negative ids for an error.
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        self.requests.push_back(Sent { correlation_id, sent_at: now, expires_at, request });
        correlation_id
    }

    /// The request that this answer belongs to.
    pub(super) fn due(&self, correlation_id: i32) -> Result<&T, OutOfOrder> {
        let oldest = self.requests.front();
        let expected = oldest.map(|sent| sent.correlation_id);
        oldest
            .filter(|sent| sent.correlation_id == correlation_id)
            .map(|sent| &sent.request)
            .ok_or(OutOfOrder { answered: correlation_id, expected })
    }

    /// Takes the request that this answer belongs to.
    pub(super) fn answered(&mut self, correlation_id: i32) -> Result<Sent<T>, OutOfOrder> {
        self.due(correlation_id)?;
        Ok(self.requests.pop_front().expect("the oldest is due"))
    }

    /// When the first wait for an answer ends.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.requests.iter().map(|sent| sent.expires_at).min()
    }

    /// Takes all requests of a connection that is no more, oldest first.
    pub(super) fn take_all(&mut self) -> VecDeque<Sent<T>> {
        std::mem::take(&mut self.requests)
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_their_requests() {
        #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
        let now = Instant::now();
        let mut in_flight = InFlight::new();
        in_flight.next_correlation_id = i32::MAX;
        assert_eq!(in_flight.sent(now, now, 'a'), i32::MAX);
        assert_eq!(in_flight.sent(now, now, 'b'), 0, "never negative");
        let error = in_flight.answered(0).unwrap_err();
        assert_eq!(error, OutOfOrder { answered: 0, expected: Some(i32::MAX) });
        assert_eq!(in_flight.due(0), Err(error));
        assert_eq!(error.to_string(), "answer 0 came, answer 2147483647 was due");
        assert_eq!(in_flight.due(i32::MAX), Ok(&'a'));
        assert_eq!(in_flight.answered(i32::MAX).unwrap().request, 'a');
        assert_eq!(in_flight.answered(0).unwrap().request, 'b');
        assert!(in_flight.is_empty());
        let error = in_flight.answered(1).unwrap_err();
        assert_eq!(error.to_string(), "answer 1 came, none was due");
    }
}
