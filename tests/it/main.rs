//! The integration tests, one binary: real TCP to the embedded broker and to real ones, and the
//! program as a person runs it.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod architecture;
mod check;
mod exporters;
mod faults;
mod kcat;
mod lifecycle;
mod otlp;
mod process;
mod producer;
mod profiles;
mod program;
mod proxy;
mod real_kafka;
#[cfg(feature = "otel-sdk")]
mod sdk;
mod security;
mod senders;
mod sockets;
mod startup;
mod tensorzero;
