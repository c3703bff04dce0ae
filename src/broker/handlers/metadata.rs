//! Metadata, key 3: the brokers, and the topics with their leaders.
//!
//! v1 null means all topics; v4 the client may forbid creating topics; v7 leader epochs; v8
//! rights, where they are asked for; v9 flexible; v10 topic ids in the response; v12 topics may be
//! asked for by id; v13 a top-level error (KIP-1102). A partition's replicas are its leader and the
//! nodes behind it, in sync while they run; a leader that is stopped is none.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::State;
use crate::broker::cluster::{Cluster, Creation, NO_LEADER, Topic, TopicRef, topic_name};
use crate::broker::faults::MetadataFault;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

impl Serve for MetadataRequest {
    const SHAPE: Shape = Shape {
        versions: 0..=13,
        flexible_from: 9,
        fields: &[
            Field::since(
                0,
                Layout::Array(&[
                    Field::since(10, Layout::Fixed(16)),
                    Field::since(0, Layout::Text),
                ]),
            ),
            Field::since(4, Layout::Fixed(1)),
            Field::within(8, 10, Layout::Fixed(1)),
            Field::since(8, Layout::Fixed(1)),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<MetadataResponse> {
        let may_create =
            self.allow_auto_topic_creation && scope.state.cluster.auto_creates_topics();
        let mut topics: Vec<_> = match &self.topics {
            Some(topics) if !topics.is_empty() || scope.version > 0 => {
                topics.iter().map(|topic| one_topic(topic, scope.state, may_create)).collect()
            }
            _ => all_topics(scope.state),
        };
        if self.include_topic_authorized_operations {
            topics.iter_mut().filter(|topic| topic.error_code == 0).for_each(|topic| {
                topic.topic_authorized_operations = rights(topic, scope.state);
            });
        }
        let State { cluster, faults, .. } = &mut *scope.state;
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            let name = topic.name.as_ref().map_or("", |name| name.as_str());
            if let Some(fault) = faults.take_metadata(name) {
                distort(topic, &fault, cluster);
            }
        }
        Outcome::Answer(response(cluster).with_topics(topics))
    }

    fn refuse(&self, scope: &Scope<'_>, code: ErrorCode) -> MetadataResponse {
        let topics = self.topics.iter().flatten().map(|topic| refused(topic, code)).collect();
        let top_level = if scope.version >= 13 { code.0 } else { 0 };
        response(&scope.state.cluster).with_topics(topics).with_error_code(top_level)
    }
}

fn response(cluster: &Cluster) -> MetadataResponse {
    let brokers = cluster
        .running_nodes()
        .map(|(id, endpoint)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
        })
        .collect();
    let controller = cluster.running_nodes().next().map_or(NO_LEADER, |(id, _)| id);
    MetadataResponse::default()
        .with_brokers(brokers)
        .with_cluster_id(Some(StrBytes::from_static_str("ottla-embedded-cluster")))
        .with_controller_id(BrokerId(controller))
}

/// Those that clients may not use are left out.
fn all_topics(state: &State) -> Vec<MetadataResponseTopic> {
    let may_use = |name| state.check_access(TopicRef::Name(name)).is_ok();
    let topics = state.cluster.topics().filter(|(name, _)| may_use(name));
    topics.map(|(name, topic)| describe(name, topic, &state.cluster)).collect()
}

fn one_topic(
    asked: &MetadataRequestTopic,
    state: &mut State,
    may_create: bool,
) -> MetadataResponseTopic {
    let named = match &asked.name {
        Some(name) => TopicRef::Name(name),
        None if asked.topic_id.is_nil() => return refused(asked, ErrorCode::INVALID_REQUEST),
        None => TopicRef::Id(asked.topic_id),
    };
    if let Err(code) = state.check_access(named) {
        return refused(asked, code);
    }
    let cluster = &mut state.cluster;
    if let TopicRef::Name(name) = named
        && may_create
        && let Err(code) = create_unless_present(name, cluster)
    {
        return refused(asked, code);
    }
    match cluster.topic(named) {
        Ok((name, topic)) => describe(name, topic, cluster),
        Err(code) => refused(asked, code),
    }
}

