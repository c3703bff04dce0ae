//! Golden answers: every response of two Kafka versions, read as Kafka's own code reads it.
//!
//! `decoded.json` is Kafka's reading. Ours is put under Kafka's names for this; fields that ottla
//! leaves unread are not compared.

use super::{CORRELATION_ID, api_and_version, file, json_file, read_batch, records, stems};
use crate::protocol::messages::api_versions::ApiVersionsResponse;
use crate::protocol::messages::create_topics::CreateTopicsResponse;
use crate::protocol::messages::fetch::FetchResponse;
use crate::protocol::messages::init_producer_id::InitProducerIdResponse;
use crate::protocol::messages::list_offsets::ListOffsetsResponse;
use crate::protocol::messages::metadata::{MetadataResponse, Topic};
use crate::protocol::messages::produce::{PartitionResult, ProduceResponse, TopicRef};
use crate::protocol::messages::sasl_authenticate::SaslAuthenticateResponse;
use crate::protocol::messages::sasl_handshake::SaslHandshakeResponse;
use crate::protocol::messages::{ApiKey, correlation_id, response_body};
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const BROKERS: [&str; 2] = ["kafka-3.9.2", "kafka-4.4.0"];
/// The one version asked for that no broker has; the answer is a refusal.
const ABSURD_VERSION: i16 = 99;

#[test]
fn kafkas_answers_are_read_as_kafka_reads_them() {
    for broker in BROKERS {
        let folder = format!("responses/{broker}");
        let Some(stems) = stems(&folder) else { return };
        let decoded = json_file(&format!("{folder}/decoded.json"));
        let mut read_versions = BTreeMap::<ApiKey, BTreeSet<i16>>::new();
        let mut passed_over = Vec::new();
        for stem in &stems {
            let (api, version) = api_and_version(stem);
            if !api.versions().contains(&version) && version != ABSURD_VERSION {
                passed_over.push(stem.as_str());
                continue;
            }
            let frame = file(&format!("{folder}/{stem}.bin"));
            assert_eq!(correlation_id(&frame), Ok(CORRELATION_ID), "{stem}");
            let body = response_body(api, version, &frame).unwrap();
            let ours = read_response(api, version, &body).unwrap();
            assert_agrees(&ours, Some(&decoded[stem]), &format!("{broker} {stem}"));
            read_versions.entry(api).or_default().insert(version);
        }
        assert!(read_versions.get_mut(&ApiKey::ApiVersions).unwrap().remove(&ABSURD_VERSION));
        for (api, versions) in read_versions {
            assert_eq!(versions, shared_versions(&decoded, api), "{broker} {api}");
            println!("{broker}: {api} answers read in versions {versions:?}");
        }
        println!("{broker}: passed over {passed_over:?}");
    }
}

#[test]
fn a_fetched_batch_holds_the_records_that_were_produced() {
    for broker in BROKERS {
        let folder = format!("responses/{broker}");
        let Some(stems) = stems(&folder) else { return };
        for stem in stems.iter().filter(|stem| stem.starts_with("fetch")) {
            let (api, version) = api_and_version(stem);
            if !api.versions().contains(&version) {
                continue;
            }
            let frame = file(&format!("{folder}/{stem}.bin"));
            let body = response_body(api, version, &frame).unwrap();
            let answer = FetchResponse::decode(version, &body).unwrap();
            let batch = read_batch(answer.partitions[0].records.clone());
            assert_eq!(batch.records, records(batch.base_offset), "{broker} {stem}");
        }
    }
}

/// What we read of a response, under the names that Kafka has for it.
fn read_response(api: ApiKey, version: i16, body: &Bytes) -> Result<Value, DecodeError> {
    Ok(match api {
        ApiKey::ApiVersions => {
            let ours = ApiVersionsResponse::decode(version, body)?;
            let api_keys = ours.ranges.iter().map(|(key, range)| {
                json!({"apiKey": key, "minVersion": range.start(), "maxVersion": range.end()})
            });
            json!({"errorCode": ours.error.0, "apiKeys": Vec::from_iter(api_keys)})
        }
        ApiKey::CreateTopics => {
            let ours = CreateTopicsResponse::decode(version, body)?;
            let topics = ours.topics.iter().map(|topic| {
                json!({
                    "name": topic.name,
                    "errorCode": topic.error.0,
                    "errorMessage": topic.message,
                })
            });
            json!({"throttleTimeMs": ours.throttle_ms, "topics": Vec::from_iter(topics)})
        }
        ApiKey::Fetch => fetch_response(&FetchResponse::decode(version, body)?),
        ApiKey::InitProducerId => {
            let ours = InitProducerIdResponse::decode(version, body)?;
            json!({
                "throttleTimeMs": ours.throttle_ms,
                "errorCode": ours.error.0,
                "producerId": ours.producer_id,
                "producerEpoch": ours.epoch,
            })
        }
        ApiKey::ListOffsets => {
            let ours = ListOffsetsResponse::decode(version, body)?;
            let partitions = ours.partitions.iter().map(|of| {
                json!({
                    "partitionIndex": of.partition,
                    "errorCode": of.error.0,
                    "offset": of.offset,
                })
            });
            let topic = json!({"partitions": Vec::from_iter(partitions)});
            json!({"throttleTimeMs": ours.throttle_ms, "topics": [topic]})
        }
        ApiKey::Metadata => metadata_response(&MetadataResponse::decode(version, body)?),
        ApiKey::SaslHandshake => {
            let ours = SaslHandshakeResponse::decode(version, body)?;
            json!({"errorCode": ours.error.0, "mechanisms": ours.mechanisms})
        }
        ApiKey::SaslAuthenticate => {
            let ours = SaslAuthenticateResponse::decode(version, body)?;
            json!({
                "errorCode": ours.error.0,
                "errorMessage": ours.message,
                "sessionLifetimeMs": ours.session_lifetime_ms,
            })
        }
        ApiKey::Produce => {
            let ours = ProduceResponse::decode(version, body)?;
            let endpoints = ours
                .node_endpoints
                .iter()
                .map(|at| json!({"nodeId": at.node_id, "host": at.host, "port": at.port}));
            json!({
                "responses": Vec::from_iter(ours.partitions.iter().map(partition_result)),
                "throttleTimeMs": ours.throttle_ms,
                "nodeEndpoints": Vec::from_iter(endpoints),
            })
        }
    })
}

