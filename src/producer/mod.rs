//! The producer: records in, acknowledged offsets out.

#[doc = include_str!("semantics.md")]
pub mod semantics {}

mod partitioner;
pub use partitioner::{CustomPartitioner, Partitioner, Placement, UnknownPartitioner};

pub mod config;
pub use config::{Acks, Address, ConfigError, ProducerConfig};

pub mod properties;
pub use properties::{Properties, PropertyError, PropertyNote};

pub mod record;
pub use crate::protocol::Header;
pub use record::{Record, topic_name_fault};

pub mod completion;
pub use completion::{Cause, Delivered, DeliveryError, DeliveryListener, Waited};

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
