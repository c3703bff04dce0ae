//! Produce: batches to the leaders of their partitions, and what became of each.
//!
//! The hot path, so it is encoded and decoded here: batches go out from where they lie, and a
//! response costs one allocation for its partitions and one for each topic's name. What a result
//! means for a batch is decided in `producer::verdict`.
//!
//! | version | change |
//! |---|---|
//! | 3 | RecordBatch v2, transactional id (always null here) |
//! | 4 | error KAFKA_STORAGE_ERROR |
//! | 5 | log start offset in the response |
//! | 6 | the client, not the broker, waits out a throttle (KIP-219) |
//! | 7 | zstd (KIP-110); Redpanda ends here |
//! | 8 | errors of single records, and an error message (KIP-467) |
//! | 9 | flexible |
//! | 10 | the new leader beside an error of leadership (KIP-951) |
//! | 11 | error TRANSACTION_ABORTABLE |
//! | 12 | partitions join a transaction by being produced to (KIP-890) |
//! | 13 | topics by id instead of name (KIP-516) |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_Produce>.

use super::{RequestFrame, RequestHeader};
use crate::protocol::ErrorCode;
use crate::protocol::record_batch::HEADER_SIZE;
use crate::protocol::text::{WORDS_MAX, printable};
use crate::protocol::wire::{DecodeError, Reader, Writer};
use bytes::{BufMut, Bytes};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 3..=13;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 9;

/// First version that names topics by id.
pub(crate) const TOPIC_IDS_FROM: i16 = 13;

/// First version whose brokers know zstd (KIP-110).
pub(crate) const ZSTD_FROM: i16 = 7;

const LOG_START_OFFSET_FROM: i16 = 5;
const RECORD_ERRORS_FROM: i16 = 8;
const LEADER_HINTS_FROM: i16 = 10;

/// Bytes of the smallest partition result of any version.
const PARTITION_RESULT_SIZE_MIN: usize = 22;

/// One request to one leader.
#[derive(Debug)]
pub(crate) struct ProduceRequest<'a> {
    /// Replicas that must have the batches before the answer: 0, 1, or −1 for all in sync. There is
    /// no answer to 0.
    pub(crate) acks: i16,
    /// How long the broker may wait for those replicas.
    pub(crate) timeout_ms: i32,
    /// The batches by topic.
    pub(crate) topics: &'a [TopicBatches<'a>],
}

/// The batches of one topic.
#[derive(Debug)]
pub(crate) struct TopicBatches<'a> {
    /// The topic in versions below [`TOPIC_IDS_FROM`].
    pub(crate) name: &'a str,
    /// The topic from there on: to be known, so not zero.
    pub(crate) id: [u8; 16],
    /// At most one batch of each partition: Kafka takes no more.
    pub(crate) partitions: Vec<PartitionBatch<'a>>,
}

/// One batch, stamped.
#[derive(Debug)]
pub(crate) struct PartitionBatch<'a> {
    /// Partition index.
    pub(crate) partition: i32,
    /// The batch up to its records.
    pub(crate) header: [u8; HEADER_SIZE],
    /// The records, in pieces.
    pub(crate) body: &'a [Bytes],
}

impl ProduceRequest<'_> {
    /// The request's frame. Bodies are part of it as they are, without a copy.
    pub(crate) fn encode(&self, header: RequestHeader<'_>) -> Vec<Bytes> {
        let layout = Layout::of(header.version);
        let mut frame = RequestFrame::new(header);
        frame.expect_inserts(self.piece_count());
        let body = frame.body_mut();
        body.reserve(self.size_bound());
        body.put_text(layout.flexible, None);
        body.put_i16(self.acks);
        body.put_i32(self.timeout_ms);
        body.put_count(layout.flexible, self.topics.len());
        for topic in self.topics {
            topic.encode(layout, &mut frame);
        }
        frame.body_mut().put_no_tags(layout.flexible);
        frame.finish()
    }

    fn piece_count(&self) -> usize {
        let batches = self.topics.iter().flat_map(|topic| &topic.partitions);
        batches.map(|batch| batch.body.len()).sum()
    }

    /// At least the bytes that are written beside the bodies.
    fn size_bound(&self) -> usize {
        // index, length, batch header and tags of a partition
        let partition = 4 + 5 + HEADER_SIZE + 1;
        let topic = |topic: &TopicBatches<'_>| {
            topic.name.len() + topic.id.len() + 8 + topic.partitions.len() * partition
        };
        16 + self.topics.iter().map(topic).sum::<usize>()
    }
}

