//! One run in which everything goes wrong at random.
//!
//! A seed decides the settings and a few hundred steps: records, time, and what befalls brokers,
//! connections, topics, requests and batches. Then the cluster heals, one more record to every
//! partition has to arrive, and all ends. Whether the promises were kept is for `history` to say.

use super::broker::{BatchFault, Cluster, Fault};
use super::guard::Guard;
use super::history::{self, Invariant, Violation};
use super::world::{World, ms};
use crate::producer::budget::Reservation;
use crate::producer::config::{Acks, ProducerConfig, SaslConfig};
use crate::producer::partitioner::Random;
use crate::producer::record::Record;
use crate::protocol::{Codec, ErrorCode};
use crate::sasl::{SaslMechanism, Secret};
use std::time::Duration;

const STEPS: usize = 250;

/// Events of a whole run, at most: a few for every record, what timers cause in some seconds, and
/// what retries without a pause cause while a partition is refused, one a round trip.
const EVENTS_MAX: usize = 40_000;

/// Longer than any request may be stuck, and any record may take.
const CALM: Duration = Duration::from_secs(5);

/// Refusals that are true whatever the log holds.
const REFUSALS: [ErrorCode; 17] = [
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::NOT_ENOUGH_REPLICAS,
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::BROKER_NOT_AVAILABLE,
    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode::CORRUPT_MESSAGE,
    ErrorCode::INVALID_RECORD,
    ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ErrorCode::MESSAGE_TOO_LARGE,
    ErrorCode::UNKNOWN_SERVER_ERROR,
    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode::UNKNOWN_PRODUCER_ID,
    ErrorCode::INVALID_PRODUCER_EPOCH,
    ErrorCode::INVALID_PRODUCER_ID_MAPPING,
    ErrorCode(9999),
];

/// Errors that a broker may answer with although it stored the batch.
const AFTER_STORING: [ErrorCode; 5] = [
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::NETWORK_EXCEPTION,
    ErrorCode::UNKNOWN_SERVER_ERROR,
    ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
];

/// How a broker refuses a producer that it has forgotten.
const TO_STRANGERS: [ErrorCode; 4] = [
    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode::UNKNOWN_PRODUCER_ID,
    ErrorCode::INVALID_PRODUCER_EPOCH,
    ErrorCode::INVALID_PRODUCER_ID_MAPPING,
];

/// Topics, and the partitions they begin with. The last comes late, and the one before it goes and
/// comes again.
const TOPICS: [(&str, usize); 4] = [("t", 3), ("u", 1), ("again", 2), ("late", 1)];
const AGAIN: &str = "again";
const LATE: &str = "late";

