//! The embedded broker: Kafka in a test, without Docker.
//!
//! In memory, on loopback TCP, several brokers of one cluster in one process. It serves what a
//! producer and a simple consumer ask for (any client's, librdkafka's included), checks every batch
//! as strictly as Kafka does, and does wrong on request. It is for development and tests: what it
//! stores ends with it, and it has no groups or transactions.
//!
//! ```
//! # tokio_test(async {
//! use ottla::broker::{BrokerConfig, EmbeddedBroker};
//!
//! let broker = EmbeddedBroker::start(BrokerConfig::default()).await?;
//! println!("produce to {}", broker.bootstrap().join(","));
//! // ... then look at what was stored, not at what the client says it sent
//! assert!(broker.accepted("traces").is_empty());
//! broker.shutdown().await;
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! # fn tokio_test<F: Future>(f: F) -> F::Output {
//! #     tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(f)
//! # }
//! ```
//!
//! The life of a request:
//!
//! ```text
//! listener    accepts, cuts frames, serves a connection's requests in order, waits
//! security    (TLS, SASL) who may come in
//! dispatch    frame -> API, version, shape -> decoded by kafka-protocol -> handler -> frame
//! handlers    one per API: request + state -> outcome
//! validate    (Produce) bytes -> checked batch, or the code that Kafka refuses it with
//! log         (Produce) sequence and epoch of its producer, offset, storage
//! cluster     topics, leaders, nodes          faults   what a test wants to go wrong
//! profile     which broker's versions, codes and habits
//! ```
//!
//! Nothing here uses the encoders or decoders of the producer's messages and batches: a mistake of
//! theirs must not be shared by what judges them.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use crate::protocol::ErrorCode;
use crate::sasl::SaslMechanism;

mod config;
pub use config::{BrokerConfig, Validation};

mod profile;
pub use profile::{Profile, UnknownProfile};

mod listener;

mod dispatch;
pub use dispatch::Api;

mod handlers;

mod validate;

mod records;
pub use records::AcceptedRecord;

mod log;

mod cluster;

mod faults;
pub use faults::{Admission, AnswerFault, LoginFault, MetadataFault, ProduceFault, RequestFault};

mod hooks;

mod security;
pub use security::{BrokerSasl, BrokerTls, BrokerUser};

#[cfg(test)]
mod tests;

use cluster::{Cluster, Creation, Endpoint, TopicRef, TopicRules};
use faults::Faults;
use listener::{Node, bind_next};
use log::LogRules;
use security::Users;

/// A cluster of brokers in this process. Ends with [`shutdown`](Self::shutdown), or when dropped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    shared: Arc<Shared>,
    nodes: Mutex<BTreeMap<i32, Node>>,
    /// Where each node listens, also while it is stopped.
    addresses: BTreeMap<i32, Vec<SocketAddr>>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told whenever a waiting consumer should look again.
    changes: watch::Sender<()>,
    request_size_max: usize,
    profile: Profile,
    tls: Option<Arc<ServerConfig>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cluster, and what tests arranged and want to know.
#[derive(Debug)]
pub(crate) struct State {
    cluster: Cluster,
    faults: Faults,
    requests: BTreeMap<Api, u64>,
    /// The highest of each API that was served.
    versions: BTreeMap<Api, i16>,
    batch_size_max: usize,
    inflated_size_max: usize,
    validation: Validation,
    sasl: Option<Sasl>,
}

impl State {
    /// Whether clients may use a topic. Of one that they may not use they do not learn whether it
    /// exists.
    pub(crate) fn check_access(&self, topic: TopicRef<'_>) -> Result<(), ErrorCode> {
        self.check_not_among(&self.faults.denied_topics, topic)
    }

    /// Whether clients may write to a topic.
    pub(crate) fn check_write(&self, topic: TopicRef<'_>) -> Result<(), ErrorCode> {
        self.check_access(topic)?;
        self.check_not_among(&self.faults.read_only_topics, topic)
    }

    fn check_not_among(
        &self,
        topics: &HashSet<String>,
        topic: TopicRef<'_>,
    ) -> Result<(), ErrorCode> {
        let name = match topic {
            TopicRef::Name(name) => Some(name),
            TopicRef::Id(_) => self.cluster.topic(topic).ok().map(|(name, _)| name),
        };
        match name.is_some_and(|name| topics.contains(name)) {
            true => Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            false => Ok(()),
        }
    }
}