fn fetch_response(ours: &FetchResponse) -> Value {
    let partitions = ours.partitions.iter().map(|of| {
        json!({
            "partitionIndex": of.partition,
            "errorCode": of.error.0,
            "highWatermark": of.high_watermark,
            "logStartOffset": of.log_start_offset,
            "recordsSizeInBytes": of.records.len(),
        })
    });
    json!({
        "throttleTimeMs": ours.throttle_ms,
        "errorCode": ours.error.0,
        "responses": [{"partitions": Vec::from_iter(partitions)}],
    })
}

fn metadata_response(ours: &MetadataResponse) -> Value {
    let brokers = ours.brokers.iter().map(|broker| {
        json!({
            "nodeId": broker.node_id,
            "host": broker.host,
            "port": broker.port,
            "rack": broker.rack,
        })
    });
    json!({
        "throttleTimeMs": ours.throttle_ms,
        "brokers": Vec::from_iter(brokers),
        "clusterId": ours.cluster_id,
        "controllerId": ours.controller_id,
        "topics": Vec::from_iter(ours.topics.iter().map(metadata_topic)),
        "errorCode": ours.error.0,
    })
}

fn metadata_topic(ours: &Topic) -> Value {
    let partitions = ours.partitions.iter().map(|partition| {
        json!({
            "errorCode": partition.error.0,
            "partitionIndex": partition.index,
            "leaderId": partition.leader_id,
            "leaderEpoch": partition.leader_epoch,
            "replicaNodes": partition.replica_count,
            "isrNodes": partition.isr_count,
        })
    });
    json!({
        "errorCode": ours.error.0,
        "name": ours.name,
        "topicId": base64(ours.id),
        "isInternal": ours.is_internal,
        "partitions": Vec::from_iter(partitions),
    })
}

/// Each request was about one partition, so each result makes a topic of its own.
fn partition_result(ours: &PartitionResult) -> Value {
    let (name, topic) = match &ours.topic {
        TopicRef::Name(name) => ("name", name.to_string()),
        TopicRef::Id(id) => ("topicId", base64(*id)),
    };
    let record_errors = ours.record_errors.iter().map(
        |error| json!({"batchIndex": error.batch_index, "batchIndexErrorMessage": error.message}),
    );
    let leader = ours
        .current_leader
        .map(|leader| json!({"leaderId": leader.node_id, "leaderEpoch": leader.epoch}));
    let result = json!({
        "index": ours.partition,
        "errorCode": ours.error.0,
        "baseOffset": ours.base_offset,
        "logAppendTimeMs": ours.log_append_time,
        "logStartOffset": ours.log_start_offset,
        "recordErrors": Vec::from_iter(record_errors),
        "errorMessage": ours.message,
        "currentLeader": leader,
    });
    json!({name: topic, "partitionResponses": [result]})
}

/// Every field that we read says what Kafka's says; one that the version does not have is unset.
fn assert_agrees(ours: &Value, theirs: Option<&Value>, at: &str) {
    match (ours, theirs) {
        (Value::Object(fields), Some(theirs)) => {
            for (name, value) in fields {
                assert_agrees(value, theirs.get(name), &format!("{at}, {name}"));
            }
        }
        (Value::Array(ours), Some(Value::Array(theirs))) => {
            assert_eq!(ours.len(), theirs.len(), "{at}");
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_agrees(ours, Some(theirs), &format!("{at} {index}"));
            }
        }
        // Of nodes, only their number is kept.
        (Value::Number(count), Some(Value::Array(nodes))) => {
            assert_eq!(count.as_u64(), u64::try_from(nodes.len()).ok(), "{at}");
        }
        (ours, Some(theirs)) => assert_eq!(ours, theirs, "{at}"),
        (ours, None) => {
            let unset = [json!(null), json!(0), json!(-1), json!([]), json!(base64([0; 16]))];
            assert!(unset.contains(ours), "{at} is {ours}, which Kafka did not send");
        }
    }
}

/// The versions of `api` that both ottla and the broker speak, as Kafka itself read the broker's.
fn shared_versions(decoded: &Value, api: ApiKey) -> BTreeSet<i16> {
    let listed = decoded["api-versions-v4"]["apiKeys"].as_array().unwrap();
    let listed = listed.iter().find(|entry| entry["apiKey"] == api as i16).unwrap();
    api.versions()
        .filter(|version| {
            let version = i64::from(*version);
            listed["minVersion"].as_i64().unwrap() <= version
                && version <= listed["maxVersion"].as_i64().unwrap()
        })
        .collect()
}

/// A topic id as Kafka prints it: base64 for URLs, without padding.
fn base64(id: [u8; 16]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let id = u128::from_be_bytes(id);
    // 128 bits are 21 groups of six and a last one of two, which is filled up with zeros.
    let groups = (0..21).map(|index| id >> (122 - 6 * index)).chain([id << 4]);
    groups.map(|group| char::from(ALPHABET[usize::try_from(group & 63).unwrap()])).collect()
}
