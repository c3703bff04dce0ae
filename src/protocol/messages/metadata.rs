//! Metadata: the brokers, and who leads each partition of some topics.
//!
//! What is kept of an answer, and when to ask again, is decided in `producer::cluster`.
//!
//! | version | change |
//! |---|---|
//! | 1 | null asks for all topics, empty for none; racks, controller, internal topics |
//! | 2 | cluster id |
//! | 3 | throttle time |
//! | 4 | the client says whether asking may create a topic; before, the broker decides |
//! | 5 | offline replicas |
//! | 6 | the client, not the broker, waits out a throttle |
//! | 7 | leader epochs (KIP-320) |
//! | 8 | authorized operations, asked for those of topics |
//! | 9 | flexible |
//! | 10 | topic ids (KIP-516) |
//! | 11 | no more authorized operations of the cluster |
//! | 12 | topics may be asked for by id, never done here; so names may be null |
//! | 13 | an error of the whole request, such as REBOOTSTRAP_REQUIRED (KIP-1102) |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_Metadata>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::text::may_be_host;
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse as TheirResponse};
use kafka_protocol::protocol::StrBytes;
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 1..=13;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 9;

/// First version in which a request can keep the broker from creating topics.
pub(crate) const AUTO_CREATE_FLAG_FROM: i16 = 4;

/// First version in which a request can ask what we may do with a topic.
const RIGHTS_FROM: i16 = 8;

/// The place of the right to write in a set of operations (`AclOperation`).
const WRITE_BIT: u32 = 4;

/// What a broker answers that does not tell rights.
const RIGHTS_UNTOLD: i32 = i32::MIN;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(3, Layout::Fixed(4)), // throttle time
        Field::since(1, Layout::Array(BROKER)),
        Field::since(2, Layout::Text),     // cluster id
        Field::since(1, Layout::Fixed(4)), // controller id
        Field::since(1, Layout::Array(TOPIC)),
        Field::within(8, 10, Layout::Fixed(4)), // authorized operations
        Field::since(13, Layout::Fixed(2)),     // error
    ],
};

const BROKER: &[Field] = &[
    Field::since(1, Layout::Fixed(4)), // node id
    Field::since(1, Layout::Text),     // host
    Field::since(1, Layout::Fixed(4)), // port
    Field::since(1, Layout::Text),     // rack
];

const TOPIC: &[Field] = &[
    Field::since(1, Layout::Fixed(2)),   // error
    Field::since(1, Layout::Text),       // name
    Field::since(10, Layout::Fixed(16)), // id
    Field::since(1, Layout::Fixed(1)),   // is internal
    Field::since(1, Layout::Array(PARTITION)),
    Field::since(8, Layout::Fixed(4)), // authorized operations
];

const PARTITION: &[Field] = &[
    Field::since(1, Layout::Fixed(2)), // error
    Field::since(1, Layout::Fixed(4)), // index
    Field::since(1, Layout::Fixed(4)), // leader
    Field::since(7, Layout::Fixed(4)), // leader epoch
    Field::since(1, NODES),            // replicas
    Field::since(1, NODES),            // in-sync replicas
    Field::since(5, NODES),            // offline replicas
];

const NODES: Layout = Layout::Values(&Layout::Fixed(4));

/// The topics that a request asks about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topics<'a> {
    /// None: brokers only.
    None,
    /// These.
    Named(&'a [&'a str]),
}

/// Asks for the brokers and for topics. Below [`AUTO_CREATE_FLAG_FROM`] the request cannot carry
/// `allow_auto_create`: the broker creates named topics if it is configured to.
pub(crate) fn request(
    header: RequestHeader<'_>,
    topics: Topics<'_>,
    allow_auto_create: bool,
) -> Vec<Bytes> {
    encode_control(header, &question(header.version, topics, allow_auto_create))
}

/// Asks for the brokers, for topics without creating them, and, where the version can, for what we
/// may do with them.
pub(crate) fn request_with_rights(header: RequestHeader<'_>, topics: &[&str]) -> Vec<Bytes> {
    let question = question(header.version, Topics::Named(topics), false);
    let asks = header.version >= RIGHTS_FROM;
    encode_control(header, &question.with_include_topic_authorized_operations(asks))
}

fn question(version: i16, topics: Topics<'_>, allow_auto_create: bool) -> MetadataRequest {
    let by_name = |name: &&str| {
        let name = StrBytes::from_string((*name).to_owned());
        MetadataRequestTopic::default().with_name(Some(name.into()))
    };
    let topics = match topics {
        Topics::None => Some(Vec::new()),
        Topics::Named(names) => Some(names.iter().map(by_name).collect()),
    };
    let flag = allow_auto_create || version < AUTO_CREATE_FLAG_FROM;
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(flag)
}

