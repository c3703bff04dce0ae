//! The cluster: its nodes, its topics, and who leads which partition.
//!
//! Decides which topic names and sizes are allowed, what a topic's id is, and which node answers for
//! a partition. Pure: randomness comes in once, as a seed. All nodes see this one state, so a leader
//! that moves keeps the log, as replicas in step would.
//!
//! Spec: KIP-516 for topic ids, KIP-320 for leader epochs.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::log::{Log, LogRules};
use crate::protocol::ErrorCode;

/// The leader of a partition that has none.
pub(crate) const NO_LEADER: i32 = -1;

/// The leader epoch of a client that does not say which it knows.
pub(crate) const ANY_EPOCH: i32 = -1;

const TOPIC_NAME_SIZE_MAX: usize = 249;

/// Partitions of all topics together: a request of a few bytes can ask for a topic of 2^31.
const PARTITIONS_MAX: usize = 100_000;

/// What new topics are made by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicRules {
    pub(crate) partitions_default: i32,
    pub(crate) auto_create: bool,
    pub(crate) log: LogRules,
}

/// Everything that the brokers of one cluster know.
#[derive(Debug)]
pub(crate) struct Cluster {
    rules: TopicRules,
    nodes: BTreeMap<i32, Node>,
    topics: BTreeMap<String, Topic>,
    /// The name of each topic, by its id.
    names: HashMap<Uuid, String>,
    /// Tells this cluster's topic ids from those of an earlier one on the same port.
    seed: u64,
    topics_created: u64,
    /// Of all topics; at most `PARTITIONS_MAX`.
    partition_count: usize,
    next_leader: usize,
    next_producer_id: i64,
}

/// Where clients reach a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // IPv6 addresses need brackets in front of a port.
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[derive(Debug)]
struct Node {
    endpoint: Endpoint,
    running: bool,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    /// Nodes of each partition, 1 to the number of nodes.
    pub(crate) replication_factor: usize,
    /// Its own configuration, as it was given.
    pub(crate) configs: BTreeMap<String, String>,
}

/// A topic to create.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) configs: BTreeMap<String, String>,
}

impl Creation {
    /// So many partitions, each of one node.
    pub(crate) const fn of(partitions: i32) -> Self {
        Self { partitions, replication_factor: 1, configs: BTreeMap::new() }
    }
}

/// A partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    /// The leader of each epoch before this one.
    past_leaders: Vec<i32>,
    pub(crate) log: Log,
}

impl Partition {
    /// The leader of an epoch that has passed.
    pub(crate) fn past_leader(&self, epoch: i32) -> Option<i32> {
        self.past_leaders.get(usize::try_from(epoch).ok()?).copied()
    }

    /// Whether `node` may answer for this partition to a client that knows `epoch`, or
    /// `ANY_EPOCH`.
    pub(crate) fn check_leader(&self, node: i32, epoch: i32) -> Result<(), ErrorCode> {
        if self.leader != node {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        match epoch {
            ANY_EPOCH => Ok(()),
            epoch if epoch < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            epoch if epoch > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }
}

/// A topic as a request names it: by its id where the version has ids, else by its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TopicRef<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl Cluster {
    pub(crate) fn new(rules: TopicRules, endpoints: Vec<Endpoint>, seed: u64) -> Self {
        let node = |endpoint| Node { endpoint, running: true };
        Self {
            rules,
            nodes: (1..).zip(endpoints.into_iter().map(node)).collect(),
            topics: BTreeMap::new(),
            names: HashMap::new(),
            seed,
            topics_created: 0,
            partition_count: 0,
            next_leader: 0,
            // A producer that outlives a restart keeps its id, which must then be nobody else's.
            next_producer_id: i64::from((seed >> 40) as u32) << 20,
        }
    }

    /// The nodes that run, in order of their ids.
    pub(crate) fn running_nodes(&self) -> impl Iterator<Item = (i32, &Endpoint)> {
        self.nodes.iter().filter(|(_, node)| node.running).map(|(id, node)| (*id, &node.endpoint))
    }

    /// Where to reach a node, running or not.
    pub(crate) fn endpoint(&self, node: i32) -> Option<&Endpoint> {
        self.nodes.get(&node).map(|node| &node.endpoint)
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn set_running(&mut self, node: i32, running: bool) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.running = running;
        }
    }

    /// The node that answers for a partition, unless it is stopped.
    pub(crate) fn reachable_leader(&self, partition: &Partition) -> Option<i32> {
        self.nodes.get(&partition.leader).filter(|node| node.running).map(|_| partition.leader)
    }

    pub(crate) const fn auto_creates_topics(&self) -> bool {
        self.rules.auto_create
    }

