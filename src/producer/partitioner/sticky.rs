//! The partition that unkeyed records of one topic stay on for the moment (KIP-794).
//!
//! Spread record by record they would make many small batches, so a partition has a turn of a
//! batch's worth of bytes. Bytes and not batches, for a slow broker's batches grow larger, and it
//! would get the more records the slower it is. The next partition is drawn at random among those
//! with a leader, the more likely the fewer batches wait for it: a slow broker gets less.
//!
//! Threads take part in a turn without a lock: it fits one atomic word.

use super::random::SharedRandom;
use super::{Backlog, Partitions};
use std::sync::atomic::{AtomicU64, Ordering};

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Sticky {
    /// A [`Turn`], packed.
    turn: AtomicU64,
    /// Bytes of a turn. None is the end of stickiness: every record draws.
    turn_size: u64,
    random: SharedRandom,
}

/// A partition's turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Zero before the first turn, else the partition's number plus one.
    owner: u32,
    /// Bytes of the records that took part, saturating.
    taken: u32,
}

impl Sticky {
    pub(super) const fn new(turn_size: usize, seed: u64) -> Self {
        let random = SharedRandom::new(seed);
        Self { turn: AtomicU64::new(0), turn_size: turn_size as u64, random }
    }

    /// The partition for an unkeyed record of `size` bytes.
    pub(super) fn partition(&self, size: usize, partitions: &impl Partitions) -> i32 {
        let mut seen = self.turn.load(Ordering::Relaxed);
        loop {
            let turn = Turn::unpack(seen);
            let (partition, taken) = match turn.partition() {
                Some(partition) if self.stays(turn, size, partitions) => (partition, turn.taken),
                _ => (self.draw(partitions), 0),
            };
            let taken = taken.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
            let next = Turn::of(partition, taken).pack();
            let exchanged =
                self.turn.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed);
            match exchanged {
                Ok(_) => return partition,
                Err(current) => seen = current,
            }
        }
    }

    /// Whether the turn goes on. Beyond its bytes it does as far as the open batch has room, lest it
    /// be left unfilled; twice the bytes end it in any case, as linger may open batch after batch.
    fn stays(&self, turn: Turn, size: usize, partitions: &impl Partitions) -> bool {
        let Some(partition) = turn.partition() else { return false };
        let available = partitions.available();
        let taken = u64::from(turn.taken);
        (available.is_empty() || available.binary_search(&partition).is_ok())
            && (taken < self.turn_size
                || taken < 2 * self.turn_size && size <= partitions.backlog(partition).room)
    }

    /// A partition with a leader, by weight. Without any, each may get one in time.
    fn draw(&self, partitions: &impl Partitions) -> i32 {
        let available = partitions.available();
        let waiting = |partition: &i32| {
            let Backlog { batches, .. } = partitions.backlog(*partition);
            batches
        };
        let Some(longest) = available.iter().map(waiting).max() else {
            return self.any(partitions);
        };
        if longest == 0 {
            return available[self.random.below(available.len())];
        }
        // Batches come and go between two looks: a weight is at least one, and the last partition
        // takes what is left.
        let weight = |partition: &i32| (longest + 1).saturating_sub(waiting(partition)).max(1);
        let mut ticket = self.random.below(available.iter().map(weight).sum());
        let winner = available.iter().find(|partition| {
            let weight = weight(partition);
            let wins = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            wins
        });
        winner.or_else(|| available.last()).copied().unwrap_or_default()
    }

    /// A partition with a leader, or any if there is none, all equally likely.
    pub(super) fn any(&self, partitions: &impl Partitions) -> i32 {
        match partitions.available() {
            [] => {
                let count = usize::try_from(partitions.count()).unwrap_or_default().max(1);
                i32::try_from(self.random.below(count)).unwrap_or_default()
            }
            available => available[self.random.below(available.len())],
        }
    }
}

impl Turn {
    const fn of(partition: i32, taken: u32) -> Self {
        Self { owner: partition.cast_unsigned().wrapping_add(1), taken }
    }

    const fn partition(self) -> Option<i32> {
        match self.owner {
            0 => None,
            owner => Some((owner - 1).cast_signed()),
        }
    }

    const fn pack(self) -> u64 {
        (self.owner as u64) << 32 | self.taken as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes a word's halves apart")]
    const fn unpack(word: u64) -> Self {
        Self { owner: (word >> 32) as u32, taken: word as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn records_stay_for_a_batchs_worth_of_bytes_and_then_spread() {
        let sticky = Sticky::new(1000, 1);
        let partitions = Fake::new(5, &[0, 1, 3, 4]);
        let mut turns = [0; 5];
        let mut previous = None;
        for index in 0..10_000 {
            let partition = sticky.partition(100, &partitions);
            if index % 10 > 0 {
                assert_eq!(Some(partition), previous, "record {index} moved within a turn");
            }
            previous = Some(partition);
            turns[usize::try_from(partition).unwrap()] += 1;
        }
        assert_eq!(turns[2], 0, "a partition without a leader");
        assert!([0, 1, 3, 4].iter().all(|partition| turns[*partition] > 1500), "{turns:?}");
    }

    #[test]
    fn a_partition_that_lost_its_leader_is_left_at_once() {
        let sticky = Sticky::new(1_000_000, 7);
        let first = sticky.partition(1, &Fake::new(2, &[0, 1]));
        assert_eq!(sticky.partition(1, &Fake::new(2, &[1 - first])), 1 - first);
        let any = sticky.partition(1, &Fake::new(2, &[]));
        assert!((0..2).contains(&any));
    }

    #[test]
    fn a_turn_ends_where_the_open_batch_does_and_at_twice_its_bytes_at_the_latest() {
        let changes = |room| {
            let sticky = Sticky::new(1000, 3);
            let partitions = Fake { room, ..Fake::new(1000, &(0..1000).collect::<Vec<_>>()) };
            let chosen: Vec<_> = (0..60).map(|_| sticky.partition(100, &partitions)).collect();
            chosen.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        assert_eq!(changes(0), 5, "60 records of 100 bytes are six turns");
        assert_eq!(changes(99), 5);
        assert_eq!(changes(100), 2, "or three of twice the bytes, as long as there is room");
    }

    #[test]
    fn a_partition_with_a_backlog_gets_less_and_never_nothing() {
        let sticky = Sticky::new(0, 5);
        let partitions = Fake { waiting: vec![0, 3, 9], ..Fake::new(3, &[0, 1, 2]) };
        let mut drawn = [0; 3];
        (0..18_000).for_each(|_| {
            drawn[usize::try_from(sticky.partition(1, &partitions)).unwrap()] += 1;
        });
        // Weights 10, 7 and 1 of 18.
        for (drawn, expected) in drawn.into_iter().zip([10_000_i32, 7_000, 1_000]) {
            assert!((drawn - expected).abs() < 400, "{drawn} instead of {expected}");
        }
    }

    #[test]
    fn a_record_larger_than_any_turn_ends_it() {
        let sticky = Sticky::new(1000, 5);
        let partitions = Fake::new(50, &(0..50).collect::<Vec<_>>());
        let chosen: Vec<_> = (0..9).map(|_| sticky.partition(usize::MAX, &partitions)).collect();
        assert!(chosen.windows(2).any(|pair| pair[0] != pair[1]), "{chosen:?}");
    }
}
