//! ottla carries traces to Kafka.
//!
//! * [`producer`]: a pure-Rust Kafka producer: no librdkafka, and no C at all.
//! * [`exporter`]: traces of LLM gateways and OpenTelemetry's signals as Kafka records.
//! * [`broker`]: an embedded Kafka broker, for development and tests.
//! * `service` and `cli`: the `ottla` program around them.
//!
//! The life of a trace:
//!
//! 1. A receiver of the service takes a request's bytes, and cuts them into traces.
//! 2. The exporter takes out what must not be published, and encodes a key and a value.
//! 3. The producer chooses a partition and encodes the record into that partition's open batch.
//! 4. A batch that is full, or has lingered, is compressed and sealed.
//! 5. It is stamped with producer id, epoch and sequence, and sent to the partition's leader beside
//!    the batches of other partitions.
//! 6. The leader's answer settles the batch: each record learns its offset, or why it has none.
//! 7. An unanswered batch is sent again, the same bytes, and the broker drops what it has.
//! 8. The exporter books the trace as delivered or failed; nothing is in between for ever.
//!
//! Imports point one way: `protocol, sasl <- producer <- exporter <- service <- cli`, and
//! `protocol <- broker`.

pub mod protocol;

pub mod sasl;

pub mod producer;

pub mod exporter;

#[cfg(all(any(test, fuzzing), feature = "otlp", feature = "tensorzero"))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(feature = "broker")]
pub mod broker;

#[cfg(feature = "cli")]
pub mod service;

#[cfg(feature = "cli")]
pub mod cli;
