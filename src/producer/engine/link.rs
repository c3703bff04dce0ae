//! One connection to one broker, over its lives: dialling, handshake, requests, loss, and again.
//!
//! ```text
//! Down --open--> Dialling --connected--> Shaking --versions, login--> Up <--renewed-- Renewing
//!   ^               |                       |                         | --login due--> |
//!   +---------------+----- lost, timed out -+-------------------------+----------------+
//!                                                      (then a pause, longer each time)
//! ```
//!
//! A login that is good for a while is renewed on the same connection before it ends (KIP-368):
//! nothing new is sent, what is out is answered, then the login is done over.
//!
//! Decides when a connection may be tried again and which answer belongs to which request. What is
//! asked for, and why, is the engine's.

use super::super::backoff::Backoff;
use super::super::completion::Cause;
use super::super::config::Address;
use super::super::handshake::{Handshake, HandshakeError, Step};
use super::super::in_flight::{InFlight, OutOfOrder, Sent};
use super::super::login::{Login, LoginError, Progress as LoginProgress};
use super::super::partitioner::Random;
use super::super::versions::Versions;
use super::partition::BatchRef;
use crate::protocol::DecodeError;
use crate::protocol::messages::{self, ApiKey, RequestHeader};
use crate::sasl::{Derivation, SaltedPassword};
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
    /// One of the handshake's, or of a login's that is renewed.
    Handshake {
        api: ApiKey,
        version: i16,
    },
    Metadata {
        version: i16,
    },
    InitProducerId {
        version: i16,
    },
    Produce {
        version: i16,
        batches: Vec<BatchRef>,
    },
}

impl Request {
    pub(super) const fn api(&self) -> ApiKey {
        match self {
            Self::Handshake { api, .. } => *api,
            Self::Metadata { .. } => ApiKey::Metadata,
            Self::InitProducerId { .. } => ApiKey::InitProducerId,
            Self::Produce { .. } => ApiKey::Produce,
        }
    }

    const fn version(&self) -> i16 {
        match self {
            Self::Handshake { version, .. }
            | Self::Metadata { version }
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
    /// Whether anything was answered in this life, behind the handshake.
    answered: bool,
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
    Up { connection: ConnectionId, versions: Versions, renew_at: Option<Instant> },
    Renewing { connection: ConnectionId, deadline: Instant, versions: Versions, login: Login },
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
    /// The next question of the handshake, or of a login.
    Transmit(Vec<Bytes>),
    /// A login waits for this key.
    Derive(Derivation),
    /// The handshake is over. The login is good for so long; for ever, if `None`.
    Up(Option<Duration>),
    /// The login is good for so long again.
    Renewed(Option<Duration>),
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
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("it spoke before it was spoken to")]
    Unasked,
}

impl Link {
    pub(super) const fn new(address: Address) -> Self {
        Self {
            address,
            phase: Phase::Down,
            in_flight: InFlight::new(),
            answered: false,
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
        self.answered = false;
        self.phase = Phase::Dialling { connection, deadline };
    }

    /// The connection stands: the first request of the handshake, of which `login` is a part.
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        client_id: &str,
        login: Option<Login>,
    ) -> Result<Option<Vec<Bytes>>, LinkError> {
        let Phase::Dialling { connection, deadline } = self.phase else { return Ok(None) };
        let humble = self.snubs >= SNUBS_MAX;
        let handshake = if humble { Handshake::humble(login) } else { Handshake::new(login) };
        self.phase = Phase::Shaking { connection, deadline, handshake };
        self.next_question(now, client_id)
    }

    /// The request of the handshake or the login that is due, counted in.
    fn next_question(
        &mut self,
        now: Instant,
        client_id: &str,
    ) -> Result<Option<Vec<Bytes>>, LinkError> {
        let (deadline, (api, version)) = match &self.phase {
            Phase::Shaking { deadline, handshake, .. } => (*deadline, handshake.next()?),
            Phase::Renewing { deadline, versions, login, .. } => (*deadline, login.next(versions)?),
            _ => return Ok(None),
        };
        let header = self.header(api, version, client_id);
        let frame = match &self.phase {
            Phase::Shaking { handshake, .. } => handshake.request(header),
            Phase::Renewing { login, .. } => login.request(header),
            _ => None,
        };
        if frame.is_some() {
            self.in_flight.sent(now, deadline, Request::Handshake { api, version });
        }
        Ok(frame)
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
        let (api, version) = (request.api(), request.version());
        let body = messages::response_body(api, version, frame)?;
        let Sent { request, sent_at, .. } = self.in_flight.answered(correlation_id)?;
        let step = match &mut self.phase {
            Phase::Up { .. } => {
                self.answered = true;
                return Ok(Progress::Answer(Answer { request, sent_at, body }));
            }
            Phase::Shaking { handshake, .. } => handshake.answered(version, &body)?,
            Phase::Renewing { versions, login, .. } => match login.answered(version, &body)? {
                LoginProgress::Ask => Step::Ask,
                LoginProgress::Derive(derivation) => Step::Derive(derivation),
                LoginProgress::Done(lifetime) => Step::Ready(*versions, lifetime),
            },
            Phase::Down | Phase::Dialling { .. } => return Err(LinkError::Unasked),
        };
        match step {
            Step::Ask => {
                let frame = self.next_question(now, client_id)?;
                frame.map(Progress::Transmit).ok_or(LinkError::Unasked)
            }
            Step::Derive(derivation) => Ok(Progress::Derive(derivation)),
            Step::Ready(versions, lifetime) => Ok(self.on_ready(now, versions, lifetime)),
        }
    }

