//! SASL: who we are, proven to a broker.
//!
//! Exchanges of messages as values: no socket, clock, randomness or logging in them. Nonces are
//! arguments, and the one slow computation is handed to the caller ([`Step::Derive`]). How the
//! messages travel is the producer's handshake.
//!
//! | mechanism | messages of ours | what the broker proves |
//! |---|---|---|
//! | PLAIN | user and password | nothing: TLS has to |
//! | SCRAM-SHA-256, SCRAM-SHA-512 | a nonce; a proof | that it knows the password, too |
//!
//! Names and passwords are sent as the UTF-8 that they are. RFC 5802 would have them normalised
//! (SASLprep), but Kafka does not, neither when it stores a password nor when it checks one: a
//! client that did could not log in with a password that normalisation changes.
//!
//! Sources: RFC 4422, RFC 4616, RFC 5802, RFC 7677, KIP-12, KIP-84, KIP-152.

mod plain;

mod scram;
pub use scram::{Derivation, SaltedPassword};

mod salted;
pub use salted::SaltedPasswords;

mod secret;
pub use secret::{Secret, VariableError};

use bytes::Bytes;
use plain::Plain;
use scram::{Hash, Scram};
use std::fmt;
use zeroize::Zeroizing;

/// Largest message of a broker that is read, in bytes.
const CHALLENGE_SIZE_MAX: usize = 16 << 10;

/// A SASL mechanism that ottla speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// User and password as they are (RFC 4616). Only safe under TLS.
    Plain,
    /// Salted challenge and response (RFC 7677).
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Every mechanism.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// The name that brokers and configurations use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of this name, in either case, with `_` for `-` if need be.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(&name))
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A user and the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Secret,
    password: Secret,
}

impl Credentials {
    /// These.
    ///
    /// # Errors
    ///
    /// `EmptyCredential` or `NulInCredential` names the one that no mechanism could send.
    pub fn new(username: Secret, password: Secret) -> Result<Self, SaslError> {
        for (field, secret) in [("username", &username), ("password", &password)] {
            if secret.is_empty() {
                return Err(SaslError::EmptyCredential { field });
            }
            if secret.expose().contains('\0') {
                return Err(SaslError::NulInCredential { field });
            }
        }
        Ok(Self { username, password })
    }
}

/// Where credentials come from.
///
/// Asked at every login, so that they can be rotated without a restart: logins that are under way
/// end with the ones they began with.
pub trait CredentialProvider: fmt::Debug + Send + Sync {
    /// The credentials to log in with now. Called on the producer's task: it must not block.
    ///
    /// # Errors
    ///
    /// Why there are none, in words. The login fails with them, and is tried again later.
    fn credentials(&self) -> Result<Credentials, String>;
}

/// These, always.
impl CredentialProvider for Credentials {
    fn credentials(&self) -> Result<Credentials, String> {
        Ok(self.clone())
    }
}

/// One login, message by message.
#[derive(Debug)]
pub struct Exchange(Mechanism);

#[derive(Debug)]
enum Mechanism {
    Plain(Plain),
    Scram(Box<Scram>),
}

/// A message of ours. It may hold a password: nobody is shown it, and it is overwritten in the end.
#[derive(Clone)]
pub struct Message(Zeroizing<Vec<u8>>);

impl Message {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the broker.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for a socket, without a copy that nobody would overwrite.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What comes next in an exchange.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Respond(Message),
    /// Run the derivation where its time harms nobody, and go on with [`Exchange::derived`].
    Derive(Derivation),
    /// We are known, and the broker has proven itself if the mechanism lets it.
    Finished,
}

/// Why a login cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// Configuration: there is no such user, or no such password.
    #[error("the {field} is empty")]
    EmptyCredential {
        /// `username` or `password`.
        field: &'static str,
    },
    /// Configuration: what ends a field of PLAIN is in one.
    #[error("the {field} holds a NUL character")]
    NulInCredential {
        /// `username` or `password`.
        field: &'static str,
    },
    /// The broker refuses us, in its own words.
    #[error("the broker refused the login: {0}")]
    Refused(String),
    /// The broker does not know the password, or not the one that we have.
    #[error(
        "the broker did not prove that it knows the password: it may not be the broker that it \
         should be"
    )]
    UnprovenServer,
    /// The broker breaks the mechanism's protocol.
    #[error("the broker's SASL message makes no sense: {0}")]
    Malformed(&'static str),
    /// The broker asks for a computation that proves nothing, or that takes for ever.
    #[error(
        "the broker asks for {iterations} PBKDF2 iterations: only {} to {} are done",
        scram::ITERATIONS.start(),
        scram::ITERATIONS.end()
    )]
    Iterations {
        /// How many.
        iterations: u32,
    },
}

