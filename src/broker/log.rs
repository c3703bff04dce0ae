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
//!   anything else                    OUT_OF_ORDER_SEQUENCE_NUMBER
//!   no state                         stored, whatever the sequence; by rule only if it is 0, or else
//!                                    UNKNOWN_PRODUCER_ID
//! ```
//!
//! Kafka's `ProducerAppendInfo.checkSequence` says since 2.4 that a producer without an epoch, its
//! records having been deleted perhaps, may write with any sequence number; before, it threw
//! `UnknownProducerIdException`. A repeat that is not remembered is out of order: Kafka 3.9 and 4.4
//! throw `DuplicateSequenceException` nowhere, and Redpanda compares first and last too.
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

/// What a log keeps, and whom it takes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogRules {
    pub(crate) retention_bytes: usize,
    /// Bytes that the records of a stored batch may inflate to.
    pub(crate) inflated_size_max: usize,
    /// Whether a producer without a state must begin at sequence 0.
    pub(crate) refuses_unknown_producers: bool,
}

/// The batches of a partition, in order of their offsets.
#[derive(Debug)]
pub(crate) struct Log {
    rules: LogRules,
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
    pub(crate) fn new(rules: LogRules) -> Self {
        Self {
            rules,
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

    /// Every record kept that can be read.
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

    /// Forgets every producer's epoch and sequence.
    pub(crate) fn forget_producers(&mut self) {
        self.producers.clear();
    }

    /// The offset of the batch, if it is stored already.
    fn judge(&self, batch: &CheckedBatch) -> Result<Option<i64>, Refusal> {
        let ProducerStamp { producer_id, epoch, base_sequence: first } = batch.stamp;
        let Some(state) = self.producers.get(&producer_id) else {
            if first == 0 || !self.rules.refuses_unknown_producers {
                return Ok(None);
            }
            let message = format!("producer {producer_id} is not known, and begins at {first}");
            return Err(Refusal::new(ErrorCode::UNKNOWN_PRODUCER_ID, message));
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
        if first == expected { Ok(None) } else { out_of_order(expected) }
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
        while self.bytes > self.rules.retention_bytes && self.batches.len() > 1 {
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
        let inflated_size_max = self.rules.inflated_size_max;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Validation;
    use crate::broker::validate::{Rules, check};
    use crate::protocol::compression::Compressor;
    use crate::protocol::record::Content;
    use crate::protocol::record_batch::{BatchBuilder, BatchLimits};

    const RULES: LogRules = LogRules {
        retention_bytes: 1 << 20,
        inflated_size_max: 1 << 20,
        refuses_unknown_producers: false,
    };

    fn batch(stamp: ProducerStamp, timestamps: &[i64]) -> CheckedBatch {
        let limits = BatchLimits { bytes_max: 1 << 20, records_max: 1000 };
        let mut builder = BatchBuilder::new(limits);
        for timestamp in timestamps {
            builder.try_append(*timestamp, &Content { value: Some(b"v"), ..Content::default() });
        }
        let sealed = builder.seal(&mut Compressor::new(Codec::None.into()));
        let bytes = sealed.to_bytes(stamp);
        let rules = Rules {
            produce_version: 9,
            batch_size_max: 1 << 20,
            inflated_size_max: 1 << 20,
            validation: Validation::Strict,
        };
        check(Some(&bytes), &rules).unwrap()
    }

    fn append(log: &mut Log, epoch: i16, first: i32, count: usize) -> Result<i64, ErrorCode> {
        let stamp = ProducerStamp { producer_id: 7, epoch, base_sequence: first };
        log.append(&batch(stamp, &vec![0; count]), 0).map_err(|refusal| refusal.code)
    }

    #[test]
    fn offsets_follow_each_other_and_are_written_into_the_batch_under_a_checksum_that_still_holds()
    {
        let mut log = Log::new(RULES);
        let plain = batch(ProducerStamp::NONE, &[1, 2]);
        assert_eq!(log.append(&plain, 4).unwrap(), 0);
        assert_eq!(log.append(&plain, 5).unwrap(), 2);
        let stored = log.read(2, usize::MAX, false);
        assert_eq!(stored[..8], 2_i64.to_be_bytes());
        assert_eq!(stored[12..16], 5_i32.to_be_bytes());
        assert_eq!(stored[16..], plain.bytes[16..]);
        let offsets: Vec<_> = log.records(0).iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3]);
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_and_must_go_on_from_there() {
        let mut log = Log::new(RULES);
        assert_eq!(append(&mut log, 3, 100, 2), Ok(0));
        assert_eq!(append(&mut log, 3, 103, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(append(&mut log, 3, 102, 1), Ok(2));
    }

    #[test]
    fn only_a_repeat_among_the_last_five_batches_is_answered_as_at_first() {
        let mut log = Log::new(RULES);
        for index in 0..6 {
            assert_eq!(append(&mut log, 0, index * 2, 2), Ok(i64::from(index) * 2));
        }
        for index in 1..6 {
            assert_eq!(append(&mut log, 0, index * 2, 2), Ok(i64::from(index) * 2));
        }
        assert_eq!(append(&mut log, 0, 0, 2), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(append(&mut log, 0, 10, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(append(&mut log, 0, 10, 3), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(log.next_offset(), 12);
    }

    #[test]
    fn forgotten_producers_go_on_anywhere_or_by_rule_only_from_zero() {
        for (refuses_unknown_producers, expected) in
            [(false, Ok(2)), (true, Err(ErrorCode::UNKNOWN_PRODUCER_ID))]
        {
            let mut log = Log::new(LogRules { refuses_unknown_producers, ..RULES });
            assert_eq!(append(&mut log, 0, 0, 2), Ok(0));
            log.forget_producers();
            assert_eq!(append(&mut log, 0, 2, 2), expected);
        }
        let mut log = Log::new(LogRules { refuses_unknown_producers: true, ..RULES });
        assert_eq!(append(&mut log, 5, 0, 2), Ok(0));
        assert_eq!(append(&mut log, 5, 2, 2), Ok(2));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut log = Log::new(RULES);
        assert_eq!(append(&mut log, 1, 0, 3), Ok(0));
        assert_eq!(append(&mut log, 2, 3, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(append(&mut log, 2, 0, 1), Ok(3));
        assert_eq!(append(&mut log, 1, 3, 1), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(append(&mut log, 1, 0, 3), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    }

    #[test]
    fn sequence_numbers_wrap_to_zero_also_within_a_batch() {
        let mut log = Log::new(RULES);
        assert_eq!(append(&mut log, 0, i32::MAX - 1, 1), Ok(0));
        assert_eq!(append(&mut log, 0, i32::MAX, 2), Ok(1));
        assert_eq!(append(&mut log, 0, i32::MAX, 2), Ok(1), "a repeat");
        assert_eq!(append(&mut log, 0, 1, 1), Ok(3));
        assert_eq!(append(&mut log, 0, i32::MAX, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    }

    #[test]
    fn producers_without_an_id_are_not_compared() {
        let mut log = Log::new(RULES);
        let plain = batch(ProducerStamp::NONE, &[0]);
        assert_eq!(log.append(&plain, 0).unwrap(), 0);
        assert_eq!(log.append(&plain, 0).unwrap(), 1);
    }

    #[test]
    fn reading_takes_whole_batches_and_the_first_even_if_it_is_too_large() {
        let mut log = Log::new(RULES);
        let plain = batch(ProducerStamp::NONE, &[0, 0]);
        let size = plain.bytes.len();
        for _ in 0..3 {
            log.append(&plain, 0).unwrap();
        }
        assert_eq!(log.read(1, size * 3 - 1, false).len(), size * 2);
        assert_eq!(log.read(3, usize::MAX, false).len(), size * 2);
        assert_eq!(log.read(0, 1, true).len(), size);
        assert!(log.read(0, 1, false).is_empty());
        assert!(log.read(6, usize::MAX, true).is_empty());
    }

    #[test]
    fn times_are_found_by_record() {
        let mut log = Log::new(RULES);
        assert_eq!(log.find_latest_timestamp(), None);
        log.append(&batch(ProducerStamp::NONE, &[10, 30]), 0).unwrap();
        log.append(&batch(ProducerStamp::NONE, &[20, 25]), 0).unwrap();
        let offset = |timestamp| log.find_by_timestamp(timestamp).map(|found| found.offset);
        assert_eq!(
            [offset(0), offset(11), offset(30), offset(31)],
            [Some(0), Some(1), Some(1), None]
        );
        assert_eq!(log.find_latest_timestamp().unwrap().offset, 1);
    }

    #[test]
    fn the_oldest_batches_go_when_memory_is_full_but_never_the_last() {
        let plain = batch(ProducerStamp::NONE, &[0]);
        let retention_bytes = plain.bytes.len() * 2;
        let mut log = Log::new(LogRules { retention_bytes, ..RULES });
        for _ in 0..5 {
            log.append(&plain, 0).unwrap();
        }
        assert_eq!((log.start_offset(), log.next_offset()), (3, 5));
        let mut tiny = Log::new(LogRules { retention_bytes: 1, ..RULES });
        tiny.append(&plain, 0).unwrap();
        assert_eq!(tiny.records(0).len(), 1);
    }
}
