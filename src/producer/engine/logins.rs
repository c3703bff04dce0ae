//! Logins of connections: the first, and those that renew it before it ends (KIP-368).
//!
//! Decides when a login is renewed. What is said meanwhile is the login's, and what a connection
//! does in its phases is the link's.

use super::super::login::{Login, LoginError};
use super::link::{Link, LinkError};
use super::{Action, ConnectionId, Engine, Target};
use crate::sasl::SaltedPassword;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// A login is renewed after between these parts of its lifetime, in percent: spread, so that a
/// broker that let everyone in at once does not see them all again at once.
const RENEWED_AFTER: std::ops::RangeInclusive<u32> = 85..=95;

impl Engine {
    /// A key that a login waits for has been derived.
    pub(in super::super) fn handle_derived(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        salted: &SaltedPassword,
    ) {
        self.converse(now, connection, |link, client_id| link.on_derived(now, salted, client_id));
        self.advance(now);
    }

    /// Begins the handshake on a connection that stands.
    pub(super) fn shake_hands(&mut self, now: Instant, connection: ConnectionId) {
        let login = self.log_in();
        self.converse(now, connection, |link, client_id| link.on_connected(now, client_id, login?));
    }

    /// Renews the logins that are due, where everything asked before is answered.
    pub(super) fn tend_logins(&mut self, now: Instant) {
        let links = std::iter::once(&self.control).chain(self.leaders.values());
        let due: Vec<_> =
            links.filter(|link| link.may_renew(now)).filter_map(Link::connection).collect();
        for connection in due {
            let deadline = now + self.config.connection_setup_timeout;
            let login = self.log_in();
            self.converse(now, connection, |link, client_id| match login? {
                Some(login) => link.renew(now, deadline, client_id, login),
                None => Ok(None),
            });
        }
    }

    /// A login with the credentials of now, if brokers want one.
    fn log_in(&mut self) -> Result<Option<Login>, LoginError> {
        let config = self.config.sasl.as_ref();
        config.map(|config| Login::new(config, &mut self.nonces)).transpose()
    }

    /// Sends what the link says next, or ends it when that fails.
    fn converse(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        next: impl FnOnce(&mut Link, &str) -> Result<Option<Vec<Bytes>>, LinkError>,
    ) {
        let client_id = std::sync::Arc::clone(&self.client_id);
        let Some(target) = self.connections.get(&connection).copied() else { return };
        let Some(link) = self.link_mut(target) else { return };
        match next(link, &client_id) {
            Ok(Some(frame)) => self.transmit(connection, frame, None),
            Ok(None) => {}
            Err(error) => self.drop_link(now, target, &error.to_string()),
        }
    }

    /// A login was accepted, for `lifetime` if that has an end.
    pub(super) fn on_logged_in(
        &mut self,
        now: Instant,
        target: Target,
        lifetime: Option<Duration>,
    ) {
        let Some(lifetime) = lifetime else { return };
        let spread = usize::try_from(RENEWED_AFTER.end() - RENEWED_AFTER.start()).unwrap_or(0);
        let extra = u32::try_from(self.random.below(spread + 1)).unwrap_or(0);
        let at = now + lifetime * (RENEWED_AFTER.start() + extra) / 100;
        if let Some(link) = self.link_mut(target) {
            link.renew_at(at);
        }
    }

    /// A login needs a key.
    pub(super) fn derive(&mut self, connection: ConnectionId, derivation: crate::sasl::Derivation) {
        let Some(sasl) = &self.config.sasl else { return };
        let salted = sasl.salted.clone();
        self.actions.push_back(Action::Derive { connection, derivation, salted });
    }
}
