//! What musl is slow at, done over for ottla's static binary.
//!
//! musl's `memcpy` and its kin are written for size, and half of a record's way is copying. On
//! x86_64 the functions here take their places in a program that links this crate; elsewhere musl's
//! own are good, and nothing is replaced. Its `malloc` has one lock for all threads, and gives memory
//! back at once; [`Allocator`] stands in front of it.
//!
//! This is the one place of the project with `unsafe` code, and that is why it is a package: the
//! rest forbids it. It depends on nothing but the standard library.
//!
//! Spec: ISO C, 7.24 (string.h). A compiler calls these functions for plain assignments, so they must
//! not call themselves by such a detour: hence `no_builtins`.

#![no_builtins]

mod allocator;
pub use allocator::Allocator;

mod system;

#[cfg(target_arch = "x86_64")]
pub mod memory;

#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
mod exports;