/// Who may log in, and who did.
#[derive(Debug)]
pub(crate) struct Sasl {
    users: Users,
    mechanisms: Vec<SaslMechanism>,
    session_lifetime: Duration,
    /// Accepted so far, renewals included.
    logins: u64,
    renewals: u64,
}

impl EmbeddedBroker {
    /// Starts the brokers. They accept connections when this returns.
    ///
    /// # Errors
    ///
    /// The system's error when an address cannot be listened on, or `InvalidInput` when the
    /// configuration has no brokers, addresses or partitions, or a file of no use.
    pub async fn start(config: BrokerConfig) -> io::Result<Self> {
        let (Some(first), 1.., 1..) = (config.listen.first(), config.brokers, config.partitions)
        else {
            let message = "the embedded broker needs a broker, an address and a partition";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let mut listeners = vec![bind(&config.listen).await?];
        let mut next = *first;
        for _ in 1..config.brokers {
            // Port 0 stays 0: the system chooses.
            if next.port() != 0 {
                next.set_port(next.port().saturating_add(1));
            }
            let listener = bind_next(next).await?;
            if next.port() != 0 {
                next = listener.local_addr()?;
            }
            listeners.push(vec![listener]);
        }
        Self::serve(&config, listeners)
    }

    fn serve(config: &BrokerConfig, listeners: Vec<Vec<TcpListener>>) -> io::Result<Self> {
        let mut addresses = BTreeMap::new();
        for (id, listeners) in (1..).zip(&listeners) {
            let bound: io::Result<Vec<_>> = listeners.iter().map(TcpListener::local_addr).collect();
            addresses.insert(id, bound?);
        }
        let endpoints = addresses.values().map(|bound| advertised(bound[0], config)).collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                cluster: Cluster::new(topic_rules(config), endpoints, random_seed()),
                faults: Faults::default(),
                requests: BTreeMap::new(),
                versions: BTreeMap::new(),
                batch_size_max: config.batch_size_max,
                inflated_size_max: config.request_size_max,
                validation: config.validation,
                sasl: config.sasl.as_ref().map(sasl).transpose()?,
            }),
            changes: watch::Sender::new(()),
            request_size_max: config.request_size_max,
            profile: config.profile,
            tls: config.tls.as_ref().map(security::server_config).transpose()?,
        });
        let node = |(id, listeners)| (id, Node::start(id, listeners, &shared));
        let nodes = Mutex::new((1..).zip(listeners).map(node).collect());
        Ok(Self { shared, nodes, addresses })
    }

    /// `host:port` of every broker, running or not.
    pub fn bootstrap(&self) -> Vec<String> {
        let state = self.shared.lock();
        let endpoints = self.addresses.keys().filter_map(|id| state.cluster.endpoint(*id));
        endpoints.map(Endpoint::to_string).collect()
    }

    /// Creates a topic whose partitions are led by the brokers in turn.
    ///
    /// # Errors
    ///
    /// The code that CreateTopics answers: `TOPIC_ALREADY_EXISTS`, `INVALID_TOPIC_EXCEPTION` for
    /// its name, or `INVALID_PARTITIONS`.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), ErrorCode> {
        let creation = Creation::of(partitions);
        self.change(|state| state.cluster.create_topic(name, creation).map(drop))
    }

    /// How many partitions a topic has; none, if it does not exist.
    pub fn partition_count(&self, topic: &str) -> usize {
        let state = self.shared.lock();
        let found = state.cluster.topic(TopicRef::Name(topic));
        found.map_or(0, |(_, topic)| topic.partitions.len())
    }

    /// The configuration that a topic was created with. It has no effect. Empty for a topic that
    /// does not exist.
    pub fn topic_configs(&self, topic: &str) -> BTreeMap<String, String> {
        let state = self.shared.lock();
        let found = state.cluster.topic(TopicRef::Name(topic));
        found.map_or_else(|_| BTreeMap::new(), |(_, topic)| topic.configs.clone())
    }

    /// Gives a topic more partitions; `partitions` is the new sum.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_TOPIC_OR_PARTITION`, or `INVALID_PARTITIONS` when that would not be more.
    pub fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), ErrorCode> {
        self.change(|state| state.cluster.grow_topic(name, partitions))
    }

    /// Deletes a topic. One created by the same name afterwards has another id.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn delete_topic(&self, name: &str) -> Result<(), ErrorCode> {
        self.change(|state| state.cluster.delete_topic(name))
    }

    /// What was stored in a topic, by partition and offset: the truth to compare a client's claims
    /// with. Empty for a topic that does not exist. Batches that no consumer can read, which
    /// [`Validation::Legacy`] lets pass, are left out.
    pub fn accepted(&self, topic: &str) -> Vec<AcceptedRecord> {
        let state = self.shared.lock();
        let Ok((_, topic)) = state.cluster.topic(TopicRef::Name(topic)) else {
            return Vec::new();
        };
        (0..).zip(&topic.partitions).flat_map(|(index, part)| part.log.records(index)).collect()
    }

    /// Lets node `to_node` (numbered from 1) lead a partition, with its log and the next leader
    /// epoch; −1 leaves it without a leader.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_TOPIC_OR_PARTITION`, or `BROKER_ID_NOT_REGISTERED` for an unknown node.
    pub fn move_leader(&self, topic: &str, partition: i32, to_node: i32) -> Result<(), ErrorCode> {
        self.change(|state| state.cluster.move_leader(topic, partition, to_node))
    }

    /// The node that leads a partition, stopped or not; `None` if there is none.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let state = self.shared.lock();
        let partition = state.cluster.partition(TopicRef::Name(topic), partition).ok()?;
        Some(partition.leader).filter(|leader| *leader != cluster::NO_LEADER)
    }

    /// Cuts every connection of every node. New ones are accepted at once.
    pub fn disconnect_all(&self) {
        self.lock_nodes().values().for_each(Node::disconnect);
    }

    /// Closes a node's listeners and connections. It keeps its partitions, which have no reachable
    /// leader until it starts again or they are moved. Nothing happens if it is stopped already.
    pub async fn stop_node(&self, node: i32) {
        let stopped = self.lock_nodes().remove(&node);
        if let Some(stopped) = stopped {
            stopped.stop().await;
        }
        self.change(|state| state.cluster.set_running(node, false));
    }

    /// Starts a stopped node on the port that it had. Nothing happens if it runs.
    ///
    /// # Errors
    ///
    /// The system's error when another program has taken the port, or `NotFound` for a node that
    /// never was.
    pub async fn start_node(&self, node: i32) -> io::Result<()> {
        if self.lock_nodes().contains_key(&node) {
            return Ok(());
        }
        let unknown =
            || io::Error::new(io::ErrorKind::NotFound, format!("there is no node {node}"));
        let addresses = self.addresses.get(&node).ok_or_else(unknown)?;
        let started = Node::start(node, bind(addresses).await?, &self.shared);
        self.lock_nodes().insert(node, started);
        self.change(|state| state.cluster.set_running(node, true));
        Ok(())
    }

    /// Requests received so far, by API.
    pub fn requests(&self) -> BTreeMap<Api, u64> {
        self.shared.lock().requests.clone()
    }

    /// The highest version of each API that was served so far: what clients have settled on.
    pub fn versions(&self) -> BTreeMap<Api, i16> {
        self.shared.lock().versions.clone()
    }

    /// Ends when every port and connection is closed.
    pub async fn shutdown(self) {
        let nodes = std::mem::take(&mut *self.lock_nodes());
        for node in nodes.into_values() {
            node.stop().await;
        }
    }

    /// Changes the state, and lets waiting consumers look again.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.shared.lock());
        self.shared.changes.send_replace(());
        changed
    }

    fn lock_nodes(&self) -> MutexGuard<'_, BTreeMap<i32, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(TcpListener::bind(address).await?);
    }
    Ok(listeners)
}

/// Nobody can connect to the unspecified address, so clients are told loopback instead.
fn advertised(bound: SocketAddr, config: &BrokerConfig) -> Endpoint {
    let address = match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let host = config.advertised_host.clone().unwrap_or_else(|| address.to_string());
    Endpoint { host, port: bound.port() }
}

fn topic_rules(config: &BrokerConfig) -> TopicRules {
    TopicRules {
        partitions_default: config.partitions,
        auto_create: config.auto_create_topics,
        log: LogRules {
            retention_bytes: config.retention_bytes,
            inflated_size_max: config.request_size_max,
            refuses_unknown_producers: config.profile.refuses_unknown_producers(),
        },
    }
}

fn sasl(config: &BrokerSasl) -> io::Result<Sasl> {
    let no_users = || io::Error::other("passwords cannot be salted: the system has no randomness");
    Ok(Sasl {
        users: Users::new(config).ok_or_else(no_users)?,
        mechanisms: config.mechanisms.clone(),
        session_lifetime: config.session_lifetime,
        logins: 0,
        renewals: 0,
    })
}

/// Differs between runs; nobody has to be unable to guess it.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