impl TopicBatches<'_> {
    fn encode(&self, layout: Layout, frame: &mut RequestFrame) {
        let body = frame.body_mut();
        if layout.version >= TOPIC_IDS_FROM {
            body.put_slice(&self.id);
        } else {
            body.put_text(layout.flexible, Some(self.name));
        }
        body.put_count(layout.flexible, self.partitions.len());
        for batch in &self.partitions {
            let body = frame.body_mut();
            body.put_i32(batch.partition);
            // The length of a byte field is laid out like the count of an array.
            let size: usize = batch.body.iter().map(Bytes::len).sum();
            body.put_count(layout.flexible, HEADER_SIZE + size);
            body.put_slice(&batch.header);
            batch.body.iter().for_each(|piece| frame.insert(piece.clone()));
            frame.body_mut().put_no_tags(layout.flexible);
        }
        frame.body_mut().put_no_tags(layout.flexible);
    }
}

/// What became of the batches of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProduceResponse {
    /// One result for each partition, as the broker ordered them. A partition may be missing, be
    /// none of the request's, or come twice: the peer is not to be trusted with that.
    pub(crate) partitions: Vec<PartitionResult>,
    /// How long the client shall send nothing more to this broker.
    pub(crate) throttle_ms: i32,
    /// Addresses of the leaders that results name.
    pub(crate) node_endpoints: Vec<NodeEndpoint>,
}

/// What became of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionResult {
    /// The topic, as the request named it.
    pub(crate) topic: TopicRef,
    /// Partition index.
    pub(crate) partition: i32,
    /// Why the batch was not accepted, or none.
    pub(crate) error: ErrorCode,
    /// Offset of the batch's first record, or −1.
    pub(crate) base_offset: i64,
    /// The broker's time in milliseconds, where the topic takes that for its records; else −1.
    pub(crate) log_append_time: i64,
    /// Offset at which the partition's log starts, or −1.
    pub(crate) log_start_offset: i64,
    /// The records that made the broker refuse the batch, where it says so.
    pub(crate) record_errors: Vec<RecordError>,
    /// The broker's words about the error.
    pub(crate) message: Option<String>,
    /// Who leads the partition now, where the broker knows better than we did.
    pub(crate) current_leader: Option<CurrentLeader>,
}

/// A topic as its version of the protocol refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    /// Below [`TOPIC_IDS_FROM`].
    Name(Arc<str>),
    /// From there on.
    Id([u8; 16]),
}

/// A record that the broker refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordError {
    /// Index of the record in its batch.
    pub(crate) batch_index: i32,
    /// What is wrong with it.
    pub(crate) message: Option<String>,
}

/// A partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CurrentLeader {
    /// Its node, never negative.
    pub(crate) node_id: i32,
    /// The epoch of its leadership.
    pub(crate) epoch: i32,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeEndpoint {
    /// The node.
    pub(crate) node_id: i32,
    /// Host name or address.
    pub(crate) host: String,
    /// Port as the broker sent it, which need not be one.
    pub(crate) port: i32,
}

impl ProduceResponse {
    /// Decodes the body of a response.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        if !VERSIONS.contains(&version) {
            return Err(reader.malformed("version"));
        }
        let layout = Layout::of(version);
        let mut partitions = Vec::new();
        for _ in 0..reader.count(layout.flexible, "topics")? {
            layout.topic(&mut reader, &mut partitions)?;
        }
        let throttle_ms = reader.i32("throttle time")?;
        let node_endpoints = layout.node_endpoints(&mut reader)?;
        reader.finish("end of response")?;
        Ok(Self { partitions, throttle_ms, node_endpoints })
    }
}

/// What a version decides about the bytes.
#[derive(Debug, Clone, Copy)]
struct Layout {
    version: i16,
    flexible: bool,
}

impl Layout {
    const fn of(version: i16) -> Self {
        Self { version, flexible: version >= FLEXIBLE_FROM }
    }

