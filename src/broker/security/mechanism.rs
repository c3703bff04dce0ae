//! SASL's server side, by the `sasl` crate.
//!
//! The crate knows SCRAM-SHA-256; SCRAM-SHA-512 is the same with another hash, which its traits let
//! in. Two of its habits are worked around: it takes Kafka's header `n,,` only from one who could
//! bind channels, and it leaves names escaped.

use std::collections::BTreeMap;
use std::fmt;

use hmac::digest::InvalidLength;
use hmac::{Hmac, Mac};
use sasl::common::scram::{DeriveError, ScramProvider, Sha256};
use sasl::common::{ChannelBinding, Identity, Password};
use sasl::secret::{Pbkdf2Secret, Pbkdf2Sha256, Plain as PlainSecret, Secret as SaslSecret};
use sasl::server::mechanisms::{Plain, Scram};
use sasl::server::{
    Mechanism as Exchange, Provider, ProviderError, Response, Validator, ValidatorError,
};
use sha2::{Digest, Sha512};

use super::BrokerSasl;
use crate::sasl::{SaslMechanism, Secret};

/// Iterations that passwords are salted with: Kafka's own number.
const ITERATIONS: u32 = 4096;

const SALT_SIZE: usize = 16;

/// Names, and what their passwords are checked by.
#[derive(Clone, Default)]
pub(crate) struct Users(BTreeMap<String, User>);

#[derive(Clone)]
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
            let digest = |derived: Result<Vec<u8>, DeriveError>| derived.ok();
            let (salt, iterations) = (salt.to_vec(), ITERATIONS);
            let sha_256 = Pbkdf2Sha256 {
                digest: digest(Sha256::derive(&password, &salt, iterations))?,
                salt: salt.clone(),
                iterations,
            };
            let sha_512 = Pbkdf2Sha512 {
                digest: digest(Sha512Provider::derive(&password, &salt, iterations))?,
                salt,
            };
            let checked = User { password: user.password.clone(), sha_256, sha_512 };
            users.insert(user.name.clone(), checked);
        }
        Some(Self(users))
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
    Welcome(Vec<u8>),
    /// No.
    Refused,
}

impl Mechanism {
    pub(crate) fn new(name: SaslMechanism, users: Users) -> Self {
        // "p" would name it, "n" does not: only so is "n" taken for what it is.
        let unbound = || ChannelBinding::TlsUnique(Vec::new());
        let exchange: Box<dyn Exchange + Send> = match name {
            SaslMechanism::Plain => Box::new(Plain::new(users)),
            SaslMechanism::ScramSha256 => Box::new(Scram::<Sha256, _>::new(users, unbound())),
            SaslMechanism::ScramSha512 => {
                Box::new(Scram::<Sha512Provider, _>::new(users, unbound()))
            }
        };
        Self { name, exchange }
    }

    pub(crate) const fn name(&self) -> SaslMechanism {
        self.name
    }

    /// Takes in a message of the client's.
    pub(crate) fn respond(&mut self, message: &[u8]) -> Said {
        match self.exchange.respond(message) {
            Ok(Response::Proceed(challenge)) => Said::Challenge(challenge),
            Ok(Response::Success(_, last)) => Said::Welcome(last),
            Err(_) => Said::Refused,
        }
    }
}

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

/// SCRAM's SHA-512, which the crate has not.
struct Sha512Provider;

/// What it keeps of a password.
#[derive(Clone)]
struct Pbkdf2Sha512 {
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl SaslSecret for Pbkdf2Sha512 {}

impl Pbkdf2Secret for Pbkdf2Sha512 {
    fn salt(&self) -> &[u8] {
        &self.salt
    }

    fn iterations(&self) -> u32 {
        ITERATIONS
    }

    fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl ScramProvider for Sha512Provider {
    type Secret = Pbkdf2Sha512;

    fn name() -> &'static str {
        "SHA-512"
    }

    fn hash(data: &[u8]) -> Vec<u8> {
        Sha512::digest(data).to_vec()
    }

    fn hmac(data: &[u8], key: &[u8]) -> Result<Vec<u8>, InvalidLength> {
        let mac = Hmac::<Sha512>::new_from_slice(key)?;
        Ok(mac.chain_update(data).finalize().into_bytes().to_vec())
    }

    fn derive(password: &Password, salt: &[u8], iterations: u32) -> Result<Vec<u8>, DeriveError> {
        match password {
            Password::Plain(plain) => {
                let mut key = vec![0; 64];
                pbkdf2::pbkdf2_hmac::<Sha512>(plain.as_bytes(), salt, iterations, &mut key);
                Ok(key)
            }
            Password::Pbkdf2 { .. } => Err(DeriveError::IncorrectSalt),
        }
    }
}
