//! Copying, filling and comparing, by size.
//!
//! | bytes | how |
//! |---|---|
//! | to 16 | two loads that may overlap, then two stores |
//! | to 128 | registers of 16, all loaded before any is stored, so that overlap does not matter |
//! | to [`STRING_FROM`] | 64 at a time, the odd end by registers that were loaded first |
//! | above | the processor's own string instructions, which know its caches |
//!
//! Loads and stores are unaligned: on every processor that has AVX they cost the same within a cache
//! line. Only SSE2 is used, which all of x86_64 has.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_storeu_si128,
};

/// From here on the string instructions win: they take some time to get going.
const STRING_FROM: usize = 2048;

/// Bytes of a register, and of the four that a loop moves at once.
const REGISTER: usize = 16;
const STRIDE: usize = 4 * REGISTER;

/// # Safety
///
/// `REGISTER` bytes at `from` can be read.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m128i {
    // SAFETY: the caller's promise; the instruction asks for no alignment.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// # Safety
///
/// `REGISTER` bytes at `to` can be written.
#[inline(always)]
unsafe fn store(to: *mut u8, value: __m128i) {
    // SAFETY: the caller's promise; the instruction asks for no alignment.
    unsafe { _mm_storeu_si128(to.cast(), value) }
}

/// # Safety
///
/// `STRIDE` bytes at `from` can be read.
#[inline(always)]
unsafe fn load_stride(from: *const u8) -> [__m128i; 4] {
    // SAFETY: the caller's promise covers the four registers.
    unsafe { [load(from), load(from.add(16)), load(from.add(32)), load(from.add(48))] }
}

/// # Safety
///
/// `STRIDE` bytes at `to` can be written.
#[inline(always)]
unsafe fn store_stride(to: *mut u8, [a, b, c, d]: [__m128i; 4]) {
    // SAFETY: the caller's promise covers the four registers.
    unsafe {
        store(to, a);
        store(to.add(16), b);
        store(to.add(32), c);
        store(to.add(48), d);
    }
}

/// Copies at most 128 bytes, which may overlap: everything is loaded before anything is stored.
///
/// # Safety
///
/// `size <= 128`, `from` can be read for `size` bytes, and `to` be written.
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: in each arm the loads and stores at both ends lie within `size` bytes, as its guard
    // says that there are at least as many.
    unsafe {
        match size {
            0 => {}
            1 => *to = *from,
            2..=3 => {
                let (first, last) = (
                    from.cast::<u16>().read_unaligned(),
                    from.add(size - 2).cast::<u16>().read_unaligned(),
                );
                to.cast::<u16>().write_unaligned(first);
                to.add(size - 2).cast::<u16>().write_unaligned(last);
            }
            4..=7 => {
                let (first, last) = (
                    from.cast::<u32>().read_unaligned(),
                    from.add(size - 4).cast::<u32>().read_unaligned(),
                );
                to.cast::<u32>().write_unaligned(first);
                to.add(size - 4).cast::<u32>().write_unaligned(last);
            }
            8..=15 => {
                let (first, last) = (
                    from.cast::<u64>().read_unaligned(),
                    from.add(size - 8).cast::<u64>().read_unaligned(),
                );
                to.cast::<u64>().write_unaligned(first);
                to.add(size - 8).cast::<u64>().write_unaligned(last);
            }
            16..=32 => {
                let (first, last) = (load(from), load(from.add(size - REGISTER)));
                store(to, first);
                store(to.add(size - REGISTER), last);
            }
            33..=64 => {
                let (a, b) = (load(from), load(from.add(16)));
                let (c, d) = (load(from.add(size - 32)), load(from.add(size - 16)));
                store(to, a);
                store(to.add(16), b);
                store(to.add(size - 32), c);
                store(to.add(size - 16), d);
            }
            _ => {
                let (first, last) = (load_stride(from), load_stride(from.add(size - STRIDE)));
                store_stride(to, first);
                store_stride(to.add(size - STRIDE), last);
            }
        }
    }
}

