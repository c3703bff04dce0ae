//! One connection to one broker, over its lives: dialling, handshake, requests, loss, and again.
//!
//! ```text
//! Down --open--> Dialling --connected--> Shaking --versions--> Up
//!   ^               |                       |                  |
//!   +---------------+----- lost, timed out -+------------------+   (then a pause, longer each time)
//! ```
//!
//! Decides when a connection may be tried again and which answer belongs to which request. What is
//! asked for, and why, is the engine's.

use super::super::backoff::Backoff;
use super::super::completion::Cause;
use super::super::config::Address;
use super::super::handshake::{Handshake, HandshakeError, Step, Versions};
use super::super::in_flight::{InFlight, OutOfOrder, Sent};
use super::super::partitioner::Random;
use super::partition::BatchRef;
use crate::protocol::DecodeError;
use crate::protocol::messages::{self, ApiKey, RequestHeader};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Connections that a broker may end within the handshake before it is asked in the oldest version
/// (Azure Event Hubs ends them on a version that it does not know).
const SNUBS_MAX: u32 = 3;

/// One life of a link. What is said about an earlier life does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::producer) struct ConnectionId(pub(in crate::producer) u64);

/// What is out on a link.
#[derive(Debug)]
pub(super) enum Request {
    ApiVersions,
    Metadata { version: i16 },
    InitProducerId { version: i16 },
    Produce { version: i16, batches: Vec<BatchRef> },
}

impl Request {
    pub(super) const fn api(&self) -> ApiKey {
        match self {
            Self::ApiVersions => ApiKey::ApiVersions,
            Self::Metadata { .. } => ApiKey::Metadata,
            Self::InitProducerId { .. } => ApiKey::InitProducerId,
            Self::Produce { .. } => ApiKey::Produce,
        }
    }

    const fn version(&self) -> i16 {
        match self {
            // Its response header has no tags in any version.
            Self::ApiVersions => 0,
            Self::Metadata { version }
            | Self::InitProducerId { version }
            | Self::Produce { version, .. } => *version,
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: Address,
    phase: Phase,
    in_flight: InFlight<Request>,
    /// Lives in a row that ended before the handshake did.
    failures: u32,
    /// Lives in a row that ended within the handshake.
    snubs: u32,
    /// When it was last asked something, or answered.
    used_at: Option<Instant>,
    /// No new life before.
    not_before: Option<Instant>,
    /// The broker asked for a pause until then (KIP-219).
    throttled_until: Option<Instant>,
    /// Why the last life ended, unless it ended idle.
    pub(super) last_error: Option<Cause>,
}

#[derive(Debug)]
enum Phase {
    Down,
    Dialling { connection: ConnectionId, deadline: Instant },
    Shaking { connection: ConnectionId, deadline: Instant, handshake: Handshake },
    Up { connection: ConnectionId, versions: Versions },
}

/// An answer, with the request it belongs to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) request: Request,
    pub(super) sent_at: Instant,
    pub(super) body: Bytes,
}

/// What a frame brought.
#[derive(Debug)]
pub(super) enum Progress {
    /// The next question of the handshake.
    Transmit(Vec<Bytes>),
    /// The handshake is over.
    Up,
    Answer(Answer),
}

/// A peer that breaks the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("it spoke before it was spoken to")]
    Unasked,
}

impl Link {
    pub(super) const fn new(address: Address) -> Self {
        Self {
            address,
            phase: Phase::Down,
            in_flight: InFlight::new(),
            failures: 0,
            snubs: 0,
            used_at: None,
            not_before: None,
            throttled_until: None,
            last_error: None,
        }
    }

