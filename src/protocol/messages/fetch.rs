//! Fetch: batches read back, as stored.
//!
//! One topic at a time and without sessions, which is what reading a topic back needs. The batches
//! are read by [`BatchReader`](crate::protocol::record_batch::BatchReader).
//!
//! | version | change |
//! |---|---|
//! | 4 | RecordBatch v2, isolation level (always read-uncommitted here), aborted transactions |
//! | 5 | log start offset |
//! | 6 | error KAFKA_STORAGE_ERROR |
//! | 7 | sessions (KIP-227), an error of the whole request |
//! | 8 | the client, not the broker, waits out a throttle |
//! | 9 | leader epoch in the request (KIP-320), never sent here |
//! | 10 | zstd (KIP-110) |
//! | 11 | rack of the client, a replica nearer to it (KIP-392) |
//! | 12 | flexible; diverging epochs and leaders (KIP-595) |
//! | 13 | topics by id instead of name (KIP-516) |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_Fetch>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest as TheirRequest, FetchResponse as TheirResponse};
use kafka_protocol::protocol::StrBytes;
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 4..=13;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 12;

/// First version that names topics by id.
pub(crate) const TOPIC_IDS_FROM: i16 = 13;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(4, Layout::Fixed(4)), // throttle time
        Field::since(7, Layout::Fixed(2)), // error
        Field::since(7, Layout::Fixed(4)), // session
        Field::since(
            4,
            Layout::Array(&[
                Field::within(4, 12, Layout::Text),  // topic name
                Field::since(13, Layout::Fixed(16)), // topic id
                Field::since(4, Layout::Array(PARTITION)),
            ]),
        ),
    ],
};

const PARTITION: &[Field] = &[
    Field::since(4, Layout::Fixed(4)),                      // index
    Field::since(4, Layout::Fixed(2)),                      // error
    Field::since(4, Layout::Fixed(8)),                      // high watermark
    Field::since(4, Layout::Fixed(8)),                      // last stable offset
    Field::since(5, Layout::Fixed(8)),                      // log start offset
    Field::tagged(12, 0, Layout::Struct(&[EPOCH, OFFSET])), // diverging epoch
    Field::tagged(12, 1, Layout::Struct(&[NODE, EPOCH])),   // current leader
    Field::tagged(12, 2, Layout::Struct(&[OFFSET, EPOCH])), // snapshot
    Field::since(
        4,
        Layout::Array(&[
            Field::since(4, Layout::Fixed(8)), // producer id of an aborted transaction
            Field::since(4, Layout::Fixed(8)), // its first offset
        ]),
    ),
    Field::since(11, Layout::Fixed(4)), // preferred replica
    Field::since(4, Layout::Bytes),     // records
];

const NODE: Field = Field::since(12, Layout::Fixed(4));
const EPOCH: Field = Field::since(12, Layout::Fixed(4));
const OFFSET: Field = Field::since(12, Layout::Fixed(8));

/// One request to the leader of some partitions of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchRequest<'a> {
    /// The topic in versions below [`TOPIC_IDS_FROM`].
    pub(crate) topic: &'a str,
    /// The topic from there on: to be known, so not zero.
    pub(crate) topic_id: [u8; 16],
    /// Partition indices, each with the offset to read from.
    pub(crate) partitions: &'a [(i32, i64)],
    /// Bytes that the broker waits for, at most for `max_wait_ms`.
    pub(crate) min_bytes: i32,
    /// Bytes of batches wanted, of each partition and in all. A first batch that is larger comes
    /// whole, a last one may come cut off.
    pub(crate) max_bytes: i32,
    /// How long the broker waits for `min_bytes`.
    pub(crate) max_wait_ms: i32,
}

impl FetchRequest<'_> {
    /// The request's frame.
    pub(crate) fn encode(&self, header: RequestHeader<'_>) -> Vec<Bytes> {
        // Session 0 with epoch −1 keeps the broker from opening one; replica −1 is a consumer.
        let request = TheirRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(self.max_wait_ms)
            .with_min_bytes(self.min_bytes)
            .with_max_bytes(self.max_bytes)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![self.topic()]);
        encode_control(header, &request)
    }

    /// The topic by name and by id: each version sends the one that it has.
    fn topic(&self) -> FetchTopic {
        let id = self.topic_id.to_vec().try_into();
        let partition = |(index, offset): &(i32, i64)| {
            FetchPartition::default()
                .with_partition(*index)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(self.max_bytes)
        };
        FetchTopic::default()
            .with_topic(StrBytes::from_string(self.topic.to_owned()).into())
            .with_topic_id(id.expect("a UUID is made of sixteen bytes"))
            .with_partitions(self.partitions.iter().map(partition).collect())
    }
}

/// The batches of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchResponse {
    /// How long the client shall send nothing more to this broker.
    pub(crate) throttle_ms: i32,
    /// What is wrong with the whole, from version 7 on.
    pub(crate) error: ErrorCode,
    /// The partitions asked for, in any order.
    pub(crate) partitions: Vec<FetchedPartition>,
}

/// The batches of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedPartition {
    /// Partition index.
    pub(crate) partition: i32,
    /// Why nothing was read, or none.
    pub(crate) error: ErrorCode,
    /// Offset behind the last record that consumers may see, or −1.
    pub(crate) high_watermark: i64,
    /// Offset at which the log starts, or −1; always −1 below version 5.
    pub(crate) log_start_offset: i64,
    /// Batches, the last perhaps cut off: a view of the response's own bytes.
    pub(crate) records: Bytes,
}

