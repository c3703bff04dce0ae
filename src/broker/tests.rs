//! The broker over TCP, asked by `kafka-protocol`'s encoders.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TransactionalId,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::cluster::topic_name;
use super::*;
use crate::protocol::Codec;
use crate::protocol::compression::Compressor;
use crate::protocol::record::Content;
use crate::protocol::record_batch::{BatchBuilder, BatchLimits, ProducerStamp};

mod faults;

mod profiles;

mod security;

const SOON: Duration = Duration::from_secs(10);

struct Client {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Client {
    async fn connect(broker: &EmbeddedBroker, node: usize) -> Self {
        let stream = TcpStream::connect(&broker.bootstrap()[node - 1]).await.unwrap();
        // Or else each request waits for the acknowledgement of its own length.
        stream.set_nodelay(true).unwrap();
        Self { stream, next_correlation_id: 0 }
    }

    async fn send<R: Request>(&mut self, request: &R, version: i16) {
        let mut frame = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next_correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        self.next_correlation_id += 1;
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        self.send_frame(&frame).await;
    }

    async fn send_frame(&mut self, frame: &[u8]) {
        self.stream.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
        self.stream.write_all(frame).await.unwrap();
    }

    /// The next response, with its correlation id; `None` when the connection ends first.
    async fn receive<R: Decodable + HeaderVersion>(&mut self, version: i16) -> Option<(i32, R)> {
        let size = timeout(SOON, self.stream.read_u32()).await.unwrap().ok()?;
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        self.stream.read_exact(&mut frame).await.unwrap();
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, R::header_version(version)).unwrap();
        let response = R::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty());
        Some((header.correlation_id, response))
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response>
    where
        R::Response: Decodable + HeaderVersion,
    {
        self.send(request, version).await;
        let (correlation_id, response) = self.receive(version).await?;
        assert_eq!(correlation_id, self.next_correlation_id - 1);
        Some(response)
    }

    async fn produce(&mut self, request: &ProduceRequest) -> PartitionProduceResponse {
        let response = self.ask(request, 12).await.unwrap();
        response.responses[0].partition_responses[0].clone()
    }
}

async fn start(brokers: usize) -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default().with_brokers(brokers)).await.unwrap()
}

async fn start_as(profile: Profile) -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default().with_profile(profile)).await.unwrap()
}

fn batch(value: &[u8], stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(BatchLimits { bytes_max: 1 << 20, records_max: 10 });
    builder.try_append(5, &Content { value: Some(value), ..Content::default() });
    let sealed = builder.seal(&mut Compressor::new(Codec::None.into()));
    sealed.to_bytes(stamp)
}

fn produce(topic: &str, value: &[u8]) -> ProduceRequest {
    produce_batch(topic, batch(value, ProducerStamp::NONE))
}

fn produce_batch(topic: &str, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

fn fetch(topic: &str, id: Uuid, offset: i64) -> FetchRequest {
    let partition =
        FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_topic_id(id)
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_bytes(1 << 20)
        .with_min_bytes(1)
        .with_max_wait_ms(60_000)
        .with_topics(vec![topic])
}

fn values(broker: &EmbeddedBroker, topic: &str) -> Vec<Bytes> {
    broker.accepted(topic).into_iter().map(|record| record.value.unwrap()).collect()
}

#[tokio::test]
async fn times_and_both_ends_are_looked_up_once_per_partition() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    client.produce(&produce("a", b"v")).await;
    let mut found = async |timestamps: &[i64]| -> Vec<_> {
        let partition = |at: &i64| ListOffsetsPartition::default().with_timestamp(*at);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name("a"))
            .with_partitions(timestamps.iter().map(partition).collect());
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let answer = client.ask(&request, 7).await.unwrap().topics.swap_remove(0).partitions;
        answer.iter().map(|at| (at.error_code, at.offset, at.timestamp)).collect()
    };
    assert_eq!(found(&[-2]).await, [(0, 0, -1)]);
    assert_eq!(found(&[-1]).await, [(0, 1, -1)]);
    assert_eq!(found(&[-3]).await, [(0, 0, 5)]);
    assert_eq!(found(&[5]).await, [(0, 0, 5)]);
    assert_eq!(found(&[6]).await, [(0, -1, -1)]);
    assert_eq!(found(&[-1, -1]).await[1], (ErrorCode::INVALID_REQUEST.0, -1, -1));
}

