//! SCRAM: a proof of the password that does not tell it, and one in return (RFC 5802, RFC 7677).
//!
//! ```text
//! Fresh --start--> Greeted --server first--> Deriving --derived--> Proven --server final--> Done
//! ```
//!
//! The broker is not trusted until its signature has been checked. Until then it could have us
//! answer somebody else's challenge (so its nonce must continue ours), tell the password by a
//! salt that it has a table for (so it must ask for enough iterations), or keep us busy (so not
//! for too many).

use super::{Credentials, Message, SaslError, Secret, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::fmt;
use std::ops::RangeInclusive;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Iterations that are done: RFC 7677's least, and about a second's worth.
pub(super) const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// No channel binding, and nobody to act as.
const GS2_HEADER: &str = "n,,";

/// That header in base64, as the proof repeats it.
const GS2_HEADER_BASE64: &str = "biws";

const SALT_SIZE_MAX: usize = 1024;

/// Characters of a broker's words that are repeated.
const WORDS_MAX: usize = 200;

pub(super) const OUT_OF_ORDER: SaslError = SaslError::Malformed("it comes out of order");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// Bytes that the password can be tried against, or more.
type Key = Zeroizing<Vec<u8>>;

impl Hash {
    fn digest(self, bytes: &[u8]) -> Key {
        Zeroizing::new(match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        })
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Key {
        fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
            let mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.chain_update(message).finalize().into_bytes().to_vec()
        }
        Zeroizing::new(match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, message),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, message),
        })
    }

    fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32) -> Key {
        match self {
            Self::Sha256 => {
                let key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations);
                Zeroizing::new(Zeroizing::new(key).to_vec())
            }
            Self::Sha512 => {
                let key = pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations);
                Zeroizing::new(Zeroizing::new(key).to_vec())
            }
        }
    }
}

/// The slow part of a login: a key from the password, by PBKDF2.
///
/// Equal ones have equal results, so that a result may be kept for the next login.
#[derive(Clone, PartialEq, Eq)]
pub struct Derivation {
    hash: Hash,
    password: Secret,
    salt: Vec<u8>,
    iterations: u32,
}

impl Derivation {
    /// How much there is to compute.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Computes it. Takes about a microsecond an iteration.
    pub fn run(&self) -> SaltedPassword {
        let password = self.password.expose().as_bytes();
        SaltedPassword(self.hash.pbkdf2(password, &self.salt, self.iterations))
    }
}

impl fmt::Debug for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derivation")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// What a [`Derivation`] comes to. As good as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltedPassword(Key);

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

pub(super) struct Scram {
    hash: Hash,
    credentials: Credentials,
    nonce: String,
    state: State,
}

enum State {
    Fresh,
    Greeted {
        client_first_bare: String,
    },
    Deriving {
        /// `client-first-bare,server-first,client-final-without-proof`: what both sides sign.
        auth_message: String,
        client_final_without_proof: String,
    },
    Proven {
        server_signature: Key,
    },
    Done,
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Scram {
    pub(super) const fn new(hash: Hash, credentials: Credentials, nonce: String) -> Self {
        Self { hash, credentials, nonce, state: State::Fresh }
    }

    pub(super) fn start(&mut self) -> Message {
        let username = escape(self.credentials.username.expose());
        let client_first_bare = format!("n={},r={}", *username, self.nonce);
        let message = format!("{GS2_HEADER}{client_first_bare}");
        self.state = State::Greeted { client_first_bare };
        Message::new(message.into_bytes())
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        let text =
            std::str::from_utf8(challenge).map_err(|_| SaslError::Malformed("it is not UTF-8"))?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Greeted { client_first_bare } => self.on_server_first(text, &client_first_bare),
            State::Proven { server_signature } => check_server_final(text, &server_signature),
            State::Fresh | State::Deriving { .. } | State::Done => Err(OUT_OF_ORDER),
        }
    }