pub(super) struct Chaos {
    pub(super) world: World,
    random: Random,
    /// Whether every refusal that passes is outlasted.
    patient: bool,
    closed: bool,
    /// Callers that wait for room.
    waiting: Vec<Reservation>,
}

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(3);
        for (topic, partitions) in TOPICS {
            if topic != LATE || random.below(2) == 0 {
                cluster.create(topic, partitions);
            }
        }
        cluster.versions.insert(0, (3, pick(&mut random, &[3, 7, 7, 9, 12, 13])));
        cluster.versions.insert(3, (0, pick(&mut random, &[1, 5, 8, 9, 11, 13])));
        cluster.hints = random.below(2) == 0;
        let mut patient = true;
        let mut world = World::seeded(seed, cluster, |config| {
            settle_on(config, &mut random);
            patient = config.retries == u32::MAX;
        });
        if random.below(3) == 0 {
            world.engine.sequencer.first_number = i32::MAX - 5;
        }
        if world.engine.config.sasl.is_some() {
            world.guard = Some(Guard::new(ms(pick(&mut random, &[0, 150, 1000]))));
        }
        Self { world, random, patient, closed: false, waiting: Vec::new() }
    }

    /// Lets everything go wrong, then all end well. Says which promise was broken.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let closes_at = self.random.below(4 * STEPS);
        for step in 0..STEPS {
            self.act();
            if step == closes_at {
                self.close();
            }
        }
        self.heal();
        self.settle()?;
        history::check(&self.world)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        pick(&mut self.random, from)
    }

    fn millis(&mut self, bound: usize) -> Duration {
        ms(u64::try_from(self.below(bound)).unwrap())
    }

    fn node(&mut self) -> i32 {
        self.pick(&[1, 2, 3])
    }

    fn note(&mut self, what: String) {
        let elapsed = self.world.elapsed();
        self.world.history.note(elapsed, what);
    }

    /// One step: mostly records and time, sometimes a fault.
    fn act(&mut self) {
        match self.below(100) {
            0..40 => self.send(),
            40..70 => {
                let time = self.millis(25);
                self.world.run(time);
            }
            70..72 => {
                let time = self.millis(1500);
                self.world.run(time);
            }
            72..74 => self.hurry(),
            74..78 => self.lose_a_connection(),
            78..86 => self.fail_a_batch(),
            86..90 => self.fail_a_request(),
            90..93 => self.move_a_leader(),
            93..97 => self.disturb_the_nodes(),
            _ => self.disturb_the_topics(),
        }
    }

    fn send(&mut self) {
        if self.closed {
            return;
        }
        let (topic, partitions) = self.pick(&TOPICS);
        // Sometimes one that is not there yet, sometimes the producer's choice.
        let partition = match self.below(10) {
            0 => None,
            1 => Some(partitions),
            _ => Some(self.below(partitions)),
        };
        let partition = partition.map(|number| i32::try_from(number).unwrap());
        if !self.send_to(topic, partition) && self.waiting.len() < 2 {
            let until = self.world.now + ms(50);
            self.waiting.push(self.world.budget.queue(100, until));
            self.world.engine.handle_news(self.world.now);
            self.world.perform();
        }
    }

    fn send_to(&mut self, topic: &str, partition: Option<i32>) -> bool {
        let value = self.world.history.len().to_string();
        let record = Record { partition, ..Record::to(topic).value(value.as_bytes()) };
        self.world.offer_record(&record).is_some()
    }

    fn hurry(&mut self) {
        self.waiting.clear();
        match self.below(8) {
            0 => {
                self.note("purge".to_owned());
                self.world.purge();
            }
            1..4 => self.world.end_linger(),
            _ => self.world.flush(),
        }
    }

    fn close(&mut self) {
        let timeout = self.pick(&[0, 100, 3000]);
        self.note(format!("close within {timeout} ms"));
        self.closed = true;
        self.waiting.clear();
        self.world.close(ms(timeout));
    }

    fn lose_a_connection(&mut self) {
        let open = self.world.open_connections();
        if !open.is_empty() {
            let (connection, arrive) = (self.pick(&open), self.below(4));
            self.note(format!("{connection:?} is lost, {arrive} requests still arrive"));
            self.world.lose(connection, arrive);
        }
        self.world.arrive_after_close = self.below(4);
    }

    fn fail_a_batch(&mut self) {
        let fault = match self.below(7) {
            0..2 => BatchFault::StoreAndAnswer(self.pick(&AFTER_STORING)),
            2..5 => BatchFault::Refuse(self.pick(&REFUSALS)),
            _ => BatchFault::None,
        };
        if self.below(8) == 0 {
            let next = self.world.history.len();
            self.note(format!("record {next} will be refused"));
            self.world.cluster.disliked.insert(next.to_string());
            return;
        }
        let partition = self.pick(&[0, 0, 1, 2]);
        self.note(format!("a batch of partition {partition} will meet {fault:?}"));
        self.world.cluster.fault(partition, fault);
    }

    fn fail_a_request(&mut self) {
        let fault = match self.below(10) {
            0 => Fault::CloseBefore,
            1 => Fault::CloseAfter,
            2 => Fault::StuckBefore,
            3 => Fault::StuckAfter,
            4 => Fault::Cut(self.below(40)),
            5 => Fault::WrongCorrelation,
            6 => Fault::LeaveOut(self.pick(&[0, 1, 2])),
            7 => Fault::Repeat,
            _ => Fault::Reverse,
        };
        self.note(format!("a request will meet {fault:?}"));
        self.world.cluster.faults.push_back(fault);
    }

    fn move_a_leader(&mut self) {
        let topics: Vec<_> = self.world.cluster.topics.keys().cloned().collect();
        let topic = &topics[self.below(topics.len())];
        let partition = self.below(self.world.cluster.topics[topic].partitions.len());
        let node = self.pick(&[1, 2, 3, -1]);
        self.note(format!("{topic}/{partition} moves to {node}"));
        let topic = self.world.cluster.topics.get_mut(topic).unwrap();
        topic.partitions[partition].leader = node;
        topic.partitions[partition].epoch += 1;
    }

    fn disturb_the_nodes(&mut self) {
        let node = self.node();
        match self.below(10) {
            0 => {
                self.note(format!("node {node} goes down"));
                self.world.cluster.up.remove(&node);
                self.world.lose_node(node);
            }
            1 => {
                self.note(format!("node {node} is up"));
                self.world.cluster.up.insert(node);
                self.world.cluster.mute.remove(&node);
            }
            2 => {
                self.note(format!("node {node} falls silent"));
                self.world.cluster.mute.insert(node);
            }
            3 => self.world.latency = ms(1) + self.millis(20),
            4 => self.world.sealing = self.millis(5),
            5 => self.world.cluster.throttle_ms = self.pick(&[0, 0, 30]),
            6 => self.world.cluster.hints = self.below(2) == 0,
            7 => {
                let error = self.pick(&[ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::NONE]);
                self.world.cluster.identity_errors.push_back(error);
            }
            8 => {
                let (refused, slams) = (self.pick(&[0, 0, 1, 3]), self.pick(&[false, false, true]));
                if let Some(guard) = &mut self.world.guard {
                    (guard.refused, guard.slams) = (refused, slams);
                    self.note(format!("{refused} logins are refused, or slammed: {slams}"));
                }
            }
            _ => {
                self.world.cluster.batch_size_max = self.pick(&[usize::MAX, 150, 90, 75]);
                self.note(format!("batches take {} bytes", self.world.cluster.batch_size_max));
            }
        }
    }

    fn disturb_the_topics(&mut self) {
        let leader = self.node();
        let cluster = &mut self.world.cluster;
        match self.random.below(6) {
            0 => {
                cluster.stale_topics = cluster.topics.clone();
                cluster.stale_answers = 2;
            }
            1 => {
                let errors = [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
                cluster.topics.get_mut("t").unwrap().error = pick(&mut self.random, &errors);
            }
            2 if !cluster.topics.contains_key(LATE) => {
                cluster.create(LATE, 1);
                self.note(format!("{LATE} is created"));
            }
            2 if cluster.topics["u"].partitions.len() < 3 => {
                cluster.grow("u", leader);
                self.note("u grows".to_owned());
            }
            3 if cluster.topics.contains_key(AGAIN) => {
                cluster.delete(AGAIN);
                self.note(format!("{AGAIN} is deleted"));
            }
            4 if !cluster.topics.contains_key(AGAIN) => {
                cluster.create(AGAIN, 2);
                self.note(format!("{AGAIN} is created again"));
                self.remember_strangers();
            }
            _ => self.delete_records(),
        }
    }

    /// Who names topics by id learns that one is new before writing to it. Who does not could write
    /// two batches to a log that knows nothing of them: if it refuses the first and takes the
    /// second, no producer keeps their order. So the new log wants to be started anew.
    fn remember_strangers(&mut self) {
        let cluster = &mut self.world.cluster;
        if cluster.versions[&0].1 >= 13 && cluster.versions[&3].1 >= 10 {
            return;
        }
        let refusal = pick(&mut self.random, &TO_STRANGERS);
        let Some((_, old)) = cluster.deleted.iter().rfind(|(name, _)| name == AGAIN) else {
            return;
        };
        let new = cluster.topics.get_mut(AGAIN).unwrap();
        for (new, old) in new.partitions.iter_mut().zip(&old.partitions) {
            new.log.succeed(&old.log, refusal);
        }
    }

    /// Not in the middle of a pipeline: no producer can tell then which of its batches were lost.
    fn delete_records(&mut self) {
        if self.world.is_something_on_its_way() {
            return;
        }
        let (partition, refusal) = (self.below(3), self.pick(&TO_STRANGERS));
        self.note(format!("the records of t/{partition} are deleted"));
        self.world.cluster.partition(partition).log.delete_records(refusal);
    }

    fn heal(&mut self) {
        self.note("all is well again".to_owned());
        self.waiting.clear();
        let cluster = &mut self.world.cluster;
        cluster.faults.clear();
        cluster.batch_faults.clear();
        cluster.identity_errors.clear();
        cluster.disliked.clear();
        cluster.mute.clear();
        cluster.up = [1, 2, 3].into();
        cluster.throttle_ms = 0;
        cluster.stale_answers = 0;
        cluster.batch_size_max = usize::MAX;
        for (topic, partitions) in TOPICS {
            if !cluster.topics.contains_key(topic) {
                cluster.create(topic, partitions);
            }
        }
        self.remember_strangers();
        let cluster = &mut self.world.cluster;
        for topic in cluster.topics.values_mut() {
            topic.error = ErrorCode::NONE;
            for partition in topic.partitions.iter_mut().filter(|p| p.leader < 0) {
                partition.leader = 1;
                partition.epoch += 1;
            }
        }
        (self.world.latency, self.world.sealing) = (ms(1), ms(1));
        if let Some(guard) = &mut self.world.guard {
            (guard.refused, guard.slams) = (0, false);
        }
    }

    /// Sends one more record everywhere, which has to arrive, and lets all end.
    fn settle(&mut self) -> Result<(), Violation> {
        self.world.run(CALM);
        if !self.closed {
            self.send_everywhere()?;
        }
        if !self.closed && self.below(2) == 0 {
            self.world.close(CALM);
            self.closed = true;
        }
        self.world.run(CALM);
        self.demand(self.closed == self.world.engine.is_finished(), "it does not end")?;
        let steps = self.world.steps;
        self.demand(steps < EVENTS_MAX, &format!("{steps} events"))
    }

    fn send_everywhere(&mut self) -> Result<(), Violation> {
        let first = self.world.history.len();
        for (topic, partitions) in TOPICS {
            for partition in 0..partitions {
                let taken = self.send_to(topic, Some(i32::try_from(partition).unwrap()));
                self.demand(taken, "there is no room although all is over")?;
            }
        }
        self.world.run(CALM);
        let last = self.world.history.len();
        if self.patient {
            self.world.history.are_delivered(first..last, &self.world)?;
        }
        Ok(())
    }

    fn demand(&self, holds: bool, what: &str) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(history::violation(&self.world, Invariant::Quiet, what)) }
    }
}

