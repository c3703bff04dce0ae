//! A partition's log that deduplicates as Kafka's does: by producer id, epoch and sequence, with a
//! memory of five batches per producer.
//!
//! Source: `ProducerAppendInfo.checkSequence` and `ProducerStateEntry` of Kafka.

use crate::protocol::ErrorCode;
use crate::protocol::record_batch::ProducerStamp;
use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;
use std::collections::{BTreeMap, VecDeque};

const REMEMBERED: usize = 5;

#[derive(Default, Clone)]
pub(super) struct Log {
    values: Vec<String>,
    producers: BTreeMap<i64, Producer>,
}

#[derive(Clone)]
struct Producer {
    epoch: i16,
    /// First sequence, last sequence and base offset of the latest batches, the latest last.
    batches: VecDeque<(i32, i32, i64)>,
}

/// A batch as an independent decoder reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) stamp: ProducerStamp,
    pub(super) values: Vec<String>,
}

impl Batch {
    pub(super) fn read(bytes: &Bytes) -> Self {
        let set = RecordBatchDecoder::decode(&mut bytes.clone()).unwrap();
        let first = &set.records[0];
        let stamp = ProducerStamp {
            producer_id: first.producer_id,
            epoch: first.producer_epoch,
            base_sequence: first.sequence,
        };
        let value = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
        let values = set.records.iter().map(|r| value(r.value.as_ref().unwrap())).collect();
        Self { bytes: bytes.clone(), stamp, values }
    }
}

impl Log {
    /// Stores the batch unless it has it. Returns its base offset.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<i64, ErrorCode> {
        let offset = i64::try_from(self.values.len()).unwrap();
        if batch.stamp != ProducerStamp::NONE {
            let first = batch.stamp.base_sequence;
            assert!(first >= 0, "a negative sequence");
            let last = sequence_after(first, batch.values.len() - 1);
            if let Some(known) = self.check(batch.stamp, last)? {
                return Ok(known);
            }
            let producer = self
                .producers
                .entry(batch.stamp.producer_id)
                .or_insert_with(|| Producer { epoch: batch.stamp.epoch, batches: VecDeque::new() });
            if producer.epoch != batch.stamp.epoch {
                *producer = Producer { epoch: batch.stamp.epoch, batches: VecDeque::new() };
            }
            producer.batches.push_back((first, last, offset));
            if producer.batches.len() > REMEMBERED {
                producer.batches.pop_front();
            }
        }
        self.values.extend(batch.values.iter().cloned());
        Ok(offset)
    }

    /// The offset of the batch if it is here already.
    fn check(&self, stamp: ProducerStamp, last: i32) -> Result<Option<i64>, ErrorCode> {
        let first = stamp.base_sequence;
        let Some(producer) = self.producers.get(&stamp.producer_id) else { return Ok(None) };
        if stamp.epoch < producer.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if stamp.epoch > producer.epoch {
            return if first == 0 {
                Ok(None)
            } else {
                Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            };
        }
        let known = producer.batches.iter().find(|known| (known.0, known.1) == (first, last));
        if let Some((_, _, offset)) = known {
            return Ok(Some(*offset));
        }
        match producer.batches.back() {
            Some((_, latest, _)) if sequence_after(*latest, 1) != first => {
                Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            }
            _ => Ok(None),
        }
    }

    /// Whether it remembers this batch.
    pub(super) fn has(&self, batch: &Batch) -> bool {
        let count = batch.values.len() - 1;
        let last = sequence_after(batch.stamp.base_sequence.max(0), count);
        matches!(self.check(batch.stamp, last), Ok(Some(_)))
    }

    pub(super) fn values(&self) -> &[String] {
        &self.values
    }

    /// Forgets all producers, as after their records were deleted.
    pub(super) fn forget_producers(&mut self) {
        self.producers.clear();
    }
}

fn sequence_after(sequence: i32, count: usize) -> i32 {
    let next = (i64::from(sequence) + i64::try_from(count).unwrap()) % (1 << 31);
    i32::try_from(next).unwrap()
}
