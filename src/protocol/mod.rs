//! The Kafka protocol: bytes to values and back. No sockets, clock, randomness or logging.
//!
//! From the outside in: a [`frame`] holds a request or response, a Produce request holds a
//! [`record_batch`] per partition, and a batch holds [`record`]s, compressed or not.

pub mod frame;

pub mod record_batch;

pub mod record;
pub use record::Header;

pub mod compression;
pub use compression::{Codec, Compression};

pub mod error_code;
pub use error_code::ErrorCode;

pub mod chunks;

mod checksum;

pub(crate) mod wire;
pub use wire::DecodeError;

pub(crate) mod text;

pub(crate) mod shape;

pub(crate) mod messages;

#[cfg(test)]
mod golden;
