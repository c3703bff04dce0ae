//! SCRAM where Kafka and the `sasl` crate differ.
//!
//! The crate judges the proof. Added are SHA-512, which its traits let in, and what it leaves out or
//! takes another way: it takes the header `n,,` only from one who could bind channels, whatever
//! stands in its place, and does not look at who the client wants to pass for.
//!
//! librdkafka before 2.6.1 puts its own nonce in front of the server's, which has it already, and
//! proves that text. Kafka 4 refuses it (CVE-2024-56128); brokers before it do not look so closely.
//! For them the proof is turned into one of the right text, and the answer into one of theirs.
//!
//! Spec: RFC 5802, RFC 7677.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::digest::InvalidLength;
use hmac::{Hmac, Mac};
use sasl::common::scram::{DeriveError, ScramProvider};
use sasl::common::{ChannelBinding, Identity, Password};
use sasl::secret::{Pbkdf2Secret, Secret};
use sasl::server::mechanisms::Scram as Inner;
use sasl::server::{Mechanism, MechanismError, Provider, Response};
use sha2::{Digest, Sha512};

/// A login by SCRAM with the hash `S`, of users who are in `P`.
pub(super) struct Scram<S, P>
where
    S: ScramProvider,
    S::Secret: Pbkdf2Secret,
    P: Provider<S::Secret>,
{
    inner: Inner<S, P>,
    users: P,
    /// Whether the last message must repeat the server's nonce and nothing else.
    is_strict: bool,
    /// The first messages, once they are said.
    said: Option<Said>,
}

/// The first messages of either side, without the client's header.
struct Said {
    client: String,
    server: String,
}

impl<S, P> Scram<S, P>
where
    S: ScramProvider,
    S::Secret: Pbkdf2Secret,
    P: Provider<S::Secret> + Clone,
{
    pub(super) fn new(users: P, is_strict: bool) -> Self {
        // Without something to bind, the crate wants the header `y`.
        let binding = ChannelBinding::TlsUnique(Vec::new());
        Self { inner: Inner::new(users.clone(), binding), users, is_strict, said: None }
    }

    fn first(&mut self, message: &str) -> Result<Response, MechanismError> {
        let header = message.strip_prefix("n,").and_then(|rest| rest.split_once(','));
        let (passes_for, bare) = header.ok_or(MechanismError::FailedToDecodeMessage)?;
        let name = attribute(bare, "n").ok_or(MechanismError::NoUsername)?;
        if !passes_for.is_empty() && passes_for.strip_prefix("a=") != Some(name) {
            return Err(MechanismError::AuthenticationFailed);
        }
        let response = self.inner.respond(message.as_bytes())?;
        if let Response::Proceed(challenge) = &response {
            let server = String::from_utf8_lossy(challenge).into_owned();
            self.said = Some(Said { client: bare.to_owned(), server });
        }
        Ok(response)
    }

    fn last(&mut self, said: &Said, message: &str) -> Result<Response, MechanismError> {
        let nonce = attribute(&said.server, "r").ok_or(MechanismError::NoNonce)?;
        let sent = attribute(message, "r").ok_or(MechanismError::NoNonce)?;
        if self.is_strict || sent == nonce || !sent.ends_with(nonce) {
            return self.inner.respond(message.as_bytes());
        }
        let keys = self.keys(said)?;
        let (unproven, proof) = message.rsplit_once(",p=").ok_or(MechanismError::NoProof)?;
        let expected = unproven.replace(sent, nonce);
        let proof = BASE64.decode(proof).map_err(|_| MechanismError::CannotDecodeProof)?;
        // A proof is the client's key, hidden by a signature of the text: uncovered by the signature
        // of what was sent, it is hidden again by that of what should have been.
        let uncovered = xor(&proof, &S::hmac(&said.signed(unproven), &keys.stored)?);
        let proof = xor(&uncovered, &S::hmac(&said.signed(&expected), &keys.stored)?);
        let message = format!("{expected},p={}", BASE64.encode(proof));
        match self.inner.respond(message.as_bytes())? {
            Response::Success(identity, _) => {
                let signature = S::hmac(&said.signed(unproven), &keys.server)?;
                let last = format!("v={}", BASE64.encode(signature));
                Ok(Response::Success(identity, last.into_bytes()))
            }
            other @ Response::Proceed(_) => Ok(other),
        }
    }

    fn keys(&self, said: &Said) -> Result<Keys, MechanismError> {
        let name = attribute(&said.client, "n").ok_or(MechanismError::NoUsername)?;
        let secret = self.users.provide(&Identity::Username(name.to_owned()))?;
        let client = S::hmac(b"Client Key", secret.digest())?;
        let server = S::hmac(b"Server Key", secret.digest())?;
        Ok(Keys { stored: S::hash(&client), server })
    }
}

struct Keys {
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl Said {
    /// What both sides sign.
    fn signed(&self, unproven: &str) -> Vec<u8> {
        [&self.client, &self.server, unproven].join(",").into_bytes()
    }
}

impl<S, P> Mechanism for Scram<S, P>
where
    S: ScramProvider,
    S::Secret: Pbkdf2Secret,
    P: Provider<S::Secret> + Clone,
{
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn respond(&mut self, message: &[u8]) -> Result<Response, MechanismError> {
        let text =
            std::str::from_utf8(message).map_err(|_| MechanismError::FailedToDecodeMessage)?;
        match self.said.take() {
            None => self.first(text),
            Some(said) => self.last(&said, text),
        }
    }
}

/// The value of an attribute of a message.
pub(super) fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut attributes = message.split(',').filter_map(|attribute| attribute.split_once('='));
    attributes.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// As long as the shorter one.
fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

/// SCRAM's SHA-512, which the crate has not.
pub(super) struct Sha512Provider;

/// What it keeps of a password.
#[derive(Clone)]
pub(super) struct Pbkdf2Sha512 {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    pub(super) digest: Vec<u8>,
}

impl Secret for Pbkdf2Sha512 {}

impl Pbkdf2Secret for Pbkdf2Sha512 {
    fn salt(&self) -> &[u8] {
        &self.salt
    }

    fn iterations(&self) -> u32 {
        self.iterations
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
