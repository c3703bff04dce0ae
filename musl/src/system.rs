//! The C library's own allocator, by its C names.
//!
//! Not by the standard library's `System`: a crate with `no_builtins` stays out of link-time
//! optimisation, which does not keep what `System` calls in turn.
//!
//! Spec: ISO C, 7.22.3.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr;

/// What every block of `malloc` is aligned to, on all targets of 64 bits.
const ALIGNED_ANYWAY: usize = 16;

// SAFETY: these are the C library's, with its types.
unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn aligned_alloc(align: usize, size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
}

/// Whatever the C library has.
pub(crate) struct System;

// SAFETY: the C library's promises are the same: a block is that large and so aligned, nobody else
// has it, and it is given up by `free` alone.
unsafe impl GlobalAlloc for System {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: C asks nothing of a size, and of an alignment that it is a power of two and divides
        // the size. A layout rounded up to its alignment still is one.
        unsafe {
            match align {
                ..=ALIGNED_ANYWAY => malloc(size).cast(),
                _ => aligned_alloc(align, size.next_multiple_of(align)).cast(),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives up a block that one of the others made.
        unsafe { free(block.cast()) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`; what it made is as large as it was asked for.
        unsafe {
            if layout.align() <= ALIGNED_ANYWAY {
                return calloc(1, layout.size()).cast();
            }
            let block = self.alloc(layout);
            if !block.is_null() {
                ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller gives up a block of this layout, and promises that `size` makes one with
        // its alignment; what is copied lies within both blocks.
        unsafe {
            if layout.align() <= ALIGNED_ANYWAY {
                return realloc(block.cast(), size).cast();
            }
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
