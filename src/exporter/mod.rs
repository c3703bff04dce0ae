//! Exporters: traces in, records out, and an account of every one.
//!
//! The life of a trace:
//!
//! ```text
//! receive   bytes of a request -> traces                    (the receiver's format)
//! filter    what must not be published is taken out
//! encode    trace -> key and value
//! sink      record -> producer -> Kafka                     (backpressure, failures told)
//! ledger    received = filtered + delivered + failed + pending, always
//! ```
//!
//! Each exporter is a folder. `sink` and `ledger` are shared.

pub mod ledger;
pub use ledger::{Counts, Ledger};

pub mod sink;
pub use sink::{Delivery, Sink};

pub mod bifrost;

#[cfg(feature = "otlp")]
pub mod otlp;
