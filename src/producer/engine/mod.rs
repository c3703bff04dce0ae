//! The producer's rules in one value: events and `now` go in, actions come out.
//!
//! Composes the pure parts of this folder's parent and owns no socket, clock or task. A driver
//!
//! 1. reports what happened (`handle_*`, each with the time),
//! 2. performs actions until [`poll_action`](Engine::poll_action) has none,
//! 3. waits for the next event, or until [`poll_timeout`](Engine::poll_timeout), which it reports
//!    with [`handle_timeout`](Engine::handle_timeout).
//!
//! Every handler leads to [`advance`](Engine::advance), which applies all rules to the present
//! state; so no rule depends on which event came first.
//!
//! | file | decides |
//! |---|---|
//! | `link` | the lives of a connection |
//! | `partition` | which batch of a partition goes next |
//! | `logins` | when a connection logs in, and again |
//! | `control` | metadata, the producer's identity, where to connect |
//! | `produce` | which batches go into which request |
//! | `answers` | what an answer does to its batches |
//! | `endings` | timeouts, flush, close: the end of everything that was accepted |

mod answers;
mod control;
mod endings;
mod link;
mod logins;
mod partition;
mod produce;

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;

#[cfg(test)]
mod tests;

pub(super) use link::ConnectionId;
pub(super) use partition::BatchRef;

use super::accumulator::{Accumulator, PartitionQueue, Slot, Topic};
use super::backoff::Backoff;
use super::budget::Budget;
use super::cluster::{Cluster, NodeId, Refresh};
use super::completion::{Cause, DeliveryError};
use super::config::{Acks, Address, ProducerConfig};
use super::login::{LOGIN_HINT, Nonces};
use super::meters::Meters;
use super::partitioner::Random;
use super::sequencer::Sequencer;
use crate::protocol::messages::ApiKey;
use crate::protocol::messages::produce::ZSTD_FROM;
use crate::protocol::record_batch::{BatchBuilder, SealedBatch};
use crate::protocol::{Codec, Compression};
use crate::sasl::{Derivation, SaltedPasswords};
use bytes::Bytes;
use link::{Link, LinkError, Progress, Request};
use partition::{Linger, Partition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for an answer to come when a broker's time for the request is over.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// What the driver shall do.
#[derive(Debug)]
pub(super) enum Action {
    /// Open a connection; report `handle_connected` or `handle_disconnected`.
    Connect { connection: ConnectionId, address: Address },
    /// Write these bytes, in order. With an id, report `handle_written` when they are out.
    Transmit { connection: ConnectionId, frame: Vec<Bytes>, report: Option<i32> },
    /// Close a connection, of which nothing shall be reported any more.
    Close { connection: ConnectionId },
    /// Derive a key, or find it among those derived before; report `handle_derived`.
    Derive { connection: ConnectionId, derivation: Derivation, salted: SaltedPasswords },
    /// Compress a batch; report `handle_sealed`.
    Seal { batch: BatchRef, builder: BatchBuilder, compression: Compression },
    /// Tell people.
    Notice(Notice),
}

/// What people should know.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    /// A connection was lost, or could not be made.
    Disconnected { address: Address, cause: Cause },
    /// A batch was answered with an error and will be sent again.
    Retrying { topic: Arc<str>, partition: i32, attempts: u32, cause: Cause },
    /// A batch failed.
    Failed(DeliveryError),
    /// The partition's records are numbered anew: the broker knew less of them than we did.
    Renumbered { topic: Arc<str>, partition: i32, cause: Cause },
    /// A topic's metadata came with an error.
    TopicError { topic: Arc<str>, cause: Cause },
}

/// Which link a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// To whichever broker answers, for metadata and the identity.
    Control,
    /// To a leader, for its batches.
    Leader(NodeId),
}

