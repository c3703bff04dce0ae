//! OpenTelemetry signals: OTLP requests in, records out.
//!
//! The life of a request:
//!
//! ```text
//! validate      protobuf bytes are walked in place, and stay what they are
//! json (in)     JSON text becomes protobuf bytes, as an SDK would have sent them
//! route         which topic, and which headers
//! cut           a request becomes pieces, each a request: by key, by topic, by size
//! json (out)    protobuf bytes become JSON text, as the Collector would have written it
//! exporter      pieces become records, and are counted until Kafka has them
//! response      what the sender is told: all of it, or how much not and why
//! ```
//!
//! All bytes go by the tables of `schema`; no message is ever decoded into a struct. An item whose
//! ids are wrong is refused alone, and everything else that is malformed refuses its whole request
//! before anything is sent. All but the exporter and its dead letters is pure. `options` are rotel's,
//! `config` is what they come to.

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

pub mod status;

pub mod config;
pub use config::{DeadLetters, Format, Grouping, OtlpConfig, Oversize, PerSignal};

pub mod options;
pub use options::{Effective, OptionError, Origin, OtlpOptions};

mod route;
pub use route::Metadata;

mod dead_letters;

mod meter;

mod sending;
pub use sending::{Ended, ExportError, Taken};

pub mod exporter;
pub use exporter::{Encoding, OtlpError, OtlpExporter, Request};

#[cfg(test)]
mod tests;
