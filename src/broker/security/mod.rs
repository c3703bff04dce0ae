//! Who may come in: TLS in front of a connection, and a login within it.
//!
//! Decides what is configured. `tls` makes the library's settings of it, `door` keeps a connection
//! shut until someone has logged in, and `mechanism` is SASL's server side, by the `sasl` crate:
//! what judges the producer's logins shares no code with them. Of `crate::sasl` only the names of
//! mechanisms and `Secret` are used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::sasl::{SaslMechanism, Secret};

mod door;
pub(crate) use door::{Door, Passage};

mod mechanism;
pub(crate) use mechanism::{Mechanism, Said, Users};

mod scram;

mod tls;
pub(crate) use tls::server_config;

/// How the embedded broker encrypts connections.
#[derive(Debug, Clone)]
pub struct BrokerTls {
    /// A file with its certificate, in PEM, and those between it and its root.
    pub certificate: PathBuf,
    /// A file with the certificate's private key, in PEM.
    pub key: PathBuf,
    /// A file with the certificates of those who sign clients' certificates. With it, every client
    /// must have one. Default: clients are not asked.
    pub client_ca: Option<PathBuf>,
}

impl BrokerTls {
    /// With this certificate and key, and without asking clients who they are.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), client_ca: None }
    }

    /// Wants a certificate of every client, signed by one of this file's.
    #[must_use]
    pub fn with_client_ca(mut self, client_ca: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(client_ca.into());
        self
    }
}

/// Who may log in to the embedded broker, and how.
#[derive(Debug, Clone)]
pub struct BrokerSasl {
    /// Names and passwords.
    pub users: Vec<BrokerUser>,
    /// The mechanisms offered. Default: all.
    pub mechanisms: Vec<SaslMechanism>,
    /// How long a login is good for (KIP-368). Default: zero, for ever.
    pub session_lifetime: Duration,
}

/// Someone who may log in.
#[derive(Clone)]
pub struct BrokerUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

impl fmt::Debug for BrokerUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerUser").finish_non_exhaustive()
    }
}

impl BrokerSasl {
    /// These users, by any mechanism.
    pub fn new<N: Into<String>, P: Into<String>>(users: impl IntoIterator<Item = (N, P)>) -> Self {
        let user = |(name, password): (N, P)| BrokerUser {
            name: name.into(),
            password: Secret::new(password),
        };
        Self {
            users: users.into_iter().map(user).collect(),
            mechanisms: SaslMechanism::ALL.to_vec(),
            session_lifetime: Duration::ZERO,
        }
    }

    /// Offers these mechanisms only.
    #[must_use]
    pub fn with_mechanisms(mut self, mechanisms: impl IntoIterator<Item = SaslMechanism>) -> Self {
        self.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// Wants a new login after so long.
    #[must_use]
    pub const fn with_session_lifetime(mut self, session_lifetime: Duration) -> Self {
        self.session_lifetime = session_lifetime;
        self
    }
}
