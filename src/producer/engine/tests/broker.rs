//! The other side: a cluster in memory that keeps Kafka's rules, and breaks them on request.
//!
//! Reads requests and writes answers with `kafka-protocol`, so that no mistake of ours is shared.
//! What its logs hold is the oracle of every test. Nodes share the logs, as replicas that never lag.

use super::log::{Batch, Log};
use crate::producer::partitioner::Random;
use crate::protocol::ErrorCode;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage as RecordError, LeaderIdAndEpoch, NodeEndpoint,
    PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, ResponseHeader,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// First Produce version that names topics by id.
const IDS_FROM: i16 = 13;

/// First Produce version that tells which records of a batch are to blame.
const RECORD_ERRORS_FROM: i16 = 8;

/// First Produce version that tells who leads instead.
const HINTS_FROM: i16 = 10;

pub(super) struct Cluster {
    /// Nodes that metadata names; each listens at `b{node}:9092`.
    pub(super) nodes: BTreeSet<i32>,
    /// Nodes that take connections.
    pub(super) up: BTreeSet<i32>,
    pub(super) topics: BTreeMap<String, Topic>,
    /// First and last version of each API served.
    pub(super) versions: BTreeMap<i16, (i16, i16)>,
    pub(super) greeting: Greeting,
    /// Whether a node that does not lead says who does, from version 10 on.
    pub(super) hints: bool,
    /// What befalls the next Produce requests, whichever node gets them.
    pub(super) faults: VecDeque<Fault>,
    /// What befalls the next batches of a partition of topic `t`.
    pub(super) batch_faults: BTreeMap<i32, VecDeque<BatchFault>>,
    /// What befalls batches by their first value, and how often.
    pub(super) value_faults: BTreeMap<String, (BatchFault, u32)>,
    /// Error codes of the next answers to InitProducerId.
    pub(super) identity_errors: VecDeque<ErrorCode>,
    /// The identity that is given out next.
    pub(super) next_identity: (i64, i16),
    /// Nodes whose answers to an API end behind the correlation id.
    pub(super) broken: BTreeSet<(i32, i16)>,
    /// Nodes that close the connection once they have said what they serve.
    pub(super) unfriendly: BTreeSet<i32>,
    /// Nodes that take connections and never say a word.
    pub(super) mute: BTreeSet<i32>,
    /// Where metadata says that a node listens, if not at its own number.
    pub(super) hosts: BTreeMap<i32, i32>,
    /// Hosts that lead to a node although metadata does not name them.
    pub(super) aliases: BTreeMap<i32, i32>,
    /// What the next answers to Metadata say against themselves, from version 13 on.
    pub(super) metadata_errors: VecDeque<ErrorCode>,
    /// Requests of an API that get no answer, while the connection goes on.
    pub(super) ignored: BTreeMap<i16, u32>,
    /// Bytes of the largest batch taken.
    pub(super) batch_size_max: usize,
    /// Values of records that are refused, with a word on each from version 8 on (KIP-467).
    pub(super) disliked: BTreeSet<String>,
    /// Whether Produce is answered when no answer was asked for, as Event Hubs does.
    pub(super) talkative: bool,
    /// The pause that every Produce answer asks for.
    pub(super) throttle_ms: i32,
    /// Topics of the last question for metadata.
    pub(super) asked_for: Vec<String>,
    /// Metadata answers left that show what was, before `stale_topics` changed.
    pub(super) stale_answers: u32,
    pub(super) stale_topics: BTreeMap<String, Topic>,
    /// Topics that were deleted, with what their logs held.
    pub(super) deleted: Vec<(String, Topic)>,
    /// The time, for `results`.
    pub(super) elapsed: Duration,
    /// What became of each batch that arrived.
    pub(super) results: Vec<Appended>,
}

/// What a broker did about a batch.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) at: Duration,
    pub(super) node: i32,
    pub(super) partition: i32,
    /// The batch's first value, by which it is known.
    pub(super) first: String,
    pub(super) code: ErrorCode,
    pub(super) offset: i64,
}

/// How ApiVersions is answered when its version is too high.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// With an empty list, as Kafka before 2.4.
    Empty,
    /// With the versions of ApiVersions alone, as Kafka since (KIP-511).
    OwnVersions,
    /// With everything, as Redpanda.
    Everything,
    /// With the end of the connection, as Azure Event Hubs.
    HangUp,
}