fn create_unless_present(name: &str, cluster: &mut Cluster) -> Result<(), ErrorCode> {
    match cluster.create_topic(name, Creation::of(cluster.partitions_default())) {
        Ok(_) | Err(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        Err(code) => Err(code),
    }
}

fn describe(name: &str, topic: &Topic, cluster: &Cluster) -> MetadataResponseTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .map(|(index, partition)| {
            let leader = cluster.reachable_leader(partition);
            let code = leader.map_or(ErrorCode::LEADER_NOT_AVAILABLE, |_| ErrorCode::NONE);
            let replicas = cluster.replicas(topic, partition);
            let ids = |nodes: Vec<i32>| nodes.into_iter().map(BrokerId).collect::<Vec<_>>();
            let in_sync = replicas.iter().copied();
            let in_sync = in_sync.filter(|id| *id == partition.leader || cluster.is_running(*id));
            MetadataResponsePartition::default()
                .with_error_code(code.0)
                .with_partition_index(index)
                .with_leader_id(BrokerId(leader.unwrap_or(NO_LEADER)))
                .with_leader_epoch(partition.leader_epoch)
                .with_isr_nodes(ids(in_sync.collect()))
                .with_replica_nodes(ids(replicas))
        })
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions)
}

/// What clients may do with a topic, a bit for each operation (KIP-430): everything that there is to
/// do with topics, as without an authorizer.
fn rights(topic: &MetadataResponseTopic, state: &State) -> i32 {
    const EVERYTHING: i32 = 0b1101_1111_1000;
    const WRITE: i32 = 1 << 4;
    let name = topic.name.as_ref().map_or("", |name| name.as_str());
    match state.check_write(TopicRef::Name(name)) {
        Ok(()) => EVERYTHING,
        Err(_) => EVERYTHING & !WRITE,
    }
}

/// Makes the description of a topic as wrong as a fault says.
fn distort(topic: &mut MetadataResponseTopic, fault: &MetadataFault, cluster: &Cluster) {
    let id = topic.topic_id;
    let partitions = &mut topic.partitions;
    match fault {
        MetadataFault::Refuse(code) => {
            topic.error_code = code.0;
            partitions.clear();
        }
        MetadataFault::NoPartitions => partitions.clear(),
        MetadataFault::Omit(omitted) => {
            partitions.retain(|partition| !omitted.contains(&partition.partition_index));
        }
        MetadataFault::Leaderless(leaderless) => partitions
            .iter_mut()
            .filter(|partition| leaderless.contains(&partition.partition_index))
            .for_each(|partition| {
                partition.error_code = ErrorCode::LEADER_NOT_AVAILABLE.0;
                partition.leader_id = BrokerId(NO_LEADER);
            }),
        MetadataFault::Stale(epoch) => partitions.iter_mut().for_each(|partition| {
            let known = cluster.partition(TopicRef::Id(id), partition.partition_index).ok();
            if let Some(leader) = known.and_then(|partition| partition.past_leader(*epoch)) {
                partition.error_code = ErrorCode::NONE.0;
                partition.leader_id = BrokerId(leader);
                partition.leader_epoch = *epoch;
            }
        }),
    }
}

/// Versions before 12 cannot leave the name out, so a topic without one has an empty name.
fn refused(asked: &MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic {
    let by_id = asked.name.is_none() && !asked.topic_id.is_nil();
    let name = asked.name.clone().unwrap_or_default();
    MetadataResponseTopic::default()
        .with_error_code(code.0)
        .with_name(Some(name).filter(|_| !by_id))
        .with_topic_id(asked.topic_id)
}