    pub(crate) const fn partitions_default(&self) -> i32 {
        self.rules.partitions_default
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    pub(crate) fn topic(&self, topic: TopicRef<'_>) -> Result<(&str, &Topic), ErrorCode> {
        let (name, unknown) = self.resolve(topic);
        let found = name.and_then(|name| self.topics.get_key_value(name));
        found.map(|(name, topic)| (name.as_str(), topic)).ok_or(unknown)
    }

    pub(crate) fn partition(
        &self,
        topic: TopicRef<'_>,
        partition: i32,
    ) -> Result<&Partition, ErrorCode> {
        let (_, topic) = self.topic(topic)?;
        let index = usize::try_from(partition).ok();
        index
            .and_then(|index| topic.partitions.get(index))
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    pub(crate) fn partition_mut(
        &mut self,
        topic: TopicRef<'_>,
        partition: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let (name, unknown) = self.resolve(topic);
        let name = name.ok_or(unknown)?.to_owned();
        let index = usize::try_from(partition).ok();
        self.topics
            .get_mut(&name)
            .zip(index)
            .and_then(|(topic, index)| topic.partitions.get_mut(index))
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    /// The nodes that hold a partition, its leader first; none, if it has no leader.
    pub(crate) fn replicas(&self, topic: &Topic, partition: &Partition) -> Vec<i32> {
        let from_leader = self.nodes.range(partition.leader..);
        let others = self.nodes.range(..partition.leader);
        let ids = from_leader.chain(others).map(|(id, _)| *id);
        match partition.leader {
            NO_LEADER => Vec::new(),
            _ => ids.take(topic.replication_factor).collect(),
        }
    }

    pub(crate) fn is_running(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.running)
    }

    /// How many partitions a topic would have that could be created by this name.
    pub(crate) fn check_new_topic(
        &self,
        name: &str,
        creation: &Creation,
    ) -> Result<usize, ErrorCode> {
        if !is_topic_name(name) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        if self.topics.contains_key(name) {
            return Err(ErrorCode::TOPIC_ALREADY_EXISTS);
        }
        let replicas = usize::try_from(creation.replication_factor).ok();
        let partitions = usize::try_from(creation.partitions)
            .ok()
            .filter(|count| (1..=PARTITIONS_MAX - self.partition_count).contains(count))
            .ok_or(ErrorCode::INVALID_PARTITIONS)?;
        match replicas.is_some_and(|count| (1..=self.node_count()).contains(&count)) {
            true => Ok(partitions),
            false => Err(ErrorCode::INVALID_REPLICATION_FACTOR),
        }
    }

    /// Creates a topic. Its partitions are led by the nodes in turn.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        creation: Creation,
    ) -> Result<&Topic, ErrorCode> {
        let count = self.check_new_topic(name, &creation)?;
        self.topics_created += 1;
        let id = Uuid::from_u64_pair(self.seed | 1, self.topics_created);
        let partitions = (0..count).map(|_| self.new_partition()).collect();
        self.names.insert(id, name.to_owned());
        let Creation { replication_factor, configs, .. } = creation;
        let replication_factor = usize::try_from(replication_factor).unwrap_or(1);
        let topic = Topic { id, partitions, replication_factor, configs };
        Ok(self.topics.entry(name.to_owned()).or_insert(topic))
    }

    /// Gives a topic more partitions.
    pub(crate) fn grow_topic(&mut self, name: &str, partitions: i32) -> Result<(), ErrorCode> {
        let (_, topic) = self.topic(TopicRef::Name(name))?;
        let held = topic.partitions.len();
        let wanted = usize::try_from(partitions).map_err(|_| ErrorCode::INVALID_PARTITIONS)?;
        let room = PARTITIONS_MAX - self.partition_count;
        if !(held..=held + room).contains(&wanted) {
            return Err(ErrorCode::INVALID_PARTITIONS);
        }
        let added: Vec<_> = (held..wanted).map(|_| self.new_partition()).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(added);
        }
        Ok(())
    }

    /// Deletes a topic with all its records.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), ErrorCode> {
        let topic = self.topics.remove(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        self.names.remove(&topic.id);
        self.partition_count -= topic.partitions.len();
        Ok(())
    }

    /// Lets another node lead a partition, or none.
    pub(crate) fn move_leader(
        &mut self,
        topic: &str,
        partition: i32,
        to_node: i32,
    ) -> Result<(), ErrorCode> {
        if to_node != NO_LEADER && !self.nodes.contains_key(&to_node) {
            return Err(ErrorCode::BROKER_ID_NOT_REGISTERED);
        }
        let partition = self.partition_mut(TopicRef::Name(topic), partition)?;
        partition.past_leaders.push(partition.leader);
        partition.leader = to_node;
        partition.leader_epoch += 1;
        Ok(())
    }

