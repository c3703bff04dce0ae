//! A partition's log that deduplicates as Kafka's does: by producer id, epoch and sequence, with a
//! memory of five batches per producer.
//!
//! Records can be deleted, and with them all that was known of their producers. What was deleted is
//! kept as an earlier era of the log, for those who ask whether it was ever there.
//!
//! Source: `ProducerAppendInfo.checkSequence` and `ProducerStateEntry` of Kafka.

use crate::protocol::ErrorCode;
use crate::protocol::compression::{Codec, decompress};
use crate::protocol::record_batch::ProducerStamp;
use bytes::Bytes;
use kafka_protocol::records::{Compression, RecordBatchDecoder};
use std::collections::{BTreeMap, VecDeque};

const REMEMBERED: usize = 5;

/// Far more than any batch holds.
const BATCH_SIZE_MAX: usize = 1 << 20;

#[derive(Default, Clone)]
pub(super) struct Log {
    /// What was deleted.
    past: Vec<Era>,
    present: Era,
    producers: BTreeMap<i64, Producer>,
    /// How producers that were forgotten are refused, by id and epoch. Those that were never known
    /// are taken at any number.
    forgotten: BTreeMap<(i64, i16), ErrorCode>,
}

/// Records that were in the log together.
#[derive(Default, Clone)]
pub(super) struct Era {
    /// The first one's offset.
    pub(super) start: i64,
    pub(super) values: Vec<String>,
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
        let inflate = |body: &mut Bytes, codec: Compression| {
            let codec = Codec::from_bits(codec as u8).unwrap();
            Ok(Bytes::from(decompress(codec, body, BATCH_SIZE_MAX).unwrap()))
        };
        let mut batch = bytes.clone();
        let set =
            RecordBatchDecoder::decode_with_custom_compression(&mut batch, Some(inflate)).unwrap();
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
        let offset = self.present.start + i64::try_from(self.present.values.len()).unwrap();
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
        self.present.values.extend(batch.values.iter().cloned());
        Ok(offset)
    }

    /// The offset of the batch if it is here already.
    fn check(&self, stamp: ProducerStamp, last: i32) -> Result<Option<i64>, ErrorCode> {
        let first = stamp.base_sequence;
        let Some(producer) = self.producers.get(&stamp.producer_id) else {
            let refusal = self.forgotten.get(&(stamp.producer_id, stamp.epoch));
            return refusal.map_or(Ok(None), |code| Err(*code));
        };
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

    /// The log of a topic that was deleted and created again. Who wrote to the old one is refused
    /// like that.
    pub(super) fn succeed(&mut self, old: &Self, refusal: ErrorCode) {
        self.forgotten.extend(old.producers.iter().map(|(id, it)| ((*id, it.epoch), refusal)));
        self.forgotten.extend(&old.forgotten);
    }

    /// Whether it remembers this batch.
    pub(super) fn has(&self, batch: &Batch) -> bool {
        let count = batch.values.len() - 1;
        let last = sequence_after(batch.stamp.base_sequence.max(0), count);
        matches!(self.check(batch.stamp, last), Ok(Some(_)))
    }

    pub(super) fn values(&self) -> &[String] {
        &self.present.values
    }

    /// Everything that was ever stored, the present last.
    pub(super) fn eras(&self) -> impl Iterator<Item = &Era> {
        self.past.iter().chain([&self.present])
    }

    /// Deletes all records, and forgets their producers; what they send next is refused like that.
    pub(super) fn delete_records(&mut self, refusal: ErrorCode) {
        let start = self.present.start + i64::try_from(self.present.values.len()).unwrap();
        let present = Era { start, values: Vec::new() };
        self.past.push(std::mem::replace(&mut self.present, present));
        self.forgotten.extend(self.producers.iter().map(|(id, it)| ((*id, it.epoch), refusal)));
        self.forget_producers();
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
