//! RecordBatch v2: the unit that is compressed, checked, sent and stored.
//!
//! Three steps, because the producer's identity stands inside the checksum and is known last:
//!
//! ```text
//! BatchBuilder --seal(compressor)--> SealedBatch --header(stamp)--> 61 bytes in front of the body
//!   records are encoded               compressed once,               identity, sequence and CRC
//!   as they are appended              then never changed             of this transmission
//! ```
//!
//! A retry is the same sealed batch with the same stamp, so the same bytes; a new epoch is the same
//! sealed batch with a new stamp. The CRC covers the stamp in front of the body; the body's part of it
//! is computed once, while its bytes are cached, and combined with the stamp's for each transmission.
//!
//! Spec: <https://kafka.apache.org/documentation/#recordbatch>, KIP-98.

use super::checksum;
use super::chunks::{Body, ChunkPool, Chunks};
use super::compression::{Codec, Compressor, DecompressError, decompress};
use super::record::{self, Base, ConsumedRecord, Content, Header};
use super::wire::{DecodeError, Reader};
use bytes::{BufMut, Bytes};
use std::sync::Arc;

/// Bytes in front of the records.
pub const HEADER_SIZE: usize = 61;

/// Where the checksum starts to cover: at the attributes.
const CRC_FROM: usize = 21;

/// The batch length counts what follows it, from byte 12.
const LENGTH_FROM: usize = 12;

const MAGIC: i8 = 2;
const CODEC_BITS: i16 = 0b111;

/// Takes records until they fill a batch.
#[derive(Debug)]
pub struct BatchBuilder {
    records: Chunks,
    limits: BatchLimits,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of records before compression, with the batch header. A larger record gets a batch of
    /// its own.
    pub bytes_max: usize,
    /// Records.
    pub records_max: u32,
}

/// What became of a record offered to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is the batch's record of this index.
    Index(u32),
    /// The batch has no room for it.
    Full,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(limits: BatchLimits) -> Self {
        Self::within(limits, Chunks::new(None))
    }

    /// An empty batch that takes its memory from `pool`, and leaves it there in the end.
    pub fn from_pool(limits: BatchLimits, pool: Arc<ChunkPool>) -> Self {
        Self::within(limits, Chunks::new(Some(pool)))
    }

    const fn within(limits: BatchLimits, records: Chunks) -> Self {
        Self { records, limits, count: 0, base_timestamp: 0, max_timestamp: i64::MIN }
    }

    /// For batches that will not be compressed: sums the records up as they come, while they are
    /// cached, instead of reading them all again when the batch is sealed.
    #[must_use]
    pub fn summing(self) -> Self {
        Self { records: self.records.summing(), ..self }
    }

    /// Encodes a record at the end of the batch, if it has room. An empty batch takes any record.
    ///
    /// # Panics
    ///
    /// When the record exceeds 2 GiB, or the batch 2³¹ records: limits are to be far below that.
    pub fn try_append(&mut self, timestamp: i64, content: &Content<'_>) -> Appended {
        let size = HEADER_SIZE + self.records.size() + content.size_bound();
        let full = size > self.limits.bytes_max || self.count >= self.limits.records_max;
        if full && self.count > 0 {
            return Appended::Full;
        }
        let index = self.count;
        if index == 0 {
            self.base_timestamp = timestamp;
        }
        // A delta that 64 bits cannot hold takes timestamps that no clock shows; it saturates.
        let delta = timestamp.saturating_sub(self.base_timestamp);
        let offset_delta = i32::try_from(index).expect("records_max is far below 2^31");
        content.encode(delta, offset_delta, &mut self.records);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        Appended::Index(index)
    }

    /// Whether the next record of the usual size will not fit.
    pub fn is_full(&self) -> bool {
        self.count >= self.limits.records_max || self.size() >= self.limits.bytes_max
    }

    /// Records taken.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the batch so far, uncompressed, with its header.
    pub fn size(&self) -> usize {
        HEADER_SIZE + self.records.size()
    }

    /// Bytes that it still takes; zero when it is full.
    pub fn room(&self) -> usize {
        match self.is_full() {
            true => 0,
            false => self.limits.bytes_max - self.size(),
        }
    }

    /// Compresses the records, once and for all. What does not shrink stays as it is.
    ///
    /// # Panics
    ///
    /// On an empty batch, which Kafka has no form for.
    pub fn seal(self, compressor: &mut Compressor) -> SealedBatch {
        assert!(self.count > 0, "an empty batch cannot be sealed");
        let uncompressed_size = self.records.size();
        let (records, sum) = self.records.finish();
        let (codec, body, body_crc) = match compressor.compress_pieces(records.pieces()) {
            Some(compressed) => {
                let crc = crc32c::crc32c(&compressed);
                (compressor.codec(), compressed.into(), crc)
            }
            None => {
                let crc = sum.unwrap_or_else(|| records.crc());
                (Codec::None, records, crc)
            }
        };
        SealedBatch {
            body,
            body_crc,
            codec,
            count: self.count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            uncompressed_size,
        }
    }
}

