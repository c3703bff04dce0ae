//! What the producer counts, so that a user can tell a starved producer from a throttled one.
//!
//! Written by the engine once per request, batch or event, never per record; read by whoever holds
//! the producer. Durations go into histograms of fixed size whose buckets are a quarter of a power
//! of two wide, so a percentile is at most a fifth too large.

use crate::protocol::ErrorCode;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A producer's figures at one moment. Counters start with the producer and only grow.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records that have not ended.
    pub buffered_records: u64,
    /// Bytes set aside for records that have not ended, of `buffer_limit_bytes`.
    pub buffered_bytes: usize,
    /// `buffer_memory`.
    pub buffer_limit_bytes: usize,
    /// Calls of `send` that wait for room at the moment.
    pub waiting_sends: usize,
    /// Records that ended in Kafka.
    pub records_delivered: u64,
    /// Accepted records that ended otherwise.
    pub records_failed: u64,
    /// Of those, the ones that gave their room to newer ones.
    pub records_displaced: u64,
    /// Batches sealed.
    pub batches: u64,
    /// Records in them.
    pub batch_records: u64,
    /// Their bytes before compression.
    pub batch_bytes_uncompressed: u64,
    /// Their bytes as sent.
    pub batch_bytes: u64,
    /// `batch_size` of the configuration.
    pub batch_bytes_max: usize,
    /// Produce requests sent.
    pub requests: u64,
    /// Batches in them; above `requests`, partitions share requests.
    pub request_batches: u64,
    /// Produce requests that wait for their answer.
    pub in_flight: usize,
    /// From a Produce request's sending to its answer.
    pub request_latency: Latency,
    /// From a batch's first record to its first sending: linger, and whatever kept it.
    pub queue_time: Latency,
    /// Pauses that brokers asked for, in all (KIP-219).
    pub throttled: Duration,
    /// Batches sent again.
    pub retries: u64,
    /// Errors that brokers answered for batches, by code.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Connections made.
    pub connections: u64,
    /// Connections that failed or broke; idle ones that a broker closes are not counted.
    pub disconnects: u64,
    /// Partitions numbered anew because a broker had lost track of them.
    pub renumberings: u64,
    /// Age of the metadata; `None` before the first.
    pub metadata_age: Option<Duration>,
}

impl ProducerMetrics {
    /// How full batches are on average, from 0 to 1 (a single large record may exceed it).
    pub fn batch_fill(&self) -> Option<f64> {
        ratio(self.batch_bytes_uncompressed, self.batches)
            .map(|mean| mean / float(self.batch_bytes_max as u64))
    }

    /// Uncompressed bytes per byte sent.
    pub fn compression_ratio(&self) -> Option<f64> {
        ratio(self.batch_bytes_uncompressed, self.batch_bytes)
    }

    /// Records of a batch on average.
    pub fn records_per_batch(&self) -> Option<f64> {
        ratio(self.batch_records, self.batches)
    }
}

fn ratio(of: u64, to: u64) -> Option<f64> {
    (to > 0).then(|| float(of) / float(to))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// Half took no longer.
    pub p50: Duration,
    /// Ninety-nine of a hundred took no longer.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

/// The counters behind [`ProducerMetrics`].
#[derive(Debug, Default)]
pub(super) struct Meters {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) figures: ProducerMetrics,
    pub(super) request_latency: Histogram,
    pub(super) queue_time: Histogram,
    pub(super) metadata_at: Option<Instant>,
}

impl Meters {
    /// Notes something down.
    pub(super) fn note(&self, note: impl FnOnce(&mut Counts)) {
        note(&mut self.lock());
    }

    /// The figures, as far as they are counted here.
    pub(super) fn read(&self, now: Instant) -> ProducerMetrics {
        let counts = self.lock();
        ProducerMetrics {
            request_latency: counts.request_latency.latency(),
            queue_time: counts.queue_time.latency(),
            metadata_age: counts.metadata_at.map(|at| now.saturating_duration_since(at)),
            ..counts.figures.clone()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buckets per power of two, as a power of two.
const FINENESS: u32 = 2;
const BUCKETS: usize = 256;

/// Durations in microseconds, by size.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(duration);
    }

    fn latency(&self) -> Latency {
        Latency {
            count: self.count,
            p50: self.percentile(50),
            p99: self.percentile(99),
            max: self.max,
        }
    }

    fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return Duration::from_micros(upper_bound(index)).min(self.max);
            }
        }
        Duration::ZERO
    }
}

/// Bucket of a value: its highest bit, and the two bits behind it.
fn bucket(value: u64) -> usize {
    let steps = 1_u64 << FINENESS;
    if value < steps {
        return usize::try_from(value).unwrap_or(0);
    }
    let exponent = value.ilog2() - FINENESS;
    let index = (u64::from(exponent) + 1) * steps + ((value >> exponent) - steps);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    let (index, steps) = (index as u64, 1_u64 << FINENESS);
    if index < steps {
        return index;
    }
    let (exponent, step) = (index / steps - 1, index % steps);
    ((steps + step + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_dense_and_a_fifth_wide_at_most() {
        let mut previous = 0;
        for value in (0..10_000).chain([1 << 20, 1 << 40, u64::MAX >> 2]) {
            let index = bucket(value);
            assert!(index >= previous && index < BUCKETS, "{value}");
            let bound = upper_bound(index);
            assert!(bound >= value && bound - value <= value / 4, "{value} in {bound}");
            previous = index;
        }
    }

    #[test]
    fn percentiles_are_of_what_was_added() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.latency(), Latency::default());
        (1..=1000).for_each(|millis| histogram.add(Duration::from_millis(millis)));
        let latency = histogram.latency();
        assert_eq!((latency.count, latency.max), (1000, Duration::from_secs(1)));
        assert!((500..=625).contains(&latency.p50.as_millis()), "{latency:?}");
        assert!((990..=1000).contains(&latency.p99.as_millis()), "{latency:?}");
    }

    #[test]
    fn means_are_absent_rather_than_nan() {
        let mut metrics = ProducerMetrics { batch_bytes_max: 1000, ..Default::default() };
        assert_eq!(metrics.batch_fill(), None);
        metrics.batches = 2;
        metrics.batch_bytes_uncompressed = 1000;
        metrics.batch_bytes = 250;
        assert_eq!(metrics.batch_fill(), Some(0.5));
        assert_eq!(metrics.compression_ratio(), Some(4.0));
    }
}
