//! The door of a connection: shut until someone has logged in, where that is wanted.
//!
//! ```text
//! Shut --mechanism--> Asked --accepted--> In --time over--> only a new login passes
//!                       |
//!                       +--refused--> the connection ends
//! ```
//!
//! As Kafka's `SaslServerAuthenticator`: before there is a login, ApiVersions and the login's own
//! requests pass, and anything else ends the connection; so does anything but a new login once the
//! time of one is over (KIP-368). A new login may begin at any time.

use std::fmt;
use std::time::{Duration, Instant};

use super::Mechanism;
use crate::broker::Api;

/// The state of one connection.
pub(crate) struct Door {
    /// Whether anybody is asked for a login at all.
    guarded: bool,
    /// The login under way.
    asked: Option<Mechanism>,
    /// When the login is over, once there is one.
    inside: Option<Stay>,
    /// When the request came that is served now.
    now: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Stay {
    ForEver,
    Until(Instant),
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) const fn new(guarded: bool, now: Instant) -> Self {
        Self { guarded, asked: None, inside: None, now }
    }

    /// Whether a request may be served.
    pub(crate) fn lets_through(&mut self, api: Api, now: Instant) -> bool {
        self.now = now;
        let is_inside = match self.inside {
            Some(Stay::ForEver) => true,
            Some(Stay::Until(end)) => now < end,
            None => false,
        };
        match api {
            Api::ApiVersions | Api::SaslHandshake => true,
            Api::SaslAuthenticate => self.asked.is_some(),
            _ => !self.guarded || is_inside,
        }
    }

    /// A login by this mechanism begins.
    pub(crate) fn ask(&mut self, mechanism: Mechanism) {
        self.asked = Some(mechanism);
    }

    /// The login under way.
    pub(crate) const fn asked_mut(&mut self) -> Option<&mut Mechanism> {
        self.asked.as_mut()
    }

    /// The login is accepted, for so long; zero is for ever.
    pub(crate) fn open(&mut self, lifetime: Duration) {
        self.asked = None;
        self.inside = Some(match lifetime {
            Duration::ZERO => Stay::ForEver,
            lifetime => Stay::Until(self.now + lifetime),
        });
    }
}
