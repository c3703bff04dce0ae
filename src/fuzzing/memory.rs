//! What bytes of a stranger may cost in memory.
//!
//! Counts allocations around a piece of work and holds them against a bound. Who counts them is
//! whoever installs an allocator that does: a fuzz target, or a test in a process of its own, since
//! one allocator counts for all threads. Where nobody counts, everything is cheap enough.

use std::sync::OnceLock;

static ALLOCATED: OnceLock<fn() -> usize> = OnceLock::new();

/// From now on costs are counted. `allocated` is the bytes allocated since the start of the process,
/// whether they were freed or not.
pub fn count_memory_with(allocated: fn() -> usize) {
    // Who counts twice counts the same.
    let _ = ALLOCATED.set(allocated);
}

/// Does `work`, which may allocate `bytes_max` in all.
pub(super) fn frugal<T>(what: &str, bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let Some(allocated) = ALLOCATED.get() else { return work() };
    let before = allocated();
    let done = work();
    let spent = allocated() - before;
    assert!(spent <= bytes_max, "{what} allocated {spent} bytes, may {bytes_max}");
    done
}
