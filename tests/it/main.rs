//! The integration tests, one binary: real TCP to the embedded broker and to real ones.

mod producer;
