//! The checks that Kafka makes before it stores a batch.
//!
//! Decides which bytes of a Produce request are a batch fit to be stored, and with which error code
//! the others are refused. Pure: bytes in, a checked batch or a refusal out. Whether the producer's
//! sequence fits is the log's question.
//!
//! Stricter than Kafka where a lenient broker would hide a producer's mistake: attribute bits
//! without a meaning for producers and header keys that are not UTF-8 are refused too. Timestamps
//! are not compared with the clock.
//!
//! Spec: <https://kafka.apache.org/documentation/#recordbatch>, KIP-98, KIP-110.

use std::borrow::Cow;

use bytes::Bytes;

use super::Validation;
use super::records::{self, Flaw, RecordView};
use crate::protocol::compression::{DecompressError, decompress};
use crate::protocol::record_batch::ProducerStamp;
use crate::protocol::{Codec, ErrorCode};

/// Bytes in front of the records.
pub(crate) const HEADER_SIZE: usize = 61;

/// First Produce version that may carry zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;

const LENGTH_FROM: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_FROM: usize = 21;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// What a batch is measured against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Version of the Produce request that carried it.
    pub(crate) produce_version: i16,
    /// Bytes that it may have, with its header.
    pub(crate) batch_size_max: usize,
    /// Bytes that its records may inflate to.
    pub(crate) inflated_size_max: usize,
    /// Whether compressed records are looked at.
    pub(crate) validation: Validation,
}

/// A batch that may be stored.
#[derive(Debug, Clone)]
pub(crate) struct CheckedBatch {
    /// The batch as it came.
    pub(crate) bytes: Bytes,
    /// `1 <= count`
    pub(crate) count: i32,
    pub(crate) codec: Codec,
    /// All parts are zero or more if it has a producer id.
    pub(crate) stamp: ProducerStamp,
    /// The latest of its records' timestamps.
    pub(crate) max_timestamp: i64,
}

/// Why a batch is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Index of the record at fault, if it is one record's (KIP-467).
    pub(crate) record: Option<i32>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record: None }
    }
}

/// Checks the `records` field of one partition of a Produce request, which must be one batch.
pub(crate) fn check(records: Option<&Bytes>, rules: &Rules) -> Result<CheckedBatch, Refusal> {
    let bytes = one_batch(records.map_or(&[][..], |records| records))?;
    let header = Header::read(bytes);
    if header.base_offset != 0 {
        return Err(invalid(format!("the base offset must be 0, not {}", header.base_offset)));
    }
    if bytes.len() > rules.batch_size_max {
        let message = format!(
            "the batch has {} bytes, the most taken is {}",
            bytes.len(),
            rules.batch_size_max
        );
        return Err(Refusal::new(ErrorCode::MESSAGE_TOO_LARGE, message));
    }
    header.check_crc(bytes)?;
    let codec = header.check_attributes(rules)?;
    header.check_count()?;
    let max_timestamp = if codec != Codec::None && rules.validation == Validation::Legacy {
        header.max_timestamp
    } else {
        header.check_records(&inflate(codec, bytes, rules.inflated_size_max)?)?
    };
    Ok(CheckedBatch {
        bytes: records.cloned().unwrap_or_default(),
        count: header.record_count,
        codec,
        stamp: header.stamp,
        max_timestamp,
    })
}

/// Calls `each` with the timestamp of every record of a batch that was checked before, and with
/// the record. The records end where they cannot be read, if nobody looked at them.
pub(crate) fn for_each_record(
    bytes: &[u8],
    codec: Codec,
    inflated_size_max: usize,
    mut each: impl FnMut(i64, RecordView<'_>),
) {
    let base_timestamp = i64::from_be_bytes(field(bytes, 27));
    let Ok(inflated) = inflate(codec, bytes, inflated_size_max) else { return };
    // Where it ends is no news to whoever let it pass.
    let _ = records::walk(&inflated, |_, record| {
        each(base_timestamp.saturating_add(record.timestamp_delta), record);
        Ok(())
    });
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::INVALID_RECORD, message)
}

