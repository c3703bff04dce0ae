//! An allocator that remembers: blocks that were freed are handed out again without asking musl.
//!
//! musl's `malloc` takes one lock for all threads, and gives memory back to the system as soon as it
//! can: a program that allocates by the thousand waits for the lock and for page faults. Here each
//! thread has a shelf of freed blocks, sorted by size class; musl is asked only when a shelf has
//! none, and gets back what a shelf has no room for. It stays what manages memory.
//!
//! ```text
//! alloc    size -> class -> own shelf, or musl
//! dealloc  size -> class -> own shelf if there is room, or musl
//! ```
//!
//! Rust tells the size of what it frees, so that blocks need no header. A block of a class always has
//! that class's size, whoever allocated it. Shelves hold at most [`SHELF_BYTES_MAX`] and
//! [`WAREHOUSE_BYTES_MAX`] bytes each: that much is not given back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread_local;

use super::system::System;

/// Shelves of small blocks. Threads take them in turn, and share when there are more.
const SHELVES: usize = 8;

/// Bytes that a shelf of small blocks keeps.
const SHELF_BYTES_MAX: usize = 1 << 20;

/// Bytes of large blocks that are kept for all threads.
const WAREHOUSE_BYTES_MAX: usize = 16 << 20;

/// The least class, and the alignment that every block has.
const UNIT: usize = 16;

/// Classes from one power of two to the next: no block is more than a quarter too large.
const STEPS: usize = 4;

/// The first size that is large.
const LARGE_FROM: usize = 32 << 10;

/// The largest size that is kept.
const KEPT_MAX: usize = 4 << 20;

/// One of `UNIT`, and four of each power of two from there to `KEPT_MAX`.
const CLASSES: usize = 1 + STEPS * (KEPT_MAX / UNIT).trailing_zeros() as usize;

/// Allocates from shelves, and from musl behind them.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: ottla_musl::Allocator = ottla_musl::Allocator::new();
/// ```
#[derive(Debug)]
pub struct Allocator {
    shelves: [Shelf; SHELVES],
    warehouse: Shelf,
    /// The shelf of the next thread that comes.
    next: AtomicUsize,
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    /// The number of this thread's shelf, once it has one. Without a destructor, so that it can be
    /// asked for at any time, also while a thread begins or ends.
    static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Allocator {
    /// An allocator with empty shelves.
    pub const fn new() -> Self {
        Self {
            shelves: [const { Shelf::new(SHELF_BYTES_MAX) }; SHELVES],
            warehouse: Shelf::new(WAREHOUSE_BYTES_MAX),
            next: AtomicUsize::new(0),
        }
    }

    fn shelf(&self, class: Class) -> &Shelf {
        if class.size() >= LARGE_FROM {
            return &self.warehouse;
        }
        let own = OWN.get();
        let own = if own == usize::MAX {
            let own = self.next.fetch_add(1, Ordering::Relaxed) % SHELVES;
            OWN.set(own);
            own
        } else {
            own
        };
        &self.shelves[own]
    }
}

/// A size that blocks come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class(usize);

impl Class {
    /// The least one that has room for what `layout` says; `None` for what is not kept.
    fn of(layout: Layout) -> Option<Self> {
        let size = layout.size();
        if size > KEPT_MAX || layout.align() > UNIT {
            return None;
        }
        if size <= UNIT {
            return Some(Self(0));
        }
        // The power of two below, and which quarter of the way to the next.
        let power = (size - 1).ilog2() as usize;
        let quarter = ((size - 1) >> (power - STEPS.trailing_zeros() as usize)) & (STEPS - 1);
        Some(Self(1 + STEPS * (power - UNIT.trailing_zeros() as usize) + quarter))
    }

    fn size(self) -> usize {
        let Some(above) = self.0.checked_sub(1) else { return UNIT };
        let power = UNIT << (above / STEPS);
        power + (above % STEPS + 1) * (power / STEPS)
    }

    fn layout(self) -> Layout {
        // A size of at most `KEPT_MAX` is far from the largest that a layout can have.
        Layout::from_size_align(self.size(), UNIT).unwrap_or(Layout::new::<u128>())
    }
}

/// Freed blocks, by class, each pointing at the next.
#[derive(Debug)]
struct Shelf {
    taken: AtomicBool,
    bytes_max: usize,
    content: UnsafeCell<Content>,
}

#[derive(Debug)]
struct Content {
    bytes: usize,
    heads: [Option<NonNull<Block>>; CLASSES],
}

/// What stands in a block while nobody owns it.
struct Block {
    next: Option<NonNull<Self>>,
}

// SAFETY: `content` is only reached by who has `taken`, and blocks belong to no thread.
unsafe impl Sync for Shelf {}

impl Shelf {
    const fn new(bytes_max: usize) -> Self {
        let content = Content { bytes: 0, heads: [None; CLASSES] };
        Self { taken: AtomicBool::new(false), bytes_max, content: UnsafeCell::new(content) }
    }

