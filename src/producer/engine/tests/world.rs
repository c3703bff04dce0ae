//! An engine, a cluster and the network between them, in virtual time.
//!
//! Nothing here waits: time jumps to the next thing that happens. After every event the engine's
//! standing promises are checked: no partition is in flight on two connections, what is sent again
//! goes alone, no connection carries more requests than it may, and nothing becomes due that no
//! timer spoke of. What is accepted and how it ends is kept for `history`.

use super::super::{Action, BatchRef, ConnectionId, Engine, Notice, Seeds};
use super::broker::{Call, Cluster, Reply};
use super::guard::Guard;
use super::history::{History, Invariant, violation};
use super::log::Batch;
use crate::producer::accumulator::{Accumulator, Now, Pushed};
use crate::producer::budget::Budget;
use crate::producer::completion::{Completion, Delivered, DeliveryError};
use crate::producer::config::ProducerConfig;
use crate::producer::record::Record;
use crate::protocol::compression::Compressor;
use crate::protocol::record_batch::{BatchLimits, SealedBatch};
use crate::sasl::SaltedPassword;
use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Far more than any scenario needs.
const STEPS_MAX: usize = 50_000;

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) accumulator: Arc<Accumulator>,
    pub(super) budget: Arc<Budget>,
    pub(super) cluster: Cluster,
    pub(super) history: History,
    pub(super) now: Instant,
    start: Instant,
    /// How long a connection takes, and a frame in either direction.
    pub(super) latency: Duration,
    /// How long it takes to seal a batch.
    pub(super) sealing: Duration,
    /// How long a key takes.
    pub(super) deriving: Duration,
    /// Who logs in, if that is wanted.
    pub(super) guard: Option<Guard>,
    /// Requests on their way that still arrive when the engine closes their connection.
    pub(super) arrive_after_close: usize,
    /// Events that the engine was told of, and timers that ran out.
    pub(super) steps: usize,
    /// By time, then in the order they were planned.
    events: BTreeMap<(Instant, u64), Event>,
    planned: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    max_in_flight: usize,
    /// The batches that were sent, with their homes.
    seen: HashSet<(Home, Bytes)>,
    /// Requests sent, as an independent decoder reads them.
    pub(super) sent: Vec<Sent>,
    pub(super) notices: Vec<Notice>,
    /// Connections asked for: when, and to which node.
    pub(super) dials: Vec<(Duration, i32)>,
    transcript: DefaultHasher,
}

/// A request that the engine sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: Duration,
    pub(super) node: i32,
    pub(super) api: ApiKey,
    pub(super) version: i16,
    /// Partition and batch; the topic is left out.
    pub(super) batches: Vec<(i32, Batch)>,
}

struct Connection {
    node: i32,
    /// What was planned last in either direction: frames do not overtake each other.
    arrives_last: Instant,
    answers_last: Instant,
    /// Requests on their way to the broker.
    arriving: VecDeque<Call>,
    /// The broker reads nothing more.
    stuck: bool,
    /// Correlation id and batches of the Produce requests that were not answered.
    unanswered: VecDeque<(i32, Vec<OnItsWay>)>,
}

/// A topic, as the request names it, and a partition.
type Home = (String, i32);

struct OnItsWay {
    home: Home,
    /// Not for the first time.
    again: bool,
}

enum Event {
    Connected(ConnectionId),
    Refused(ConnectionId),
    Arrives(ConnectionId),
    Answered(ConnectionId, Bytes),
    Written(ConnectionId, i32),
    Sealed(BatchRef, SealedBatch),
    Derived(ConnectionId, SaltedPassword),
    Closed(ConnectionId),
}

impl World {
    /// One node with topic `t` of one partition, and the default settings but for `change`.
    pub(super) fn one(change: impl FnOnce(&mut ProducerConfig)) -> Self {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        Self::new(cluster, change)
    }

    pub(super) fn new(cluster: Cluster, change: impl FnOnce(&mut ProducerConfig)) -> Self {
        Self::seeded(0, cluster, change)
    }

