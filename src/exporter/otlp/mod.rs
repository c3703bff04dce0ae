//! OpenTelemetry signals: OTLP requests in, protobuf or JSON records out.
//!
//! The life of a request:
//!
//! ```text
//! validate      protobuf bytes are walked in place, and stay what they are
//! json (in)     JSON text becomes protobuf bytes, as an SDK would have sent them
//! json (out)    protobuf bytes become JSON text, as the Collector would have written it
//! cut           a request becomes pieces, each a request: by key, by topic, by size
//! response      what the sender is told: all of it, or how much not and why
//! ```
//!
//! All follow the tables of `schema`; no message is ever decoded into a struct. An item whose
//! ids are wrong is refused alone, and everything else that is malformed refuses its whole request
//! before anything is sent. All of it is pure.

mod schema;
pub use schema::Signal;

pub mod fault;
pub use fault::{Fault, Place, Reason, Refused};

mod protobuf;

pub mod validate;
pub use validate::{Validated, validate};

pub mod json;

pub mod cut;

pub mod response;
pub use response::Response;

#[cfg(test)]
mod tests;