impl Exchange {
    /// A login with these. `nonce` must be new for each, and not to be guessed: printable ASCII
    /// without a comma, at least 18 characters.
    pub fn new(mechanism: SaslMechanism, credentials: Credentials, nonce: String) -> Self {
        let scram = |hash| Mechanism::Scram(Box::new(Scram::new(hash, credentials.clone(), nonce)));
        Self(match mechanism {
            SaslMechanism::Plain => Mechanism::Plain(Plain::new(credentials)),
            SaslMechanism::ScramSha256 => scram(Hash::Sha256),
            SaslMechanism::ScramSha512 => scram(Hash::Sha512),
        })
    }

    /// The first message.
    pub fn start(&mut self) -> Message {
        match &mut self.0 {
            Mechanism::Plain(plain) => plain.start(),
            Mechanism::Scram(scram) => scram.start(),
        }
    }

    /// Takes in the broker's answer to the last message.
    ///
    /// # Errors
    ///
    /// `SaslError`; the login is over then.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        if challenge.len() > CHALLENGE_SIZE_MAX {
            return Err(SaslError::Malformed("it is too long"));
        }
        match &mut self.0 {
            Mechanism::Plain(_) => Ok(Step::Finished),
            Mechanism::Scram(scram) => scram.step(challenge),
        }
    }

    /// Takes in what a [`Step::Derive`] asked for: the next message.
    ///
    /// # Errors
    ///
    /// `Malformed`, if nothing was asked for.
    pub fn derived(&mut self, salted: &SaltedPassword) -> Result<Message, SaslError> {
        match &mut self.0 {
            Mechanism::Plain(_) => Err(scram::OUT_OF_ORDER),
            Mechanism::Scram(scram) => scram.derived(salted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn credentials(username: &str, password: &str) -> Credentials {
        Credentials::new(Secret::new(username), Secret::new(password)).unwrap()
    }

    #[test]
    fn credentials_that_no_mechanism_can_send_are_refused_by_name() {
        let error = |username: &str, password: &str| {
            let made = Credentials::new(Secret::new(username), Secret::new(password));
            made.unwrap_err().to_string()
        };
        assert_eq!(error("", "pencil"), "the username is empty");
        assert_eq!(error("user", ""), "the password is empty");
        assert_eq!(error("us\0er", "pencil"), "the username holds a NUL character");
        assert_eq!(error("user", "pencil\0"), "the password holds a NUL character");
    }

    #[test]
    fn nothing_secret_is_shown() {
        for mechanism in SaslMechanism::ALL {
            let credentials = credentials("alice", "hunter2");
            assert_eq!(
                format!("{credentials:?}"),
                "Credentials { username: [redacted], password: [redacted] }"
            );
            let mut exchange = Exchange::new(mechanism, credentials, "nonce".to_owned());
            let shown = format!("{:?} {exchange:?}", exchange.start());
            assert!(!shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn mechanisms_are_found_by_either_spelling() {
        for name in ["SCRAM-SHA-256", "scram-sha-256", "scram_sha_256"] {
            assert_eq!(SaslMechanism::from_name(name), Some(SaslMechanism::ScramSha256));
        }
        assert_eq!(SaslMechanism::from_name("GSSAPI"), None);
    }

    #[test]
    fn a_challenge_beyond_reason_is_not_looked_at() {
        let mut exchange =
            Exchange::new(SaslMechanism::ScramSha256, credentials("u", "p"), "n".to_owned());
        exchange.start();
        let error = exchange.step(&vec![b'r'; CHALLENGE_SIZE_MAX + 1]).unwrap_err();
        assert_eq!(error, SaslError::Malformed("it is too long"));
    }
}