#[derive(Debug)]
pub(super) struct Engine {
    config: ProducerConfig,
    /// That of `config`, for use while something else of the engine is changed.
    client_id: Arc<str>,
    accumulator: Arc<Accumulator>,
    budget: Arc<Budget>,
    meters: Arc<Meters>,
    random: Random,
    nonces: Nonces,
    reconnect: Backoff,
    retry: Backoff,

    cluster: Cluster,
    sequencer: Sequencer,
    /// Pause before the identity is asked for again.
    identity_not_before: Option<Instant>,
    topics: BTreeMap<Arc<str>, TopicEntry>,
    partitions: Vec<Partition>,
    /// Partitions that hold something.
    active: BTreeSet<Slot>,
    linger: Linger,

    control: Link,
    /// Which of the known addresses the control link leads to next.
    control_cursor: usize,
    leaders: BTreeMap<NodeId, Link>,
    connections: BTreeMap<ConnectionId, Target>,
    next_connection: u64,
    /// Where the next request starts to collect batches, so that every partition has its turn.
    rotation: Slot,

    closing: Option<Instant>,
    fatal: Option<Cause>,
    finished: bool,
    /// The time of the last event.
    now: Instant,
    actions: VecDeque<Action>,
    /// Something may be ready to be sent once the actions are performed.
    send_due: bool,
    /// Requests on their way to leaders, as was counted last.
    in_flight: usize,
    /// Batches were sealed, and the rules have not been applied since.
    sealed_at: Option<Instant>,
    #[cfg(test)]
    mutant: tests::Mutant,
}

/// Where an engine's randomness comes from: equal seeds, equal behaviour.
#[derive(Clone, Copy)]
pub(super) struct Seeds {
    /// For what is only spread.
    pub(super) random: u64,
    /// For what must not be guessed.
    pub(super) nonces: [u8; 32],
}

#[derive(Debug)]
struct TopicEntry {
    topic: Arc<Topic>,
    /// By partition number.
    slots: Vec<Slot>,
}

