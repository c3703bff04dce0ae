//! The producer: records in, acknowledged offsets out.
//!
//! [`Producer`] is what a program holds. The life of a record:
//!
//! ```text
//! client       send, on the caller's thread
//!   budget       bytes are set aside; the caller waits in turn, or older records give way
//!   partitioner  which partition
//!   accumulator  encoded into that partition's open batch, under its lock alone
//! driver       the one task, the one clock
//!   engine       the rules, without clock or socket:
//!     cluster      who leads the partition           sequencer  which number its first record has
//!     link         is there a connection             partition  may it go now
//!     verdict      what an answer means for it
//!   net          sockets and frames
//! completion   the batch has ended: each record by its index, a future, a listener or a run
//! ```
//!
//! What is not obvious, and must not break:
//!
//! * A batch is compressed once and stamped for each transmission; a retry is the same bytes.
//! * What was sent and not answered may be in the log. It keeps its number until a broker has said
//!   that it is not there.
//! * A batch that is sent again goes alone, and so does the first of an identity.
//! * A batch whose records have heard of its end while it was in flight keeps its place until its
//!   answer comes: its numbers are taken.
//! * Batches grow while their broker is busy, and nobody lingers while there is little room.
//! * Bytes set aside come back once, where a batch leaves the engine, or the accumulator if it gives
//!   way.
//! * Wakers and listeners run foreign code, so never under a lock.
//!
//! [`semantics`] has every rule with its file and its test.

#[doc = include_str!("semantics.md")]
pub mod semantics {}

mod partitioner;
pub use partitioner::{CustomPartitioner, Partitioner, Placement, UnknownPartitioner};

mod tls;
pub use tls::{CryptoProvider, Pem, Roots, TlsConfig, TlsError, TlsIdentity};

pub mod config;
pub use config::{Acks, Address, ConfigError, ProducerConfig, SaslConfig, WhenFull};

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

mod versions;

mod login;

mod handshake;

mod verdict;

mod meters;
pub use meters::{Latency, ProducerMetrics};

mod engine;
#[cfg(any(test, fuzzing))]
pub(crate) use engine::hostile;

mod net;

mod driver;

mod client;
pub use client::{Ends, Producer, SendError, Sending, StartError};

pub(crate) mod session;

mod admin;
pub use admin::{Admin, AdminError, TopicCreation, TopicState};

mod probe;
pub use probe::{IfMissing, ProbeStatus, ProbeStep, ProbeTopic, probe};
