//! The integration tests, one binary.

#[cfg(feature = "broker")]
mod kcat;