/// A batch whose records no longer change.
#[derive(Debug, Clone)]
pub struct SealedBatch {
    /// The records, compressed by `codec`.
    body: Body,
    /// CRC-32C of `body`.
    body_crc: u32,
    codec: Codec,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    uncompressed_size: usize,
}

/// Who sends a batch, and as which of the partition's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// Given by InitProducerId, or −1.
    pub producer_id: i64,
    /// Given with it, or −1.
    pub epoch: i16,
    /// Sequence number of the first record, or −1.
    pub base_sequence: i32,
}

impl ProducerStamp {
    /// The stamp of a producer that is not idempotent.
    pub const NONE: Self = Self { producer_id: -1, epoch: -1, base_sequence: -1 };
}

impl SealedBatch {
    /// The bytes that stand in front of [`body`](Self::body) when it is sent with this stamp.
    ///
    /// # Panics
    ///
    /// When the batch exceeds 2 GiB: limits are to be far below that.
    pub fn header(&self, stamp: ProducerStamp) -> [u8; HEADER_SIZE] {
        let mut header = [0; HEADER_SIZE];
        let last_offset_delta = i32::try_from(self.count - 1).expect("far below 2^31");
        let mut covered = &mut header[CRC_FROM..];
        covered.put_i16(self.codec as i16);
        covered.put_i32(last_offset_delta);
        covered.put_i64(self.base_timestamp);
        covered.put_i64(self.max_timestamp);
        covered.put_i64(stamp.producer_id);
        covered.put_i16(stamp.epoch);
        covered.put_i32(stamp.base_sequence);
        covered.put_i32(last_offset_delta + 1);
        let crc = crc32c::crc32c(&header[CRC_FROM..]);
        let crc = checksum::combine(crc, self.body_crc, self.body.size());

        let length = HEADER_SIZE - LENGTH_FROM + self.body.size();
        let mut front = &mut header[..CRC_FROM];
        front.put_i64(0);
        front.put_i32(i32::try_from(length).expect("batches are bounded far below 2 GiB"));
        front.put_i32(-1);
        front.put_i8(MAGIC);
        front.put_u32(crc);
        header
    }