    /// Does something to the content, unless another thread does. Nobody waits: musl is there.
    fn with<T>(&self, act: impl FnOnce(&mut Content) -> T) -> Option<T> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: nobody else has it until `taken` is false again, and `act` does not unwind: it is
        // one of the few lines below, none of which panics.
        let done = act(unsafe { &mut *self.content.get() });
        self.taken.store(false, Ordering::Release);
        Some(done)
    }

    fn take(&self, class: Class) -> Option<NonNull<u8>> {
        self.with(|content| {
            let block = content.heads[class.0]?;
            // SAFETY: blocks on a shelf are free, at least as large as a `Block`, and were made one
            // when they were put there.
            content.heads[class.0] = unsafe { block.as_ref().next };
            content.bytes -= class.size();
            Some(block.cast())
        })?
    }

    /// Puts a block on the shelf. False if there is no room.
    ///
    /// # Safety
    ///
    /// Nobody uses the block any more, it is of this class's size, and aligned to `UNIT`.
    unsafe fn put(&self, class: Class, block: NonNull<u8>) -> bool {
        let done = self.with(|content| {
            if content.bytes + class.size() > self.bytes_max {
                return false;
            }
            let block = block.cast::<Block>();
            // SAFETY: the caller's promise: it is free, large enough and aligned.
            unsafe { block.write(Block { next: content.heads[class.0] }) };
            content.heads[class.0] = Some(block);
            content.bytes += class.size();
            true
        });
        done == Some(true)
    }
}