impl FetchResponse {
    /// Decodes the body of a response to a request about one topic.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        let partitions = theirs.responses.into_iter().flat_map(|topic| topic.partitions);
        Ok(Self {
            throttle_ms: theirs.throttle_time_ms,
            error: ErrorCode(theirs.error_code),
            partitions: partitions.map(FetchedPartition::read).collect(),
        })
    }
}

impl FetchedPartition {
    fn read(theirs: PartitionData) -> Self {
        Self {
            partition: theirs.partition_index,
            error: ErrorCode(theirs.error_code),
            high_watermark: theirs.high_watermark,
            log_start_offset: theirs.log_start_offset,
            records: theirs.records.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, SnapshotId,
    };

    const ID: [u8; 16] = [7; 16];
    const RECORDS: &[u8] = b"batches as they are stored";

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        let ours = FetchRequest {
            topic: "traces",
            topic_id: ID,
            partitions: &[(0, 5), (7, 1 << 40)],
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_wait_ms: 500,
        };
        for version in VERSIONS {
            let header = oracle::header(ApiKey::Fetch, version);
            let theirs: TheirRequest = oracle::read_request(header, &ours.encode(header));
            assert_eq!((theirs.replica_id.0, theirs.isolation_level), (-1, 0));
            let limits = (theirs.min_bytes, theirs.max_bytes, theirs.max_wait_ms);
            assert_eq!(limits, (1, 1 << 20, 500));
            assert_eq!((theirs.session_id, theirs.session_epoch), (0, -1));
            let [topic] = &theirs.topics[..] else { panic!("one topic") };
            let by_id = version >= TOPIC_IDS_FROM;
            assert_eq!(topic.topic.as_str(), if by_id { "" } else { "traces" });
            assert_eq!(topic.topic_id.into_bytes(), if by_id { ID } else { [0; 16] });
            let asked = topic.partitions.iter();
            let asked: Vec<_> = asked.map(|p| (p.partition, p.fetch_offset)).collect();
            assert_eq!(asked, ours.partitions);
            for partition in &topic.partitions {
                assert_eq!(partition.partition_max_bytes, 1 << 20);
                assert_eq!((partition.current_leader_epoch, partition.log_start_offset), (-1, -1));
            }
        }
    }

    fn with_tagged_fields(theirs: PartitionData) -> PartitionData {
        let diverging = EpochEndOffset::default().with_epoch(3).with_end_offset(40);
        let leader = LeaderIdAndEpoch::default().with_leader_id(2.into()).with_leader_epoch(8);
        let snapshot = SnapshotId::default().with_end_offset(30).with_epoch(3);
        theirs
            .with_diverging_epoch(diverging.with_unknown_tagged_fields(oracle::tags()))
            .with_current_leader(leader.with_unknown_tagged_fields(oracle::tags()))
            .with_snapshot_id(snapshot.with_unknown_tagged_fields(oracle::tags()))
    }

    fn their_partition(version: i16, index: i32, records: Option<&'static [u8]>) -> PartitionData {
        let aborted = AbortedTransaction::default()
            .with_producer_id(9.into())
            .with_first_offset(41)
            .with_unknown_tagged_fields(oracle::tags());
        let theirs = PartitionData::default()
            .with_partition_index(index)
            .with_error_code(1)
            .with_high_watermark(50)
            .with_last_stable_offset(49)
            .with_log_start_offset(17)
            .with_aborted_transactions(records.map(|_| vec![aborted.clone(), aborted]))
            .with_preferred_read_replica(if version >= 11 { 2 } else { -1 }.into())
            .with_records(records.map(Bytes::from_static))
            .with_unknown_tagged_fields(oracle::tags());
        if version >= FLEXIBLE_FROM { with_tagged_fields(theirs) } else { theirs }
    }

    fn their_response(version: i16) -> TheirResponse {
        let topic = FetchableTopicResponse::default()
            .with_topic(oracle::name("traces").into())
            .with_topic_id(ID.to_vec().try_into().unwrap())
            .with_partitions(vec![
                their_partition(version, 7, Some(RECORDS)),
                their_partition(version, 0, None),
            ])
            .with_unknown_tagged_fields(oracle::tags());
        TheirResponse::default()
            .with_throttle_time_ms(3)
            .with_error_code(if version >= 7 { 70 } else { 0 })
            .with_session_id(if version >= 7 { 6 } else { 0 })
            .with_responses(vec![topic])
            .with_unknown_tagged_fields(oracle::tags())
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            let ours = FetchResponse::decode(version, &body).unwrap();
            let partition = |partition, records| FetchedPartition {
                partition,
                error: ErrorCode::OFFSET_OUT_OF_RANGE,
                high_watermark: 50,
                log_start_offset: if version >= 5 { 17 } else { -1 },
                records: Bytes::from_static(records),
            };
            let expected = FetchResponse {
                throttle_ms: 3,
                error: ErrorCode(if version >= 7 { 70 } else { 0 }),
                partitions: vec![partition(7, RECORDS), partition(0, b"")],
            };
            assert_eq!(ours, expected, "v{version}");
        }
    }

    #[test]
    fn records_are_a_view_of_the_response() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            let ours = FetchResponse::decode(version, &body).unwrap();
            assert!(body.as_ptr_range().contains(&ours.partitions[0].records.as_ptr()));
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| FetchResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version), version), decode);
            let topics_at = if version >= 7 { 10 } else { 4 };
            decode(&oracle::huge_count(topics_at, version >= FLEXIBLE_FROM)).unwrap_err();
        }
        oracle::survive_noise(VERSIONS, FetchResponse::decode);
    }
}
