//! The log of one partition: batches, offsets, and the state of the producers that write to it.
//!
//! Decides the offset of a batch, and whether an idempotent producer's batch is new, a duplicate or
//! out of order. Pure. Which partitions exist and who leads them is the cluster's.
//!
//! ```text
//! producer state per id: epoch, and (first sequence, last sequence, offset) of its last 5 batches
//!
//!   lower epoch                      INVALID_PRODUCER_EPOCH
//!   higher epoch                     must start at sequence 0
//!   exactly one of the last 5        stored already: its offset again, no error
//!   first = last + 1 (mod 2^31)      stored
//!   lies wholly before that          DUPLICATE_SEQUENCE_NUMBER
//!   anything else                    OUT_OF_ORDER_SEQUENCE_NUMBER
//! ```
//!
//! Spec: KIP-98, KIP-360.

use std::collections::{HashMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use super::records::AcceptedRecord;
use super::validate::{CheckedBatch, Refusal, for_each_record};
use crate::protocol::record_batch::ProducerStamp;
use crate::protocol::{Codec, ErrorCode};

/// Batches of a producer that are recognised when they are sent again.
const BATCHES_REMEMBERED: usize = 5;

/// Producers that a partition remembers; the one that wrote longest ago is forgotten first.
const PRODUCERS_MAX: usize = 10_000;

/// How much a log keeps, and how far a stored batch may inflate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) retention_bytes: usize,
    pub(crate) inflated_size_max: usize,
}

/// The batches of a partition, in order of their offsets.
#[derive(Debug)]
pub(crate) struct Log {
    limits: LogLimits,
    batches: VecDeque<StoredBatch>,
    /// Sum of the batches' sizes.
    bytes: usize,
    /// Offset of the first record kept; `start_offset <= next_offset`
    start_offset: i64,
    next_offset: i64,
    producers: HashMap<i64, ProducerState>,
}

/// A batch with its offset and leader epoch written into it.
#[derive(Debug)]
struct StoredBatch {
    bytes: Bytes,
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
    leader_epoch: i32,
    codec: Codec,
    stamp: ProducerStamp,
}

#[derive(Debug)]
struct ProducerState {
    epoch: i16,
    /// The latest last; never empty.
    recent: VecDeque<Span>,
}

/// The sequence numbers of one batch, and where it went.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: i32,
    last: i32,
    offset: i64,
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

