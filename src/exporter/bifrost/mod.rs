//! Bifrost traces.