#[tokio::test]
async fn topics_are_validated_as_kafka_does() {
    let broker = start(2).await;
    broker.create_topic("taken", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let topic = |name, partitions, replicas| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas)
    };
    let config = |name: &'static str| {
        CreatableTopicConfig::default().with_name(name.into()).with_value(Some("1".into()))
    };
    let topics = vec![
        topic("default", -1, -1),
        topic("taken", 1, 1),
        topic("none", 0, 1),
        topic("thin", 1, 0),
        topic("wide", 1, 3),
        topic("a/b", 1, 1),
        topic("twice", 1, 1),
        topic("twice", 2, 1),
        topic("odd", 1, 1).with_configs(vec![config("retention.mss")]),
    ];
    let request = CreateTopicsRequest::default().with_topics(topics);
    let mut codes = async |request: &CreateTopicsRequest| -> Vec<_> {
        let answer = client.ask(request, 7).await.unwrap();
        answer.topics.iter().map(|topic| topic.error_code).collect()
    };
    let expected = [0, 36, 37, 38, 38, 17, 42, 42, 40];
    assert_eq!(codes(&request.clone().with_validate_only(true)).await, expected);
    assert_eq!(codes(&request).await, expected, "validating created nothing");
    assert_eq!(codes(&request).await[0], ErrorCode::TOPIC_ALREADY_EXISTS.0);
}

#[tokio::test]
async fn a_topic_has_the_partitions_replicas_and_configuration_that_it_was_asked_for() {
    let broker = start(3).await;
    let mut client = Client::connect(&broker, 1).await;
    let config = CreatableTopicConfig::default()
        .with_name("retention.ms".into())
        .with_value(Some("1000".into()));
    let topic = CreatableTopic::default()
        .with_name(topic_name("a"))
        .with_num_partitions(3)
        .with_replication_factor(2)
        .with_configs(vec![config]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let created = client.ask(&request, 7).await.unwrap().topics.swap_remove(0);
    assert_eq!((created.num_partitions, created.replication_factor), (3, 2));
    let told = created.configs.unwrap();
    assert_eq!((&*told[0].name, told[0].value.as_deref()), ("retention.ms", Some("1000")));
    assert_eq!(broker.partition_count("a"), 3);
    assert_eq!(broker.topic_configs("a")["retention.ms"], "1000");

    broker.stop_node(3).await;
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name("a")));
    let asked = MetadataRequest::default().with_topics(Some(vec![asked]));
    let found = client.ask(&asked, 12).await.unwrap().topics.swap_remove(0).partitions;
    let nodes = |nodes: &Vec<BrokerId>| nodes.iter().map(|id| id.0).collect::<Vec<_>>();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.leader_id.0, nodes(&it.replica_nodes), nodes(&it.isr_nodes)))
        .collect();
    let expected =
        [(1, vec![1, 2], vec![1, 2]), (2, vec![2, 3], vec![2]), (-1, vec![3, 1], vec![3, 1])];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    broker.inject("a", 0, ProduceFault::DelayAnswer(Duration::from_millis(20)));
    let mut client = Client::connect(&broker, 1).await;
    for index in 0..5_u8 {
        client.send(&produce("a", &[index]), 9).await;
    }
    for index in 0..5 {
        let (correlation_id, response) = client.receive::<ProduceResponse>(9).await.unwrap();
        assert_eq!(correlation_id, index);
        let offset = response.responses[0].partition_responses[0].base_offset;
        assert_eq!(offset, i64::from(index));
    }
}

