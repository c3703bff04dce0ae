//! OTLP/JSON: text that the Collector reads, and text from whoever writes it.
//!
//! Written strictly: 64-bit numbers as strings, NaN and infinities as strings, ids in lower-case
//! hex, bytes in base64, no defaults, never `null`. Read generously: numbers or strings, names of
//! enum values, both spellings of keys and both alphabets of base64, unknown fields, and `null` for
//! what is absent. Both ends are protobuf bytes, in the order and form that generated encoders
//! write.
//!
//! Rules: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

mod text;

mod write;
pub(crate) use write::write_message;

mod read;
pub use read::{Read, to_protobuf};

use super::cut::Level;
use super::schema::Signal;
use super::validate::Validated;

/// Writes a request's accepted items at the end of `out`, as one line of JSON.
pub fn from_protobuf(request: &Validated<'_>, out: &mut Vec<u8>) {
    write_message(request.signal().request(), &request.accepted(), out);
}

/// Writes a request, given as protobuf that has been validated, at the end of `out`.
pub(super) fn write(signal: Signal, protobuf: &[u8], out: &mut Vec<u8>) {
    write_message(signal.request(), protobuf, out);
}

/// The size of a message that a request is cut into, as JSON.
pub(super) fn size(level: Level, protobuf: &[u8]) -> usize {
    let mut out = Vec::with_capacity(2 * protobuf.len());
    write_message(level.schema(), protobuf, &mut out);
    out.len()
}
