//! `ottla::fuzzing::bifrost_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla::fuzzing::bifrost_config(data));