/// The bytes, if they are one batch of the current format from end to end.
fn one_batch(bytes: &[u8]) -> Result<&[u8], Refusal> {
    if bytes.len() <= MAGIC_AT {
        return Err(invalid("a partition must have exactly one record batch, this has none"));
    }
    match i8::from_be_bytes(field(bytes, MAGIC_AT)) {
        2 => {}
        magic @ (0 | 1) => {
            return Err(invalid(format!("message format {magic} ended with Produce v2")));
        }
        magic => return Err(invalid(format!("no message format has magic {magic}"))),
    }
    let length = i32::from_be_bytes(field(bytes, 8));
    let size = usize::try_from(length).ok().map(|length| length.saturating_add(LENGTH_FROM));
    match size {
        Some(size) if size >= HEADER_SIZE && size == bytes.len() => Ok(bytes),
        Some(size) if size >= HEADER_SIZE && size < bytes.len() => {
            Err(invalid("a partition must have exactly one record batch, this has more"))
        }
        Some(size) if size >= HEADER_SIZE => {
            Err(invalid(format!("the batch is cut off: {} of {size} bytes", bytes.len())))
        }
        _ => {
            let message = format!("a batch length of {length} is below that of an empty batch");
            Err(Refusal::new(ErrorCode::CORRUPT_MESSAGE, message))
        }
    }
}

fn inflate(codec: Codec, bytes: &[u8], size_max: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    let records = &bytes[HEADER_SIZE..];
    if codec == Codec::None {
        return Ok(Cow::Borrowed(records));
    }
    decompress(codec, records, size_max).map(Cow::Owned).map_err(|error| {
        let code = match error {
            DecompressError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            DecompressError::Malformed { .. } => ErrorCode::CORRUPT_MESSAGE,
        };
        Refusal::new(code, error.to_string())
    })
}

struct Header {
    base_offset: i64,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    stamp: ProducerStamp,
    record_count: i32,
}

impl Header {
    fn read(bytes: &[u8]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            stamp: ProducerStamp {
                producer_id: i64::from_be_bytes(field(bytes, 43)),
                epoch: i16::from_be_bytes(field(bytes, 51)),
                base_sequence: i32::from_be_bytes(field(bytes, 53)),
            },
            record_count: i32::from_be_bytes(field(bytes, 57)),
        }
    }

    fn check_crc(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let computed = crc32c::crc32c(&bytes[CRC_FROM..]);
        if computed == self.crc {
            return Ok(());
        }
        let message = format!("the CRC-32C is {computed:08x}, the header says {:08x}", self.crc);
        Err(Refusal::new(ErrorCode::CORRUPT_MESSAGE, message))
    }

    fn check_attributes(&self, rules: &Rules) -> Result<Codec, Refusal> {
        let bits = u8::try_from(self.attributes & CODEC_BITS).unwrap_or_default();
        let unsupported = |message| Refusal::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, message);
        let codec = Codec::from_bits(bits)
            .ok_or_else(|| unsupported(format!("no codec has number {bits}")))?;
        if codec == Codec::Zstd && rules.produce_version < ZSTD_SINCE {
            return Err(unsupported(format!("zstd needs Produce v{ZSTD_SINCE}")));
        }
        match self.attributes & !CODEC_BITS {
            0 => Ok(codec),
            bits if bits & CONTROL_BIT != 0 => {
                Err(invalid("a client must not write control batches"))
            }
            bits if bits & TRANSACTIONAL_BIT != 0 => {
                Err(Refusal::new(ErrorCode::INVALID_TXN_STATE, "no transaction was begun"))
            }
            LOG_APPEND_TIME_BIT => {
                let message = "a producer must not set the timestamp type to log append time";
                Err(Refusal::new(ErrorCode::INVALID_TIMESTAMP, message))
            }
            bits => Err(invalid(format!("attribute bits {bits:#x} mean nothing in a request"))),
        }
    }

    fn check_count(&self) -> Result<(), Refusal> {
        let Self { record_count, last_offset_delta, stamp, .. } = self;
        if *record_count < 1 {
            return Err(invalid(format!("a batch of {record_count} records")));
        }
        if *last_offset_delta != record_count - 1 {
            let message =
                format!("{record_count} records, but a last offset delta of {last_offset_delta}");
            return Err(invalid(message));
        }
        if stamp.producer_id >= 0 && (stamp.epoch < 0 || stamp.base_sequence < 0) {
            return Err(invalid("a producer id without an epoch and a sequence number"));
        }
        Ok(())
    }

    /// Walks the records; the latest of their timestamps.
    fn check_records(&self, inflated: &[u8]) -> Result<i64, Refusal> {
        let mut max_timestamp = i64::MIN;
        let count = records::walk(inflated, |index, record| {
            if index >= self.record_count {
                return Err("the batch holds more records than it counts");
            }
            max_timestamp = max_timestamp.max(self.check_record(index, &record)?);
            Ok(())
        })
        .map_err(|(index, flaw)| Refusal { record: Some(index), ..invalid(flaw) })?;
        if count < self.record_count {
            let message =
                format!("the batch counts {} records, it holds {count}", self.record_count);
            return Err(invalid(message));
        }
        Ok(max_timestamp)
    }

    fn check_record(&self, index: i32, record: &RecordView<'_>) -> Result<i64, Flaw> {
        if record.offset_delta != index {
            return Err("offset deltas must count from 0 without gaps");
        }
        self.base_timestamp.checked_add(record.timestamp_delta).ok_or("timestamp exceeds 64 bits")
    }
}

