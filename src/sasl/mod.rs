//! SASL: who we are, proven to a broker.
//!
//! Exchanges of messages as values: no socket, clock, randomness or logging in them. Nonces and
//! derived keys are arguments. How the messages travel is the producer's handshake.

mod secret;
pub use secret::Secret;

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
}