impl Log {
    pub(crate) fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            batches: VecDeque::new(),
            bytes: 0,
            start_offset: 0,
            next_offset: 0,
            producers: HashMap::new(),
        }
    }

    pub(crate) const fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset behind the last record: the high watermark too, since nothing is replicated.
    pub(crate) const fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Stores a batch, or finds it stored already; the offset of its first record.
    pub(crate) fn append(
        &mut self,
        batch: &CheckedBatch,
        leader_epoch: i32,
    ) -> Result<i64, Refusal> {
        if batch.stamp.producer_id >= 0 {
            if let Some(offset) = self.judge(batch)? {
                return Ok(offset);
            }
            self.remember(batch);
        }
        let base_offset = self.next_offset;
        self.next_offset += i64::from(batch.count);
        self.bytes += batch.bytes.len();
        self.batches.push_back(StoredBatch {
            bytes: stamped(&batch.bytes, base_offset, leader_epoch),
            base_offset,
            last_offset: self.next_offset - 1,
            max_timestamp: batch.max_timestamp,
            leader_epoch,
            codec: batch.codec,
            stamp: batch.stamp,
        });
        self.drop_oldest();
        Ok(base_offset)
    }

    /// Whole batches from the one that holds `offset` on, at most `bytes_max` in sum. `at_least_one`
    /// lets the first be larger, so that a consumer never starves at a large batch (KIP-74).
    pub(crate) fn read(&self, offset: i64, bytes_max: usize, at_least_one: bool) -> Bytes {
        let from = self.batches.partition_point(|batch| batch.last_offset < offset);
        let mut size = 0;
        let mut count = 0;
        for batch in self.batches.range(from..) {
            let first_is_free = count == 0 && at_least_one;
            if size + batch.bytes.len() > bytes_max && !first_is_free {
                break;
            }
            size += batch.bytes.len();
            count += 1;
        }
        let mut batches = self.batches.range(from..from + count);
        if count == 1 {
            return batches.next().map(|batch| batch.bytes.clone()).unwrap_or_default();
        }
        let mut out = BytesMut::with_capacity(size);
        batches.for_each(|batch| out.put_slice(&batch.bytes));
        out.freeze()
    }

    /// The first record that is not older than `timestamp`.
    pub(crate) fn find_by_timestamp(&self, timestamp: i64) -> Option<Found> {
        let batch = self.batches.iter().find(|batch| batch.max_timestamp >= timestamp)?;
        self.find_in(batch, timestamp)
    }

    /// The first record that has the latest timestamp.
    pub(crate) fn find_latest_timestamp(&self) -> Option<Found> {
        let latest = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        self.find_by_timestamp(latest)
    }

    /// Every record kept.
    pub(crate) fn records(&self, partition: i32) -> Vec<AcceptedRecord> {
        let mut out = Vec::new();
        for batch in &self.batches {
            self.for_each(batch, |offset, timestamp, record| {
                out.push(AcceptedRecord {
                    partition,
                    offset,
                    timestamp,
                    key: record.key.map(Bytes::copy_from_slice),
                    value: record.value.map(Bytes::copy_from_slice),
                    headers: record.headers(),
                    batch_offset: batch.base_offset,
                    codec: batch.codec,
                    stamp: batch.stamp,
                });
            });
        }
        out
    }

    /// The offset of the batch, if it is stored already.
    fn judge(&self, batch: &CheckedBatch) -> Result<Option<i64>, Refusal> {
        let ProducerStamp { producer_id, epoch, base_sequence: first } = batch.stamp;
        let Some(state) = self.producers.get(&producer_id) else {
            return Ok(None);
        };
        if epoch < state.epoch {
            let message =
                format!("producer {producer_id} is at epoch {}, not {epoch}", state.epoch);
            return Err(Refusal::new(ErrorCode::INVALID_PRODUCER_EPOCH, message));
        }
        let out_of_order = |expected| {
            let message =
                format!("producer {producer_id} must go on at sequence {expected}, not {first}");
            Err(Refusal::new(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, message))
        };
        if epoch > state.epoch {
            return if first == 0 { Ok(None) } else { out_of_order(0) };
        }
        let last = advance(first, batch.count - 1);
        if let Some(same) =
            state.recent.iter().find(|span| span.first == first && span.last == last)
        {
            return Ok(Some(same.offset));
        }
        let expected = state.recent.back().map_or(0, |span| advance(span.last, 1));
        if first == expected {
            return Ok(None);
        }
        if is_before(first, expected) && is_before(last, expected) {
            let message =
                format!("producer {producer_id} sent sequence {first} to {last} long ago");
            return Err(Refusal::new(ErrorCode::DUPLICATE_SEQUENCE_NUMBER, message));
        }
        out_of_order(expected)
    }

    fn remember(&mut self, batch: &CheckedBatch) {
        let ProducerStamp { producer_id, epoch, base_sequence: first } = batch.stamp;
        let last = advance(first, batch.count - 1);
        let span = Span { first, last, offset: self.next_offset };
        if let Some(state) = self.producers.get_mut(&producer_id) {
            if state.epoch != epoch {
                state.epoch = epoch;
                state.recent.clear();
            }
            if state.recent.len() == BATCHES_REMEMBERED {
                state.recent.pop_front();
            }
            state.recent.push_back(span);
            return;
        }
        if self.producers.len() >= PRODUCERS_MAX {
            let last_written = |state: &ProducerState| state.recent.back().map(|span| span.offset);
            let oldest = self.producers.iter().min_by_key(|(_, state)| last_written(state));
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.producers.remove(&id);
            }
        }
        self.producers.insert(producer_id, ProducerState { epoch, recent: VecDeque::from([span]) });
    }

    fn drop_oldest(&mut self) {
        while self.bytes > self.limits.retention_bytes && self.batches.len() > 1 {
            if let Some(batch) = self.batches.pop_front() {
                self.bytes -= batch.bytes.len();
                self.start_offset = batch.last_offset + 1;
            }
        }
    }

    fn find_in(&self, batch: &StoredBatch, timestamp: i64) -> Option<Found> {
        let mut found = None;
        self.for_each(batch, |offset, at, _| {
            if at >= timestamp && found.is_none() {
                found = Some(Found { offset, timestamp: at, leader_epoch: batch.leader_epoch });
            }
        });
        found
    }

    fn for_each(
        &self,
        batch: &StoredBatch,
        mut each: impl FnMut(i64, i64, super::records::RecordView<'_>),
    ) {
        let inflated_size_max = self.limits.inflated_size_max;
        for_each_record(&batch.bytes, batch.codec, inflated_size_max, |timestamp, record| {
            each(batch.base_offset + i64::from(record.offset_delta), timestamp, record);
        });
    }
}

/// A copy of the batch with its offset and leader epoch, which its checksum does not cover. A copy,
/// because a slice would keep the whole request in memory.
fn stamped(batch: &[u8], base_offset: i64, leader_epoch: i32) -> Bytes {
    let mut out = BytesMut::from(batch);
    out[0..8].copy_from_slice(&base_offset.to_be_bytes());
    out[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    out.freeze()
}

/// Sequence numbers follow 2^31 − 1 with 0.
const fn advance(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

/// Whether `sequence` is less than half the circle behind `expected`.
const fn is_before(sequence: i32, expected: i32) -> bool {
    let distance = expected.wrapping_sub(sequence) & i32::MAX;
    0 < distance && distance < 1 << 30
}
