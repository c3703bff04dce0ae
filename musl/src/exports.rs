//! The names under which a linker finds the functions, before it looks into `libc.a`.

use super::memory;
use core::ffi::{c_int, c_void};

/// # Safety
///
/// As C says: both are `size` bytes, and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise is the same.
    unsafe { memory::copy(to.cast(), from.cast(), size) };
    to
}

/// # Safety
///
/// As C says: both are `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise is the same.
    unsafe { memory::copy_overlapping(to.cast(), from.cast(), size) };
    to
}

/// # Safety
///
/// As C says: `to` is `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, byte: c_int, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise is the same. C takes the byte as an int, and its low bits count.
    unsafe { memory::fill(to.cast(), byte.to_le_bytes()[0], size) };
    to
}

/// # Safety
///
/// As C says: both are `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const c_void, other: *const c_void, size: usize) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { memory::compare(one.cast(), other.cast(), size) }
}

/// # Safety
///
/// As `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const c_void, other: *const c_void, size: usize) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { memory::compare(one.cast(), other.cast(), size) }
}