    pub(super) fn seeded(
        seed: u64,
        cluster: Cluster,
        change: impl FnOnce(&mut ProducerConfig),
    ) -> Self {
        let bootstrap = cluster.nodes.iter().map(|node| format!("b{node}:9092"));
        let mut config = ProducerConfig::new(bootstrap).unwrap();
        config.linger = Duration::ZERO;
        change(&mut config);
        config.validate().unwrap();
        let limits =
            BatchLimits { bytes_max: config.batch_size, records_max: config.batch_records_max };
        let accumulator = Arc::new(Accumulator::new(limits, seed));
        let budget = Arc::new(Budget::new(config.buffer_memory));
        #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
        let start = Instant::now() + config.delivery_timeout;
        let max_in_flight = config.max_in_flight;
        let history = History::new(&config);
        let seeds = Seeds { random: seed, nonces: [seed.to_be_bytes()[7]; 32] };
        let engine =
            Engine::new(start, config, Arc::clone(&accumulator), Arc::clone(&budget), seeds);
        let mut world = Self {
            engine,
            accumulator,
            budget,
            cluster,
            history,
            now: start,
            start,
            latency: ms(1),
            sealing: Duration::ZERO,
            deriving: ms(20),
            guard: None,
            arrive_after_close: usize::MAX,
            steps: 0,
            events: BTreeMap::new(),
            planned: 0,
            connections: BTreeMap::new(),
            max_in_flight,
            seen: HashSet::new(),
            sent: Vec::new(),
            notices: Vec::new(),
            dials: Vec::new(),
            transcript: DefaultHasher::new(),
        };
        world.perform();
        world
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Sends a value to a partition of topic `t`.
    pub(super) fn send(&mut self, partition: i32, value: &str) -> Completion {
        self.send_record(&Record::to("t").partition(partition).value(value.as_bytes()))
    }

    pub(super) fn send_record(&mut self, record: &Record<'_>) -> Completion {
        self.offer_record(record).expect("there is room, and it is not closed")
    }

    /// Sends a record if it is taken.
    pub(super) fn offer_record(&mut self, record: &Record<'_>) -> Option<Completion> {
        let size = record.content().size_bound();
        let room = self.budget.try_reserve(size).ok()?;
        let now = Now { instant: self.now, unix_millis: 1_700_000_000_000 };
        let Ok(Pushed { completion, wake }) = self.accumulator.push(now, record, size) else {
            self.budget.release(size);
            return None;
        };
        self.history.accept(self.elapsed(), record, &completion);
        if wake || room.exhausts {
            self.engine.handle_news(self.now);
            self.perform();
        }
        Some(completion)
    }

    /// Sends each value, to partition 0, as a batch of its own.
    pub(super) fn send_batches(&mut self, values: &[&str]) -> Vec<Completion> {
        let send = |value: &&str| {
            let completion = self.send(0, value);
            self.flush();
            completion
        };
        values.iter().map(send).collect()
    }

    pub(super) fn flush(&mut self) {
        self.engine.handle_flush(self.now);
        self.perform();
    }

    pub(super) fn end_linger(&mut self) {
        if self.accumulator.end_linger(self.now) {
            self.engine.handle_news(self.now);
            self.perform();
        }
    }

    pub(super) fn close(&mut self, timeout: Duration) {
        let due = self.elapsed() + timeout;
        self.history.closed_by = Some(self.history.closed_by.map_or(due, |sooner| sooner.min(due)));
        self.engine.handle_close(self.now, self.now + timeout);
        self.perform();
    }

    pub(super) fn purge(&mut self) {
        self.engine.handle_purge(self.now);
        self.perform();
    }

    /// Lets time pass, and all happen that happens in it.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`, for ten virtual minutes at most.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(600);
        while !done(self) {
            assert!(self.step(end), "nothing more happens");
        }
    }

