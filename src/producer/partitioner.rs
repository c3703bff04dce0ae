//! Which partition a record goes to.
//!
//! Keyed records are placed as the Java producer places them: 32-bit MurmurHash2 of the key, the
//! sign bit cleared, modulo the partitions. Unkeyed records stay on one partition until it has
//! taken a batch's worth of bytes, then move to another that has a leader, chosen at random
//! (KIP-794): spreading them record by record would make many small batches.

use std::sync::{Mutex, PoisonError};

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// The partition of a key, among `count`, as in Java's producer.
///
/// # Panics
///
/// When `count` is not positive.
pub fn partition_of_key(key: &[u8], count: i32) -> i32 {
    assert!(count > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff).cast_signed() % count
}

/// MurmurHash2, 32 bits, with Kafka's seed.
fn murmur2(key: &[u8]) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the hash is defined modulo 2^32")]
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes(word.try_into().expect("chunks of four"));
        let mixed = word.wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition that unkeyed records of one topic stay on for the moment.
#[derive(Debug)]
pub(super) struct Sticky {
    state: Mutex<State>,
    /// Bytes that a partition takes before the next one's turn.
    turn_size: usize,
}

#[derive(Debug)]
struct State {
    current: Option<i32>,
    taken: usize,
    random: Random,
}

impl Sticky {
    pub(super) const fn new(turn_size: usize, seed: u64) -> Self {
        let state = State { current: None, taken: 0, random: Random::new(seed) };
        Self { state: Mutex::new(state), turn_size }
    }

    /// The partition for an unkeyed record of `size` bytes. `available` are those with a leader,
    /// among `count`; if there is none, any partition may get one in time.
    pub(super) fn partition(&self, size: usize, available: &[i32], count: i32) -> i32 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stay = state.current.filter(|current| {
            state.taken < self.turn_size
                && (available.is_empty() || available.binary_search(current).is_ok())
        });
        let current = stay.unwrap_or_else(|| {
            state.taken = 0;
            match available {
                [] => state.random.below(count.unsigned_abs() as usize).try_into().unwrap_or(0),
                _ => available[state.random.below(available.len())],
            }
        });
        state.current = Some(current);
        state.taken += size;
        current
    }
}

/// Numbers that need not be unpredictable, only spread: SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub(super) const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_matches_the_vectors_of_librdkafka_and_java() {
        for (key, hash) in [
            ("kafka", 0xd067_cf64),
            ("giberish123456789", 0x8f55_2b0c),
            ("1234", 0x9fc9_7b14),
            ("234", 0xe7c0_09ca),
            ("34", 0x8739_30da),
            ("4", 0x5a4b_5ca1),
            ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x7842_4f1c),
            ("reAmbleWillBeRemoved,ThePrePartThatIs", 0x4a62_b377),
            ("eAmbleWillBeRemoved,ThePrePartThatIs", 0xe0e4_e09e),
            ("AmbleWillBeRemoved,ThePrePartThatIs", 0x62b8_b43f),
            ("", 0x106e_08d9),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn keys_go_where_java_puts_them() {
        for (key, of_7, of_17) in [("", 2, 11), ("23456", 5, 9), ("hejsan", 6, 5), ("kafka", 3, 14)]
        {
            assert_eq!(partition_of_key(key.as_bytes(), 7), of_7, "{key}");
            assert_eq!(partition_of_key(key.as_bytes(), 17), of_17, "{key}");
        }
    }

    #[test]
    fn unkeyed_records_stay_for_a_batchs_worth_of_bytes_and_then_spread() {
        let sticky = Sticky::new(1000, 1);
        let available = [0, 1, 3, 4];
        let mut turns = [0; 5];
        let mut previous = None;
        for index in 0..10_000 {
            let partition = sticky.partition(100, &available, 5);
            if index % 10 > 0 {
                assert_eq!(Some(partition), previous, "record {index} moved within a turn");
            }
            previous = Some(partition);
            turns[usize::try_from(partition).unwrap()] += 1;
        }
        assert_eq!(turns[2], 0, "a partition without a leader");
        assert!(available.iter().all(|partition| turns[*partition as usize] > 1500), "{turns:?}");
    }

    #[test]
    fn a_partition_that_lost_its_leader_is_left_at_once() {
        let sticky = Sticky::new(1_000_000, 7);
        let first = sticky.partition(1, &[0, 1], 2);
        assert_eq!(sticky.partition(1, &[1 - first], 2), 1 - first);
        let any = sticky.partition(1, &[], 2);
        assert!((0..2).contains(&any));
    }
}
