//! What tells the profiles apart, over TCP.

use std::ops::RangeInclusive;

use super::*;

async fn client(profile: Profile) -> (EmbeddedBroker, Client) {
    let broker = start_as(profile).await;
    broker.create_topic("a", 1).unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

/// A batch as `stamp` says, produced in the highest version that names topics.
async fn produce_stamped(client: &mut Client, profile: Profile, stamp: ProducerStamp) -> i16 {
    produce_bytes(client, profile, batch(b"v", stamp)).await.error_code
}

async fn produce_bytes(
    client: &mut Client,
    profile: Profile,
    bytes: Bytes,
) -> PartitionProduceResponse {
    let version = (*profile.served(Api::Produce).end()).min(12);
    let response = client.ask(&produce_batch("a", bytes), version).await.unwrap();
    response.responses[0].partition_responses[0].clone()
}

/// A batch with other bytes at `at`, its checksum right again.
fn edited(codec: Codec, at: RangeInclusive<usize>, byte: u8) -> Bytes {
    let mut builder = BatchBuilder::new(BatchLimits { bytes_max: 1 << 20, records_max: 10 });
    builder.try_append(5, &Content { value: Some(&[b'v'; 500]), ..Content::default() });
    let sealed = builder.seal(&mut Compressor::new(codec.into()));
    let mut bytes = sealed.to_bytes(ProducerStamp::NONE).to_vec();
    bytes[at].fill(byte);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[tokio::test]
async fn every_version_served_is_answered_in_its_own_layout() {
    for profile in Profile::ALL {
        let (broker, mut client) = client(profile).await;
        let id = broker.shared.lock().cluster.topic(TopicRef::Name("a")).unwrap().1.id;
        // Those of logins are `security`'s.
        let is_login = |api: &Api| matches!(api, Api::SaslHandshake | Api::SaslAuthenticate);
        for api in Api::ALL.into_iter().filter(|api| !is_login(api)) {
            for version in profile.served(api) {
                ask_in(&mut client, api, version, id).await;
            }
            assert_eq!(broker.versions()[&api], *profile.served(api).end(), "{profile}");
        }
    }
}

async fn ask_in(client: &mut Client, api: Api, version: i16, id: Uuid) {
    match api {
        Api::Produce => {
            let mut request = produce("a", b"v");
            request.topic_data[0].topic_id = id;
            let response = client.ask(&request, version).await.unwrap();
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "v{version}");
        }
        Api::Fetch => {
            let response = client.ask(&fetch("a", id, 0), version).await.unwrap();
            assert!(!response.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
        }
        Api::ListOffsets => {
            let partition = ListOffsetsPartition::default().with_timestamp(-2);
            let topic = ListOffsetsTopic::default()
                .with_name(topic_name("a"))
                .with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            let response = client.ask(&request, version).await.unwrap();
            assert_eq!(response.topics[0].partitions[0].offset, 0);
        }
        Api::Metadata => {
            let by_name = MetadataRequestTopic::default().with_name(Some(topic_name("a")));
            let request = MetadataRequest::default().with_topics(Some(vec![by_name]));
            let response = client.ask(&request, version).await.unwrap();
            assert_eq!(response.topics[0].partitions[0].leader_id, 1);
        }
        Api::FindCoordinator => find_coordinator(client, version).await,
        Api::ApiVersions => {
            let name = StrBytes::from_static_str(if version < 3 { "" } else { "a" });
            let request = ApiVersionsRequest::default()
                .with_client_software_name(name.clone())
                .with_client_software_version(name);
            assert_eq!(client.ask(&request, version).await.unwrap().api_keys.len(), Api::ALL.len());
        }
        Api::CreateTopics => create_topic(client, version).await,
        Api::SaslHandshake | Api::SaslAuthenticate => unreachable!("nobody has to log in"),
        Api::InitProducerId => {
            let request = InitProducerIdRequest::default().with_transactional_id(None);
            assert_eq!(client.ask(&request, version).await.unwrap().error_code, 0);
        }
    }
}

async fn find_coordinator(client: &mut Client, version: i16) {
    let key = StrBytes::from_static_str("group");
    let request = match version {
        ..4 => FindCoordinatorRequest::default().with_key(key),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
    };
    let response = client.ask(&request, version).await.unwrap();
    let node = response.coordinators.first().map_or(response.node_id, |found| found.node_id);
    assert_eq!(node, 1);
}

async fn create_topic(client: &mut Client, version: i16) {
    let topic = CreatableTopic::default()
        .with_name(topic_name(&format!("new-{version}")))
        .with_num_partitions(2)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    assert_eq!(client.ask(&request, version).await.unwrap().topics[0].error_code, 0);
    let again = client.ask(&request, version).await.unwrap().topics[0].error_code;
    assert_eq!(again, ErrorCode::TOPIC_ALREADY_EXISTS.0);
}

#[tokio::test]
async fn a_version_of_api_versions_that_is_not_served_is_answered_as_v0() {
    for (profile, listed) in [
        (Profile::Kafka4, &[(18, 0, 4)][..]),
        (Profile::Kafka39, &[(18, 0, 4)]),
        (Profile::Kafka2, &[]),
        (
            Profile::Redpanda,
            &[
                (0, 0, 7),
                (1, 4, 11),
                (2, 0, 4),
                (3, 0, 8),
                (10, 0, 3),
                (17, 0, 1),
                (18, 0, 3),
                (19, 0, 6),
                (22, 0, 3),
                (36, 0, 2),
            ],
        ),
    ] {
        let (broker, mut client) = client(profile).await;
        client.send_frame(&[0, 18, 0, 99, 0, 0, 0, 7, 1, 2, 3]).await;
        let (correlation_id, response) = client.receive::<ApiVersionsResponse>(0).await.unwrap();
        assert_eq!((correlation_id, response.error_code), (7, ErrorCode::UNSUPPORTED_VERSION.0));
        let ranges = response.api_keys.iter();
        let ranges: Vec<_> =
            ranges.map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        assert_eq!(ranges, listed, "{profile}");
        assert!(!broker.versions().contains_key(&Api::ApiVersions), "it was not served");
    }
}

#[tokio::test]
async fn a_client_must_give_its_name_as_one() {
    let (_broker, mut client) = client(Profile::Kafka4).await;
    let unnamed = client.ask(&ApiVersionsRequest::default(), 3).await.unwrap();
    assert_eq!(unnamed.error_code, ErrorCode::INVALID_REQUEST.0);
}

#[tokio::test]
async fn a_version_of_another_api_that_is_not_served_closes_the_connection() {
    for (profile, produce_version, metadata_version) in
        [(Profile::Kafka39, 12, 13), (Profile::Kafka2, 8, 8), (Profile::Redpanda, 8, 9)]
    {
        let (broker, mut client) = client(profile).await;
        assert!(client.ask(&produce("a", b"v"), produce_version).await.is_none(), "{profile}");
        let mut client = Client::connect(&broker, 1).await;
        let request = MetadataRequest::default();
        assert!(client.ask(&request, metadata_version).await.is_none(), "{profile}");
    }
}

#[tokio::test]
async fn an_unknown_producer_begins_anywhere_but_for_kafka_2() {
    for profile in Profile::ALL {
        let expected = match profile {
            Profile::Kafka2 => ErrorCode::UNKNOWN_PRODUCER_ID,
            _ => ErrorCode::NONE,
        };
        let (broker, mut client) = client(profile).await;
        let stamp = ProducerStamp { producer_id: 1, epoch: 3, base_sequence: 0 };
        assert_eq!(produce_stamped(&mut client, profile, stamp).await, 0);
        broker.forget_producers("a", 0).unwrap();
        let next = ProducerStamp { base_sequence: 1, ..stamp };
        assert_eq!(produce_stamped(&mut client, profile, next).await, expected.0, "{profile}");
        let renewed = ProducerStamp { epoch: 4, ..stamp };
        assert_eq!(produce_stamped(&mut client, profile, renewed).await, 0);
        let fenced = produce_stamped(&mut client, profile, stamp).await;
        assert_eq!(fenced, ErrorCode::INVALID_PRODUCER_EPOCH.0, "{profile}");
    }
}

#[tokio::test]
async fn refusals_have_the_codes_of_their_broker() {
    let no_record = edited(Codec::None, 61..=61, 0xff);
    let old_format = edited(Codec::None, 16..=16, 1);
    for (profile, for_record, for_disk) in [
        (Profile::Kafka4, 87, 56),
        (Profile::Kafka39, 87, 56),
        (Profile::Kafka2, 2, 56),
        (Profile::Redpanda, 87, 8),
    ] {
        let (broker, mut client) = client(profile).await;
        for bytes in [&no_record, &old_format] {
            let refused = produce_bytes(&mut client, profile, bytes.clone()).await.error_code;
            assert_eq!(refused, for_record, "{profile}");
        }
        broker.set_disk_full(true);
        let good = batch(b"v", ProducerStamp::NONE);
        let full = produce_bytes(&mut client, profile, good.clone()).await.error_code;
        assert_eq!(full, for_disk, "{profile}");
        broker.set_disk_full(false);
        assert_eq!(produce_bytes(&mut client, profile, good).await.error_code, 0);
        assert_eq!(broker.accepted("a").len(), 1);
    }
}

#[tokio::test]
async fn redpanda_keeps_the_start_of_its_log_to_itself() {
    for (profile, told) in [(Profile::Kafka2, 0), (Profile::Redpanda, -1)] {
        let (_broker, mut client) = client(profile).await;
        let answer = produce_bytes(&mut client, profile, batch(b"v", ProducerStamp::NONE)).await;
        assert_eq!((answer.base_offset, answer.log_start_offset), (0, told));
        assert_eq!(answer.log_append_time_ms, -1);
    }
}

#[tokio::test]
async fn redpanda_creates_topics_only_when_configured_to() {
    let by_name = MetadataRequestTopic::default().with_name(Some(topic_name("new")));
    let request = MetadataRequest::default().with_topics(Some(vec![by_name]));
    let redpanda = BrokerConfig::default().with_profile(Profile::Redpanda);
    for (config, expected) in [(redpanda.clone(), 3), (redpanda.with_auto_create_topics(true), 0)] {
        let broker = EmbeddedBroker::start(config).await.unwrap();
        let mut client = Client::connect(&broker, 1).await;
        assert_eq!(client.ask(&request, 8).await.unwrap().topics[0].error_code, expected);
    }
}

#[tokio::test]
async fn legacy_validation_stores_what_no_consumer_can_read() {
    let config = BrokerConfig::default().with_validation(Validation::Legacy);
    let broker = EmbeddedBroker::start(config).await.unwrap();
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let noise = edited(Codec::Lz4, 61..=70, 0xa5);
    let size = noise.len();
    let stored = client.produce(&produce_batch("a", noise)).await;
    assert_eq!((stored.error_code, stored.base_offset), (0, 0));
    assert_eq!(client.produce(&produce("a", b"v")).await.base_offset, 1);
    assert_eq!(values(&broker, "a"), [&b"v"[..]]);
    let response = client.ask(&fetch("a", Uuid::nil(), 0), 12).await.unwrap();
    assert!(response.responses[0].partitions[0].records.as_ref().unwrap().len() > size);
    let plain = edited(Codec::None, 61..=61, 0xff);
    let refused = client.produce(&produce_batch("a", plain)).await.error_code;
    assert_eq!(refused, ErrorCode::INVALID_RECORD.0, "what is not compressed is still checked");
}