/// What befalls a whole Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The connection ends before anything is stored.
    CloseBefore,
    /// Everything is stored; then the connection ends without an answer.
    CloseAfter,
    /// The connection stays open, but nothing is stored and nothing answered any more.
    StuckBefore,
    /// Everything is stored; then the connection is stuck.
    StuckAfter,
    /// The answer is cut off behind its correlation id, so many bytes on.
    Cut(usize),
    /// The answer belongs to the request after this one.
    WrongCorrelation,
    /// The answer says nothing of this partition, though it is stored.
    LeaveOut(i32),
    /// The answer tells of each partition twice, the second time with an error.
    Repeat,
    /// The answer tells of the partitions in another order than the request.
    Reverse,
    /// The answer also tells of a partition and of a topic that nobody asked about.
    Stray,
    /// The answer is random bytes behind its correlation id, of this seed.
    Garble(u64),
}

/// What befalls one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchFault {
    None,
    Refuse(ErrorCode),
    StoreAndAnswer(ErrorCode),
    /// The partition has forgotten all producers just before.
    Forget,
}

#[derive(Clone)]
pub(super) struct Topic {
    pub(super) id: u8,
    /// What metadata says against it, or none.
    pub(super) error: ErrorCode,
    pub(super) partitions: Vec<Partition>,
}

#[derive(Clone)]
pub(super) struct Partition {
    /// −1 for none.
    pub(super) leader: i32,
    pub(super) epoch: i32,
    pub(super) log: Log,
}

/// A request as it was read.
pub(super) struct Call {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) body: Body,
}

pub(super) enum Body {
    ApiVersions,
    Metadata(MetadataRequest),
    InitProducerId,
    Produce(ProduceRequest),
    /// The mechanism.
    SaslHandshake(String),
    /// The mechanism's message.
    SaslAuthenticate(Bytes),
}

/// What a node does about a request.
pub(super) enum Reply {
    Answer(Bytes),
    Nothing,
    /// It reads nothing more of the connection.
    Stuck,
    Close,
    AnswerAndClose(Bytes),
}

impl Cluster {
    /// `nodes` nodes, from 1 on, without topics, that serve what Kafka 4 serves.
    pub(super) fn new(nodes: i32) -> Self {
        let versions =
            [(0, (3, 12)), (3, (0, 13)), (17, (0, 1)), (18, (0, 4)), (22, (0, 5)), (36, (0, 2))];
        Self {
            nodes: (1..=nodes).collect(),
            up: (1..=nodes).collect(),
            topics: BTreeMap::new(),
            versions: versions.into(),
            greeting: Greeting::OwnVersions,
            hints: true,
            faults: VecDeque::new(),
            batch_faults: BTreeMap::new(),
            value_faults: BTreeMap::new(),
            identity_errors: VecDeque::new(),
            next_identity: (1000, 0),
            broken: BTreeSet::new(),
            unfriendly: BTreeSet::new(),
            mute: BTreeSet::new(),
            hosts: BTreeMap::new(),
            aliases: BTreeMap::new(),
            metadata_errors: VecDeque::new(),
            ignored: BTreeMap::new(),
            batch_size_max: usize::MAX,
            disliked: BTreeSet::new(),
            talkative: false,
            throttle_ms: 0,
            asked_for: Vec::new(),
            stale_answers: 0,
            stale_topics: BTreeMap::new(),
            deleted: Vec::new(),
            elapsed: Duration::ZERO,
            results: Vec::new(),
        }
    }

    /// Adds a topic whose partitions are led by the nodes in turn.
    pub(super) fn create(&mut self, name: &str, partitions: usize) {
        let nodes: Vec<_> = self.nodes.iter().copied().collect();
        let partition = |leader: &i32| Partition { leader: *leader, epoch: 0, log: Log::default() };
        let partitions = nodes.iter().cycle().take(partitions).map(partition).collect();
        let id = (self.topics.len() + self.deleted.len()).to_le_bytes()[0].wrapping_add(1);
        let topic = Topic { id, error: ErrorCode::NONE, partitions };
        self.topics.insert(name.to_owned(), topic);
    }

    /// Deletes a topic, if it is there.
    pub(super) fn delete(&mut self, name: &str) {
        self.deleted.extend(self.topics.remove_entry(name));
    }

