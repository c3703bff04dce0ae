//! A login at a broker: SaslHandshake, then SaslAuthenticate until the mechanism is content.
//!
//! ```text
//! Proposing --mechanism taken--> Answering <--> Deriving
//!                                    |
//!                                    +--accepted--> for so long
//! ```
//!
//! Decides what is sent and what the answers mean, at a connection's first login and at those that
//! renew it (KIP-368) alike. When to log in is the link's; the exchange itself is [`crate::sasl`].
//!
//! Sources: KIP-12, KIP-43, KIP-152, KIP-368.

use super::config::SaslConfig;
use super::versions::Versions;
use crate::protocol::messages::sasl_authenticate::{self, SaslAuthenticateResponse};
use crate::protocol::messages::sasl_handshake::{self, SaslHandshakeResponse};
use crate::protocol::messages::{ApiKey, RequestHeader};
use crate::protocol::text::{WORDS_MAX, printable};
use crate::protocol::{DecodeError, ErrorCode};
use crate::sasl::{Derivation, Exchange, Message, SaltedPassword, SaslError, SaslMechanism, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;

/// The longest time that a login is taken to be good for.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Bytes of a nonce; 192 bits, as RFC 5802's examples have.
const NONCE_SIZE: usize = 24;

/// What to ask of a broker that hangs up on the first request behind the handshake.
pub(super) const LOGIN_HINT: &str = ": does it want a login (security.protocol, sasl.mechanism)?";

/// Mechanisms of a broker that are named.
const NAMED_MAX: usize = 10;

/// Nonces: new with each login, and not to be guessed by who does not know the key.
#[derive(Clone)]
pub(super) struct Nonces {
    key: [u8; 32],
    count: u64,
}

impl Nonces {
    /// `key` comes from the system's randomness, or from a test that wants to see nonces again.
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key, count: 0 }
    }

    pub(super) fn next(&mut self) -> String {
        self.count += 1;
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        let code = mac.chain_update(self.count.to_be_bytes()).finalize().into_bytes();
        STANDARD_NO_PAD.encode(&code[..NONCE_SIZE])
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    mechanism: SaslMechanism,
    exchange: Exchange,
    state: State,
}

#[derive(Debug)]
enum State {
    Proposing,
    Answering(Message),
    /// Nothing is out: the next message waits for a key.
    Deriving,
}

/// What comes next in a login.
#[derive(Debug)]
pub(super) enum Progress {
    /// Another request.
    Ask,
    /// A key, for [`Login::derived`].
    Derive(Derivation),
    /// Done. Good for so long; for ever, if `None`.
    Done(Option<Duration>),
}

/// Why a login fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoginError {
    #[error("cannot log in: no credentials: {0}")]
    NoCredentials(String),
    #[error("cannot log in: the system has no randomness: {0}")]
    NoRandomness(String),
    #[error(
        "cannot log in: the broker knows no SASL: is this the port of a listener without it, or \
         should security.protocol be plaintext or ssl?"
    )]
    NoSasl,
    #[error(
        "cannot log in: the broker does not offer {mechanism}{}: set sasl.mechanism to one that it \
         offers, or enable {mechanism} there",
        Offers(offered)
    )]
    MechanismNotOffered { mechanism: SaslMechanism, offered: Vec<String> },
    #[error(
        "cannot log in with {mechanism}: the broker refuses the user or the password{}; correct \
         sasl.username or sasl.password, or make them known there",
        Words(words)
    )]
    Refused { mechanism: SaslMechanism, words: String },
    #[error("cannot log in: the broker answered {api} with {code}{}", Words(words))]
    Code { api: ApiKey, code: ErrorCode, words: String },
    #[error("cannot log in with {mechanism}: {cause}")]
    Exchange { mechanism: SaslMechanism, cause: SaslError },
    #[error("cannot log in: the answer to {api} makes no sense: {cause}")]
    Decode { api: ApiKey, cause: DecodeError },
    #[error("cannot log in: the broker answered what it was not asked")]
    OutOfOrder,
}

/// A broker's words behind what is known anyway.
struct Words<'a>(&'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

struct Offers<'a>(&'a [String]);

impl fmt::Display for Offers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str(", nor any other mechanism"),
            offered => write!(f, ", only {}", offered.join(", ")),
        }
    }
}

impl Login {
    /// A login with the credentials of now.
    pub(super) fn new(config: &SaslConfig, nonces: &mut Nonces) -> Result<Self, LoginError> {
        let credentials = config.credentials.credentials().map_err(LoginError::NoCredentials)?;
        let exchange = Exchange::new(config.mechanism, credentials, nonces.next());
        Ok(Self { mechanism: config.mechanism, exchange, state: State::Proposing })
    }

    /// The API and the version of the request that is due.
    pub(super) fn next(&self, versions: &Versions) -> Result<(ApiKey, i16), LoginError> {
        let api = match self.state {
            State::Proposing => ApiKey::SaslHandshake,
            State::Answering(_) | State::Deriving => ApiKey::SaslAuthenticate,
        };
        Ok((api, versions.choose(api).ok_or(LoginError::NoSasl)?))
    }