    fn topic(
        self,
        reader: &mut Reader<'_>,
        partitions: &mut Vec<PartitionResult>,
    ) -> Result<(), DecodeError> {
        let topic = if self.version >= TOPIC_IDS_FROM {
            TopicRef::Id(reader.uuid("topic id")?)
        } else {
            TopicRef::Name(reader.string(self.flexible, "topic name")?.into())
        };
        let count = reader.count(self.flexible, "partitions")?;
        partitions.reserve(count.min(reader.remaining() / PARTITION_RESULT_SIZE_MIN));
        for _ in 0..count {
            partitions.push(self.partition(topic.clone(), reader)?);
        }
        reader.skip_tags(self.flexible)
    }

    fn partition(
        self,
        topic: TopicRef,
        reader: &mut Reader<'_>,
    ) -> Result<PartitionResult, DecodeError> {
        let mut result = PartitionResult {
            topic,
            partition: reader.i32("partition")?,
            error: ErrorCode(reader.i16("error code")?),
            base_offset: reader.i64("base offset")?,
            log_append_time: reader.i64("log append time")?,
            log_start_offset: -1,
            record_errors: Vec::new(),
            message: None,
            current_leader: None,
        };
        if self.version >= LOG_START_OFFSET_FROM {
            result.log_start_offset = reader.i64("log start offset")?;
        }
        if self.version >= RECORD_ERRORS_FROM {
            result.record_errors = (0..reader.count(self.flexible, "record errors")?)
                .map(|_| self.record_error(reader))
                .collect::<Result<_, _>>()?;
            result.message = self.message(reader)?;
        }
        if self.flexible {
            reader.tags(|tag, content| {
                if tag == 0 && self.version >= LEADER_HINTS_FROM {
                    result.current_leader = current_leader(content)?;
                }
                Ok(())
            })?;
        }
        Ok(result)
    }

    fn record_error(self, reader: &mut Reader<'_>) -> Result<RecordError, DecodeError> {
        let batch_index = reader.i32("batch index")?;
        let message = self.message(reader)?;
        reader.skip_tags(self.flexible)?;
        Ok(RecordError { batch_index, message })
    }

    /// Text for people, as far as it can be shown. If it is not UTF-8, that is no reason to lose the
    /// result that it is about.
    fn message(self, reader: &mut Reader<'_>) -> Result<Option<String>, DecodeError> {
        let text = reader.text(self.flexible, "error message")?;
        Ok(text.map(|text| printable(&String::from_utf8_lossy(clipped(text)), WORDS_MAX)))
    }

    fn node_endpoints(self, reader: &mut Reader<'_>) -> Result<Vec<NodeEndpoint>, DecodeError> {
        let mut endpoints = Vec::new();
        if self.flexible {
            reader.tags(|tag, mut content| {
                if tag == 0 && self.version >= LEADER_HINTS_FROM {
                    endpoints = (0..content.count(true, "node endpoints")?)
                        .map(|_| node_endpoint(&mut content))
                        .collect::<Result<_, _>>()?;
                    content.finish("end of node endpoints")?;
                }
                Ok(())
            })?;
        }
        Ok(endpoints)
    }
}

/// No more of a text than could be shown: four bytes make a character at most.
fn clipped(text: &[u8]) -> &[u8] {
    &text[..text.len().min(4 * WORDS_MAX)]
}

/// The leader in a partition's tag; a negative node is an unknown one.
fn current_leader(mut content: Reader<'_>) -> Result<Option<CurrentLeader>, DecodeError> {
    let node_id = content.i32("leader id")?;
    let epoch = content.i32("leader epoch")?;
    content.skip_tags(true)?;
    content.finish("end of current leader")?;
    Ok((node_id >= 0).then_some(CurrentLeader { node_id, epoch }))
}