// SAFETY: a block comes from `System` with its class's layout and goes back with the same, since
// both follow from the layout that Rust gives each time; in between it is on a shelf, or owned by one
// caller, never both. What has no class is left to `System` whole.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Class::of(layout) {
            Some(class) => match self.shelf(class).take(class) {
                Some(block) => block.as_ptr(),
                // SAFETY: a class's layout is not of size zero.
                None => unsafe { System.alloc(class.layout()) },
            },
            // SAFETY: the caller's promise is the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match (Class::of(layout), NonNull::new(block)) {
            (Some(class), Some(block)) => {
                // SAFETY: the caller gives up a block of this layout, so one of this class.
                unsafe {
                    if !self.shelf(class).put(class, block) {
                        System.dealloc(block.as_ptr(), class.layout());
                    }
                }
            }
            // SAFETY: the caller's promise is the same.
            _ => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match Class::of(layout) {
            // Large blocks are zero when they are new, and a shelf's are not.
            Some(class) if class.size() >= LARGE_FROM => {
                // SAFETY: a class's layout is not of size zero.
                unsafe { System.alloc_zeroed(class.layout()) }
            }
            Some(_) => {
                // SAFETY: the caller's promise is the same, and a block has room for the layout.
                unsafe {
                    let block = self.alloc(layout);
                    if !block.is_null() {
                        ptr::write_bytes(block, 0, layout.size());
                    }
                    block
                }
            }
            // SAFETY: the caller's promise is the same.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Class::of(layout), Class::of(wanted)) {
            (Some(now), Some(then)) if now == then => block,
            // SAFETY: neither was, nor will be, of a class: the caller's promise is the same.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            // SAFETY: the new block is another one, and both have room for what is copied; the old
            // one is given up by the caller.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::vec::Vec;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn classes_have_room_for_their_sizes_and_at_most_a_quarter_too_much() {
        let mut last = 0;
        for size in (1..70_000).chain((70_000..=KEPT_MAX).step_by(997)).chain([KEPT_MAX]) {
            let class = Class::of(layout(size)).unwrap();
            assert!(class.0 >= last && class.0 < CLASSES, "{size}");
            assert!(class.size() >= size, "{size} does not fit {}", class.size());
            assert!(class.size() <= (size + size / 4).max(UNIT + 4), "{size}: {}", class.size());
            assert_eq!(Class::of(class.layout()), Some(class), "{size}");
            last = class.0;
        }
        assert_eq!(last, CLASSES - 1);
        assert_eq!(Class::of(layout(KEPT_MAX + 1)), None);
        assert_eq!(Class::of(Layout::from_size_align(8, 64).unwrap()), None);
    }

    /// A block that is owned, filled with a byte of its own.
    struct Owned {
        block: *mut u8,
        layout: Layout,
        byte: u8,
    }

    // SAFETY: it is the only pointer to its block.
    unsafe impl Send for Owned {}

    impl Owned {
        fn new(allocator: &Allocator, layout: Layout, byte: u8) -> Self {
            // SAFETY: the layout is not of size zero, and the block is that large.
            let block = unsafe {
                let block = allocator.alloc(layout);
                assert!(!block.is_null() && (block as usize).is_multiple_of(layout.align()));
                ptr::write_bytes(block, byte, layout.size());
                block
            };
            Self { block, layout, byte }
        }

        fn check(&self, size: usize) {
            // SAFETY: the block is owned, and at least so large.
            let bytes = unsafe { core::slice::from_raw_parts(self.block, size) };
            assert!(bytes.iter().all(|byte| *byte == self.byte), "somebody else wrote into it");
        }

        fn resize(&mut self, allocator: &Allocator, size: usize) {
            let kept = size.min(self.layout.size());
            // SAFETY: the block is of this allocator and this layout.
            unsafe {
                self.block = allocator.realloc(self.block, self.layout, size);
                self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
                self.check(kept);
                ptr::write_bytes(self.block, self.byte, size);
            }
        }

        fn free(self, allocator: &Allocator) {
            self.check(self.layout.size());
            // SAFETY: the block is of this allocator and this layout, and given up.
            unsafe { allocator.dealloc(self.block, self.layout) };
        }
    }

    /// Numbers that are spread.
    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 33) as usize
    }

    fn churn(allocator: &Allocator, seed: u64, steps: usize, given: &mut Vec<Owned>) -> Vec<Owned> {
        let mut state = seed;
        let mut owned: Vec<Owned> = Vec::new();
        for step in 0..steps {
            let power = next(&mut state) % 23;
            let size = 1 + next(&mut state) % (1 << power.max(1));
            let align = 1 << (next(&mut state) % 7);
            match next(&mut state) % 6 {
                0..3 => {
                    let layout = Layout::from_size_align(size, align).unwrap();
                    owned.push(Owned::new(allocator, layout, step.to_le_bytes()[0]));
                }
                3 if !owned.is_empty() => {
                    let index = next(&mut state) % owned.len();
                    owned[index].resize(allocator, size);
                }
                _ if !owned.is_empty() => {
                    let index = next(&mut state) % owned.len();
                    owned.swap_remove(index).free(allocator);
                }
                _ => {}
            }
            if let Some(other) = given.pop() {
                other.free(allocator);
            }
            if owned.len() > 64 {
                owned.swap_remove(0).free(allocator);
            }
        }
        owned
    }

    const STEPS_OF_A_TEST: usize = if cfg!(miri) { 200 } else { 20_000 };

    #[test]
    fn nobody_else_writes_into_a_block_that_is_owned() {
        let allocator = Allocator::new();
        for block in churn(&allocator, 7, STEPS_OF_A_TEST, &mut Vec::new()) {
            block.free(&allocator);
        }
        let kept = |shelf: &Shelf| shelf.with(|content| content.bytes).unwrap();
        assert!(allocator.shelves.iter().all(|shelf| kept(shelf) <= SHELF_BYTES_MAX));
        assert!(kept(&allocator.warehouse) <= WAREHOUSE_BYTES_MAX);
    }

    #[test]
    fn threads_may_free_what_others_allocated() {
        let allocator = Allocator::new();
        let threads = SHELVES + 2;
        let barrier = Barrier::new(threads);
        let mut handed: Vec<Vec<Owned>> = (0..threads as u64)
            .map(|seed| churn(&allocator, seed, STEPS_OF_A_TEST / 10, &mut Vec::new()))
            .collect();
        std::thread::scope(|scope| {
            for (seed, given) in (100..).zip(&mut handed) {
                let (allocator, barrier) = (&allocator, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for block in churn(allocator, seed, STEPS_OF_A_TEST / 10, given) {
                        block.free(allocator);
                    }
                });
            }
        });
        for block in handed.into_iter().flatten() {
            block.free(&allocator);
        }
    }

    #[test]
    fn what_was_freed_is_handed_out_again_and_zeroed_if_that_is_wanted() {
        let allocator = Allocator::new();
        for size in [1, 16, 17, 1000, 40_000, 1 << 20] {
            let first = Owned::new(&allocator, layout(size), 0xee);
            let address = first.block;
            first.free(&allocator);
            let again = Owned::new(&allocator, layout(size), 0xee);
            assert_eq!(again.block, address, "{size}");
            again.free(&allocator);
            // SAFETY: the layout is not of size zero; the block is owned, and given up at the end.
            unsafe {
                let zeroed = allocator.alloc_zeroed(layout(size));
                let bytes = core::slice::from_raw_parts(zeroed, size);
                assert!(bytes.iter().all(|byte| *byte == 0), "{size}");
                allocator.dealloc(zeroed, layout(size));
            }
        }
    }
}
