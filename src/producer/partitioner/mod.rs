//! Which partition a record goes to.
//!
//! Keyed records are placed by a hash of their key, as the client of the same partitioner places
//! them; so programs that share a topic agree where a key lives. Unkeyed records are placed by
//! `sticky`, which fills one batch after the other. A record that names its partition never comes
//! here.
//!
//! | file | decides |
//! |---|---|
//! | `hash` | the numbers of keys |
//! | `sticky` | where unkeyed records go, and for how long |
//! | `random` | how luck is made |

mod hash;
mod random;
mod sticky;

pub(super) use random::Random;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sticky::Sticky;

/// How partitions are chosen for records that name none.
///
/// All programs that write a topic should use the same, or equal keys end in different partitions
/// and lose their order. "Unkeyed" records stay on a partition for a batch's worth of bytes, then
/// move to another, more likely one that fewer batches wait for.
///
/// ```
/// use ottla::producer::{Partitioner, ProducerConfig};
///
/// let mut config = ProducerConfig::new(["localhost:9092"])?;
/// config.partitioner = "consistent_random".parse()?;
/// assert!(matches!(config.partitioner, Partitioner::ConsistentRandom));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// Each record anywhere there is a leader, whatever its key. Makes small batches.
    Random,
    /// CRC-32 of the key. Records without one, and with an empty one, all go to partition 0.
    Consistent,
    /// CRC-32 of the key; null and empty keys are unkeyed. The default of librdkafka.
    ConsistentRandom,
    /// The Java producer's hash of the key. A null key is hashed like an empty one, so unkeyed
    /// records all go to one partition.
    Murmur2,
    /// The Java producer's hash of the key; only null keys are unkeyed. Records with an empty key
    /// all go to one partition.
    #[default]
    Murmur2Random,
    /// Sarama's hash of the key. A null key is hashed like an empty one, so unkeyed records all go
    /// to one partition.
    Fnv1a,
    /// Sarama's hash of the key; only null keys are unkeyed. Records with an empty key all go to
    /// one partition.
    Fnv1aRandom,
    /// Each record to the next partition that has a leader, whatever its key. Makes small batches.
    RoundRobin,
    /// Yours.
    Custom(Arc<dyn CustomPartitioner>),
}

/// Chooses partitions by a rule of its own.
///
/// ```
/// use ottla::producer::{CustomPartitioner, Partitioner, Placement};
/// use std::sync::Arc;
///
/// /// Tenants by the first byte of their name.
/// #[derive(Debug)]
/// struct ByInitial;
///
/// impl CustomPartitioner for ByInitial {
///     fn partition(&self, record: &Placement<'_>) -> i32 {
///         let initial = record.key.and_then(|key| key.first()).copied().unwrap_or_default();
///         i32::from(initial) % record.partition_count
///     }
/// }
///
/// let partitioner = Partitioner::Custom(Arc::new(ByInitial));
/// assert_eq!(partitioner.name(), "custom");
/// ```
pub trait CustomPartitioner: fmt::Debug + Send + Sync {
    /// The partition for a record, from 0 to `partition_count - 1`.
    ///
    /// Any other number, and a panic, fail the record as
    /// [`NoSuchPartition`](super::SendError::NoSuchPartition). Runs within `send`, or on the
    /// producer's task if the topic was unknown then: it must neither block nor call the producer.
    fn partition(&self, record: &Placement<'_>) -> i32;
}

/// A record that needs a partition.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Placement<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Partitions of the topic, at least one.
    pub partition_count: i32,
    /// Those that have a leader, ascending. Records for another one wait for it to have one.
    pub available: &'a [i32],
}

/// What no partition has for a number.
const NO_PARTITION: i32 = -1;

impl Partitioner {
    /// Those that have a name of their own.
    const NAMED: [Self; 8] = [
        Self::Random,
        Self::Consistent,
        Self::ConsistentRandom,
        Self::Murmur2,
        Self::Murmur2Random,
        Self::Fnv1a,
        Self::Fnv1aRandom,
        Self::RoundRobin,
    ];

    /// The name that configurations use, librdkafka's where it has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Consistent => "consistent",
            Self::ConsistentRandom => "consistent_random",
            Self::Murmur2 => "murmur2",
            Self::Murmur2Random => "murmur2_random",
            Self::Fnv1a => "fnv1a",
            Self::Fnv1aRandom => "fnv1a_random",
            Self::RoundRobin => "round_robin",
            Self::Custom(_) => "custom",
        }
    }

    /// The number that a hashing partitioner makes of a key; `None` if to it that is no key.
    fn hash(&self, key: Option<&[u8]>) -> Option<u32> {
        match self {
            Self::Consistent => Some(hash::crc32(key.unwrap_or_default())),
            Self::ConsistentRandom => key.filter(|key| !key.is_empty()).map(hash::crc32),
            Self::Murmur2 => Some(hash::murmur2(key.unwrap_or_default())),
            Self::Murmur2Random => key.map(hash::murmur2),
            Self::Fnv1a => Some(hash::fnv1a(key.unwrap_or_default())),
            Self::Fnv1aRandom => key.map(hash::fnv1a),
            Self::Random | Self::RoundRobin | Self::Custom(_) => None,
        }
    }
}

impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no partitioner has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown partitioner {0:?}: use random, consistent, consistent_random, murmur2, \
     murmur2_random, fnv1a, fnv1a_random or round_robin"
)]
pub struct UnknownPartitioner(pub String);

impl FromStr for Partitioner {
    type Err = UnknownPartitioner;

    /// Reads a name in either case, with `_` or `-`.
    fn from_str(name: &str) -> Result<Self, UnknownPartitioner> {
        let plain = name.replace('-', "_");
        Self::NAMED
            .into_iter()
            .find(|partitioner| partitioner.name().eq_ignore_ascii_case(&plain))
            .ok_or_else(|| UnknownPartitioner(name.to_owned()))
    }
}

/// What a topic's partitions look like at the moment.
pub(super) trait Partitions {
    /// How many there are.
    fn count(&self) -> i32;
    /// Those that have a leader, ascending.
    fn available(&self) -> &[i32];
    /// What waits for one of them.
    fn backlog(&self, partition: i32) -> Backlog;
}

/// What waits for a partition. A glance: it may have changed by the time it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Backlog {
    /// Batches that no one has taken yet.
    pub(super) batches: usize,
    /// Bytes that the open one still takes; zero without one.
    pub(super) room: usize,
}

/// Places the records of one topic.
#[derive(Debug)]
pub(super) struct Router {
    partitioner: Partitioner,
    sticky: Sticky,
    /// Whose turn it is in a round.
    round: AtomicUsize,
}

impl Router {
    /// Unkeyed records stay on a partition for `turn_size` bytes.
    pub(super) const fn new(partitioner: Partitioner, turn_size: usize, seed: u64) -> Self {
        Self { partitioner, sticky: Sticky::new(turn_size, seed), round: AtomicUsize::new(0) }
    }

    /// The partition for a record of `size` bytes. Only a custom partitioner gives one that does
    /// not exist.
    pub(super) fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        size: usize,
        partitions: &impl Partitions,
    ) -> i32 {
        match &self.partitioner {
            Partitioner::Random => self.sticky.any(partitions),
            Partitioner::RoundRobin => self.next_in_round(partitions),
            Partitioner::Custom(custom) => ask(
                custom.as_ref(),
                &Placement {
                    topic,
                    key,
                    partition_count: partitions.count(),
                    available: partitions.available(),
                },
            ),
            hashing => match hashing.hash(key) {
                Some(hash) => modulo(hash, partitions.count()),
                None => self.sticky.partition(size, partitions),
            },
        }
    }

    fn next_in_round(&self, partitions: &impl Partitions) -> i32 {
        let turn = self.round.fetch_add(1, Ordering::Relaxed);
        match partitions.available() {
            [] => {
                let count = usize::try_from(partitions.count()).unwrap_or_default().max(1);
                i32::try_from(turn % count).unwrap_or_default()
            }
            available => available[turn % available.len()],
        }
    }
}

/// A custom partitioner that panics must not take the producer with it.
fn ask(custom: &dyn CustomPartitioner, record: &Placement<'_>) -> i32 {
    catch_unwind(AssertUnwindSafe(|| custom.partition(record))).unwrap_or_else(|_| {
        tracing::error!(topic = record.topic, "a custom partitioner panicked");
        NO_PARTITION
    })
}