    /// Whether a new life may begin.
    pub(super) fn may_open(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Down) && self.not_before.is_none_or(|at| at <= now)
    }

    pub(super) fn open(&mut self, connection: ConnectionId, deadline: Instant) {
        debug_assert!(self.in_flight.is_empty(), "requests of an earlier life");
        self.in_flight = InFlight::new();
        self.phase = Phase::Dialling { connection, deadline };
    }

    /// The connection stands: the first request of the handshake.
    pub(super) fn on_connected(&mut self, now: Instant, client_id: &str) -> Option<Vec<Bytes>> {
        let Phase::Dialling { connection, deadline } = self.phase else { return None };
        let humble = self.snubs >= SNUBS_MAX;
        let handshake = if humble { Handshake::humble() } else { Handshake::new() };
        let correlation_id = self.in_flight.sent(now, deadline, Request::ApiVersions);
        let frame = handshake.request(correlation_id, client_id);
        self.phase = Phase::Shaking { connection, deadline, handshake };
        Some(frame)
    }

    /// Takes in a frame of the peer's.
    pub(super) fn on_frame(
        &mut self,
        now: Instant,
        frame: &Bytes,
        client_id: &str,
    ) -> Result<Progress, LinkError> {
        let correlation_id = messages::correlation_id(frame)?;
        let request = self.in_flight.due(correlation_id)?;
        // If this fails, the request still counts as unanswered.
        let body = messages::response_body(request.api(), request.version(), frame)?;
        let Sent { request, sent_at, .. } = self.in_flight.answered(correlation_id)?;
        let Phase::Shaking { connection, deadline, handshake } = &mut self.phase else {
            return match self.phase {
                Phase::Up { .. } => Ok(Progress::Answer(Answer { request, sent_at, body })),
                _ => Err(LinkError::Unasked),
            };
        };
        match handshake.answered(&body)? {
            Step::Ask => {
                let id = self.in_flight.sent(now, *deadline, Request::ApiVersions);
                Ok(Progress::Transmit(handshake.request(id, client_id)))
            }
            Step::Ready(versions) => {
                self.phase = Phase::Up { connection: *connection, versions };
                self.failures = 0;
                self.snubs = 0;
                self.used_at = Some(now);
                self.last_error = None;
                Ok(Progress::Up)
            }
        }
    }

    /// Whether nothing is asked on it: a peer may close such a connection, and nobody is to blame.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Up { .. }) && self.in_flight.is_empty()
    }

    /// The pause that follows if this life ends now. Also a peer that ends idle ones gets it: it
    /// may do so after every handshake.
    pub(super) fn pause(&self, backoff: &Backoff, random: &mut Random) -> Duration {
        backoff.jittered(self.failures, random)
    }

    /// Ends this life; the next begins after `not_before`. `failure` says what went wrong, if
    /// something did. Returns the requests that will not be answered.
    pub(super) fn on_lost(
        &mut self,
        not_before: Instant,
        failure: Option<Cause>,
    ) -> VecDeque<Sent<Request>> {
        if matches!(self.phase, Phase::Shaking { .. }) {
            self.snubs += 1;
        }
        self.phase = Phase::Down;
        self.not_before = Some(not_before);
        if failure.is_some() {
            self.last_error = failure;
            // Only a whole handshake proves a broker well: one that hangs up after the first word
            // must not be dialled in a hot loop.
            self.failures = self.failures.saturating_add(1);
        }
        self.in_flight.take_all()
    }

    /// Forgets the pause before the next life.
    pub(super) const fn forgive(&mut self) {
        self.not_before = None;
    }

    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        match &self.phase {
            Phase::Down => None,
            Phase::Dialling { connection, .. }
            | Phase::Shaking { connection, .. }
            | Phase::Up { connection, .. } => Some(*connection),
        }
    }

    /// The connection and its versions, if it is ready for requests.
    pub(super) const fn up(&self) -> Option<(ConnectionId, &Versions)> {
        match &self.phase {
            Phase::Up { connection, versions } => Some((*connection, versions)),
            _ => None,
        }
    }

    pub(super) fn is_throttled(&self, now: Instant) -> bool {
        self.throttled_until.is_some_and(|until| until > now)
    }

    pub(super) fn throttle(&mut self, now: Instant, pause: Duration) {
        self.throttled_until = Some(now + pause);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The header of the next request.
    pub(super) const fn header<'a>(
        &self,
        api: ApiKey,
        version: i16,
        client_id: &'a str,
    ) -> RequestHeader<'a> {
        RequestHeader { api, version, correlation_id: self.in_flight.correlation_id(), client_id }
    }

    /// Counts a request in that was built with [`header`](Self::header).
    pub(super) fn sent(&mut self, now: Instant, expires_at: Instant, request: Request) -> i32 {
        self.used_at = Some(now);
        self.in_flight.sent(now, expires_at, request)
    }

    /// Takes a request that has no answer, once it is written.
    pub(super) fn on_written(&mut self, correlation_id: i32) -> Option<Request> {
        self.in_flight.answered(correlation_id).ok().map(|sent| sent.request)
    }

    /// Whether its time for the handshake or for an answer is over.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.wait_ends_at().is_some_and(|at| at <= now)
    }

    /// When it has been of no use for so long that it is closed; `None` while it is of use.
    pub(super) fn idle_until(&self, idle_max: Duration) -> Option<Instant> {
        self.used_at.filter(|_| self.is_idle()).map(|used_at| used_at + idle_max)
    }

    fn wait_ends_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Down => None,
            Phase::Dialling { deadline, .. } | Phase::Shaking { deadline, .. } => Some(*deadline),
            Phase::Up { .. } => self.in_flight.next_expiry(),
        }
    }

    /// Every instant at which something may change without an event.
    pub(super) fn timers(&self) -> impl Iterator<Item = Instant> {
        [self.wait_ends_at(), self.not_before, self.throttled_until].into_iter().flatten()
    }

    /// What it is waiting for, for a message to people.
    pub(super) fn overdue_cause(&self, setup: Duration, request: Duration) -> Cause {
        let address = &self.address;
        Cause::Connection(match &self.phase {
            Phase::Down => format!("not connected to {address}").into(),
            Phase::Dialling { .. } => {
                format!("cannot connect to {address} within {setup:?}").into()
            }
            Phase::Shaking { .. } => format!(
                "{address} accepted the connection but did not answer ApiVersions within {setup:?}: \
                 is it a Kafka broker, and one without TLS?"
            )
            .into(),
            Phase::Up { .. } => format!("{address} did not answer within {request:?}").into(),
        })
    }
}
