//! `ottla::fuzzing::bifrost_traces`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla::fuzzing::bifrost_traces(data));