    /// Adds a partition to a topic.
    pub(super) fn grow(&mut self, name: &str, leader: i32) {
        let partition = Partition { leader, epoch: 0, log: Log::default() };
        self.topics.get_mut(name).unwrap().partitions.push(partition);
    }

    /// The partition of topic `t`.
    pub(super) fn partition(&mut self, index: usize) -> &mut Partition {
        &mut self.topics.get_mut("t").unwrap().partitions[index]
    }

    pub(super) fn move_leader(&mut self, partition: usize, node: i32) {
        let partition = self.partition(partition);
        partition.leader = node;
        partition.epoch += 1;
    }

    /// Values in the log of a partition of topic `t`.
    pub(super) fn stored(&self, partition: usize) -> Vec<String> {
        self.topics["t"].partitions[partition].log.values().to_vec()
    }

    pub(super) fn fault(&mut self, partition: i32, fault: BatchFault) {
        self.batch_faults.entry(partition).or_default().push_back(fault);
    }

    pub(super) fn serve(&mut self, node: i32, call: &Call) -> Reply {
        if self.mute.contains(&node) {
            return Reply::Stuck;
        }
        if let Some(left) = self.ignored.get_mut(&(call.api as i16)).filter(|left| **left > 0) {
            *left -= 1;
            return Reply::Nothing;
        }
        let reply = match &call.body {
            Body::ApiVersions => self.api_versions(call),
            Body::Metadata(request) => answer(call, &self.metadata(request)),
            Body::InitProducerId => answer(call, &self.identity()),
            Body::Produce(request) => self.produce(node, call, request),
            Body::SaslHandshake(_) | Body::SaslAuthenticate(_) => Reply::Close,
        };
        match reply {
            Reply::Answer(frame) if self.broken.contains(&(node, call.api as i16)) => {
                Reply::Answer(frame.slice(..4))
            }
            Reply::Answer(frame)
                if call.api == ApiKey::ApiVersions && self.unfriendly.contains(&node) =>
            {
                Reply::AnswerAndClose(frame)
            }
            reply => reply,
        }
    }

    fn api_versions(&self, call: &Call) -> Reply {
        let key = call.api as i16;
        let list = |keep: &dyn Fn(i16) -> bool| {
            let kept = self.versions.iter().filter(|(key, _)| keep(**key));
            let entry = |(key, (min, max)): (&i16, &(i16, i16))| {
                let entry = ApiVersion::default().with_api_key(*key);
                entry.with_min_version(*min).with_max_version(*max)
            };
            kept.map(entry).collect::<Vec<_>>()
        };
        if call.version <= self.versions[&key].1 {
            return answer(call, &ApiVersionsResponse::default().with_api_keys(list(&|_| true)));
        }
        let listed = match self.greeting {
            Greeting::Empty => list(&|_| false),
            Greeting::OwnVersions => list(&|other| other == key),
            Greeting::Everything => list(&|_| true),
            Greeting::HangUp => return Reply::Close,
        };
        let refusal = ApiVersionsResponse::default()
            .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
            .with_api_keys(listed);
        Reply::Answer(frame(call.correlation_id, (0, 0), &refusal))
    }