#[tokio::test]
async fn bytes_that_are_no_request_close_the_connection() {
    let broker = start(1).await;
    for frame in [
        &b""[..],
        b"\0\x12",
        b"\0\x00\0\x02\0\0\0\x01\xff\xff",
        b"\x03\xe7\0\0\0\0\0\x01\xff\xff",
        // Metadata v1 and v9 that announce 2^31 topics
        b"\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff",
        b"\0\x03\0\x09\0\0\0\x01\xff\xff\0\xff\xff\xff\xff\x07",
        // Metadata v1 with a byte left over
        b"\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0\0",
    ] {
        let mut client = Client::connect(&broker, 1).await;
        client.send_frame(frame).await;
        assert!(client.receive::<ApiVersionsResponse>(0).await.is_none(), "{frame:x?}");
    }
    let mut client = Client::connect(&broker, 1).await;
    client.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(client.receive::<ApiVersionsResponse>(0).await.is_none());
}

#[tokio::test]
async fn a_batch_is_refused_where_and_why() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let mut torn = batch(b"value", ProducerStamp::NONE).to_vec();
    *torn.last_mut().unwrap() ^= 1;
    let refused = client.produce(&produce_batch("a", torn.into())).await;
    assert_eq!(refused.error_code, ErrorCode::CORRUPT_MESSAGE.0);
    assert_eq!(refused.base_offset, -1);
    assert!(refused.error_message.is_some());
    let unknown = client.produce(&produce("b", b"v")).await.error_code;
    assert_eq!(unknown, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let acks = client.produce(&produce("a", b"v").with_acks(2)).await.error_code;
    assert_eq!(acks, ErrorCode::INVALID_REQUIRED_ACKS.0);
    let transactional = Some(TransactionalId(StrBytes::from_static_str("t")));
    let request = produce("a", b"v").with_transactional_id(transactional);
    let refused = client.produce(&request).await.error_code;
    assert_eq!(refused, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.0);
    let by_id = client.ask(&produce("a", b"v"), 13).await.unwrap();
    let unknown = by_id.responses[0].partition_responses[0].error_code;
    assert_eq!(unknown, ErrorCode::UNKNOWN_TOPIC_ID.0);
    assert!(broker.accepted("a").is_empty());
}

#[tokio::test]
async fn the_wrong_node_names_the_leader_and_where_it_is() {
    let broker = start(2).await;
    broker.create_topic("a", 1).unwrap();
    broker.move_leader("a", 0, 2).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let response = client.ask(&produce("a", b"v"), 10).await.unwrap();
    let refused = &response.responses[0].partition_responses[0];
    assert_eq!(refused.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
    assert_eq!(
        (refused.current_leader.leader_id, refused.current_leader.leader_epoch),
        (2.into(), 1)
    );
    let endpoint = &response.node_endpoints[0];
    assert_eq!(format!("{}:{}", endpoint.host.as_str(), endpoint.port), broker.bootstrap()[1]);
    let mut leader = Client::connect(&broker, 2).await;
    assert_eq!(leader.produce(&produce("a", b"v")).await.error_code, 0);
}

#[tokio::test]
async fn acks_0_is_never_answered_and_an_error_closes() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    client.send(&produce("a", b"first").with_acks(0), 9).await;
    assert_eq!(client.produce(&produce("a", b"second")).await.base_offset, 1);
    client.send(&produce("unknown", b"v").with_acks(0), 9).await;
    assert!(client.receive::<ProduceResponse>(9).await.is_none());
}

