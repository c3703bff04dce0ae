//! The Kafka protocol: bytes to values and back. No sockets, clock, randomness or logging.

pub(crate) mod wire;
pub use wire::DecodeError;

pub(crate) mod shape;
