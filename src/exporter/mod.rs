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
//! Each exporter is a folder. `json`, `startup`, `receive`, `sink`, `ledger` and `complaints` are
//! shared.
//!
//! Every exporter takes what it is given in three ways:
//!
//! | | waits for | is told | when the buffer is full |
//! |---|---|---|---|
//! | `export` | nothing | nothing | the newest is dropped, or the oldest |
//! | `accept` | room | that it was accepted; its end later | [`WhenFull`] |
//! | `export_and_wait` | room, then Kafka | how it ended | the same |
//!
//! What `export` cannot send is counted and logged like everything else that fails, and is never the
//! trouble of the request that was traced.

mod json;

mod startup;
pub use crate::producer::{TopicCreation, WhenFull};

pub mod receive;
pub use receive::ReceiveError;

pub mod ledger;
pub use ledger::{Counts, Ledger};

mod complaints;

/// The counter of what was given up for want of room, whatever exporter it was.
const DROPPED: &str = "ottla_exporter_dropped_items";
const DROPPED_HELP: &str = "Items given up because the buffer was full; they have failed, too";

pub mod sink;
pub use sink::{Delivery, Sink};

pub mod bifrost;

#[cfg(feature = "otlp")]
pub mod otlp;

#[cfg(feature = "otel-sdk")]
pub mod sdk;

#[cfg(feature = "tensorzero")]
pub mod tensorzero;

/// Whether an exporter starts where Kafka does not answer, or has no use for its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// It does not: what is wrong is known at once.
    #[default]
    Require,
    /// It does, with a warning: records wait in the buffer until a broker answers.
    Warn,
    /// Nobody is asked, and no topic is created.
    Off,
}

impl Probe {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Require, Self::Warn, Self::Off];

    /// The word for it in every configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}