/// Copies `size` bytes that do not overlap.
///
/// # Safety
///
/// `from` can be read for `size` bytes, `to` be written, and they do not overlap.
#[inline]
pub unsafe fn copy(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: the caller's promise, and what each arm's guard adds.
    unsafe {
        if size <= 2 * STRIDE {
            copy_short(to, from, size);
        } else if size < STRING_FROM {
            copy_forward(to, from, size);
        } else {
            asm!(
                "rep movsb",
                inout("rcx") size => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Copies `size` bytes that may overlap.
///
/// # Safety
///
/// `from` can be read for `size` bytes, and `to` be written.
#[inline]
pub unsafe fn copy_overlapping(to: *mut u8, from: *const u8, size: usize) {
    let ahead = (to as usize).wrapping_sub(from as usize);
    // SAFETY: the caller's promise. `ahead` is how far `to` is in front of `from`, wrapped around
    // when it is behind; what is `size` or more ahead is not overlapped by a copy that goes forward,
    // and neither is what is as far behind.
    unsafe {
        if size <= 2 * STRIDE {
            copy_short(to, from, size);
        } else if ahead >= size && ahead.wrapping_neg() >= size {
            copy(to, from, size);
        } else if ahead >= size {
            copy_forward(to, from, size);
        } else {
            copy_backward(to, from, size);
        }
    }
}

/// Copies from the front on; `to` may overlap `from` if it lies in front of it.
///
/// # Safety
///
/// `size > STRIDE`, `from` can be read for `size` bytes, and `to` be written.
unsafe fn copy_forward(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: the loop ends before the last `STRIDE` bytes, and those lie within `size`. They are
    // loaded before the loop may write over them, and what the loop loads lies ahead of all that it
    // has stored, since `to` is in front.
    unsafe {
        let last = load_stride(from.add(size - STRIDE));
        let mut at = 0;
        while at < size - STRIDE {
            store_stride(to.add(at), load_stride(from.add(at)));
            at += STRIDE;
        }
        store_stride(to.add(size - STRIDE), last);
    }
}

/// Copies from the back on; `to` may overlap `from` if it lies behind it.
///
/// # Safety
///
/// As for [`copy_forward`].
unsafe fn copy_backward(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: the mirror of `copy_forward`.
    unsafe {
        let first = load_stride(from);
        let mut at = size;
        while at > STRIDE {
            at -= STRIDE;
            store_stride(to.add(at), load_stride(from.add(at)));
        }
        store_stride(to, first);
    }
}

/// Sets `size` bytes.
///
/// # Safety
///
/// `to` can be written for `size` bytes.
#[inline]
pub unsafe fn fill(to: *mut u8, byte: u8, size: usize) {
    let eight = u64::from(byte) * 0x0101_0101_0101_0101;
    // SAFETY: in each arm the stores at both ends lie within `size` bytes, as its guard says that
    // there are at least as many. Any bits are a register's.
    unsafe {
        match size {
            0 => {}
            1..=3 => {
                *to = byte;
                *to.add(size / 2) = byte;
                *to.add(size - 1) = byte;
            }
            4..=7 => {
                let four = u32::from(byte) * 0x0101_0101;
                to.cast::<u32>().write_unaligned(four);
                to.add(size - 4).cast::<u32>().write_unaligned(four);
            }
            8..=15 => {
                to.cast::<u64>().write_unaligned(eight);
                to.add(size - 8).cast::<u64>().write_unaligned(eight);
            }
            16..STRING_FROM => {
                let sixteen = _mm_set1_epi8(byte.cast_signed());
                let mut at = 0;
                while at < size - REGISTER {
                    store(to.add(at), sixteen);
                    at += REGISTER;
                }
                store(to.add(size - REGISTER), sixteen);
            }
            _ => asm!(
                "rep stosb",
                inout("rcx") size => _, inout("rdi") to => _, in("al") byte,
                options(nostack, preserves_flags),
            ),
        }
    }
}

/// Below, at or above zero, as the first byte that differs is less in `one`, or there is none, or
/// it is greater.
///
/// # Safety
///
/// Both can be read for `size` bytes.
#[inline]
pub unsafe fn compare(one: *const u8, other: *const u8, size: usize) -> i32 {
    // SAFETY: the loop reads whole registers that lie within `size` bytes; the last one, which may
    // overlap the one before it, ends where the bytes do. What is shorter than a register is read
    // by the byte.
    unsafe {
        if size < REGISTER {
            let mut at = 0;
            while at < size {
                let difference = i32::from(*one.add(at)) - i32::from(*other.add(at));
                if difference != 0 {
                    return difference;
                }
                at += 1;
            }
            return 0;
        }
        let mut at = 0;
        loop {
            let equal = _mm_cmpeq_epi8(load(one.add(at)), load(other.add(at)));
            let differing = _mm_movemask_epi8(equal) ^ 0xffff;
            if differing != 0 {
                at += differing.trailing_zeros() as usize;
                return i32::from(*one.add(at)) - i32::from(*other.add(at));
            }
            if at == size - REGISTER {
                return 0;
            }
            at = (at + REGISTER).min(size - REGISTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Every size up to well over the last threshold, coarser from where the loops only repeat.
    fn sizes() -> impl Iterator<Item = usize> {
        (0..=700).chain((701..STRING_FROM + 300).step_by(41)).chain([STRING_FROM - 1, STRING_FROM])
    }

    /// Bytes that repeat nowhere near.
    fn pattern(size: usize) -> Vec<u8> {
        (0..size).map(|index| (index * 167 + index / 251).to_le_bytes()[0]).collect()
    }

    #[test]
    fn copies_are_what_they_are_copied_from_and_nothing_else_is_touched() {
        for size in sizes() {
            for (from_at, to_at) in [(0, 0), (1, 0), (0, 7), (15, 16), (3, 31)] {
                let from = pattern(size + 64);
                let mut to = std::vec![0xee; size + 128];
                // SAFETY: both have room for `size` bytes behind their offsets.
                unsafe { copy(to.as_mut_ptr().add(to_at), from.as_ptr().add(from_at), size) };
                assert_eq!(to[to_at..to_at + size], from[from_at..from_at + size], "{size}");
                let around = to[..to_at].iter().chain(&to[to_at + size..]);
                assert!(around.copied().all(|byte| byte == 0xee), "{size}");
            }
        }
    }

    #[test]
    fn copies_may_overlap_either_way() {
        for size in sizes() {
            for distance in [0, 1, 7, 15, 16, 17, 63, 64, 65, 300, size / 2, size] {
                let original = pattern(size + distance);
                let mut moved = original.clone();
                let start = moved.as_mut_ptr();
                // SAFETY: both ranges lie within the vector.
                unsafe { copy_overlapping(start.add(distance), start, size) };
                assert_eq!(moved[distance..], original[..size], "up {size} by {distance}");
                assert_eq!(moved[..distance], original[..distance]);
                let mut moved = original.clone();
                let start = moved.as_mut_ptr();
                // SAFETY: both ranges lie within the vector.
                unsafe { copy_overlapping(start, start.add(distance), size) };
                assert_eq!(moved[..size], original[distance..], "down {size} by {distance}");
                assert_eq!(moved[size..], original[size..]);
            }
        }
    }

    #[test]
    fn what_is_filled_is_full_to_its_ends_and_no_further() {
        for size in sizes() {
            for at in [0, 1, 9, 16] {
                let mut bytes = std::vec![0xee; size + 64];
                // SAFETY: there is room for `size` bytes behind `at`.
                unsafe { fill(bytes.as_mut_ptr().add(at), 0x5a, size) };
                assert!(bytes[at..at + size].iter().all(|byte| *byte == 0x5a), "{size}");
                let around = bytes[..at].iter().chain(&bytes[at + size..]);
                assert!(around.copied().all(|byte| byte == 0xee), "{size}");
            }
        }
    }

    #[test]
    fn comparisons_are_those_of_slices() {
        for size in sizes() {
            let one = pattern(size + 3);
            let mut other = std::vec![0; size + 1];
            other[1..].copy_from_slice(&one[3..]);
            for at in [0, 1, size / 3, size / 2, size.saturating_sub(17), size.saturating_sub(1)] {
                for change in [0_u8, 1, 0x80, 0xff] {
                    if at >= size {
                        continue;
                    }
                    let before = other[1 + at];
                    other[1 + at] = before.wrapping_add(change);
                    let expected = one[3..].cmp(&other[1..]) as i32;
                    // SAFETY: `size` bytes are left behind both offsets.
                    let found =
                        unsafe { compare(one.as_ptr().add(3), other.as_ptr().add(1), size) };
                    assert_eq!(found.signum(), expected, "{size} at {at} by {change}");
                    other[1 + at] = before;
                }
            }
        }
        // SAFETY: nothing is read.
        assert_eq!(unsafe { compare([].as_ptr(), [].as_ptr(), 0) }, 0);
    }
}