fn settle_on(config: &mut ProducerConfig, random: &mut Random) {
    config.linger = ms(pick(random, &[0, 0, 5, 20]));
    config.batch_records_max = pick(random, &[1, 2, 4, 100]);
    config.batch_size = pick(random, &[1_000_000, 100]);
    config.max_in_flight = pick(random, &[1, 2, 3, 5, 5]);
    config.request_timeout = ms(pick(random, &[200, 500, 1000]));
    config.delivery_timeout = ms(pick(random, &[1100, 2000, 3500]));
    config.retries = pick(random, &[u32::MAX, u32::MAX, u32::MAX, 1, 3]);
    config.retry_backoff = ms(pick(random, &[0, 10, 50]));
    config.retry_backoff_max = ms(200);
    config.reconnect_backoff = ms(10);
    config.reconnect_backoff_max = ms(100);
    config.connection_setup_timeout = ms(300);
    config.connections_max_idle = ms(pick(random, &[400, 60_000]));
    config.metadata_max_age = ms(pick(random, &[500, 5000]));
    config.record_size_max = 1000;
    config.buffer_memory = pick(random, &[1 << 20, 1000]);
    config.compression = pick(random, &[Codec::None, Codec::None, Codec::None, Codec::Zstd]).into();
    if random.below(3) == 0 {
        let (user, password) = (Secret::new("user"), Secret::new("pencil"));
        config.sasl = Some(SaslConfig::new(SaslMechanism::Plain, user, password).unwrap());
    }
    if random.below(4) == 0 {
        config.idempotence = false;
        config.acks = pick(random, &[Acks::Zero, Acks::One, Acks::All]);
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len())]
}