/// The cluster as one broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataResponse {
    /// How long the client shall send nothing more to this broker.
    pub(crate) throttle_ms: i32,
    /// The live brokers.
    pub(crate) brokers: Vec<Broker>,
    /// The cluster, from version 2 on.
    pub(crate) cluster_id: Option<String>,
    /// Node id of the controller, or −1.
    pub(crate) controller_id: i32,
    /// The topics asked for, those that failed among them.
    pub(crate) topics: Vec<Topic>,
    /// What is wrong with the whole, from version 13 on.
    pub(crate) error: ErrorCode,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    /// Its identity: the address may change.
    pub(crate) node_id: i32,
    /// Host name or address: not long, and nothing that a terminal would obey.
    pub(crate) host: String,
    /// Port, never zero.
    pub(crate) port: u16,
    /// Its rack, if it has one.
    pub(crate) rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Why nothing is known of it, or none.
    pub(crate) error: ErrorCode,
    /// Its name; null only for an unknown topic that was asked for by id.
    pub(crate) name: Option<String>,
    /// Its id; zero below version 10 and for topics that do not exist.
    pub(crate) id: [u8; 16],
    /// Whether Kafka keeps its own state in it.
    pub(crate) is_internal: bool,
    /// Its partitions, in any order.
    pub(crate) partitions: Vec<Partition>,
    /// Whether we may write to it, if that was asked for and is told.
    pub(crate) may_write: Option<bool>,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// What is wrong with it, or none.
    pub(crate) error: ErrorCode,
    /// Its index.
    pub(crate) index: i32,
    /// Node id of its leader, or −1.
    pub(crate) leader_id: i32,
    /// Epoch of that leadership, or −1; always −1 below version 7.
    pub(crate) leader_epoch: i32,
    /// Replicas that it should have.
    pub(crate) replica_count: usize,
    /// Replicas in sync with the leader, itself included.
    pub(crate) isr_count: usize,
}

impl MetadataResponse {
    /// Decodes the body of a response.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version, or a port is none.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        Ok(Self {
            throttle_ms: theirs.throttle_time_ms,
            brokers: theirs.brokers.iter().map(Broker::read).collect::<Result<_, _>>()?,
            cluster_id: theirs.cluster_id.map(|id| id.to_string()),
            controller_id: theirs.controller_id.0,
            topics: theirs.topics.iter().map(Topic::read).collect(),
            error: ErrorCode(theirs.error_code),
        })
    }
}

impl Broker {
    fn read(theirs: &MetadataResponseBroker) -> Result<Self, DecodeError> {
        let port = u16::try_from(theirs.port).ok().filter(|port| *port != 0);
        let host = Some(theirs.host.to_string()).filter(|host| may_be_host(host));
        Ok(Self {
            node_id: theirs.node_id.0,
            host: host.ok_or(DecodeError { what: "broker host", offset: 0 })?,
            port: port.ok_or(DecodeError { what: "broker port", offset: 0 })?,
            rack: theirs.rack.as_ref().map(ToString::to_string),
        })
    }
}

impl Topic {
    fn read(theirs: &MetadataResponseTopic) -> Self {
        Self {
            error: ErrorCode(theirs.error_code),
            name: theirs.name.as_ref().map(|name| name.to_string()),
            id: theirs.topic_id.into_bytes(),
            is_internal: theirs.is_internal,
            partitions: theirs.partitions.iter().map(Partition::read).collect(),
            may_write: Some(theirs.topic_authorized_operations)
                .filter(|operations| *operations != RIGHTS_UNTOLD)
                .map(|operations| operations & (1 << WRITE_BIT) != 0),
        }
    }
}