impl Engine {
    /// # Panics
    ///
    /// When `config` is not valid.
    pub(super) fn new(
        now: Instant,
        config: ProducerConfig,
        accumulator: Arc<Accumulator>,
        budget: Arc<Budget>,
        seeds: Seeds,
    ) -> Self {
        let retry = Backoff::new(config.retry_backoff, config.retry_backoff_max);
        let client_id = Arc::from(config.client_id.as_str());
        let mut engine = Self {
            random: Random::new(seeds.random),
            nonces: Nonces::new(seeds.nonces),
            reconnect: Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max),
            retry,
            cluster: Cluster::new(Refresh::new(config.metadata_max_age, retry)),
            sequencer: Sequencer::new(config.idempotence),
            identity_not_before: None,
            topics: BTreeMap::new(),
            partitions: Vec::new(),
            active: BTreeSet::new(),
            linger: Linger::of(config.linger),
            control: Link::new(config.bootstrap[0].clone()),
            control_cursor: 0,
            leaders: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
            rotation: 0,
            closing: None,
            fatal: None,
            finished: false,
            now,
            actions: VecDeque::new(),
            send_due: false,
            in_flight: 0,
            sealed_at: None,
            config,
            accumulator,
            budget,
            meters: Arc::default(),
            client_id,
            #[cfg(test)]
            mutant: tests::Mutant::None,
        };
        engine.advance(now);
        engine
    }

    /// Callers have put records into batches.
    pub(super) fn handle_news(&mut self, now: Instant) {
        self.advance(now);
    }

    pub(super) fn handle_connected(&mut self, now: Instant, connection: ConnectionId) {
        self.shake_hands(now, connection);
        self.advance(now);
    }

    pub(super) fn handle_frame(&mut self, now: Instant, connection: ConnectionId, frame: &Bytes) {
        let client_id = Arc::clone(&self.client_id);
        let Some(target) = self.connections.get(&connection).copied() else { return };
        let Some(link) = self.link_mut(target) else { return };
        match link.on_frame(now, frame, &client_id) {
            Ok(Progress::Transmit(frame)) => self.transmit(connection, frame, None),
            Ok(Progress::Derive(derivation)) => self.derive(connection, derivation),
            Ok(Progress::Up(lifetime)) => {
                self.meters.note(|counts| counts.figures.connections += 1);
                self.on_logged_in(now, target, lifetime);
            }
            Ok(Progress::Renewed(lifetime)) => self.on_logged_in(now, target, lifetime),
            Ok(Progress::Answer(answer)) => {
                if let Err(error) = self.on_answer(now, target, answer) {
                    self.drop_link(now, target, &error.to_string());
                }
            }
            // Some brokers answer what wants no answer.
            Err(LinkError::OutOfOrder(_))
                if self.config.acks == Acks::Zero && target != Target::Control => {}
            Err(error) => self.drop_link(now, target, &error.to_string()),
        }
        self.advance(now);
    }

    /// A request that has no answer is written.
    pub(super) fn handle_written(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        correlation_id: i32,
    ) {
        let request = self.link_of(connection).and_then(|link| link.on_written(correlation_id));
        if let Some(Request::Produce { batches, .. }) = request {
            self.on_written(&batches);
        }
        self.advance(now);
    }

    /// A connection could not be made, or is lost. `cause` says why in words, with the address.
    pub(super) fn handle_disconnected(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        mut cause: Arc<str>,
    ) {
        if let Some(target) = self.connections.get(&connection).copied() {
            let guarded = self.config.sasl.is_some();
            let link = self.link_mut(target);
            let idle = link.as_ref().is_some_and(|link| link.is_idle());
            if !guarded && link.is_some_and(|link| link.is_snubbed()) {
                cause = format!("{cause}{LOGIN_HINT}").into();
            }
            if self.config.acks == Acks::Zero && target != Target::Control {
                // Where nothing is answered, this is how a broker says that it leads no more.
                self.cluster.refresh.want(now);
            }
            self.lose_link(now, target, (!idle).then_some(Cause::Connection(cause)));
        }
        self.advance(now);
    }

    pub(super) fn handle_sealed(&mut self, now: Instant, batch: BatchRef, sealed: SealedBatch) {
        self.meters.note(|counts| {
            counts.figures.batches += 1;
            counts.figures.batch_records += u64::from(sealed.count());
            counts.figures.batch_bytes_uncompressed += sealed.uncompressed_size() as u64;
            counts.figures.batch_bytes += sealed.size() as u64;
        });
        self.partitions[batch.slot].on_sealed(batch.id, sealed);
        self.sealed_at = Some(now);
    }

    /// Where the figures are counted.
    pub(super) fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        // Batches are sealed by the thousand, and the rules look at every partition: once for all.
        if self.actions.is_empty()
            && let Some(now) = self.sealed_at.take()
        {
            self.advance(now);
        }
        if self.actions.is_empty() && std::mem::take(&mut self.send_due) {
            self.send_ready(self.now);
        }
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    /// Always later than the last event: what is due by then has been dealt with, or waits for
    /// another event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let links = std::iter::once(&self.control).chain(self.leaders.values());
        let partitions = self.active.iter().map(|slot| &self.partitions[*slot]);
        links
            .flat_map(|link| link.timers().chain(link.idle_until(self.config.connections_max_idle)))
            .chain(partitions.flat_map(|partition| self.partition_timers(partition)))
            .chain(self.topics.values().filter_map(|entry| {
                entry.topic.waiting_since().map(|since| since + self.config.delivery_timeout)
            }))
            .chain(self.cluster.refresh.next_at())
            .chain(self.identity_not_before)
            .chain(self.budget.next_deadline())
            .chain(self.closing)
            .filter(|at| *at > self.now)
            .min()
    }

    fn partition_timers(&self, partition: &Partition) -> impl Iterator<Item = Instant> {
        let linger = partition.queue.head().map(|head| self.linger.ends(head.opened_at));
        let deadline = partition.oldest().map(|opened_at| opened_at + self.config.delivery_timeout);
        [linger, deadline, partition.not_before].into_iter().flatten()
    }

    /// Applies every rule to the present state.
    fn advance(&mut self, now: Instant) {
        self.now = now;
        self.take_news();
        self.end_overdue(now);
        self.tend_logins(now);
        self.tend_leaders(now);
        // After those who may find that metadata is missing.
        self.tend_control(now);
        self.produce(now);
        self.settle_down();
    }

    fn take_news(&mut self) {
        let news = self.accumulator.take_news();
        self.linger.ended_for = self.linger.ended_for.max(news.linger_ended);
        for topic in news.topics {
            self.cluster.watch(&topic.name);
            let name = Arc::clone(&topic.name);
            self.topics.insert(name, TopicEntry { topic, slots: Vec::new() });
        }
        for slot in news.partitions {
            if self.active.insert(slot) {
                self.cluster.wake(&self.partitions[slot].queue.topic);
            }
        }
        for (name, entry) in &self.topics {
            if entry.topic.waiting_since().is_some() {
                self.cluster.wake(name);
            }
        }
    }

    /// Brings a topic's partitions up to what the cluster says of them.
    fn sync_topic(&mut self, name: &Arc<str>) {
        let (Some(entry), Some(view)) = (self.topics.get_mut(name), self.cluster.topic(name))
        else {
            return;
        };
        let mut added = Vec::new();
        for number in entry.slots.len()..view.partitions.len() {
            let slot = self.partitions.len();
            let number = i32::try_from(number).expect("partition numbers are INT32");
            let queue = Arc::new(PartitionQueue::new(Arc::clone(name), number, slot));
            self.partitions.push(Partition::new(Arc::clone(&queue)));
            entry.slots.push(slot);
            added.push(queue);
        }
        let mut available = Vec::new();
        for ((number, told), slot) in (0..).zip(&view.partitions).zip(&entry.slots) {
            let partition = &mut self.partitions[*slot];
            if told.leader.is_some() && told.leader != partition.leader {
                // Whatever the old leader said does not hold for the new one.
                partition.not_before = None;
            }
            partition.leader = told.leader;
            if told.leader.is_some() {
                available.push(number);
            }
        }
        let misplaced = self.accumulator.open(&entry.topic, added, available);
        for (homeless, fault) in misplaced {
            self.reject_misplaced(name, homeless, fault);
        }
        self.take_news();
    }

    fn link_mut(&mut self, target: Target) -> Option<&mut Link> {
        match target {
            Target::Control => Some(&mut self.control),
            Target::Leader(node) => self.leaders.get_mut(&node),
        }
    }

    fn link_of(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        let target = *self.connections.get(&connection)?;
        self.link_mut(target)
    }

    fn seal(&mut self, batch: BatchRef, builder: BatchBuilder) {
        let compression = self.compression_for(self.partitions[batch.slot].leader);
        self.actions.push_back(Action::Seal { batch, builder, compression });
    }

    /// The codec of the configuration, or none for a broker that does not know it yet: its batches
    /// are larger then, but they arrive (KIP-110).
    fn compression_for(&self, leader: Option<NodeId>) -> Compression {
        let wanted = self.config.compression;
        let link = leader.and_then(|node| self.leaders.get(&node));
        let known = link.and_then(|link| link.up()).map(|(_, versions)| versions);
        let version = known.and_then(|versions| versions.choose(ApiKey::Produce));
        if wanted.codec() == Codec::Zstd && version.is_some_and(|version| version < ZSTD_FROM) {
            return Compression::default();
        }
        wanted
    }

    fn transmit(&mut self, connection: ConnectionId, frame: Vec<Bytes>, report: Option<i32>) {
        self.actions.push_back(Action::Transmit { connection, frame, report });
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notice(notice));
    }

    /// How long an answer may take: the broker's own time for the request, and the way. A broker
    /// that gives up in time says so, and that is worth more than a lost connection.
    fn answer_timeout(&self) -> Duration {
        self.config.request_timeout + ANSWER_GRACE
    }
}
