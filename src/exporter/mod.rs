//! Exporters.
pub mod bifrost;