    fn metadata(&mut self, request: &MetadataRequest) -> MetadataResponse {
        let broker = |node: &i32| {
            MetadataResponseBroker::default()
                .with_node_id((*node).into())
                .with_host(StrBytes::from_string(format!("b{}", self.host(*node))))
                .with_port(9092)
        };
        let brokers = self.nodes.iter().map(broker).collect();
        let stale = self.stale_answers > 0;
        self.stale_answers = self.stale_answers.saturating_sub(1);
        let topics = if stale { &self.stale_topics } else { &self.topics };
        let asked = request.topics.iter().flatten().filter_map(|topic| topic.name.clone());
        self.asked_for = asked.clone().map(|name| name.to_string()).collect();
        let told = asked.map(|name| {
            let told = MetadataResponseTopic::default().with_name(Some(name.clone()));
            match topics.get(name.as_str()) {
                Some(topic) => topic.tell(told),
                None => told.with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0),
            }
        });
        let error = self.metadata_errors.pop_front().map_or(0, |code| code.0);
        MetadataResponse::default()
            .with_topics(told.collect())
            .with_brokers(brokers)
            .with_error_code(error)
    }

    fn identity(&mut self) -> InitProducerIdResponse {
        let error = self.identity_errors.pop_front().unwrap_or(ErrorCode::NONE);
        if error != ErrorCode::NONE {
            return InitProducerIdResponse::default().with_error_code(error.0);
        }
        let (producer_id, epoch) = self.next_identity;
        self.next_identity = (producer_id + 1, 0);
        InitProducerIdResponse::default()
            .with_producer_id(producer_id.into())
            .with_producer_epoch(epoch)
    }

    fn produce(&mut self, node: i32, call: &Call, request: &ProduceRequest) -> Reply {
        let fault = self.faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::CloseBefore => return Reply::Close,
            Fault::StuckBefore => return Reply::Stuck,
            _ => {}
        }
        let mut response = self.append_all(node, call.version, request);
        match fault {
            Fault::CloseAfter => return Reply::Close,
            Fault::StuckAfter => return Reply::Stuck,
            Fault::LeaveOut(partition) => {
                for topic in &mut response.responses {
                    topic.partition_responses.retain(|result| result.index != partition);
                }
            }
            Fault::Repeat => repeat_with_an_error(&mut response),
            Fault::Reverse => reverse(&mut response),
            Fault::Stray => add_strangers(&mut response),
            _ => {}
        }
        let correlation_id = call.correlation_id + i32::from(fault == Fault::WrongCorrelation);
        let header = ApiKey::Produce.response_header_version(call.version);
        let whole = frame(correlation_id, (header, call.version), &response);
        match (fault, request.acks) {
            (Fault::Cut(size), _) => Reply::Answer(whole.slice(..whole.len().min(4 + size))),
            (Fault::Garble(seed), _) => Reply::Answer(garbled(&whole, seed)),
            (_, 0) if has_error(&response) => Reply::Close,
            (_, 0) if !self.talkative => Reply::Nothing,
            _ => Reply::Answer(whole),
        }
    }

    fn append_all(&mut self, node: i32, version: i16, request: &ProduceRequest) -> ProduceResponse {
        let mut leaders = BTreeSet::new();
        let mut topics = Vec::new();
        for topic in &request.topic_data {
            let mut results = Vec::new();
            for data in &topic.partition_data {
                let result = self.append(node, version, topic, data);
                self.results.push(Appended {
                    at: self.elapsed,
                    node,
                    partition: data.index,
                    first: Batch::read(data.records.as_ref().unwrap()).values.swap_remove(0),
                    code: ErrorCode(result.error_code),
                    offset: result.base_offset,
                });
                let code = ErrorCode(result.error_code);
                let leader = self.find(version, topic).and_then(|topic| {
                    let partition = topic.partitions.get(usize::try_from(data.index).ok()?)?;
                    (partition.leader >= 0).then_some((partition.leader, partition.epoch))
                });
                let told = code == ErrorCode::NOT_LEADER_OR_FOLLOWER && version >= HINTS_FROM;
                results.push(match leader.filter(|_| told && self.hints) {
                    Some((leader, epoch)) => {
                        leaders.insert(leader);
                        result.with_current_leader(
                            LeaderIdAndEpoch::default()
                                .with_leader_id(leader.into())
                                .with_leader_epoch(epoch),
                        )
                    }
                    None => result,
                });
            }
            topics.push(
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partition_responses(results),
            );
        }
        let endpoint = |node: i32| {
            NodeEndpoint::default()
                .with_node_id(node.into())
                .with_host(StrBytes::from_string(format!("b{}", self.host(node))))
                .with_port(9092)
        };
        ProduceResponse::default()
            .with_responses(topics)
            .with_throttle_time_ms(self.throttle_ms)
            .with_node_endpoints(leaders.into_iter().map(endpoint).collect())
    }

    fn take_value_fault(&mut self, value: &str) -> Option<BatchFault> {
        let (fault, left) = self.value_faults.get_mut(value).filter(|(_, left)| *left > 0)?;
        *left -= 1;
        Some(*fault)
    }

    /// The number of the host at which a node listens.
    pub(super) fn host(&self, node: i32) -> i32 {
        self.hosts.get(&node).copied().unwrap_or(node)
    }

    /// The node that listens at a host.
    pub(super) fn node_at(&self, host: i32) -> Option<i32> {
        let listens = |node: &i32| {
            self.host(*node) == host || self.aliases.get(&host).is_some_and(|other| other == node)
        };
        self.up.iter().copied().find(listens)
    }

    fn find(&mut self, version: i16, topic: &TopicProduceData) -> Option<&mut Topic> {
        if version < IDS_FROM {
            return self.topics.get_mut(topic.name.as_str());
        }
        let id = topic.topic_id.into_bytes();
        self.topics.values_mut().find(|topic| [topic.id; 16] == id)
    }

    fn has(&mut self, version: i16, topic: &TopicProduceData, data: &PartitionProduceData) -> bool {
        let index = usize::try_from(data.index).unwrap();
        let batch = Batch::read(data.records.as_ref().unwrap());
        let found = self.find(version, topic).and_then(|topic| topic.partitions.get(index));
        found.is_some_and(|partition| partition.log.has(&batch))
    }

    fn append(
        &mut self,
        node: i32,
        version: i16,
        topic: &TopicProduceData,
        data: &PartitionProduceData,
    ) -> PartitionProduceResponse {
        let batch = Batch::read(data.records.as_ref().unwrap());
        let fault = self.batch_faults.get_mut(&data.index).and_then(VecDeque::pop_front);
        let fault = fault.or_else(|| self.take_value_fault(&batch.values[0]));
        let told = |code: ErrorCode| {
            let result = PartitionProduceResponse::default().with_index(data.index);
            result.with_error_code(code.0).with_base_offset(-1).with_log_append_time_ms(-1)
        };
        if let Some(BatchFault::Refuse(code)) = fault
            && !(is_about_sequence(code) && self.has(version, topic, data))
        {
            return told(code);
        }
        let too_large = batch.bytes.len() > self.batch_size_max;
        let disliked: Vec<_> = batch.disliked_by(&self.disliked).collect();
        let found = self
            .find(version, topic)
            .and_then(|topic| topic.partitions.get_mut(usize::try_from(data.index).unwrap()));
        let Some(partition) = found else {
            return told(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        if partition.leader != node {
            return told(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if fault == Some(BatchFault::Forget) {
            partition.log.forget_producers();
        }
        if too_large {
            return told(ErrorCode::MESSAGE_TOO_LARGE);
        }
        if !disliked.is_empty() {
            let refusal = told(ErrorCode::INVALID_RECORD);
            if version < RECORD_ERRORS_FROM {
                return refusal;
            }
            let message = StrBytes::from_static_str("some are invalid");
            return refusal.with_error_message(Some(message)).with_record_errors(disliked);
        }
        let appended = partition.log.append(&batch);
        match (fault, appended) {
            (Some(BatchFault::StoreAndAnswer(code)), Ok(_)) | (_, Err(code)) => told(code),
            (_, Ok(offset)) => told(ErrorCode::NONE).with_base_offset(offset),
        }
    }
}

impl Topic {
    fn tell(&self, told: MetadataResponseTopic) -> MetadataResponseTopic {
        let partition = |(index, partition): (i32, &Partition)| {
            let told = MetadataResponsePartition::default().with_partition_index(index);
            told.with_leader_id(partition.leader.into()).with_leader_epoch(partition.epoch)
        };
        let partitions = (0..).zip(&self.partitions).map(partition).collect();
        told.with_error_code(self.error.0)
            .with_topic_id(vec![self.id; 16].try_into().unwrap())
            .with_partitions(if self.error == ErrorCode::NONE { partitions } else { Vec::new() })
    }
}

impl Call {
    /// Reads a request frame, its length in front.
    pub(super) fn read(pieces: &[Bytes]) -> Self {
        let mut frame = Bytes::from(pieces.concat());
        let length = frame.split_to(4);
        assert_eq!(length, u32::try_from(frame.len()).unwrap().to_be_bytes().as_slice());
        let header = decode_request_header_from_buffer(&mut frame).unwrap();
        let api = ApiKey::try_from(header.request_api_key).unwrap();
        let version = header.request_api_version;
        let body = match api {
            ApiKey::ApiVersions => {
                ApiVersionsRequest::decode(&mut frame, version).unwrap();
                Body::ApiVersions
            }
            ApiKey::Metadata => {
                Body::Metadata(MetadataRequest::decode(&mut frame, version).unwrap())
            }
            ApiKey::InitProducerId => {
                InitProducerIdRequest::decode(&mut frame, version).unwrap();
                Body::InitProducerId
            }
            ApiKey::Produce => Body::Produce(ProduceRequest::decode(&mut frame, version).unwrap()),
            ApiKey::SaslHandshake => {
                let request = SaslHandshakeRequest::decode(&mut frame, version).unwrap();
                Body::SaslHandshake(request.mechanism.to_string())
            }
            ApiKey::SaslAuthenticate => {
                let request = SaslAuthenticateRequest::decode(&mut frame, version).unwrap();
                Body::SaslAuthenticate(request.auth_bytes)
            }
            other => panic!("a producer does not send {other:?}"),
        };
        assert!(frame.is_empty(), "{} bytes behind {api:?} v{version}", frame.len());
        Self { api, version, correlation_id: header.correlation_id, body }
    }

    /// The batches that it carries: topic (its name with its id, one of them empty), partition,
    /// batch.
    pub(super) fn batches(&self) -> Vec<(String, i32, Batch)> {
        let Body::Produce(request) = &self.body else { return Vec::new() };
        let of_topic = |topic: &TopicProduceData| {
            let name = format!("{}{}", topic.name.as_str(), topic.topic_id);
            let batch = |data: &PartitionProduceData| {
                (name.clone(), data.index, Batch::read(data.records.as_ref().unwrap()))
            };
            topic.partition_data.iter().map(batch).collect::<Vec<_>>()
        };
        request.topic_data.iter().flat_map(of_topic).collect()
    }

    /// Whether no answer will come because none was asked for.
    pub(super) fn has_no_answer(&self) -> bool {
        matches!(&self.body, Body::Produce(request) if request.acks == 0)
    }
}

impl Batch {
    fn disliked_by(&self, disliked: &BTreeSet<String>) -> impl Iterator<Item = RecordError> {
        let found = (0..).zip(&self.values).filter(|(_, value)| disliked.contains(*value));
        found.map(|(index, value)| {
            RecordError::default()
                .with_batch_index(index)
                .with_batch_index_error_message(Some(StrBytes::from_string(format!("no {value}"))))
        })
    }
}

/// No broker says so of a batch that it has.
fn is_about_sequence(code: ErrorCode) -> bool {
    [
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::INVALID_PRODUCER_ID_MAPPING,
    ]
    .contains(&code)
}

fn reverse(response: &mut ProduceResponse) {
    response.responses.reverse();
    for topic in &mut response.responses {
        topic.partition_responses.reverse();
    }
}

fn repeat_with_an_error(response: &mut ProduceResponse) {
    for topic in &mut response.responses {
        let again = topic.partition_responses.iter().map(|result| {
            let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
            result.clone().with_error_code(code).with_base_offset(-1)
        });
        let again: Vec<_> = again.collect();
        topic.partition_responses.extend(again);
    }
}

fn has_error(response: &ProduceResponse) -> bool {
    let mut results = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    results.any(|result| result.error_code != ErrorCode::NONE.0)
}

fn add_strangers(response: &mut ProduceResponse) {
    let refusal = ErrorCode::MESSAGE_TOO_LARGE.0;
    let stranger = PartitionProduceResponse::default().with_index(77).with_error_code(refusal);
    for topic in &mut response.responses {
        topic.partition_responses.insert(0, stranger.clone());
    }
    let topic = TopicProduceResponse::default().with_partition_responses(vec![stranger]);
    response.responses.insert(0, topic);
}

/// The answer's correlation id, and as many random bytes as followed it.
fn garbled(whole: &Bytes, seed: u64) -> Bytes {
    let mut random = Random::new(seed);
    let (id, body) = whole.split_at(4);
    // Small numbers are the likelier counts and lengths.
    let byte = |_| [random.below(256), random.below(4)][random.below(2)].to_le_bytes()[0];
    [id, &(0..body.len()).map(byte).collect::<Vec<_>>()].concat().into()
}

pub(super) fn answer(call: &Call, response: &impl Encodable) -> Reply {
    let header = call.api.response_header_version(call.version);
    Reply::Answer(frame(call.correlation_id, (header, call.version), response))
}

/// An answer without its length. `versions` are those of its header and its body.
fn frame(correlation_id: i32, versions: (i16, i16), response: &impl Encodable) -> Bytes {
    let mut frame = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut frame, versions.0).unwrap();
    response.encode(&mut frame, versions.1).unwrap();
    frame.freeze()
}
