//! ottla carries traces to Kafka.

pub mod protocol;

#[cfg(feature = "broker")]
pub mod broker;

pub mod producer;

pub mod exporter;