    /// Runs until the record has ended.
    pub(super) fn end_of(&mut self, record: &Completion) -> Result<Delivered, DeliveryError> {
        self.run_until(|_| outcome(record).is_some());
        outcome(record).unwrap()
    }

    /// Runs until all were delivered.
    pub(super) fn all_delivered(&mut self, records: &[Completion]) {
        for record in records {
            self.end_of(record).unwrap();
        }
    }

    /// The next thing that happens, if that is not after `end`.
    fn step(&mut self, end: Instant) -> bool {
        let event = self.events.keys().next().map(|(at, _)| *at);
        let timeout = self.engine.poll_timeout();
        let Some(at) = event.into_iter().chain(timeout).min().filter(|at| *at <= end) else {
            return false;
        };
        self.probe(at);
        self.steps += 1;
        self.demand(self.steps < STEPS_MAX, Invariant::Quiet, || "a hot loop".to_owned());
        self.now = self.now.max(at);
        match self.events.pop_first() {
            Some((key, later)) if key.0 > at => {
                self.events.insert(key, later);
                self.handle_timeout();
            }
            Some((_, event)) => self.happen(event),
            None => self.handle_timeout(),
        }
        self.perform();
        true
    }

    fn handle_timeout(&mut self) {
        self.engine.handle_timeout(self.now);
        self.perform();
        let is_later = self.engine.poll_timeout().is_none_or(|at| at > self.now);
        self.demand(is_later, Invariant::Quiet, || "a timer that does not advance".to_owned());
    }

    /// Nothing is due just before the next event that no timer spoke of.
    fn probe(&mut self, next: Instant) {
        let before = next - Duration::from_nanos(1);
        if before > self.now {
            self.engine.handle_timeout(before);
            let missed = self.engine.poll_action();
            self.demand(missed.is_none(), Invariant::Quiet, || {
                format!("no timer spoke of {missed:?}")
            });
        }
    }

    /// Fails the test unless the promise holds.
    fn demand(&self, holds: bool, invariant: Invariant, what: impl FnOnce() -> String) {
        if !holds {
            violation(self, invariant, &what()).raise();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Connected(connection) => self.engine.handle_connected(self.now, connection),
            Event::Refused(connection) => {
                self.connections.remove(&connection);
                self.engine.handle_disconnected(self.now, connection, "refused".into());
            }
            Event::Closed(connection) => {
                if self.connections.remove(&connection).is_some() {
                    self.engine.handle_disconnected(self.now, connection, "closed".into());
                }
            }
            Event::Answered(connection, frame) => self.deliver(connection, &frame),
            Event::Written(connection, correlation_id) => {
                if let Some(open) = self.connections.get_mut(&connection) {
                    open.unanswered.retain(|(id, _)| *id != correlation_id);
                    self.engine.handle_written(self.now, connection, correlation_id);
                }
            }
            Event::Arrives(connection) => self.arrive(connection),
            Event::Sealed(batch, sealed) => self.engine.handle_sealed(self.now, batch, sealed),
            Event::Derived(connection, salted) => {
                self.engine.handle_derived(self.now, connection, &salted);
            }
        }
    }

    fn deliver(&mut self, connection: ConnectionId, frame: &Bytes) {
        let Some(open) = self.connections.get_mut(&connection) else { return };
        let correlation_id = i32::from_be_bytes(frame[..4].try_into().unwrap());
        open.unanswered.retain(|(id, _)| *id != correlation_id);
        frame.hash(&mut self.transcript);
        self.engine.handle_frame(self.now, connection, frame);
    }

    fn arrive(&mut self, connection: ConnectionId) {
        let Some(open) = self.connections.get_mut(&connection).filter(|open| !open.stuck) else {
            return;
        };
        let Some(call) = open.arriving.pop_front() else { return };
        let node = open.node;
        match self.serve(connection, node, &call) {
            Reply::Answer(frame) => self.plan_answer(connection, frame),
            Reply::AnswerAndClose(frame) => {
                self.plan_answer(connection, frame);
                self.plan(self.now + 2 * self.latency, Event::Closed(connection));
            }
            Reply::Nothing => {}
            Reply::Stuck => {
                self.connections.get_mut(&connection).unwrap().stuck = true;
            }
            Reply::Close => self.lose(connection, 0),
        }
    }