    /// The records again, as two batches of half as many: for a broker that takes no larger ones.
    ///
    /// # Panics
    ///
    /// Unless there are two records or more.
    pub fn split(&self) -> [BatchBuilder; 2] {
        assert!(self.count > 1, "a record cannot be split");
        let whole = self.to_bytes(ProducerStamp::NONE);
        let batch = BatchReader::new(whole, self.uncompressed_size).next_batch();
        let records = batch.ok().flatten().expect("it was sealed here").records;
        let limits = BatchLimits { bytes_max: usize::MAX, records_max: u32::MAX };
        let mut halves = [BatchBuilder::new(limits), BatchBuilder::new(limits)];
        let middle = records.len() / 2;
        for (index, record) in records.iter().enumerate() {
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(key, value)| Header { key, value: value.as_deref() })
                .collect();
            let content = Content {
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            };
            halves[usize::from(index >= middle)].try_append(record.timestamp, &content);
        }
        halves
    }

    /// The records as they go to the broker, in pieces.
    pub fn body(&self) -> &[Bytes] {
        self.body.pieces()
    }

    /// The whole batch in one piece, which is a copy: as it is sent with this stamp.
    pub fn to_bytes(&self, stamp: ProducerStamp) -> Bytes {
        let mut whole = Vec::with_capacity(self.size());
        whole.extend_from_slice(&self.header(stamp));
        self.body().iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.into()
    }

    /// Bytes of the whole batch as the broker counts them.
    pub const fn size(&self) -> usize {
        HEADER_SIZE + self.body.size()
    }

    /// Records in the batch, at least one.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The codec in use: none, if compressing did not make the records smaller.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes of the records before compression.
    pub const fn uncompressed_size(&self) -> usize {
        self.uncompressed_size
    }
}

/// Reads the batches of a Fetch response, in order, with every check that a consumer owes.
///
/// The last batch of a response may be cut off; that ends the reading without an error, as the
/// protocol wants it.
#[derive(Debug)]
pub struct BatchReader {
    batches: Bytes,
    /// Bytes that one batch may inflate to.
    inflated_max: usize,
}

/// A batch read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedBatch {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record: the next fetch starts behind it.
    pub last_offset: i64,
    /// Its codec.
    pub codec: Codec,
    /// Who sent it.
    pub stamp: ProducerStamp,
    /// Whether it holds transaction markers instead of records.
    pub is_control: bool,
    /// Its records; none for a control batch.
    pub records: Vec<ConsumedRecord>,
}

/// A batch that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Its layout is broken.
    #[error("record batch at offset {offset}: {cause}")]
    Malformed {
        /// The base offset that it claims.
        offset: i64,
        /// Where its layout breaks.
        cause: DecodeError,
    },
    /// It is of a version before 0.11, or none at all.
    #[error("record batch at offset {offset} has magic {magic}, only magic 2 is read")]
    Magic {
        /// The base offset that it claims.
        offset: i64,
        /// The magic byte.
        magic: i8,
    },
    /// It changed on its way.
    #[error("record batch at offset {offset} fails its CRC: {computed:08x} is not {stored:08x}")]
    Crc {
        /// The base offset that it claims.
        offset: i64,
        /// The checksum in its header.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// It does not inflate.
    #[error("record batch at offset {offset}: {cause}")]
    Compression {
        /// The base offset that it claims.
        offset: i64,
        /// What its codec says.
        cause: DecompressError,
    },
}

impl BatchReader {
    /// A reader over the `records` field of a response.
    pub const fn new(batches: Bytes, inflated_max: usize) -> Self {
        Self { batches, inflated_max }
    }

    /// The next batch; `None` at the end, or where the last batch is cut off.
    ///
    /// # Errors
    ///
    /// `BatchError` when a batch is not what a broker stores. There is no next batch after that.
    pub fn next_batch(&mut self) -> Result<Option<ConsumedBatch>, BatchError> {
        let Some((offset, size)) = self.peek_size()? else {
            return Ok(None);
        };
        if size > self.batches.len() {
            self.batches.clear();
            return Ok(None);
        }
        let batch = self.batches.split_to(size);
        self.read(&batch, offset).inspect_err(|_| self.batches.clear()).map(Some)
    }

    fn peek_size(&self) -> Result<Option<(i64, usize)>, BatchError> {
        let mut reader = Reader::new(&self.batches);
        let (Ok(offset), Ok(length)) = (reader.i64("base offset"), reader.i32("batch length"))
        else {
            return Ok(None);
        };
        let size = usize::try_from(length).ok().map(|length| length + LENGTH_FROM);
        match size.filter(|size| *size >= HEADER_SIZE) {
            Some(size) => Ok(Some((offset, size))),
            None => Err(BatchError::Malformed { offset, cause: reader.malformed("batch length") }),
        }
    }