    fn on_ready(
        &mut self,
        now: Instant,
        versions: Versions,
        lifetime: Option<Duration>,
    ) -> Progress {
        let Some(connection) = self.connection() else { unreachable!("a frame came on it") };
        let renewed = matches!(self.phase, Phase::Renewing { .. });
        self.phase = Phase::Up { connection, versions, renew_at: None };
        if renewed {
            // No use: a connection that only renews its login is idle.
            return Progress::Renewed(lifetime);
        }
        self.used_at = Some(now);
        self.failures = 0;
        self.snubs = 0;
        self.last_error = None;
        Progress::Up(lifetime)
    }

    /// Takes in a key that a login asked for: the request that it was needed for, if any does.
    pub(super) fn on_derived(
        &mut self,
        now: Instant,
        salted: &SaltedPassword,
        client_id: &str,
    ) -> Result<Option<Vec<Bytes>>, LinkError> {
        match &mut self.phase {
            Phase::Shaking { handshake, .. } => handshake.derived(salted)?,
            Phase::Renewing { login, .. } => login.derived(salted)?,
            Phase::Down | Phase::Dialling { .. } | Phase::Up { .. } => return Ok(None),
        }
        self.next_question(now, client_id)
    }

    /// The login shall be renewed at this time.
    pub(super) const fn renew_at(&mut self, at: Instant) {
        if let Phase::Up { renew_at, .. } = &mut self.phase {
            *renew_at = Some(at);
        }
    }

    /// Whether it is time to renew the login, and nothing is out any more.
    pub(super) fn may_renew(&self, now: Instant) -> bool {
        self.in_flight.is_empty() && self.is_login_due(now)
    }

    fn is_login_due(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Up { renew_at: Some(at), .. } if at <= now)
    }

    /// Begins to renew the login: the first request of it.
    pub(super) fn renew(
        &mut self,
        now: Instant,
        deadline: Instant,
        client_id: &str,
        login: Login,
    ) -> Result<Option<Vec<Bytes>>, LinkError> {
        let Phase::Up { connection, versions, .. } = self.phase else { return Ok(None) };
        self.phase = Phase::Renewing { connection, deadline, versions, login };
        self.next_question(now, client_id)
    }

    /// Whether the peer has answered nothing but the handshake.
    pub(super) const fn is_snubbed(&self) -> bool {
        matches!(self.phase, Phase::Up { .. }) && !self.answered
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
        if matches!(&self.phase, Phase::Shaking { handshake, .. } if !handshake.knows_versions()) {
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
            | Phase::Up { connection, .. }
            | Phase::Renewing { connection, .. } => Some(*connection),
        }
    }

    /// The connection and its versions, once the handshake is over.
    pub(super) const fn up(&self) -> Option<(ConnectionId, &Versions)> {
        match &self.phase {
            Phase::Up { connection, versions, .. }
            | Phase::Renewing { connection, versions, .. } => Some((*connection, versions)),
            _ => None,
        }
    }

    /// Whether requests may be sent: not while the broker wants a pause, nor from when the login is
    /// due for renewal until it is renewed.
    pub(super) fn takes_requests(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Up { .. }) && !self.is_login_due(now) && !self.is_throttled(now)
    }

    fn is_throttled(&self, now: Instant) -> bool {
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
            Phase::Dialling { deadline, .. }
            | Phase::Shaking { deadline, .. }
            | Phase::Renewing { deadline, .. } => Some(*deadline),
            Phase::Up { .. } => self.in_flight.next_expiry(),
        }
    }

    /// Every instant at which something may change without an event.
    pub(super) fn timers(&self) -> impl Iterator<Item = Instant> {
        let renew_at = match self.phase {
            Phase::Up { renew_at, .. } => renew_at,
            _ => None,
        };
        let at = [self.wait_ends_at(), self.not_before, self.throttled_until, renew_at];
        at.into_iter().flatten()
    }

    /// What it is waiting for, for a message to people.
    pub(super) fn overdue_cause(&self, setup: Duration, request: Duration) -> Cause {
        let address = &self.address;
        Cause::Connection(match &self.phase {
            Phase::Down => format!("not connected to {address}").into(),
            Phase::Dialling { .. } => {
                format!("cannot connect to {address} within {setup:?}").into()
            }
            Phase::Shaking { handshake, .. } if handshake.knows_versions() => {
                format!("{address} did not let us log in within {setup:?}").into()
            }
            Phase::Shaking { .. } => format!(
                "{address} accepted the connection but did not answer ApiVersions within {setup:?}: \
                 is it a Kafka broker, and one without TLS?"
            )
            .into(),
            Phase::Renewing { .. } => {
                format!("{address} did not renew the login within {setup:?}").into()
            }
            Phase::Up { .. } => format!("{address} did not answer within {request:?}").into(),
        })
    }
}