fn node_endpoint(reader: &mut Reader<'_>) -> Result<NodeEndpoint, DecodeError> {
    let node_id = reader.i32("node id")?;
    let host = reader.string(true, "host")?.to_owned();
    let port = reader.i32("port")?;
    reader.text(true, "rack")?;
    reader.skip_tags(true)?;
    Ok(NodeEndpoint { node_id, host, port })
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint as TheirEndpoint,
        PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{
        ProduceRequest as TheirRequest, ProduceResponse as TheirResponse,
    };

    const IDS: [[u8; 16]; 2] = [[7; 16], [9; 16]];
    const NAMES: [&str; 2] = ["traces", "métriques"];

    static FIRST: [Bytes; 2] = [Bytes::from_static(b"fi"), Bytes::from_static(b"rst")];
    static LONG: [Bytes; 1] = [Bytes::from_static(&[b'x'; 300])];
    static SHORT: [Bytes; 1] = [Bytes::from_static(b"y")];
    static LAST: [Bytes; 1] = [Bytes::from_static(b"last")];

    fn batch(partition: i32, body: &'static [Bytes]) -> PartitionBatch<'static> {
        PartitionBatch { partition, header: [b'h'; HEADER_SIZE], body }
    }

    fn topics() -> [TopicBatches<'static>; 2] {
        let many = vec![batch(0, &FIRST), batch(5, &LONG), batch(6, &SHORT)];
        [
            TopicBatches { name: NAMES[0], id: IDS[0], partitions: many },
            TopicBatches { name: NAMES[1], id: IDS[1], partitions: vec![batch(2, &LAST)] },
        ]
    }

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        let topics = topics();
        let request = ProduceRequest { acks: -1, timeout_ms: 1234, topics: &topics };
        for version in VERSIONS {
            let header = oracle::header(ApiKey::Produce, version);
            let theirs: TheirRequest = oracle::read_request(header, &request.encode(header));
            assert_eq!(theirs.transactional_id, None);
            assert_eq!((theirs.acks, theirs.timeout_ms), (-1, 1234));
            assert_eq!(theirs.topic_data.len(), 2);
            for (theirs, ours) in theirs.topic_data.iter().zip(&topics) {
                if version >= TOPIC_IDS_FROM {
                    assert_eq!(theirs.topic_id.into_bytes(), ours.id);
                } else {
                    assert_eq!(theirs.name.as_str(), ours.name);
                }
                assert_eq!(theirs.partition_data.len(), ours.partitions.len());
                for (theirs, ours) in theirs.partition_data.iter().zip(&ours.partitions) {
                    assert_eq!(theirs.index, ours.partition);
                    let records = [&ours.header[..], &ours.body.concat()].concat();
                    assert_eq!(theirs.records.as_ref().unwrap(), &records);
                }
            }
        }
    }

    #[test]
    fn bodies_are_sent_from_where_they_lie() {
        let topics = topics();
        let request = ProduceRequest { acks: 1, timeout_ms: 1, topics: &topics };
        for version in [7, 13] {
            let pieces = request.encode(oracle::header(ApiKey::Produce, version));
            for batch in topics.iter().flat_map(|topic| &topic.partitions) {
                let sent =
                    |part: &Bytes| pieces.iter().any(|piece| piece.as_ptr() == part.as_ptr());
                assert!(batch.body.iter().all(sent));
            }
        }
    }

    fn their_partition(version: i16, index: i32) -> PartitionProduceResponse {
        let mut theirs = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(6)
            .with_base_offset(1 << 40)
            .with_log_append_time_ms(1_700_000_000_000)
            .with_log_start_offset(17)
            .with_error_message(Some("not here".into()))
            .with_unknown_tagged_fields(oracle::tags());
        if version >= RECORD_ERRORS_FROM {
            let error = |index, message: Option<&'static str>| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(index)
                    .with_batch_index_error_message(message.map(Into::into))
                    .with_unknown_tagged_fields(oracle::tags())
            };
            theirs.record_errors = vec![error(3, Some("bad key")), error(4, None)];
        }
        if version >= LEADER_HINTS_FROM {
            theirs.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(2.into())
                .with_leader_epoch(8)
                .with_unknown_tagged_fields(oracle::tags());
        }
        theirs
    }

    fn their_response(version: i16) -> TheirResponse {
        let topic = |index: usize, partitions: &[i32]| {
            let theirs = TopicProduceResponse::default()
                .with_partition_responses(
                    partitions.iter().map(|index| their_partition(version, *index)).collect(),
                )
                .with_unknown_tagged_fields(oracle::tags());
            if version >= TOPIC_IDS_FROM {
                theirs.with_topic_id(IDS[index].to_vec().try_into().unwrap())
            } else {
                theirs.with_name(oracle::name(NAMES[index]).into())
            }
        };
        let endpoint = |node: i32| {
            TheirEndpoint::default()
                .with_node_id(node.into())
                .with_host("broker.example".into())
                .with_port(9092)
                .with_rack(Some("a".into()))
                .with_unknown_tagged_fields(oracle::tags())
        };
        let theirs = TheirResponse::default()
            .with_responses(vec![topic(0, &[0, 1]), topic(1, &[4])])
            .with_throttle_time_ms(55)
            .with_unknown_tagged_fields(oracle::tags());
        if version >= LEADER_HINTS_FROM {
            theirs.with_node_endpoints(vec![endpoint(2), endpoint(3)])
        } else {
            theirs
        }
    }

    fn our_partition(version: i16, topic: usize, partition: i32) -> PartitionResult {
        let topic = if version >= TOPIC_IDS_FROM {
            TopicRef::Id(IDS[topic])
        } else {
            TopicRef::Name(NAMES[topic].into())
        };
        let record_errors = vec![
            RecordError { batch_index: 3, message: Some("bad key".to_owned()) },
            RecordError { batch_index: 4, message: None },
        ];
        let has_errors = version >= RECORD_ERRORS_FROM;
        PartitionResult {
            topic,
            partition,
            error: ErrorCode::NOT_LEADER_OR_FOLLOWER,
            base_offset: 1 << 40,
            log_append_time: 1_700_000_000_000,
            log_start_offset: if version >= LOG_START_OFFSET_FROM { 17 } else { -1 },
            record_errors: if has_errors { record_errors } else { Vec::new() },
            message: has_errors.then(|| "not here".to_owned()),
            current_leader: (version >= LEADER_HINTS_FROM)
                .then_some(CurrentLeader { node_id: 2, epoch: 8 }),
        }
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            let ours = ProduceResponse::decode(version, &body).unwrap();
            let expected = [(0, 0), (0, 1), (1, 4)]
                .map(|(topic, partition)| our_partition(version, topic, partition));
            assert_eq!(ours.partitions, expected, "v{version}");
            assert_eq!(ours.throttle_ms, 55);
            let endpoint =
                |node_id| NodeEndpoint { node_id, host: "broker.example".to_owned(), port: 9092 };
            let endpoints = vec![endpoint(2), endpoint(3)];
            let expected = if version >= LEADER_HINTS_FROM { endpoints } else { Vec::new() };
            assert_eq!(ours.node_endpoints, expected);
        }
    }

    #[test]
    fn the_name_of_a_topic_is_allocated_once() {
        let body = oracle::write(&their_response(9), 9);
        let ours = ProduceResponse::decode(9, &body).unwrap();
        let [TopicRef::Name(a), TopicRef::Name(b)] = [0, 1].map(|at| &ours.partitions[at].topic)
        else {
            panic!("version 9 names its topics");
        };
        assert!(Arc::ptr_eq(a, b));
    }

    #[test]
    fn a_leader_that_the_broker_does_not_know_is_none() {
        let mut theirs = their_response(10);
        for partition in theirs.responses.iter_mut().flat_map(|t| &mut t.partition_responses) {
            partition.current_leader.leader_id = (-1).into();
        }
        let ours = ProduceResponse::decode(10, &oracle::write(&theirs, 10)).unwrap();
        assert!(ours.partitions.iter().all(|result| result.current_leader.is_none()));
    }

    #[test]
    fn a_message_that_is_not_utf8_does_not_lose_the_result() {
        let mut body = oracle::write(&their_response(8), 8).to_vec();
        let at = body.windows(8).position(|bytes| bytes == b"not here").unwrap();
        body[at] = 0xff;
        let ours = ProduceResponse::decode(8, &body).unwrap();
        assert_eq!(ours.partitions[0].message.as_deref(), Some("\u{fffd}ot here"));
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| ProduceResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version), version), decode);
            decode(&oracle::huge_count(0, version >= FLEXIBLE_FROM)).unwrap_err();
        }
        oracle::survive_noise(VERSIONS, |version, body| ProduceResponse::decode(version, body));
    }
}
