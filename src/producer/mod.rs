//! The producer: records in, acknowledged offsets out.
pub mod config;
pub use config::{Acks, Address, ConfigError, ProducerConfig};

pub mod record;
pub use crate::protocol::Header;
pub use record::{Record, topic_name_fault};

pub mod completion;
pub use completion::{Cause, Delivered, DeliveryError, DeliveryListener, Waited};

mod partitioner;

mod budget;

mod backoff;

mod accumulator;

mod sequencer;

mod cluster;

mod in_flight;

mod handshake;

mod verdict;

mod meters;
pub use meters::{Latency, ProducerMetrics};

mod engine;

mod net;

mod driver;

mod client;
pub use client::{Ends, Producer, SendError, Sending, StartError};

pub(crate) mod session;

mod admin;
pub use admin::{Admin, AdminError};
