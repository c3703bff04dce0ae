//! CreateTopics, key 19.
//!
//! v5 flexible, and the response tells what was made; v7 topic ids. Every node takes it, as in a
//! KRaft cluster. Topic configurations are accepted and have no effect; a topic has one replica
//! whatever it asks for, but must not ask for more than there are brokers.

use std::collections::HashMap;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::State;
use crate::broker::cluster::{Cluster, TopicRef};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

const DEFAULT: i32 = -1;

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
                Some(1) => create(topic, self.validate_only, scope.state),
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
    state: &mut State,
) -> Result<CreatableTopicResult, ErrorCode> {
    state.check_access(TopicRef::Name(&topic.name))?;
    let cluster = &mut state.cluster;
    let partitions = partition_count(topic, cluster)?;
    check_replicas(topic, cluster)?;
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(Vec::new()));
    if validate_only {
        cluster.check_new_topic(&topic.name, partitions)?;
        return Ok(result);
    }
    let created = cluster.create_topic(&topic.name, partitions)?;
    Ok(result.with_topic_id(created.id))
}

fn partition_count(topic: &CreatableTopic, cluster: &Cluster) -> Result<i32, ErrorCode> {
    if topic.assignments.is_empty() {
        let given = Some(topic.num_partitions).filter(|count| *count != DEFAULT);
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

fn check_replicas(topic: &CreatableTopic, cluster: &Cluster) -> Result<(), ErrorCode> {
    let factor = topic.replication_factor;
    let enough = usize::try_from(factor).is_ok_and(|factor| factor <= cluster.node_count());
    if i32::from(factor) != DEFAULT && (factor == 0 || !enough) {
        return Err(ErrorCode::INVALID_REPLICATION_FACTOR);
    }
    let is_assignable = |ids: &Vec<_>| {
        !ids.is_empty() && ids.iter().all(|id| cluster.endpoint(i32::from(*id)).is_some())
    };
    if topic.assignments.iter().all(|part| is_assignable(&part.broker_ids)) {
        Ok(())
    } else {
        Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT)
    }
}

fn refused(topic: &CreatableTopic, code: ErrorCode) -> CreatableTopicResult {
    let message = match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => format!("topic {:?} exists", topic.name.as_str()),
        code => code.to_string(),
    };
    CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code.0)
        .with_error_message(Some(StrBytes::from_string(message)))
}
