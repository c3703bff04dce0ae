//! SASL's server side, by the `sasl` crate.
//!
//! Decides who the users are, and in which words they are refused: Kafka's. What SCRAM needs beside
//! the crate is in `scram`. Of PLAIN the crate ignores who the client wants to pass for, and of
//! SCRAM it leaves names escaped; both are seen to here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sasl::common::scram::{ScramProvider, Sha256};
use sasl::common::{Identity, Password};
use sasl::secret::{Pbkdf2Sha256, Plain as PlainSecret};
use sasl::server::mechanisms::Plain;
use sasl::server::{
    Mechanism as Exchange, MechanismError, Provider, ProviderError, Response, Validator,
    ValidatorError,
};

use super::BrokerSasl;
use super::scram::{Pbkdf2Sha512, Scram, Sha512Provider};
use crate::sasl::{SaslMechanism, Secret};

/// Iterations that passwords are salted with: Kafka's own number.
const ITERATIONS: u32 = 4096;

const SALT_SIZE: usize = 16;

/// Names, and what their passwords are checked by.
#[derive(Clone, Default)]
pub(crate) struct Users(Arc<BTreeMap<String, User>>);

struct User {
    password: Secret,
    sha_256: Pbkdf2Sha256,
    sha_512: Pbkdf2Sha512,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.0.len()).finish()
    }
}

impl Users {
    /// Salts the passwords, which takes some milliseconds each. `None` if the system has no
    /// randomness, or the crate no key.
    pub(crate) fn new(config: &BrokerSasl) -> Option<Self> {
        let mut users = BTreeMap::new();
        for user in &config.users {
            let mut salt = [0; SALT_SIZE];
            getrandom::fill(&mut salt).ok()?;
            let password = Password::Plain(user.password.expose().to_owned());
            let (salt, iterations) = (salt.to_vec(), ITERATIONS);
            let digest = Sha256::derive(&password, &salt, iterations).ok()?;
            let sha_256 = Pbkdf2Sha256 { salt: salt.clone(), iterations, digest };
            let digest = Sha512Provider::derive(&password, &salt, iterations).ok()?;
            let sha_512 = Pbkdf2Sha512 { salt, iterations, digest };
            let checked = User { password: user.password.clone(), sha_256, sha_512 };
            users.insert(user.name.clone(), checked);
        }
        Some(Self(Arc::new(users)))
    }

    fn user(&self, identity: &Identity) -> Option<&User> {
        match identity {
            Identity::Username(name) => self.0.get(&unescape(name)),
            Identity::None => None,
        }
    }
}

/// A name as SCRAM wrote it.
fn unescape(name: &str) -> String {
    name.replace("=2C", ",").replace("=3D", "=")
}

/// A login at the broker's side.
pub(crate) struct Mechanism {
    name: SaslMechanism,
    exchange: Box<dyn Exchange + Send>,
}

/// What the broker says next.
pub(crate) enum Said {
    /// A challenge: there is more to come.
    Challenge(Vec<u8>),
    /// The last word: come in.
    Welcome {
        /// Who came in.
        user: String,
        /// The word.
        last: Vec<u8>,
    },
    /// No, in these words.
    Refused(String),
}

impl Mechanism {
    /// A login that begins. `is_strict` if SCRAM's last message must repeat the broker's nonce and
    /// nothing else.
    pub(crate) fn new(name: SaslMechanism, users: Users, is_strict: bool) -> Self {
        let exchange: Box<dyn Exchange + Send> = match name {
            SaslMechanism::Plain => Box::new(Plain::new(users)),
            SaslMechanism::ScramSha256 => Box::new(Scram::<Sha256, _>::new(users, is_strict)),
            SaslMechanism::ScramSha512 => {
                Box::new(Scram::<Sha512Provider, _>::new(users, is_strict))
            }
        };
        Self { name, exchange }
    }

    pub(crate) const fn name(&self) -> SaslMechanism {
        self.name
    }

    /// Takes in a message of the client's. `attempt` is what Kafka calls this: an authentication,
    /// or a re-authentication.
    pub(crate) fn respond(&mut self, message: &[u8], attempt: &str) -> Said {
        match self.exchange.respond(message) {
            Ok(Response::Proceed(challenge)) => Said::Challenge(challenge),
            Ok(Response::Success(Identity::Username(name), last)) => {
                self.admit(name, last, message)
            }
            Ok(Response::Success(Identity::None, _)) => self.refused(attempt),
            Err(MechanismError::ValidatorError(_)) => Said::Refused(INVALID_PASSWORD.to_owned()),
            Err(_) => self.refused(attempt),
        }
    }

    /// No, without a reason.
    pub(crate) fn refused(&self, attempt: &str) -> Said {
        let mechanism = self.name;
        Said::Refused(format!(
            "Authentication failed during {attempt} due to invalid credentials with SASL mechanism \
             {mechanism}"
        ))
    }

    fn admit(&self, name: String, last: Vec<u8>, message: &[u8]) -> Said {
        match self.name {
            SaslMechanism::Plain => {
                let passes_for = message.split(|byte| *byte == 0).next().unwrap_or_default();
                if passes_for.is_empty() || passes_for == name.as_bytes() {
                    return Said::Welcome { user: name, last };
                }
                Said::Refused(PASSES_FOR_ANOTHER.to_owned())
            }
            _ => Said::Welcome { user: unescape(&name), last },
        }
    }
}

const INVALID_PASSWORD: &str = "Authentication failed: Invalid username or password";

const PASSES_FOR_ANOTHER: &str = "Authentication failed: Client requested an authorization id that \
                                  is different from username";

impl Validator<PlainSecret> for Users {
    fn validate(&self, identity: &Identity, value: &PlainSecret) -> Result<(), ValidatorError> {
        // PLAIN escapes nothing.
        let Identity::Username(name) = identity else {
            return Err(ValidatorError::AuthenticationFailed);
        };
        match self.0.get(name).filter(|user| user.password == Secret::new(value.0.as_str())) {
            Some(_) => Ok(()),
            None => Err(ValidatorError::AuthenticationFailed),
        }
    }
}

impl Validator<Pbkdf2Sha256> for Users {
    fn validate(&self, identity: &Identity, _: &Pbkdf2Sha256) -> Result<(), ValidatorError> {
        self.user(identity).map(drop).ok_or(ValidatorError::AuthenticationFailed)
    }
}

impl Provider<Pbkdf2Sha256> for Users {
    fn provide(&self, identity: &Identity) -> Result<Pbkdf2Sha256, ProviderError> {
        let user = self.user(identity).ok_or(ProviderError::AuthenticationFailed)?;
        Ok(user.sha_256.clone())
    }
}

impl Validator<Pbkdf2Sha512> for Users {
    fn validate(&self, identity: &Identity, _: &Pbkdf2Sha512) -> Result<(), ValidatorError> {
        self.user(identity).map(drop).ok_or(ValidatorError::AuthenticationFailed)
    }
}

impl Provider<Pbkdf2Sha512> for Users {
    fn provide(&self, identity: &Identity) -> Result<Pbkdf2Sha512, ProviderError> {
        let user = self.user(identity).ok_or(ProviderError::AuthenticationFailed)?;
        Ok(user.sha_512.clone())
    }
}
