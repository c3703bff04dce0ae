//! Everything goes wrong at random, and at the end the logs are compared with what was promised.
//!
//! Goal: no order of events, however unlucky, breaks a promise. Method: a seed decides the settings
//! and a few hundred steps (records, time, faults) against three nodes; then the cluster heals, all
//! records end, and each is looked up in the logs. A failure prints its seed:
//!
//! ```text
//! OTTLA_SEED=17 cargo test --lib simulation        (or a range of seeds, as 300..5000)
//! ```

use super::broker::{BatchFault, Cluster, Fault};
use super::world::{World, ms, outcome};
use crate::producer::completion::{Completion, DeliveryError};
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::partitioner::Random;
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEEDS: u64 = 300;
const STEPS: usize = 250;

/// Refusals that are true whatever the log holds.
const REFUSALS: [ErrorCode; 16] = [
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::NOT_ENOUGH_REPLICAS,
    ErrorCode::REQUEST_TIMED_OUT,
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

const FAULTS: [Fault; 9] = [
    Fault::CloseBefore,
    Fault::CloseAfter,
    Fault::StuckBefore,
    Fault::StuckAfter,
    Fault::Cut(0),
    Fault::Cut(9),
    Fault::WrongCorrelation,
    Fault::LeaveOut(0),
    Fault::Repeat,
];

/// A topic and its partition.
type Place = (&'static str, usize);

const PLACES: [Place; 4] = [("t", 0), ("t", 1), ("t", 2), ("u", 0)];

struct Simulation {
    world: World,
    random: Random,
    idempotent: bool,
    /// By place, in the order they were sent; the value is the index.
    records: BTreeMap<Place, Vec<Completion>>,
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with OTTLA_SEED={} cargo test --lib simulation", self.0);
        }
    }
}

#[test]
fn no_promise_is_broken_whatever_goes_wrong() {
    let seeds = match std::env::var("OTTLA_SEED") {
        Ok(seeds) => match seeds.split_once("..") {
            Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
            None => seeds.parse().map(|seed| seed..seed + 1).unwrap(),
        },
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        run(seed);
    }
}

#[test]
fn the_same_seed_goes_the_same_way() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