    fn on_server_first(
        &mut self,
        server_first: &str,
        client_first_bare: &str,
    ) -> Result<Step, SaslError> {
        let ServerFirst { nonce, salt, iterations } = ServerFirst::parse(server_first)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(SaslError::Malformed("its nonce does not continue ours"));
        }
        if !ITERATIONS.contains(&iterations) {
            return Err(SaslError::Iterations { iterations });
        }
        let client_final_without_proof = format!("c={GS2_HEADER_BASE64},r={nonce}");
        let auth_message =
            format!("{client_first_bare},{server_first},{client_final_without_proof}");
        self.state = State::Deriving { auth_message, client_final_without_proof };
        let password = self.credentials.password.clone();
        Ok(Step::Derive(Derivation { hash: self.hash, password, salt, iterations }))
    }

    pub(super) fn derived(&mut self, salted: &SaltedPassword) -> Result<Message, SaslError> {
        let State::Deriving { auth_message, client_final_without_proof } =
            std::mem::replace(&mut self.state, State::Done)
        else {
            return Err(OUT_OF_ORDER);
        };
        let hash = self.hash;
        let client_key = hash.hmac(&salted.0, b"Client Key");
        let stored_key = hash.digest(&client_key);
        let client_signature = hash.hmac(&stored_key, auth_message.as_bytes());
        let proof: Key = Zeroizing::new(
            client_key.iter().zip(client_signature.iter()).map(|(key, mask)| key ^ mask).collect(),
        );
        let server_key = hash.hmac(&salted.0, b"Server Key");
        let server_signature = hash.hmac(&server_key, auth_message.as_bytes());
        self.state = State::Proven { server_signature };
        let message = format!("{client_final_without_proof},p={}", BASE64.encode(&*proof));
        Ok(Message::new(message.into_bytes()))
    }
}

/// `r=nonce,s=salt,i=iterations`, and extensions that nobody has to know.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn parse(text: &'a str) -> Result<Self, SaslError> {
        const MALFORMED: SaslError = SaslError::Malformed("it is no r=,s=,i=");
        if text.starts_with("m=") {
            return Err(SaslError::Malformed("it asks for an extension that is not known"));
        }
        if let Some(words) = text.strip_prefix("e=") {
            return Err(refused(words));
        }
        let mut attributes = text.split(',');
        let mut attribute = |name: &str| {
            attributes.next().and_then(|attribute| attribute.strip_prefix(name)).ok_or(MALFORMED)
        };
        let (nonce, salt, iterations) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
        if !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SaslError::Malformed("its nonce is not printable"));
        }
        let salt =
            BASE64.decode(salt).map_err(|_| SaslError::Malformed("its salt is no base64"))?;
        if salt.is_empty() || salt.len() > SALT_SIZE_MAX {
            return Err(SaslError::Malformed("its salt is empty or too long"));
        }
        let iterations =
            iterations.parse().map_err(|_| SaslError::Malformed("its iterations are no number"))?;
        Ok(Self { nonce, salt, iterations })
    }
}

/// `v=signature` or `e=error`, and extensions.
fn check_server_final(text: &str, expected: &[u8]) -> Result<Step, SaslError> {
    let attribute = text.split(',').next().unwrap_or_default();
    if let Some(words) = attribute.strip_prefix("e=") {
        return Err(refused(words));
    }
    let signature = attribute.strip_prefix("v=").ok_or(SaslError::Malformed("it is no v="))?;
    let signature =
        BASE64.decode(signature).map_err(|_| SaslError::Malformed("its signature is no base64"))?;
    if bool::from(signature.ct_eq(expected)) {
        Ok(Step::Finished)
    } else {
        Err(SaslError::UnprovenServer)
    }
}

/// A refusal in the broker's words, as far as they can be shown.
fn refused(words: &str) -> SaslError {
    let shown = words.chars().map(|c| if c.is_control() { '?' } else { c });
    SaslError::Refused(shown.take(WORDS_MAX).collect())
}

