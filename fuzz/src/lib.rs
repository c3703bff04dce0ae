//! What every target shares: an allocator that counts, so that properties can hold costs against
//! their bounds.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Has the properties count memory.
pub fn count_memory() {
    ottla::fuzzing::count_memory_with(|| INSTRUMENTED_SYSTEM.stats().bytes_allocated);
}