#[tokio::test]
async fn unknown_topics_are_created_if_both_sides_allow_it() {
    let broker = start(1).await;
    let mut client = Client::connect(&broker, 1).await;
    let asked = |name| {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };
    let mut code = async |request: MetadataRequest| {
        client.ask(&request, 12).await.unwrap().topics[0].error_code
    };
    let forbidden = asked("a").with_allow_auto_topic_creation(false);
    assert_eq!(code(forbidden).await, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    assert_eq!(code(asked("a")).await, 0);
    assert_eq!(code(asked("a/b")).await, ErrorCode::INVALID_TOPIC_EXCEPTION.0);
    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(Uuid::from_u128(9));
    let by_id = MetadataRequest::default().with_topics(Some(vec![by_id]));
    assert_eq!(code(by_id).await, ErrorCode::UNKNOWN_TOPIC_ID.0);
    let config = BrokerConfig::default().with_auto_create_topics(false);
    let closed = EmbeddedBroker::start(config).await.unwrap();
    let mut client = Client::connect(&closed, 1).await;
    let refused = client.ask(&asked("a"), 12).await.unwrap().topics[0].error_code;
    assert_eq!(refused, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_no_longer_than_it_wants() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let (mut reader, mut writer) =
        (Client::connect(&broker, 1).await, Client::connect(&broker, 1).await);
    let empty = reader.ask(&fetch("a", Uuid::nil(), 0).with_max_wait_ms(1), 12).await.unwrap();
    assert_eq!(empty.responses[0].partitions[0].records, Some(Bytes::new()));
    reader.send(&fetch("a", Uuid::nil(), 0), 12).await;
    // Counted when received, and then served without a pause until it has to wait.
    while broker.requests()[&Api::Fetch] < 2 {
        tokio::task::yield_now().await;
    }
    writer.produce(&produce("a", b"v")).await;
    let (_, response) =
        reader.receive::<kafka_protocol::messages::FetchResponse>(12).await.unwrap();
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    let beyond = reader.ask(&fetch("a", Uuid::nil(), 2), 12).await.unwrap();
    let code = beyond.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
}

#[tokio::test]
async fn a_stopped_node_is_left_out_and_comes_back_on_its_port() {
    let broker = start(2).await;
    broker.create_topic("a", 2).unwrap();
    let ports = broker.bootstrap();
    let mut client = Client::connect(&broker, 1).await;
    let mut cut = Client::connect(&broker, 2).await;
    broker.stop_node(2).await;
    assert!(cut.stream.read_u8().await.is_err());
    assert!(TcpStream::connect(&ports[1]).await.is_err());
    let all = MetadataRequest::default().with_topics(None);
    let response = client.ask(&all, 9).await.unwrap();
    assert_eq!(response.brokers.len(), 1);
    let orphan = &response.topics[0].partitions[1];
    assert_eq!((orphan.error_code, orphan.leader_id), (5, (-1).into()));
    broker.start_node(2).await.unwrap();
    assert_eq!(broker.bootstrap(), ports);
    let mut back = Client::connect(&broker, 2).await;
    assert_eq!(back.ask(&all, 9).await.unwrap().brokers.len(), 2);
    broker.disconnect_all();
    assert!(back.stream.read_u8().await.is_err());
    broker.shutdown().await;
    assert!(TcpStream::connect(&ports[0]).await.is_err());
}

#[tokio::test]
async fn brokers_beyond_the_first_take_the_ports_behind_it() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = BrokerConfig::default().with_listen([free]).with_brokers(3);
    let Ok(broker) = EmbeddedBroker::start(config).await else {
        println!("skipped: another program took the port");
        return;
    };
    let port = |address: &String| address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let ports: Vec<_> = broker.bootstrap().iter().map(port).collect();
    assert_eq!(ports[0], free.port());
    assert!(ports[0] < ports[1] && ports[1] < ports[2], "{ports:?}");
}

#[tokio::test]
async fn an_idempotent_repeat_is_answered_with_its_first_offset_and_stored_once() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let stamp = ProducerStamp { producer_id: 1, epoch: 0, base_sequence: 0 };
    for _ in 0..2 {
        let answer = client.produce(&produce_batch("a", batch(b"v", stamp))).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    }
    assert_eq!(values(&broker, "a"), [&b"v"[..]]);
}

#[tokio::test]
async fn a_configuration_without_brokers_is_refused() {
    for config in [
        BrokerConfig::default().with_brokers(0),
        BrokerConfig::default().with_listen([]),
        BrokerConfig::default().with_partitions(0),
    ] {
        let refused = EmbeddedBroker::start(config).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_frame_of_any_bytes_is_decoded_or_refused_without_a_panic() {
    use proptest::prelude::*;
    proptest!(|(
        api in 0..Api::ALL.len(),
        version in 0_i16..14,
        body in proptest::collection::vec(any::<u8>(), 0..80),
    )| {
        let mut frame = BytesMut::new();
        frame.put_i16(Api::ALL[api].key());
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_slice(&body);
        let frame = frame.freeze();
        for profile in Profile::ALL {
            drop(dispatch::Call::decode(frame.clone(), profile));
        }
    });
}