    fn plan_answer(&mut self, connection: ConnectionId, frame: Bytes) {
        let at = self.now + self.latency;
        let Some(open) = self.connections.get_mut(&connection) else { return };
        open.answers_last = open.answers_last.max(at);
        let at = open.answers_last;
        self.plan(at, Event::Answered(connection, frame));
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    /// Ends a connection at once; the first `arrive` requests on their way still get through.
    pub(super) fn lose(&mut self, connection: ConnectionId, arrive: usize) {
        let Some(open) = self.connections.get_mut(&connection) else { return };
        let node = open.node;
        let arrive = if open.stuck { 0 } else { arrive };
        let arrived: Vec<_> = open.arriving.drain(..).take(arrive).collect();
        for call in arrived {
            self.serve(connection, node, &call);
        }
        self.happen(Event::Closed(connection));
        self.perform();
    }

    fn serve(&mut self, connection: ConnectionId, node: i32, call: &Call) -> Reply {
        self.cluster.elapsed = self.elapsed();
        let elapsed = self.elapsed();
        let guard = self.guard.as_mut();
        let stopped = guard.and_then(|guard| guard.stop(elapsed, connection, call));
        stopped.unwrap_or_else(|| self.cluster.serve(node, call))
    }

    /// Ends all connections to a node; what is on its way is lost.
    pub(super) fn lose_node(&mut self, node: i32) {
        for connection in self.connections_to(node) {
            self.lose(connection, 0);
        }
    }

    pub(super) fn connections_to(&self, node: i32) -> Vec<ConnectionId> {
        let to = self.connections.iter().filter(|(_, open)| open.node == node);
        to.map(|(connection, _)| *connection).collect()
    }

    /// Whether a request has been sent and has not arrived.
    pub(super) fn is_something_on_its_way(&self) -> bool {
        self.connections.values().any(|open| !open.stuck && !open.arriving.is_empty())
    }

    pub(super) fn open_connections(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }

    pub(super) fn perform(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Connect { connection, address } => self.connect(connection, &address.host),
                Action::Transmit { connection, frame, report } => {
                    self.transmit(connection, &frame, report);
                }
                Action::Close { connection } => self.close_connection(connection),
                Action::Seal { batch, builder, compression } => {
                    let sealed = builder.seal(&mut Compressor::new(compression));
                    if self.sealing.is_zero() {
                        self.engine.handle_sealed(self.now, batch, sealed);
                    } else {
                        self.plan(self.now + self.sealing, Event::Sealed(batch, sealed));
                    }
                }
                Action::Derive { connection, derivation, salted } => {
                    let salted = salted.derive(&derivation);
                    self.plan(self.now + self.deriving, Event::Derived(connection, salted));
                }
                Action::Notice(notice) => self.notices.push(notice),
            }
        }
        let elapsed = self.elapsed();
        self.history.note_ends(elapsed);
        let timeout = self.engine.poll_timeout();
        let is_to_come = timeout.is_none_or(|at| at >= self.now);
        self.demand(is_to_come, Invariant::Quiet, || "a timer for the past".to_owned());
    }

    /// What was written arrives all the same, as far as the broker reads.
    fn close_connection(&mut self, connection: ConnectionId) {
        let Some(open) = self.connections.remove(&connection).filter(|open| !open.stuck) else {
            return;
        };
        for call in open.arriving.iter().take(self.arrive_after_close) {
            self.serve(connection, open.node, call);
        }
    }

    fn connect(&mut self, connection: ConnectionId, host: &str) {
        let host = host.strip_prefix('b').unwrap().parse().unwrap();
        let found = self.cluster.node_at(host);
        let node = found.unwrap_or(host);
        (self.elapsed(), node).hash(&mut self.transcript);
        self.dials.push((self.elapsed(), node));
        let open = Connection {
            node,
            arrives_last: self.now,
            answers_last: self.now,
            arriving: VecDeque::new(),
            stuck: false,
            unanswered: VecDeque::new(),
        };
        self.connections.insert(connection, open);
        let event =
            if found.is_some() { Event::Connected(connection) } else { Event::Refused(connection) };
        self.plan(self.now + self.latency, event);
    }

    fn transmit(&mut self, connection: ConnectionId, frame: &[Bytes], report: Option<i32>) {
        let (at, elapsed) = (self.now + self.latency, self.elapsed());
        let Some(open) = self.connections.get_mut(&connection) else { return };
        let call = Call::read(frame);
        (elapsed, frame).hash(&mut self.transcript);
        let mut batches = call.batches();
        if call.api == ApiKey::Produce {
            let on_its_way = |(topic, index, batch): &(String, i32, Batch)| {
                let home = (topic.clone(), *index);
                let again = !self.seen.insert((home.clone(), batch.bytes.clone()));
                OnItsWay { home, again }
            };
            let produced = batches.iter().map(on_its_way).collect();
            open.unanswered.push_back((call.correlation_id, produced));
        }
        self.sent.push(Sent {
            at: elapsed,
            node: open.node,
            api: call.api,
            version: call.version,
            batches: batches.drain(..).map(|(_, index, batch)| (index, batch)).collect(),
        });
        assert_eq!(report.is_some(), call.has_no_answer());
        open.arriving.push_back(call);
        open.arrives_last = open.arrives_last.max(at);
        let at = open.arrives_last;
        self.check_homes();
        self.plan(at, Event::Arrives(connection));
        if let Some(correlation_id) = report {
            self.plan(self.now + ms(1), Event::Written(connection, correlation_id));
        }
    }

    fn check_homes(&self) {
        let mut homes = BTreeMap::new();
        for (connection, open) in &self.connections {
            let room = open.unanswered.len() <= self.max_in_flight;
            self.demand(room, Invariant::Order, || "too much in flight".to_owned());
            for OnItsWay { home, again } in open.unanswered.iter().flat_map(|(_, sent)| sent) {
                let Some((other, other_again)) = homes.insert(home, (connection, *again)) else {
                    continue;
                };
                self.demand(other == connection, Invariant::Order, || {
                    format!("{home:?} is in flight on two connections")
                });
                self.demand(!again && !other_again, Invariant::Order, || {
                    format!("to {home:?} something is sent again beside something else")
                });
            }
        }
    }

    /// Ends of records, as the engine counts them for people.
    pub(super) fn counted_ends(&self) -> u64 {
        let mut ends = 0;
        self.engine.meters().note(|counts| {
            ends = counts.figures.records_delivered + counts.figures.records_failed;
        });
        ends
    }

    /// Produce requests that were sent.
    pub(super) fn produced(&self) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.api == ApiKey::Produce).collect()
    }

    /// The stamps and values of the batches that were sent, in order, as `epoch:sequence value..`.
    pub(super) fn batches_sent(&self) -> Vec<String> {
        let batches = self.produced().into_iter().flat_map(|sent| &sent.batches);
        let text = |(_, batch): &(i32, Batch)| {
            let stamp = batch.stamp;
            format!("{}:{} {}", stamp.epoch, stamp.base_sequence, batch.values.join(" "))
        };
        batches.map(text).collect()
    }

    /// Requests of one kind.
    pub(super) fn count(&self, api: ApiKey) -> usize {
        self.sent.iter().filter(|sent| sent.api == api).count()
    }

    /// A number that two runs share only if all went the same way.
    pub(super) fn transcript(&self) -> u64 {
        self.transcript.finish()
    }
}

/// How a record ended, if it did.
pub(super) fn outcome(record: &Completion) -> Option<Result<Delivered, DeliveryError>> {
    match record.poll(&Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}