    fn read(&self, batch: &Bytes, offset: i64) -> Result<ConsumedBatch, BatchError> {
        let malformed = |cause| BatchError::Malformed { offset, cause };
        let mut reader = Reader::new(batch);
        let header = BatchHeader::decode(&mut reader).map_err(malformed)?;
        if header.magic != MAGIC {
            return Err(BatchError::Magic { offset, magic: header.magic });
        }
        let computed = crc32c::crc32c(&batch[CRC_FROM..]);
        if computed != header.crc {
            return Err(BatchError::Crc { offset, stored: header.crc, computed });
        }
        let codec = u8::try_from(header.attributes & CODEC_BITS).ok().and_then(Codec::from_bits);
        let codec = codec.ok_or_else(|| malformed(reader.malformed("codec")))?;
        let last_offset = offset
            .checked_add(i64::from(header.last_offset_delta))
            .ok_or_else(|| malformed(reader.malformed("last offset delta")))?;
        let is_control = header.attributes & 0x20 != 0;
        let records = if is_control {
            Vec::new()
        } else {
            let body = match codec {
                Codec::None => batch.slice(HEADER_SIZE..),
                _ => decompress(codec, &batch[HEADER_SIZE..], self.inflated_max)
                    .map_err(|cause| BatchError::Compression { offset, cause })?
                    .into(),
            };
            header.records(&body, offset).map_err(malformed)?
        };
        let base_offset = offset;
        Ok(ConsumedBatch {
            base_offset,
            last_offset,
            codec,
            stamp: header.stamp,
            is_control,
            records,
        })
    }
}

struct BatchHeader {
    magic: i8,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    stamp: ProducerStamp,
    count: i32,
}

