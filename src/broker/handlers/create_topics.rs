//! CreateTopics, key 19.
//!
//! v4 numbers may be left to the broker; v5 flexible, and the response tells what was made; v7 topic
//! ids. Every node takes it, as in a KRaft cluster. Topic configurations must be named as Kafka's, are
//! kept and told, and have no effect, their values unread.
//!
//! Names: `TopicConfig` of Apache Kafka 4.4, and what 3.9 had besides.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::cluster::{Cluster, Creation, TopicRef};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

const DEFAULT: i32 = -1;

/// Where a configuration comes from that a topic has of its own.
const OF_TOPIC: i8 = 1;

const CONFIGS: [&str; 36] = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

impl Serve for CreateTopicsRequest {
    const SHAPE: Shape = Shape {
        versions: 2..=7,
        flexible_from: 5,
        fields: &[
            Field::since(
                0,
                Layout::Array(&[
                    Field::since(0, Layout::Text),
                    Field::since(0, Layout::Fixed(4)),
                    Field::since(0, Layout::Fixed(2)),
                    Field::since(
                        0,
                        Layout::Array(&[
                            Field::since(0, Layout::Fixed(4)),
                            Field::since(0, Layout::Values(&Layout::Fixed(4))),
                        ]),
                    ),
                    Field::since(
                        0,
                        Layout::Array(&[
                            Field::since(0, Layout::Text),
                            Field::since(0, Layout::Text),
                        ]),
                    ),
                ]),
            ),
            Field::since(0, Layout::Fixed(4)),
            Field::since(1, Layout::Fixed(1)),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<CreateTopicsResponse> {
        let mut times_named = HashMap::new();
        for topic in &self.topics {
            *times_named.entry(&topic.name).or_insert(0_u32) += 1;
        }
        let results = self
            .topics
            .iter()
            .map(|topic| match times_named.get(&topic.name) {
                // Seen of Kafka 3.9 and 4.4: with no time at all, everything is too slow.
                _ if self.timeout_ms <= 0 => Err(ErrorCode::REQUEST_TIMED_OUT),
                Some(1) => create(topic, self.validate_only, scope),
                _ => Err(ErrorCode::INVALID_REQUEST),
            })
            .zip(&self.topics)
            .map(|(result, topic)| result.unwrap_or_else(|code| refused(topic, code)))
            .collect();
        Outcome::Answer(CreateTopicsResponse::default().with_topics(results))
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> CreateTopicsResponse {
        let topics = self.topics.iter().map(|topic| refused(topic, code)).collect();
        CreateTopicsResponse::default().with_topics(topics)
    }
}

fn create(
    topic: &CreatableTopic,
    validate_only: bool,
    scope: &mut Scope<'_>,
) -> Result<CreatableTopicResult, ErrorCode> {
    let has_defaults = scope.profile.fills_in_topics();
    scope.state.check_access(TopicRef::Name(&topic.name))?;
    let cluster = &mut scope.state.cluster;
    let creation = Creation {
        partitions: partition_count(topic, cluster, has_defaults)?,
        replication_factor: replication_factor(topic, cluster, has_defaults)?,
        configs: configs(topic)?,
    };
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_num_partitions(creation.partitions)
        .with_replication_factor(creation.replication_factor)
        .with_configs(Some(creation.configs.iter().map(told).collect()));
    if validate_only {
        cluster.check_new_topic(&topic.name, &creation)?;
        return Ok(result);
    }
    let created = cluster.create_topic(&topic.name, creation)?;
    Ok(result.with_topic_id(created.id))
}

fn partition_count(
    topic: &CreatableTopic,
    cluster: &Cluster,
    has_defaults: bool,
) -> Result<i32, ErrorCode> {
    if topic.assignments.is_empty() {
        let given = Some(topic.num_partitions).filter(|count| *count != DEFAULT || !has_defaults);
        return Ok(given.unwrap_or_else(|| cluster.partitions_default()));
    }
    if topic.num_partitions != DEFAULT || i32::from(topic.replication_factor) != DEFAULT {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let mut indexes: Vec<_> = topic.assignments.iter().map(|part| part.partition_index).collect();
    indexes.sort_unstable();
    if (0..).zip(&indexes).any(|(expected, index)| expected != *index) {
        return Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    }
    i32::try_from(indexes.len()).map_err(|_| ErrorCode::INVALID_PARTITIONS)
}

/// Nodes of each partition; which they are is not up to the client, whatever it assigns.
fn replication_factor(
    topic: &CreatableTopic,
    cluster: &Cluster,
    has_defaults: bool,
) -> Result<i16, ErrorCode> {
    let Some(first) = topic.assignments.first() else {
        let is_left = i32::from(topic.replication_factor) == DEFAULT && has_defaults;
        return Ok(if is_left { 1 } else { topic.replication_factor });
    };
    let is_assignable = |ids: &Vec<_>| {
        !ids.is_empty() && ids.iter().all(|id| cluster.endpoint(i32::from(*id)).is_some())
    };
    match topic.assignments.iter().all(|part| is_assignable(&part.broker_ids)) {
        true => Ok(i16::try_from(first.broker_ids.len()).unwrap_or(i16::MAX)),
        false => Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT),
    }
}

fn configs(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, ErrorCode> {
    let read = |config: &CreatableTopicConfig| match &config.value {
        Some(value) if CONFIGS.contains(&&*config.name) => {
            Ok((config.name.to_string(), value.to_string()))
        }
        _ => Err(ErrorCode::INVALID_CONFIG),
    };
    topic.configs.iter().map(read).collect()
}

fn told((name, value): (&String, &String)) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(StrBytes::from_string(name.clone()))
        .with_value(Some(StrBytes::from_string(value.clone())))
        .with_config_source(OF_TOPIC)
}

fn refused(topic: &CreatableTopic, code: ErrorCode) -> CreatableTopicResult {
    let message = match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => format!("topic {:?} exists", topic.name.as_str()),
        ErrorCode::INVALID_CONFIG => {
            let unknown = topic.configs.iter().find(|config| !CONFIGS.contains(&&*config.name));
            match unknown {
                Some(config) => format!("unknown topic config name: {}", config.name.as_str()),
                None => "a topic config has no value".to_owned(),
            }
        }
        code => code.to_string(),
    };
    CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code.0)
        .with_error_message(Some(StrBytes::from_string(message)))
}
