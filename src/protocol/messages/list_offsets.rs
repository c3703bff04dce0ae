//! ListOffsets: where a partition's log starts and ends, to read a topic back.
//!
//! | version | change |
//! |---|---|
//! | 1 | one offset and its timestamp for each partition |
//! | 2 | isolation level (always read-uncommitted here), throttle time |
//! | 3 | the client, not the broker, waits out a throttle |
//! | 4 | leader epochs (KIP-320), never sent here |
//! | 5 | error OFFSET_NOT_AVAILABLE |
//! | 6 | flexible |
//! | 7 | the offset of the newest timestamp may be asked for (KIP-734), never done here |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_ListOffsets>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse as TheirResponse};
use kafka_protocol::protocol::StrBytes;
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 1..=7;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 6;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(2, Layout::Fixed(4)), // throttle time
        Field::since(
            1,
            Layout::Array(&[
                Field::since(1, Layout::Text), // topic
                Field::since(1, Layout::Array(PARTITION)),
            ]),
        ),
    ],
};

const PARTITION: &[Field] = &[
    Field::since(1, Layout::Fixed(4)), // index
    Field::since(1, Layout::Fixed(2)), // error
    Field::since(1, Layout::Fixed(8)), // timestamp
    Field::since(1, Layout::Fixed(8)), // offset
    Field::since(4, Layout::Fixed(4)), // leader epoch
];

/// The end of the log that is asked for, as the request's timestamp names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum LogEnd {
    /// Offset of the oldest record that is still there.
    Earliest = -2,
    /// Offset that the next record will get.
    Latest = -1,
}

/// Asks for one end of the log of some partitions of a topic. Each is to be led by the broker asked.
pub(crate) fn request(
    header: RequestHeader<'_>,
    topic: &str,
    partitions: &[i32],
    end: LogEnd,
) -> Vec<Bytes> {
    let partition = |index: &i32| {
        ListOffsetsPartition::default().with_partition_index(*index).with_timestamp(end as i64)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(StrBytes::from_string(topic.to_owned()).into())
        .with_partitions(partitions.iter().map(partition).collect());
    // Replica −1 is a consumer.
    let request =
        ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    encode_control(header, &request)
}

/// The offsets asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListOffsetsResponse {
    /// How long the client shall send nothing more to this broker.
    pub(crate) throttle_ms: i32,
    /// The partitions asked for, in any order.
    pub(crate) partitions: Vec<PartitionOffset>,
}

/// The offset of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionOffset {
    /// Partition index.
    pub(crate) partition: i32,
    /// Why there is no offset, or none.
    pub(crate) error: ErrorCode,
    /// The offset, or −1.
    pub(crate) offset: i64,
}

impl ListOffsetsResponse {
    /// Decodes the body of a response to a request about one topic.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        let partitions = theirs.topics.iter().flat_map(|topic| &topic.partitions);
        let partitions = partitions.map(PartitionOffset::read).collect();
        Ok(Self { throttle_ms: theirs.throttle_time_ms, partitions })
    }
}

impl PartitionOffset {
    const fn read(theirs: &ListOffsetsPartitionResponse) -> Self {
        Self {
            partition: theirs.partition_index,
            error: ErrorCode(theirs.error_code),
            offset: theirs.offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;
    use kafka_protocol::messages::list_offsets_response::ListOffsetsTopicResponse;

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        for version in VERSIONS {
            for (end, timestamp) in [(LogEnd::Earliest, -2), (LogEnd::Latest, -1)] {
                let header = oracle::header(ApiKey::ListOffsets, version);
                let pieces = request(header, "traces", &[0, 7], end);
                let theirs: ListOffsetsRequest = oracle::read_request(header, &pieces);
                assert_eq!((theirs.replica_id.0, theirs.isolation_level), (-1, 0));
                let [topic] = &theirs.topics[..] else { panic!("one topic") };
                assert_eq!(topic.name.as_str(), "traces");
                let asked = topic.partitions.iter();
                let asked: Vec<_> = asked.map(|p| (p.partition_index, p.timestamp)).collect();
                assert_eq!(asked, [(0, timestamp), (7, timestamp)]);
                assert!(topic.partitions.iter().all(|p| p.current_leader_epoch == -1));
            }
        }
    }

    fn their_response(version: i16) -> TheirResponse {
        let partition = |index: i32, error, offset| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_timestamp(1_700_000_000_000)
                .with_offset(offset)
                .with_leader_epoch(if version >= 4 { 12 } else { -1 })
                .with_unknown_tagged_fields(oracle::tags())
        };
        let topic = ListOffsetsTopicResponse::default()
            .with_name(oracle::name("traces").into())
            .with_partitions(vec![partition(7, 0, 1 << 40), partition(0, 6, -1)])
            .with_unknown_tagged_fields(oracle::tags());
        TheirResponse::default()
            .with_throttle_time_ms(3)
            .with_topics(vec![topic])
            .with_unknown_tagged_fields(oracle::tags())
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            let ours = ListOffsetsResponse::decode(version, &body).unwrap();
            assert_eq!(ours.throttle_ms, if version >= 2 { 3 } else { 0 });
            let error = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            let expected = [
                PartitionOffset { partition: 7, error: ErrorCode::NONE, offset: 1 << 40 },
                PartitionOffset { partition: 0, error, offset: -1 },
            ];
            assert_eq!(ours.partitions, expected);
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| ListOffsetsResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version), version), decode);
            let topics_at = if version >= 2 { 4 } else { 0 };
            decode(&oracle::huge_count(topics_at, version >= FLEXIBLE_FROM)).unwrap_err();
        }
        oracle::survive_noise(VERSIONS, ListOffsetsResponse::decode);
    }
}
