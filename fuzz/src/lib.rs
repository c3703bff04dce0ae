//! What every target shares: an allocator that counts, so that properties can hold costs against
//! their bounds.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Has the properties count memory, if that is asked for: `OTTLA_FUZZ_MEMORY=1`. A run without it
/// is about everything else.
pub fn count_memory() {
    if std::env::var_os("OTTLA_FUZZ_MEMORY").is_some() {
        ottla::fuzzing::count_memory_with(|| INSTRUMENTED_SYSTEM.stats().bytes_allocated);
    }
}