    pub(crate) fn take_producer_id(&mut self) -> i64 {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        id
    }

    fn resolve<'a>(&'a self, topic: TopicRef<'a>) -> (Option<&'a str>, ErrorCode) {
        match topic {
            TopicRef::Name(name) => (Some(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicRef::Id(id) => {
                (self.names.get(&id).map(String::as_str), ErrorCode::UNKNOWN_TOPIC_ID)
            }
        }
    }

    fn new_partition(&mut self) -> Partition {
        self.partition_count += 1;
        let turn = self.next_leader % self.running_nodes().count().max(1);
        let leader = self.running_nodes().nth(turn).map(|(id, _)| id);
        self.next_leader = self.next_leader.wrapping_add(1);
        Partition {
            leader: leader.unwrap_or(NO_LEADER),
            leader_epoch: 0,
            past_leaders: Vec::new(),
            log: Log::new(self.rules.log),
        }
    }
}

/// A name as messages carry it.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn is_topic_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=TOPIC_NAME_SIZE_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(nodes: u16) -> Cluster {
        let log = LogRules {
            retention_bytes: 1000,
            inflated_size_max: 1000,
            refuses_unknown_producers: false,
        };
        let rules = TopicRules { partitions_default: 1, auto_create: true, log };
        let endpoint = |port| Endpoint { host: "localhost".to_owned(), port };
        Cluster::new(rules, (0..nodes).map(endpoint).collect(), 1)
    }

    #[test]
    fn names_that_kafka_forbids_are_refused() {
        let mut cluster = cluster(1);
        for name in ["", ".", "..", "a/b", "a b", "é", &"a".repeat(250)] {
            let refused = cluster.create_topic(name, Creation::of(1)).unwrap_err();
            assert_eq!(refused, ErrorCode::INVALID_TOPIC_EXCEPTION, "{name}");
        }
        for name in ["a", "A.b_c-9", "...", &"a".repeat(249)] {
            cluster.create_topic(name, Creation::of(1)).unwrap();
        }
    }

    #[test]
    fn partitions_are_bounded_over_all_topics() {
        let mut cluster = cluster(1);
        for partitions in [i32::MIN, -1, 0, 100_001, i32::MAX] {
            let refused = cluster.create_topic("a", Creation::of(partitions)).unwrap_err();
            assert_eq!(refused, ErrorCode::INVALID_PARTITIONS, "{partitions}");
        }
        cluster.create_topic("a", Creation::of(60_000)).unwrap();
        assert_eq!(
            cluster.create_topic("b", Creation::of(60_000)).unwrap_err(),
            ErrorCode::INVALID_PARTITIONS
        );
        cluster.create_topic("b", Creation::of(40_000)).unwrap();
        assert_eq!(cluster.grow_topic("a", 60_001), Err(ErrorCode::INVALID_PARTITIONS));
        cluster.delete_topic("b").unwrap();
        cluster.grow_topic("a", 100_000).unwrap();
        assert_eq!(cluster.grow_topic("a", 99_999), Err(ErrorCode::INVALID_PARTITIONS));
    }

    #[test]
    fn nodes_lead_in_turn_and_a_moved_leader_fences_the_old_epoch() {
        let mut cluster = cluster(2);
        cluster.create_topic("a", Creation::of(3)).unwrap();
        let leader = |cluster: &Cluster, index| {
            cluster.partition(TopicRef::Name("a"), index).unwrap().leader
        };
        assert_eq!([0, 1, 2].map(|index| leader(&cluster, index)), [1, 2, 1]);
        cluster.move_leader("a", 0, 2).unwrap();
        let moved = cluster.partition(TopicRef::Name("a"), 0).unwrap();
        assert_eq!(moved.check_leader(2, 1), Ok(()));
        assert_eq!(moved.check_leader(2, ANY_EPOCH), Ok(()));
        assert_eq!(moved.check_leader(2, 0), Err(ErrorCode::FENCED_LEADER_EPOCH));
        assert_eq!(moved.check_leader(2, 2), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
        assert_eq!(moved.check_leader(1, 1), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        assert_eq!(cluster.move_leader("a", 0, 3), Err(ErrorCode::BROKER_ID_NOT_REGISTERED));
    }

    #[test]
    fn a_topic_created_again_has_another_id() {
        let mut cluster = cluster(1);
        let first = cluster.create_topic("a", Creation::of(1)).unwrap().id;
        cluster.delete_topic("a").unwrap();
        let gone = cluster.topic(TopicRef::Id(first)).map(drop);
        assert_eq!(gone, Err(ErrorCode::UNKNOWN_TOPIC_ID));
        assert_ne!(cluster.create_topic("a", Creation::of(1)).unwrap().id, first);
    }
}