    /// The request that is due, under a header for what [`next`](Self::next) says. `None` while a
    /// key is waited for.
    pub(super) fn request(&self, header: RequestHeader<'_>) -> Option<Vec<Bytes>> {
        match &self.state {
            State::Proposing => Some(sasl_handshake::request(header, self.mechanism.name())),
            State::Answering(message) => {
                Some(sasl_authenticate::request(header, message.clone().into_bytes()))
            }
            State::Deriving => None,
        }
    }

    /// Takes in the body of the answer.
    pub(super) fn answered(&mut self, version: i16, body: &Bytes) -> Result<Progress, LoginError> {
        match self.state {
            State::Proposing => self.on_handshake(version, body),
            State::Answering(_) => self.on_authenticate(version, body),
            State::Deriving => Err(LoginError::OutOfOrder),
        }
    }

    fn on_handshake(&mut self, version: i16, body: &Bytes) -> Result<Progress, LoginError> {
        let api = ApiKey::SaslHandshake;
        let answer = SaslHandshakeResponse::decode(version, body)
            .map_err(|cause| LoginError::Decode { api, cause })?;
        match answer.error {
            ErrorCode::NONE => {
                self.state = State::Answering(self.exchange.start());
                Ok(Progress::Ask)
            }
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let mechanism = self.mechanism;
                let named = answer.mechanisms.iter().take(NAMED_MAX);
                let offered = named.map(|name| printable(name, WORDS_MAX / NAMED_MAX)).collect();
                Err(LoginError::MechanismNotOffered { mechanism, offered })
            }
            // A listener without SASL answers so.
            ErrorCode::ILLEGAL_SASL_STATE => Err(LoginError::NoSasl),
            code => Err(LoginError::Code { api, code, words: String::new() }),
        }
    }

    fn on_authenticate(&mut self, version: i16, body: &Bytes) -> Result<Progress, LoginError> {
        let (api, mechanism) = (ApiKey::SaslAuthenticate, self.mechanism);
        let answer = SaslAuthenticateResponse::decode(version, body)
            .map_err(|cause| LoginError::Decode { api, cause })?;
        let words = printable(answer.message.as_deref().unwrap_or_default(), WORDS_MAX);
        match answer.error {
            ErrorCode::NONE => {}
            ErrorCode::SASL_AUTHENTICATION_FAILED => {
                return Err(LoginError::Refused { mechanism, words });
            }
            code => return Err(LoginError::Code { api, code, words }),
        }
        let step = self.exchange.step(&answer.answer);
        match step.map_err(|cause| LoginError::Exchange { mechanism, cause })? {
            Step::Respond(message) => {
                self.state = State::Answering(message);
                Ok(Progress::Ask)
            }
            Step::Derive(derivation) => {
                self.state = State::Deriving;
                Ok(Progress::Derive(derivation))
            }
            Step::Finished => Ok(Progress::Done(lifetime(answer.session_lifetime_ms))),
        }
    }

    /// Takes in the key that was asked for: there is a request again.
    pub(super) fn derived(&mut self, salted: &SaltedPassword) -> Result<(), LoginError> {
        let mechanism = self.mechanism;
        let message = self.exchange.derived(salted);
        let message = message.map_err(|cause| LoginError::Exchange { mechanism, cause })?;
        self.state = State::Answering(message);
        Ok(())
    }
}

/// How long a login is good for. Nonsense is for ever: the broker will say when it is not.
fn lifetime(millis: i64) -> Option<Duration> {
    match u64::try_from(millis) {
        Ok(0) | Err(_) => None,
        Ok(millis) => Some(Duration::from_millis(millis).min(LIFETIME_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F45
    #[test]
    fn lifetimes_are_taken_as_they_can_be() {
        assert_eq!(lifetime(0), None);
        assert_eq!(lifetime(-1), None);
        assert_eq!(lifetime(60_000), Some(Duration::from_secs(60)));
        assert_eq!(lifetime(i64::MAX), Some(LIFETIME_MAX));
    }

    #[test]
    fn nonces_are_new_printable_and_those_of_their_key() {
        let take = |key| {
            let mut nonces = Nonces::new([key; 32]);
            (0..100).map(|_| nonces.next()).collect::<Vec<_>>()
        };
        let nonces = take(1);
        let different: std::collections::BTreeSet<_> =
            nonces.iter().chain(&take(2)).cloned().collect();
        assert_eq!(different.len(), 200);
        assert_eq!(nonces, take(1));
        let printable = |c: char| c.is_ascii_graphic() && c != ',';
        assert!(nonces.iter().all(|nonce| nonce.len() == 32 && nonce.chars().all(printable)));
    }

    #[test]
    fn a_brokers_words_are_shown_without_what_a_terminal_would_obey() {
        let error = LoginError::Refused {
            mechanism: SaslMechanism::Plain,
            words: printable("no\nway", WORDS_MAX),
        };
        assert!(error.to_string().contains("refuses the user or the password: no?way; "));
        let offered = Vec::new();
        let error = LoginError::MechanismNotOffered { mechanism: SaslMechanism::Plain, offered };
        assert!(error.to_string().contains("PLAIN, nor any other mechanism"), "{error}");
    }
}