impl BatchHeader {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take(LENGTH_FROM + 4, "batch header")?;
        Ok(Self {
            magic: reader.i8("magic")?,
            crc: reader.u32("crc")?,
            attributes: reader.i16("attributes")?,
            last_offset_delta: reader.i32("last offset delta")?,
            base_timestamp: reader.i64("base timestamp")?,
            max_timestamp: reader.i64("max timestamp")?,
            stamp: ProducerStamp {
                producer_id: reader.i64("producer id")?,
                epoch: reader.i16("producer epoch")?,
                base_sequence: reader.i32("base sequence")?,
            },
            count: reader.i32("record count")?,
        })
    }

    fn records(&self, body: &Bytes, offset: i64) -> Result<Vec<ConsumedRecord>, DecodeError> {
        let mut reader = Reader::new(body);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        // A record takes fifteen times the memory of the smallest one's bytes: room is made for no
        // more than there can be.
        if count > reader.remaining() / record::SIZE_MIN {
            return Err(reader.malformed("record count"));
        }
        let base = Base { offset, timestamp: self.base_timestamp };
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            let mut record = ConsumedRecord::decode(&mut reader, body, base)?;
            if self.attributes & 0x08 != 0 {
                // The broker's append time counts for every record of the batch.
                record.timestamp = self.max_timestamp;
            }
            records.push(record);
        }
        reader.finish("end of records")?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::Header;
    use kafka_protocol::records::RecordBatchDecoder;
    use proptest::prelude::*;

    const LIMITS: BatchLimits = BatchLimits { bytes_max: 1 << 20, records_max: 10_000 };
    const STAMP: ProducerStamp = ProducerStamp { producer_id: 7, epoch: 3, base_sequence: 41 };

    #[derive(Debug, Clone)]
    struct Sample {
        timestamp: i64,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Option<Vec<u8>>)>,
    }

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let headers = proptest::collection::vec(("[a-c]{0,2}", bytes()), 0..4);
        (-1_000_000..1_000_000_i64, bytes(), bytes(), headers)
            .prop_map(|(timestamp, key, value, headers)| Sample { timestamp, key, value, headers })
    }

    fn encode(samples: &[Sample], codec: Codec, stamp: ProducerStamp) -> Bytes {
        let mut builder = BatchBuilder::new(LIMITS);
        for (index, sample) in samples.iter().enumerate() {
            let headers: Vec<_> = sample
                .headers
                .iter()
                .map(|(key, value)| Header { key, value: value.as_deref() })
                .collect();
            let content = Content {
                key: sample.key.as_deref(),
                value: sample.value.as_deref(),
                headers: &headers,
            };
            let before = builder.size();
            let index = u32::try_from(index).unwrap();
            assert_eq!(builder.try_append(sample.timestamp, &content), Appended::Index(index));
            assert!(builder.size() - before <= content.size_bound());
        }
        builder.seal(&mut Compressor::new(codec.into())).to_bytes(stamp)
    }

    fn read_one(bytes: &Bytes) -> Result<ConsumedBatch, BatchError> {
        BatchReader::new(bytes.clone(), 1 << 20).next_batch().map(Option::unwrap)
    }

    fn owned(bytes: Option<&Bytes>) -> Option<Vec<u8>> {
        bytes.map(|bytes| bytes.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn records_round_trip_with_every_codec(
            samples in proptest::collection::vec(sample(), 1..30),
            codec in proptest::sample::select(&Codec::ALL[..]),
        ) {
            let batch = read_one(&encode(&samples, codec, STAMP)).unwrap();
            prop_assert_eq!(batch.stamp, STAMP);
            prop_assert_eq!(batch.records.len(), samples.len());
            for (index, (record, sample)) in batch.records.iter().zip(&samples).enumerate() {
                prop_assert_eq!(record.offset, i64::try_from(index).unwrap());
                prop_assert_eq!(record.timestamp, sample.timestamp);
                prop_assert_eq!(&owned(record.key.as_ref()), &sample.key);
                prop_assert_eq!(&owned(record.value.as_ref()), &sample.value);
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|(key, value)| (key.clone(), owned(value.as_ref())))
                    .collect();
                prop_assert_eq!(&headers, &sample.headers);
            }
        }

        /// The same bytes, read by a decoder that is not ours. Its headers are a map, so samples
        /// with a header name twice are left to the other test.
        #[test]
        fn an_independent_decoder_reads_what_we_write(
            samples in proptest::collection::vec(sample(), 1..30),
            codec in proptest::sample::select(&Codec::ALL[..]),
        ) {
            let mut bytes = encode(&samples, codec, STAMP);
            let decoded = RecordBatchDecoder::decode_with_custom_compression(
                &mut bytes,
                Some(|compressed: &mut Bytes, codec| {
                    let codec = Codec::from_bits(codec as u8).unwrap();
                    Ok(Bytes::from(decompress(codec, compressed, 1 << 20).unwrap()))
                }),
            )
            .unwrap();
            prop_assert_eq!(decoded.records.len(), samples.len());
            for (index, (record, sample)) in decoded.records.iter().zip(&samples).enumerate() {
                let index = i32::try_from(index).unwrap();
                prop_assert_eq!(record.producer_id, STAMP.producer_id);
                prop_assert_eq!(record.producer_epoch, STAMP.epoch);
                prop_assert_eq!(record.sequence, STAMP.base_sequence + index);
                prop_assert_eq!(record.timestamp, sample.timestamp);
                prop_assert_eq!(&owned(record.key.as_ref()), &sample.key);
                prop_assert_eq!(&owned(record.value.as_ref()), &sample.value);
                for (key, value) in record.headers.iter() {
                    let last = sample.headers.iter().rfind(|header| header.0 == key.as_str());
                    prop_assert_eq!(owned(value.as_ref()), last.unwrap().1.clone());
                }
            }
        }

        #[test]
        fn a_flipped_bit_under_the_checksum_is_noticed(
            samples in proptest::collection::vec(sample(), 1..5),
            at: proptest::sample::Index,
            bit in 0_u8..8,
        ) {
            let mut bytes = encode(&samples, Codec::None, STAMP).to_vec();
            let at = CRC_FROM + at.index(bytes.len() - CRC_FROM);
            bytes[at] ^= 1 << bit;
            let is_crc = matches!(read_one(&bytes.into()), Err(BatchError::Crc { .. }));
            prop_assert!(is_crc);
        }

        #[test]
        fn noise_behind_a_valid_checksum_is_an_error_and_never_a_panic(
            noise in proptest::collection::vec(any::<u8>(), CRC_FROM + 40..300),
            attributes in 0_u8..64,
        ) {
            let mut bytes = noise;
            let length = u32::try_from(bytes.len() - LENGTH_FROM).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[22] = attributes;
            let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            drop(read_one(&bytes.into()));
        }
    }

    #[test]
    fn room_is_made_for_no_more_records_than_what_inflates_can_hold() {
        let zeros = Compressor::new(Codec::Gzip.into()).compress(&[0; 70_000]).unwrap();
        let with_count = |count: i32| {
            let mut bytes = [&[0; HEADER_SIZE][..], &zeros].concat();
            let length = i32::try_from(bytes.len() - LENGTH_FROM).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[22] = 1;
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            match read_one(&bytes.into()) {
                Err(BatchError::Malformed { cause, .. }) => cause.what,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(with_count(10_001), "record count");
        assert_eq!(with_count(i32::MAX), "record count");
        assert_eq!(with_count(10_000), "record attributes", "the first one is empty");
    }

    #[test]
    fn another_stamp_changes_nothing_but_the_stamp_and_the_checksum() {
        let mut builder = BatchBuilder::new(LIMITS);
        builder.try_append(5, &Content { value: Some(b"v"), ..Content::default() });
        let sealed = builder.seal(&mut Compressor::new(Codec::None.into()));
        let (first, again) = (sealed.header(STAMP), sealed.header(STAMP));
        assert_eq!(first, again);
        let renumbered = ProducerStamp { epoch: 4, base_sequence: 0, ..STAMP };
        let mut other = sealed.header(renumbered);
        assert_eq!(read_one(&sealed.to_bytes(renumbered)).unwrap().stamp, renumbered);
        other[17..21].copy_from_slice(&first[17..21]);
        other[51..57].copy_from_slice(&first[51..57]);
        assert_eq!(first, other);
    }

    #[test]
    fn a_batch_is_full_by_bytes_or_by_records_but_an_empty_one_takes_any_record() {
        let large = vec![b'x'; 5000];
        let content = Content { value: Some(&large), ..Content::default() };
        let mut builder = BatchBuilder::new(BatchLimits { bytes_max: 1000, records_max: 100 });
        assert_eq!(builder.try_append(0, &content), Appended::Index(0));
        assert!(builder.is_full());
        assert_eq!(builder.try_append(0, &Content::default()), Appended::Full);

        let mut builder = BatchBuilder::new(BatchLimits { bytes_max: 1000, records_max: 2 });
        assert_eq!(builder.try_append(0, &Content::default()), Appended::Index(0));
        assert_eq!(builder.try_append(0, &Content::default()), Appended::Index(1));
        assert_eq!(builder.try_append(0, &Content::default()), Appended::Full);
    }

    #[test]
    fn the_last_batch_of_a_response_may_be_cut_off_anywhere() {
        let sample = |text: &str| Sample {
            timestamp: 0,
            key: None,
            value: Some(text.into()),
            headers: Vec::new(),
        };
        let whole = encode(&[sample("first")], Codec::None, STAMP);
        let second = encode(&[sample("second")], Codec::Zstd, STAMP);
        for cut in 0..second.len() {
            let bytes = [&whole[..], &second[..cut]].concat();
            let mut reader = BatchReader::new(bytes.into(), 1 << 20);
            assert_eq!(reader.next_batch().unwrap().unwrap().records.len(), 1);
            assert_eq!(reader.next_batch(), Ok(None), "cut at {cut}");
        }
    }
}