fn run(seed: u64) -> u64 {
    let _replay = Replay(seed);
    let mut simulation = Simulation::new(seed);
    for _ in 0..STEPS {
        simulation.act();
    }
    simulation.heal();
    simulation.settle();
    simulation.check();
    simulation.world.transcript()
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(3);
        cluster.create("t", 3);
        cluster.create("u", 1);
        cluster.versions.insert(0, (3, pick(&mut random, &[3, 7, 9, 12, 13])));
        cluster.versions.insert(3, (0, pick(&mut random, &[1, 5, 8, 9, 11, 13])));
        cluster.hints = random.below(2) == 0;
        let idempotent = random.below(4) > 0;
        let wraps = random.below(3) == 0;
        let mut world = World::seeded(seed, cluster, |config| settle_on(config, &mut random));
        if !idempotent {
            let (cluster, mut random) = (world.cluster, random.clone());
            world = World::seeded(seed, cluster, |config| {
                settle_on(config, &mut random);
                config.idempotence = false;
                config.acks = Acks::One;
            });
        }
        if wraps {
            world.engine.sequencer.first_number = i32::MAX - 5;
        }
        let records = PLACES.map(|place| (place, Vec::new())).into();
        Self { world, random, idempotent, records }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    fn millis(&mut self, bound: usize) -> Duration {
        ms(u64::try_from(self.below(bound)).unwrap())
    }

    fn node(&mut self) -> i32 {
        i32::try_from(self.below(3)).unwrap() + 1
    }

    /// One step: mostly records and time, sometimes a fault.
    fn act(&mut self) {
        match self.below(100) {
            0..40 => self.send(),
            40..72 => {
                let time = self.millis(25);
                self.world.run(time);
            }
            72..74 => {
                let time = self.millis(1500);
                self.world.run(time);
            }
            74..76 => self.world.flush(),
            76..80 => self.lose_a_connection(),
            80..88 => self.fail_a_batch(),
            88..92 => {
                let fault = pick(&mut self.random, &FAULTS);
                self.world.cluster.faults.push_back(fault);
            }
            92..96 => self.move_a_leader(),
            _ => self.disturb_the_cluster(),
        }
    }

    fn send(&mut self) {
        let (topic, partition) = pick(&mut self.random, &PLACES);
        let value = self.records[&(topic, partition)].len().to_string();
        let number = i32::try_from(partition).unwrap();
        let record = Record::to(topic).partition(number).value(value.as_bytes());
        let completion = self.world.send_record(&record);
        self.records.get_mut(&(topic, partition)).unwrap().push(completion);
    }

    fn lose_a_connection(&mut self) {
        let open = self.world.open_connections();
        if !open.is_empty() {
            let (connection, arrive) = (pick(&mut self.random, &open), self.below(4));
            self.world.lose(connection, arrive);
        }
        self.world.arrive_after_close = self.below(4);
    }

    fn fail_a_batch(&mut self) {
        let fault = match self.below(3) {
            0 => BatchFault::StoreAndAnswer(pick(&mut self.random, &AFTER_STORING)),
            1 => BatchFault::Refuse(pick(&mut self.random, &REFUSALS)),
            _ => BatchFault::None,
        };
        let partition = i32::try_from(self.below(3)).unwrap();
        self.world.cluster.fault(partition, fault);
    }

    fn move_a_leader(&mut self) {
        let (partition, node) = (self.below(3), self.node());
        let leaderless = self.below(4) == 0;
        self.world.cluster.move_leader(partition, if leaderless { -1 } else { node });
    }

    fn disturb_the_cluster(&mut self) {
        let node = self.node();
        match self.below(7) {
            0 => {
                self.world.cluster.up.remove(&node);
                self.world.lose_node(node);
            }
            1 => {
                self.world.cluster.up.insert(node);
            }
            2 => self.world.latency = ms(1) + self.millis(20),
            3 => self.world.sealing = self.millis(5),
            4 => self.world.cluster.throttle_ms = pick(&mut self.random, &[0, 0, 30]),
            5 => {
                self.world.cluster.stale_topics = self.world.cluster.topics.clone();
                self.world.cluster.stale_answers = 2;
            }
            _ => {
                let error = pick(
                    &mut self.random,
                    &[ErrorCode::NONE, ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION],
                );
                self.world.cluster.topics.get_mut("t").unwrap().error = error;
            }
        }
    }

    fn heal(&mut self) {
        let cluster = &mut self.world.cluster;
        cluster.faults.clear();
        cluster.batch_faults.clear();
        cluster.up = [1, 2, 3].into();
        cluster.throttle_ms = 0;
        cluster.stale_answers = 0;
        for topic in cluster.topics.values_mut() {
            topic.error = ErrorCode::NONE;
            for partition in topic.partitions.iter_mut().filter(|p| p.leader < 0) {
                partition.leader = 1;
                partition.epoch += 1;
            }
        }
        (self.world.latency, self.world.sealing) = (ms(1), ms(1));
    }

    /// Sends one more record everywhere, which has to arrive, and lets all end.
    fn settle(&mut self) {
        // Stuck requests run into their timeouts, and old records into theirs.
        self.world.run(Duration::from_secs(4));
        for place in PLACES {
            let value = self.records[&place].len().to_string();
            let number = i32::try_from(place.1).unwrap();
            let record = Record::to(place.0).partition(number).value(value.as_bytes());
            let completion = self.world.send_record(&record);
            let end = self.world.end_of(&completion);
            assert!(end.is_ok(), "a well cluster takes it: {end:?}");
            self.records.get_mut(&place).unwrap().push(completion);
        }
        if self.below(2) == 0 {
            self.world.run(Duration::from_secs(4));
        } else {
            self.world.close(Duration::from_secs(4));
            self.world.run_until(|world| world.engine.is_finished());
        }
        let timeout = self.world.engine.poll_timeout();
        assert!(timeout.is_none_or(|at| at > self.world.now));
        assert!(self.world.steps < 20_000, "{} steps", self.world.steps);
        assert_eq!(self.world.budget.used(), 0);
    }

    fn check(&self) {
        for (place, records) in &self.records {
            let (topic, partition) = *place;
            let log = self.world.cluster.topics[topic].partitions[partition].log.values();
            let numbers: Vec<usize> = log.iter().map(|value| value.parse().unwrap()).collect();
            if self.idempotent {
                assert!(numbers.is_sorted_by(|a, b| a < b), "{place:?}: {numbers:?}");
            }
            let stored: BTreeSet<_> = numbers.iter().copied().collect();
            for (number, record) in records.iter().enumerate() {
                let is_stored = stored.contains(&number);
                match outcome(record).expect("every record has an end") {
                    Ok(delivered) => {
                        assert!(is_stored, "{place:?}: {number} was acknowledged");
                        let offset =
                            delivered.offset.map(|offset| usize::try_from(offset).unwrap());
                        assert!(offset.is_none_or(|offset| numbers[offset] == number));
                    }
                    Err(DeliveryError::Unknown { .. }) => {}
                    Err(error) => assert!(!is_stored, "{place:?}: {number} is stored: {error}"),
                }
            }
        }
    }
}

fn settle_on(config: &mut ProducerConfig, random: &mut Random) {
    config.linger = ms(pick(random, &[0, 0, 5, 20]));
    config.batch_records_max = pick(random, &[1, 2, 4, 100]);
    config.max_in_flight = pick(random, &[1, 2, 5, 5]);
    config.request_timeout = ms(pick(random, &[200, 500, 1000]));
    config.delivery_timeout = ms(pick(random, &[1100, 2000, 3500]));
    config.retry_backoff = ms(pick(random, &[0, 10, 50]));
    config.retry_backoff_max = ms(200);
    config.reconnect_backoff = ms(10);
    config.reconnect_backoff_max = ms(100);
    config.connection_setup_timeout = ms(300);
    config.metadata_max_age = ms(pick(random, &[500, 5000]));
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len())]
}