/// A name as SCRAM writes it. `=` first: the other's replacement holds one.
fn escape(name: &str) -> Zeroizing<String> {
    let equals = Zeroizing::new(name.replace('=', "=3D"));
    Zeroizing::new(equals.replace(',', "=2C"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::credentials;
    use super::super::{Exchange, SaslMechanism};
    use super::*;

    /// A login in which the broker says these.
    fn login(exchange: &mut Exchange, first: &str, last: &str) -> Result<String, SaslError> {
        exchange.start();
        let Step::Derive(derivation) = exchange.step(first.as_bytes())? else {
            panic!("nothing to derive");
        };
        let proof = exchange.derived(&derivation.run())?;
        assert!(matches!(exchange.step(last.as_bytes())?, Step::Finished));
        Ok(String::from_utf8(proof.expose().to_vec()).unwrap())
    }

    fn exchange(mechanism: SaslMechanism, nonce: &str) -> Exchange {
        Exchange::new(mechanism, credentials("user", "pencil"), nonce.to_owned())
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// RFC 7677, section 3.
    #[test]
    fn sha_256_is_as_its_rfc_shows() {
        let mut exchange = exchange(SaslMechanism::ScramSha256, NONCE);
        assert_eq!(exchange.start().expose(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(
            login(&mut exchange, FIRST, last).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
    }

    /// Computed from RFC 5802 with Python's `hashlib` and `hmac`, and the nonces and salt above.
    #[test]
    fn sha_512_is_as_another_implementation_has_it() {
        let mut exchange = exchange(SaslMechanism::ScramSha512, NONCE);
        let proof = login(&mut exchange, FIRST, SHA_512_FINAL).unwrap();
        assert_eq!(proof.split_once(",p=").unwrap().1, SHA_512_PROOF);
    }

    /// F46
    #[test]
    fn names_are_escaped_equals_signs_first() {
        assert_eq!(*escape("a=b,c=2C"), "a=3Db=2Cc=3D2C");
        let credentials = credentials("a,n=admin", "p");
        let mut exchange =
            Exchange::new(SaslMechanism::ScramSha256, credentials, "fyko".to_owned());
        assert_eq!(exchange.start().expose(), b"n,,n=a=2Cn=3Dadmin,r=fyko");
    }

    /// F46
    #[test]
    fn a_first_message_that_lies_or_makes_no_sense_is_refused() {
        for (first, reason) in [
            ("", "it is no r=,s=,i="),
            ("r=abcdef,i=4096,s=AAAA", "it is no r=,s=,i="),
            ("r=abcdef,s=AAAA", "it is no r=,s=,i="),
            ("m=x,r=abcdef,s=AAAA,i=4096", "it asks for an extension that is not known"),
            ("r=abc,s=AAAA,i=4096", "its nonce does not continue ours"),
            ("r=xbcdef,s=AAAA,i=4096", "its nonce does not continue ours"),
            ("r=,s=AAAA,i=4096", "its nonce does not continue ours"),
            ("r=abc\u{7f},s=AAAA,i=4096", "its nonce is not printable"),
            ("r=abcdef,s=,i=4096", "its salt is empty or too long"),
            ("r=abcdef,s=A,i=4096", "its salt is no base64"),
            ("r=abcdef,s=AAAA,i=", "its iterations are no number"),
            ("r=abcdef,s=AAAA,i=-1", "its iterations are no number"),
            ("r=abcdef,s=AAAA,i=4294967296", "its iterations are no number"),
        ] {
            let error = login(&mut exchange(SaslMechanism::ScramSha256, "abc"), first, "");
            assert_eq!(error, Err(SaslError::Malformed(reason)), "{first}");
        }
        let salt = BASE64.encode([0; SALT_SIZE_MAX + 1]);
        let first = format!("r=abcdef,s={salt},i=4096");
        let error = login(&mut exchange(SaslMechanism::ScramSha256, "abc"), &first, "");
        assert_eq!(error, Err(SaslError::Malformed("its salt is empty or too long")));
        let error = exchange(SaslMechanism::ScramSha256, "abc");
        let mut error = error;
        error.start();
        assert_eq!(error.step(b"\xff").unwrap_err(), SaslError::Malformed("it is not UTF-8"));
    }

    /// F46
    #[test]
    fn iterations_that_are_too_few_or_too_many_are_not_done() {
        for iterations in [0, 1, 4095, 1_000_001, u32::MAX] {
            let first = format!("r=abcdef,s=AAAA,i={iterations}");
            let error = login(&mut exchange(SaslMechanism::ScramSha512, "abc"), &first, "");
            assert_eq!(error, Err(SaslError::Iterations { iterations }));
        }
        let error = SaslError::Iterations { iterations: 1 }.to_string();
        assert_eq!(error, "the broker asks for 1 PBKDF2 iterations: only 4096 to 1000000 are done");
    }

    #[test]
    fn what_an_extension_adds_is_passed_over() {
        let mut exchange = exchange(SaslMechanism::ScramSha256, NONCE);
        exchange.start();
        let first = format!("{FIRST},x=unknown");
        assert!(matches!(exchange.step(first.as_bytes()), Ok(Step::Derive(_))));
    }

    /// F46
    #[test]
    fn a_server_that_proves_nothing_is_not_believed() {
        for (last, expected) in [
            ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", None),
            ("v=AAAA", Some(SaslError::UnprovenServer)),
            ("v=", Some(SaslError::UnprovenServer)),
            ("v=?", Some(SaslError::Malformed("its signature is no base64"))),
            ("", Some(SaslError::Malformed("it is no v="))),
            ("e=invalid-proof", Some(SaslError::Refused("invalid-proof".to_owned()))),
            ("e=a\nb,x", Some(SaslError::Refused("a?b".to_owned()))),
        ] {
            let error = login(&mut exchange(SaslMechanism::ScramSha256, NONCE), FIRST, last);
            let error = error.unwrap_err();
            assert!(expected.is_none_or(|expected| expected == error), "{last}: {error}");
        }
        let error = login(&mut exchange(SaslMechanism::ScramSha256, NONCE), "e=other-error", "");
        assert_eq!(error, Err(SaslError::Refused("other-error".to_owned())));
    }

    #[test]
    fn messages_out_of_order_end_the_login() {
        let mut early = exchange(SaslMechanism::ScramSha256, NONCE);
        assert_eq!(early.step(FIRST.as_bytes()).unwrap_err(), OUT_OF_ORDER);
        let mut twice = exchange(SaslMechanism::ScramSha256, NONCE);
        twice.start();
        let Ok(Step::Derive(derivation)) = twice.step(FIRST.as_bytes()) else { panic!() };
        assert_eq!(twice.step(FIRST.as_bytes()).unwrap_err(), OUT_OF_ORDER);
        assert_eq!(twice.derived(&derivation.run()).unwrap_err(), OUT_OF_ORDER);
        let mut plain = exchange(SaslMechanism::Plain, NONCE);
        assert_eq!(plain.derived(&derivation.run()).unwrap_err(), OUT_OF_ORDER);
    }

    pub(in crate::sasl) fn derivation(password: &str, salt: u8) -> Derivation {
        Derivation {
            hash: Hash::Sha256,
            password: Secret::new(password),
            salt: vec![salt; 4],
            iterations: 4096,
        }
    }

    #[test]
    fn equal_derivations_are_equal_and_show_nothing() {
        assert_eq!(derivation("a", 1), derivation("a", 1));
        assert_ne!(derivation("a", 1), derivation("b", 1));
        assert_ne!(derivation("a", 1), derivation("a", 2));
        let shown = format!("{:?} {:?}", derivation("hunter2", 1), derivation("hunter2", 1).run());
        assert_eq!(shown, "Derivation { hash: Sha256, iterations: 4096, .. } [redacted]");
    }

    const SHA_512_PROOF: &str =
        "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
    const SHA_512_FINAL: &str = "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";
}
