//! The integration tests, one binary: real TCP to the embedded broker and to real ones.
#![cfg(feature = "broker")]

mod kcat;
mod producer;