/// `hash` modulo `count`, which is positive.
fn modulo(hash: u32, count: i32) -> i32 {
    let count = count.unsigned_abs().max(1);
    i32::try_from(hash % count).expect("less than count, an i32")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Partitions of which everything is known.
    #[derive(Debug, Clone)]
    pub(in crate::producer) struct Fake {
        pub(super) count: i32,
        pub(super) available: Vec<i32>,
        /// Batches waiting, by partition; none beyond the list.
        pub(super) waiting: Vec<usize>,
        pub(super) room: usize,
    }

    impl Fake {
        pub(super) fn new(count: i32, available: &[i32]) -> Self {
            Self { count, available: available.to_vec(), waiting: Vec::new(), room: 0 }
        }
    }

    impl Partitions for Fake {
        fn count(&self) -> i32 {
            self.count
        }

        fn available(&self) -> &[i32] {
            &self.available
        }

        fn backlog(&self, partition: i32) -> Backlog {
            let batches =
                self.waiting.get(usize::try_from(partition).unwrap()).copied().unwrap_or_default();
            Backlog { batches, room: self.room }
        }
    }

    const LONG: &[u8] = b"this is another string with more length to it perhaps";

    fn place(partitioner: &Partitioner, key: Option<&[u8]>, partitions: &Fake, seed: u64) -> i32 {
        Router::new(partitioner.clone(), 1, seed).partition("t", key, 10, partitions)
    }

    /// Every partition that a key can get.
    fn reachable(partitioner: &Partitioner, key: Option<&[u8]>, partitions: &Fake) -> Vec<i32> {
        let mut all: Vec<_> =
            (0..200).map(|seed| place(partitioner, key, partitions, seed)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn null_empty_and_other_keys_go_where_librdkafkas_partitioner_test_wants_them() {
        const ANY: u32 = u32::MAX;
        let crc = [0xb1b4_51d7, 0xb015_0df7, 0xd077_037e];
        let murmur = [0x058d_780f, 0x4f77_03da, 0x5ec1_9395];
        let fnv = [0x27e6_f469, 0x155e_3e5f, 0x17b1_e27a];
        let keys = [None, Some(&b""[..]), Some(b"23456"), Some(LONG), Some(b"hejsan")];
        for (partitioner, null, empty, keyed) in [
            (Partitioner::Random, ANY, ANY, [ANY; 3]),
            (Partitioner::Consistent, 0, 0, crc),
            (Partitioner::ConsistentRandom, ANY, ANY, crc),
            (Partitioner::Murmur2, 0x106e_08d9, 0x106e_08d9, murmur),
            (Partitioner::Murmur2Random, ANY, 0x106e_08d9, murmur),
            (Partitioner::Fnv1a, 0x7ee3_623b, 0x7ee3_623b, fnv),
            (Partitioner::Fnv1aRandom, ANY, 0x7ee3_623b, fnv),
        ] {
            let hashes = [null, empty, keyed[0], keyed[1], keyed[2]];
            for (key, hash) in keys.iter().zip(hashes) {
                for count in [7, 17] {
                    let all: Vec<i32> = (0..count).collect();
                    let expected = match hash {
                        ANY => all.clone(),
                        hash => vec![modulo(hash, count)],
                    };
                    let reached = reachable(&partitioner, *key, &Fake::new(count, &all));
                    assert_eq!(reached, expected, "{partitioner} {key:?} of {count}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_hashed_avoids_partitions_without_a_leader() {
        let some = Fake::new(7, &[1, 4, 6]);
        let none = Fake::new(3, &[]);
        for partitioner in [Partitioner::Random, Partitioner::ConsistentRandom] {
            assert_eq!(reachable(&partitioner, None, &some), [1, 4, 6], "{partitioner}");
            assert_eq!(reachable(&partitioner, None, &none), [0, 1, 2], "{partitioner}");
        }
        let hashed = Some(&b"hejsan"[..]);
        assert_eq!(reachable(&Partitioner::Murmur2Random, hashed, &some), [6]);
        assert_eq!(reachable(&Partitioner::ConsistentRandom, hashed, &some), [3], "it waits there");
    }

    #[test]
    fn a_round_visits_every_partition_with_a_leader() {
        let router = Router::new(Partitioner::RoundRobin, 1000, 0);
        let partitions = Fake::new(7, &[1, 4, 6]);
        let visited: Vec<_> =
            (0..6).map(|_| router.partition("t", Some(b"k"), 10, &partitions)).collect();
        assert_eq!(visited, [1, 4, 6, 1, 4, 6]);
        let visited: Vec<_> =
            (0..4).map(|_| router.partition("t", None, 10, &Fake::new(2, &[]))).collect();
        assert_eq!(visited, [0, 1, 0, 1]);
    }

    #[derive(Debug)]
    struct ByLength;

    impl CustomPartitioner for ByLength {
        fn partition(&self, record: &Placement<'_>) -> i32 {
            assert_eq!((record.topic, record.partition_count), ("t", 7));
            let length = record.key.expect("a key").len();
            record.available[length]
        }
    }

    #[test]
    fn a_custom_partitioner_decides_and_its_panic_is_no_partition() {
        let custom = Partitioner::Custom(Arc::new(ByLength));
        let partitions = Fake::new(7, &[1, 4, 6]);
        assert_eq!(place(&custom, Some(b"ab"), &partitions, 0), 6);
        assert_eq!(place(&custom, Some(b"abc"), &partitions, 0), NO_PARTITION);
        assert_eq!(place(&custom, None, &partitions, 0), NO_PARTITION);
    }

    #[test]
    fn names_are_read_as_they_are_written_here_and_elsewhere() {
        for partitioner in Partitioner::NAMED {
            let name = partitioner.name();
            for spelled in [name.to_owned(), name.to_uppercase(), name.replace('_', "-")] {
                assert_eq!(spelled.parse::<Partitioner>().unwrap().name(), name);
            }
        }
        for name in ["custom", "", "murmur3"] {
            let error = name.parse::<Partitioner>().unwrap_err().to_string();
            assert!(error.contains("use random, consistent"), "{error}");
        }
    }
}
