//! `ottla::fuzzing::tensorzero_rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: ottla_fuzz::count_memory(),
    |data: &[u8]| ottla::fuzzing::tensorzero_rows(data)
);