impl Partition {
    fn read(theirs: &MetadataResponsePartition) -> Self {
        Self {
            error: ErrorCode(theirs.error_code),
            index: theirs.partition_index,
            leader_id: theirs.leader_id.0,
            leader_epoch: theirs.leader_epoch,
            replica_count: theirs.replica_nodes.len(),
            isr_count: theirs.isr_nodes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;

    fn read(version: i16, topics: Topics<'_>, allow_auto_create: bool) -> MetadataRequest {
        let header = oracle::header(ApiKey::Metadata, version);
        oracle::read_request(header, &request(header, topics, allow_auto_create))
    }

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        for version in VERSIONS {
            let named = read(version, Topics::Named(&["traces", "métriques"]), true);
            let topics = named.topics.unwrap();
            let names: Vec<_> = topics.iter().map(|t| t.name.as_ref().unwrap().as_str()).collect();
            assert_eq!(names, ["traces", "métriques"]);
            assert!(named.allow_auto_topic_creation);
            assert!(!named.include_topic_authorized_operations);
            assert_eq!(read(version, Topics::None, true).topics, Some(Vec::new()));
            let header = oracle::header(ApiKey::Metadata, version);
            let rights = request_with_rights(header, &["traces"]);
            let rights: MetadataRequest = oracle::read_request(header, &rights);
            assert_eq!(rights.include_topic_authorized_operations, version >= RIGHTS_FROM);
            assert_eq!(rights.allow_auto_topic_creation, version < AUTO_CREATE_FLAG_FROM);
        }
    }

    #[test]
    fn creating_topics_can_be_forbidden_only_where_the_request_has_a_flag_for_it() {
        for version in VERSIONS {
            let allowed = read(version, Topics::None, false).allow_auto_topic_creation;
            assert_eq!(allowed, version < AUTO_CREATE_FLAG_FROM, "v{version}");
        }
    }

    fn their_partition(index: i32) -> MetadataResponsePartition {
        MetadataResponsePartition::default()
            .with_error_code(5)
            .with_partition_index(index)
            .with_leader_id((-1).into())
            .with_leader_epoch(12)
            .with_replica_nodes(vec![1.into(), 2.into(), 3.into()])
            .with_isr_nodes(vec![1.into(), 2.into()])
            .with_offline_replicas(vec![3.into()])
            .with_unknown_tagged_fields(oracle::tags())
    }

    fn their_response(version: i16) -> TheirResponse {
        let broker = |node_id: i32, rack: Option<&'static str>| {
            MetadataResponseBroker::default()
                .with_node_id(node_id.into())
                .with_host("broker.example".into())
                .with_port(65_535)
                .with_rack(rack.map(Into::into))
                .with_unknown_tagged_fields(oracle::tags())
        };
        let topic = |name: &str, id: u8, partitions: &[i32]| {
            let mut topic = MetadataResponseTopic::default()
                .with_error_code(3)
                .with_name(Some(oracle::name(name).into()))
                .with_topic_id(vec![id; 16].try_into().unwrap())
                .with_is_internal(id == 4)
                .with_partitions(partitions.iter().copied().map(their_partition).collect())
                .with_unknown_tagged_fields(oracle::tags());
            if version >= 8 {
                // One of them may be read and written, the other only read.
                topic.topic_authorized_operations = if id == 4 { 24 } else { 8 };
            }
            topic
        };
        let mut theirs = TheirResponse::default()
            .with_throttle_time_ms(3)
            .with_brokers(vec![broker(1, Some("a")), broker(2, None)])
            .with_cluster_id(Some("cluster".into()))
            .with_controller_id(2.into())
            .with_topics(vec![topic("traces", 4, &[1, 0]), topic("métriques", 5, &[])])
            .with_error_code(129)
            .with_unknown_tagged_fields(oracle::tags());
        if (8..=10).contains(&version) {
            theirs.cluster_authorized_operations = 8;
        }
        theirs
    }

    fn our_response(version: i16) -> MetadataResponse {
        let broker = |node_id, rack: Option<&str>| Broker {
            node_id,
            host: "broker.example".to_owned(),
            port: 65_535,
            rack: rack.map(ToOwned::to_owned),
        };
        let partition = |index| Partition {
            error: ErrorCode::LEADER_NOT_AVAILABLE,
            index,
            leader_id: -1,
            leader_epoch: if version >= 7 { 12 } else { -1 },
            replica_count: 3,
            isr_count: 2,
        };
        let topic = |name: &str, id, partitions| Topic {
            error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            name: Some(name.to_owned()),
            id: [if version >= 10 { id } else { 0 }; 16],
            is_internal: id == 4,
            partitions,
            may_write: (version >= 8).then_some(id == 4),
        };
        MetadataResponse {
            throttle_ms: if version >= 3 { 3 } else { 0 },
            brokers: vec![broker(1, Some("a")), broker(2, None)],
            cluster_id: (version >= 2).then(|| "cluster".to_owned()),
            controller_id: 2,
            topics: vec![
                topic("traces", 4, vec![partition(1), partition(0)]),
                topic("métriques", 5, Vec::new()),
            ],
            error: ErrorCode(if version >= 13 { 129 } else { 0 }),
        }
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            let ours = MetadataResponse::decode(version, &body).unwrap();
            assert_eq!(ours, our_response(version), "v{version}");
        }
    }

    #[test]
    fn a_topic_without_a_name_is_read_where_the_protocol_has_it() {
        let mut theirs = their_response(12);
        theirs.topics[0].name = None;
        let ours = MetadataResponse::decode(12, &oracle::write(&theirs, 12)).unwrap();
        assert_eq!(ours.topics[0].name, None);
    }

    #[test]
    fn a_port_that_is_none_is_malformed() {
        for port in [0, -1, 65_536] {
            let mut theirs = their_response(9);
            theirs.brokers[1].port = port;
            let body = oracle::write(&theirs, 9);
            assert_eq!(MetadataResponse::decode(9, &body).unwrap_err().what, "broker port");
        }
    }

    #[test]
    fn a_host_that_is_none_is_malformed() {
        for host in ["a".repeat(256), "b1\nINFO all is well".to_owned()] {
            let mut theirs = their_response(9);
            theirs.brokers[1].host = StrBytes::from_string(host);
            let body = oracle::write(&theirs, 9);
            assert_eq!(MetadataResponse::decode(9, &body).unwrap_err().what, "broker host");
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| MetadataResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version), version), decode);
            let brokers_at = if version >= 3 { 4 } else { 0 };
            decode(&oracle::huge_count(brokers_at, version >= FLEXIBLE_FROM)).unwrap_err();
        }
        oracle::survive_noise(VERSIONS, MetadataResponse::decode);
    }
}