/// `N` bytes of the header from byte `at`.
///
/// # Panics
///
/// Unless the bytes reach that far: `one_batch` has seen to it.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Header as RecordHeader;
    use crate::protocol::compression::Compressor;
    use crate::protocol::record::Content;
    use crate::protocol::record_batch::{Appended, BatchBuilder, BatchLimits};

    const RULES: Rules = Rules {
        produce_version: 9,
        batch_size_max: 100_000,
        inflated_size_max: 1 << 20,
        validation: Validation::Strict,
    };

    const STAMP: ProducerStamp = ProducerStamp { producer_id: 7, epoch: 0, base_sequence: 3 };

    fn batch(codec: Codec) -> Vec<u8> {
        let limits = BatchLimits { bytes_max: 1 << 20, records_max: 1000 };
        let mut builder = BatchBuilder::new(limits);
        for index in 0..3_i64 {
            let value = vec![b'v'; 500];
            let headers = [RecordHeader { key: "h", value: None }];
            let content = Content { key: None, value: Some(&value), headers: &headers };
            assert!(matches!(builder.try_append(1000 - index, &content), Appended::Index(_)));
        }
        let sealed = builder.seal(&mut Compressor::new(codec.into()));
        sealed.to_bytes(STAMP).to_vec()
    }

    fn sealed(mut bytes: Vec<u8>) -> Bytes {
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes.into()
    }

    /// A batch with other bytes at `at`, its checksum right again.
    fn edited(at: usize, edit: &[u8]) -> Bytes {
        let mut bytes = batch(Codec::None);
        bytes[at..at + edit.len()].copy_from_slice(edit);
        sealed(bytes)
    }

    fn code(bytes: &Bytes) -> ErrorCode {
        check(Some(bytes), &RULES).unwrap_err().code
    }

    #[test]
    fn batches_of_every_codec_are_taken() {
        for codec in Codec::ALL {
            let checked = check(Some(&batch(codec).into()), &RULES).unwrap();
            assert_eq!((checked.count, checked.codec, checked.stamp), (3, codec, STAMP));
            assert_eq!(checked.max_timestamp, 1000);
        }
    }

    #[test]
    fn batches_of_another_encoder_are_taken() {
        let record = |offset: i64| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: i32::try_from(offset).unwrap() - 1,
            timestamp: 5,
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: Default::default(),
        };
        let records: Vec<_> = (0..4).map(record).collect();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        assert_eq!(check(Some(&bytes.freeze()), &RULES).unwrap().count, 4);
    }

    #[test]
    fn anything_but_one_batch_is_an_invalid_record() {
        let whole = batch(Codec::None);
        let twice = [&whole[..], &whole].concat().into();
        assert_eq!(code(&twice), ErrorCode::INVALID_RECORD);
        for cut in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..cut]);
            assert_eq!(code(&cut), ErrorCode::INVALID_RECORD);
        }
        assert_eq!(check(None, &RULES).unwrap_err().code, ErrorCode::INVALID_RECORD);
    }

    #[test]
    fn each_fault_of_a_header_is_refused_by_its_code() {
        let mut flipped = batch(Codec::None);
        flipped[100] ^= 1;
        assert_eq!(code(&flipped.into()), ErrorCode::CORRUPT_MESSAGE);
        for (at, edit, expected) in [
            (0, &[0, 0, 0, 0, 0, 0, 0, 1][..], ErrorCode::INVALID_RECORD),
            (8, &[0, 0, 0, 48], ErrorCode::CORRUPT_MESSAGE),
            (8, &[0x80, 0, 0, 0], ErrorCode::CORRUPT_MESSAGE),
            (16, &[1], ErrorCode::INVALID_RECORD),
            (16, &[3], ErrorCode::INVALID_RECORD),
            (21, &[0, 5], ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
            (21, &[0, 0x08], ErrorCode::INVALID_TIMESTAMP),
            (21, &[0, 0x10], ErrorCode::INVALID_TXN_STATE),
            (21, &[0, 0x30], ErrorCode::INVALID_RECORD),
            (21, &[0, 0x40], ErrorCode::INVALID_RECORD),
            (21, &[0x80, 0], ErrorCode::INVALID_RECORD),
            (23, &[0, 0, 0, 3], ErrorCode::INVALID_RECORD),
            (53, &[0xff; 4], ErrorCode::INVALID_RECORD),
            (57, &[0, 0, 0, 0], ErrorCode::INVALID_RECORD),
            (57, &[0x80, 0, 0, 0], ErrorCode::INVALID_RECORD),
        ] {
            assert_eq!(code(&edited(at, edit)), expected, "{edit:x?} at byte {at}");
        }
    }

    #[test]
    fn a_batch_that_counts_more_or_fewer_records_than_it_holds_is_refused() {
        for count in [2_u8, 4] {
            let mut bytes = batch(Codec::None);
            bytes[26] = count - 1;
            bytes[60] = count;
            assert_eq!(code(&sealed(bytes)), ErrorCode::INVALID_RECORD);
        }
    }

    #[test]
    fn the_record_at_fault_is_named() {
        let mut bytes = batch(Codec::None);
        let record_size = (bytes.len() - HEADER_SIZE) / 3;
        // The second record's offset delta, behind its length, attributes and timestamp delta.
        let at = HEADER_SIZE + record_size + 4;
        assert_eq!(bytes[at], 2);
        bytes[at] = 4;
        let refusal = check(Some(&sealed(bytes)), &RULES).unwrap_err();
        assert_eq!((refusal.code, refusal.record), (ErrorCode::INVALID_RECORD, Some(1)));
    }

    #[test]
    fn size_is_limited_before_and_after_inflating() {
        let bytes = Bytes::from(batch(Codec::Zstd));
        let small = Rules { batch_size_max: bytes.len() - 1, ..RULES };
        let code = |rules| check(Some(&bytes), &rules).unwrap_err().code;
        assert_eq!(code(small), ErrorCode::MESSAGE_TOO_LARGE);
        let bomb = Rules { inflated_size_max: 1000, ..RULES };
        assert_eq!(code(bomb), ErrorCode::MESSAGE_TOO_LARGE);
    }

    #[test]
    fn zstd_needs_produce_7() {
        let bytes = Bytes::from(batch(Codec::Zstd));
        let old = Rules { produce_version: 6, ..RULES };
        let refusal = check(Some(&bytes), &old).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }

    #[test]
    fn records_that_do_not_inflate_are_corrupt() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut bytes = batch(codec);
            bytes[HEADER_SIZE..].fill(0xa5);
            let bytes = sealed(bytes);
            assert_eq!(code(&bytes), ErrorCode::CORRUPT_MESSAGE, "{codec}");
            let legacy = Rules { validation: Validation::Legacy, ..RULES };
            let unseen = check(Some(&bytes), &legacy).unwrap();
            assert_eq!((unseen.count, unseen.max_timestamp), (3, 1000));
            for_each_record(&bytes, codec, 1 << 20, |_, _| panic!("{codec} was not inflated"));
        }
    }

    proptest! {
        #[test]
        fn noise_behind_a_valid_checksum_is_refused_or_taken_but_never_a_panic(
            noise in proptest::collection::vec(any::<u8>(), HEADER_SIZE..300),
            attributes in 0_u8..8,
            count in 1_u8..4,
        ) {
            let mut bytes = noise;
            bytes[..8].fill(0);
            let length = u32::try_from(bytes.len() - LENGTH_FROM).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[21..23].copy_from_slice(&[0, attributes]);
            bytes[23..27].copy_from_slice(&[0, 0, 0, count - 1]);
            bytes[57..61].copy_from_slice(&[0, 0, 0, count]);
            drop(check(Some(&sealed(bytes)), &RULES));
        }
    }
}
