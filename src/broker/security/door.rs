//! The door of a connection: shut until someone has logged in, where that is wanted.
//!
//! ```text
//! Shut --SaslHandshake--> Asked --accepted--> In --its time over--> only a new login passes
//!                         ^  |                 |
//!                         |  +--refused--> the connection ends
//!                         +---SaslHandshake----+    (if a login has an end)
//! ```
//!
//! As Kafka's `SaslServerAuthenticator` and `KafkaApis`: before there is a login, its own requests
//! and one ApiVersions in front of them pass, and anything else ends the connection; so does anything
//! but a new login once the time of one is over (KIP-368). A new one must be of the same user, by the
//! same mechanism. Unlike Kafka it may begin at any time, not only a second after the one before:
//! tests do not wait so long.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Mechanism, Said};
use crate::broker::Api;
use crate::broker::faults::LoginFault;
use crate::sasl::SaslMechanism;

/// The state of one connection.
pub(crate) struct Door {
    /// Whether anybody is asked for a login at all.
    guarded: bool,
    /// Whether the client was told the versions.
    told_versions: bool,
    /// The login under way.
    asked: Option<Login>,
    guest: Option<Guest>,
    /// When the request came that is served now.
    now: Instant,
}

/// A login under way.
enum Login {
    /// By this mechanism, and with this to go wrong.
    By(Mechanism, Option<LoginFault>),
    /// By another mechanism than the first, which Kafka agrees to and then hangs up on.
    InVain,
}

/// Who came in.
struct Guest {
    user: String,
    mechanism: SaslMechanism,
    /// When the login is over, if ever.
    until: Option<Instant>,
}

/// What the door does about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It is served.
    Open,
    /// It is told `ILLEGAL_SASL_STATE`, and its connection is closed.
    TurnedAway,
    /// Its connection is closed.
    Closed,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) const fn new(guarded: bool, now: Instant) -> Self {
        Self { guarded, told_versions: false, asked: None, guest: None, now }
    }

    /// Whether a request may be served.
    pub(crate) fn passage(&mut self, api: Api, now: Instant) -> Passage {
        self.now = now;
        let is_open = match (&self.asked, &self.guest) {
            (Some(Login::By(..)), _) if api == Api::SaslAuthenticate => true,
            (Some(Login::By(..)), _) => return Passage::TurnedAway,
            (Some(Login::InVain), _) => false,
            (None, Some(Guest { until: Some(end), .. })) if now >= *end => {
                api == Api::SaslHandshake
            }
            (None, Some(_)) => true,
            (None, None) if self.guarded => match api {
                Api::ApiVersions => !self.told_versions,
                api => api == Api::SaslHandshake,
            },
            (None, None) => true,
        };
        if is_open { Passage::Open } else { Passage::Closed }
    }

    /// The client has been told the versions. Until it comes in, it need not ask again.
    pub(crate) const fn tell_versions(&mut self) {
        self.told_versions = true;
    }

    /// Whether a login may begin: the first, or one that renews another which has an end.
    pub(crate) fn may_ask(&self) -> bool {
        self.guest.as_ref().is_none_or(|guest| guest.until.is_some())
    }

    /// A login begins.
    pub(crate) fn ask(&mut self, mechanism: Mechanism, fault: Option<LoginFault>) {
        let is_same = |guest: &Guest| guest.mechanism == mechanism.name();
        self.asked = Some(match self.guest.as_ref().is_none_or(is_same) {
            true => Login::By(mechanism, fault),
            false => Login::InVain,
        });
    }

    /// What is said to a message of the login under way; nothing, if there is none.
    pub(crate) fn hear(&mut self, message: &[u8]) -> Option<Said> {
        let Some(Login::By(mechanism, fault)) = &mut self.asked else { return None };
        let attempt = if self.guest.is_some() { "re-authentication" } else { "authentication" };
        let said = match fault {
            Some(LoginFault::Refuse) => mechanism.refused(attempt),
            _ => mechanism.respond(message, attempt),
        };
        let distorted = |said: Vec<u8>| fault.map_or(said.clone(), |fault| fault.applied_to(&said));
        Some(match (said, &self.guest) {
            (Said::Welcome { user, .. }, Some(guest)) if guest.user != user => {
                let first = &guest.user;
                Said::Refused(format!(
                    "Cannot change principals during re-authentication from User.{first}: User.{user}"
                ))
            }
            (Said::Welcome { user, last }, _) => Said::Welcome { user, last: distorted(last) },
            (Said::Challenge(challenge), _) => Said::Challenge(distorted(challenge)),
            (said @ Said::Refused(_), _) => said,
        })
    }

    /// Whether somebody is in, so that a login only renews another.
    pub(crate) const fn is_open(&self) -> bool {
        self.guest.is_some()
    }

    /// Lets in whose login is accepted, for so long; zero is for ever.
    pub(crate) fn open(&mut self, user: String, lifetime: Duration) {
        let Some(Login::By(mechanism, _)) = self.asked.take() else { return };
        // An end that is beyond what clocks can tell is none.
        let until = Some(lifetime).filter(|lifetime| !lifetime.is_zero());
        let until = until.and_then(|lifetime| self.now.checked_add(lifetime));
        self.guest = Some(Guest { user, mechanism: mechanism.name(), until });
    }
}
