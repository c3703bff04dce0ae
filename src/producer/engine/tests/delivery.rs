//! When all goes well: what goes into a batch, into a request, and beside it.

use super::broker::{Cluster, Greeting};
use super::world::{World, ms, outcome};
use crate::producer::config::Acks;
use crate::producer::record::Record;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

/// A world in which a batch of partition 0 was delivered, so that nothing has to be found out.
fn warm(mut world: World) -> World {
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.sent.clear();
    world
}

fn count_per_request(world: &World) -> Vec<usize> {
    world.produced().iter().map(|sent| sent.batches.len()).collect()
}

#[test]
fn the_first_record_costs_round_trips_but_no_wait() {
    let mut world = World::one(|_| {});
    let record = world.send(0, "a");
    let delivered = world.end_of(&record).unwrap();
    assert_eq!((delivered.partition, delivered.offset), (0, Some(0)));
    assert_eq!(world.cluster.stored(0), ["a"]);
    assert_eq!(world.budget.used(), 0);
    // Connect, ApiVersions, Metadata; then the same to the leader, and Produce.
    assert!(world.elapsed() <= ms(11), "{:?}", world.elapsed());
}

#[test]
fn a_topic_named_while_metadata_is_on_its_way_is_asked_for_at_once() {
    let mut world = World::one(|_| {});
    world.run_until(|world| world.count(ApiKey::Metadata) == 1);
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    assert!(world.elapsed() <= ms(12), "{:?}", world.elapsed());
}

#[test]
fn a_batch_that_is_not_full_lingers_and_no_longer() {
    let mut world = warm(World::one(|config| config.linger = ms(20)));
    let began = world.elapsed();
    let first = world.send(0, "a");
    world.run(ms(15));
    let second = world.send(0, "b");
    assert!(world.produced().is_empty());
    world.all_delivered(&[first, second]);
    assert_eq!(world.batches_sent(), ["0:1 a b"]);
    assert_eq!(world.produced()[0].at - began, ms(20), "counted from the first record");
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut world = warm(World::one(|config| {
        config.linger = Duration::from_secs(5);
        config.batch_records_max = 2;
    }));
    let began = world.elapsed();
    let full = [world.send(0, "a"), world.send(0, "b")];
    let rest = world.send(0, "c");
    world.all_delivered(&full);
    assert_eq!(world.elapsed() - began, ms(2));
    assert!(outcome(&rest).is_none());
    world.end_of(&rest).unwrap();
    assert_eq!(world.elapsed() - began, ms(5002));

    let mut world = warm(World::one(|config| {
        config.linger = Duration::from_secs(5);
        config.batch_size = 200;
    }));
    let value = "x".repeat(80);
    let full = world.send(0, &value);
    world.send(0, &value);
    world.run(ms(2));
    assert!(outcome(&full).is_some(), "the second did not fit");
}

#[test]
fn without_linger_records_share_a_batch_while_earlier_ones_are_on_their_way() {
    let mut world = warm(World::one(|config| config.max_in_flight = 1));
    let records: Vec<_> = ["a", "b", "c", "d"].map(|value| world.send(0, value)).into();
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b c d"]);
}

#[test]
fn many_partitions_share_a_request() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 50);
    let mut world = warm(World::new(cluster, |config| config.linger = ms(5)));
    let records: Vec<_> = (0..50).map(|partition| world.send(partition, "a")).collect();
    world.all_delivered(&records);
    assert_eq!(count_per_request(&world), [50]);
    assert!((1..50).all(|partition| world.cluster.stored(partition) == ["a"]));
}

#[test]
fn each_leader_gets_its_own_partitions() {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 6);
    let mut world = World::new(cluster, |config| config.linger = ms(5));
    let records: Vec<_> = (0..6).map(|partition| world.send(partition, "a")).collect();
    world.all_delivered(&records);
    for sent in world.produced() {
        let partitions: Vec<_> = sent.batches.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(partitions, [sent.node - 1, sent.node + 2]);
    }
}

#[test]
fn the_first_batch_of_an_identity_goes_alone_and_five_at_a_time_after_that() {
    let mut world = World::one(|config| config.batch_records_max = 1);
    let values = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut records = world.send_batches(&values);
    world.run_until(|world| !world.produced().is_empty());
    world.run(ms(1));
    assert_eq!(world.batches_sent(), ["0:0 a"], "the broker knows nothing of us yet");
    world.run(ms(2));
    assert_eq!(world.produced().len(), 6, "five in flight behind the one that was confirmed");
    records.extend(world.send_batches(&["i"]));
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0).concat(), "abcdefghi");
}

#[test]
fn partitions_of_one_request_have_their_turn_when_it_is_full() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 20);
    let mut world = warm(World::new(cluster, |config| config.linger = ms(5)));
    let value = "x".repeat(900_000);
    let records: Vec<_> = (0..20).map(|partition| world.send(partition, &value)).collect();
    world.all_delivered(&records);
    assert_eq!(count_per_request(&world), [9, 9, 2], "eight megabytes at a time");
}

/// F50
#[test]
fn whoever_waits_for_room_ends_linger() {
    let mut world = warm(World::one(|config| {
        config.linger = Duration::from_secs(5);
        config.buffer_memory = 1_000_000;
    }));
    let value = "x".repeat(700_000);
    let large = world.send(0, &value);
    world.run(ms(10));
    assert!(outcome(&large).is_none(), "it lingers");
    let deadline = world.now + Duration::from_secs(60);
    let waiting = world.budget.queue(500_000, deadline);
    world.engine.handle_news(world.now);
    world.perform();
    world.run(ms(2));
    assert!(outcome(&large).is_some());
    assert!(!world.budget.is_exhausted(), "the room was passed on");
    drop(waiting);
}

/// F50
#[test]
fn nothing_lingers_while_little_room_is_left() {
    let mut world = warm(World::one(|config| {
        config.linger = Duration::from_secs(5);
        config.buffer_memory = 1_000_000;
    }));
    let first = world.send(0, &"x".repeat(700_000));
    world.run(ms(10));
    assert!(outcome(&first).is_none(), "it lingers");
    let second = world.send(0, &"x".repeat(100_000));
    world.run(ms(2));
    assert!(outcome(&first).is_some() && outcome(&second).is_some());
}

#[test]
fn a_flush_ends_linger_for_what_is_there_and_not_for_what_comes() {
    let mut world = warm(World::one(|config| config.linger = Duration::from_secs(5)));
    let before = world.send(0, "a");
    world.flush();
    let after = world.send(0, "b");
    world.run(ms(10));
    assert!(outcome(&before).is_some() && outcome(&after).is_none());
}

#[test]
fn a_flush_covers_records_whose_topic_is_not_known_yet() {
    let mut world = World::one(|config| config.linger = Duration::from_secs(5));
    let record = world.send(0, "a");
    let outstanding = world.engine.handle_flush(world.now);
    assert_eq!(outstanding.len(), 1);
    world.perform();
    world.run(ms(20));
    assert!(outcome(&record).is_some());
}

#[test]
fn linger_can_be_ended_for_what_is_there_and_not_for_what_comes() {
    let mut world = warm(World::one(|config| config.linger = Duration::from_secs(5)));
    let before = world.send(0, "a");
    world.end_linger();
    world.run(ms(1));
    let after = world.send(0, "b");
    world.run(ms(10));
    assert!(outcome(&before).is_some() && outcome(&after).is_none());
}

#[test]
fn a_batch_whose_linger_was_ended_grows_while_its_broker_is_busy() {
    let mut world = warm(World::one(|config| {
        config.linger = Duration::from_secs(5);
        config.max_in_flight = 1;
    }));
    let began = world.elapsed();
    let mut send = |value| {
        let record = world.send(0, value);
        world.end_linger();
        record
    };
    let records = ["a", "b", "c"].map(&mut send);
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b c"]);
    assert!(world.elapsed() - began < ms(50), "{:?}", world.elapsed() - began);
}

#[test]
fn linger_can_be_ended_for_records_whose_topic_is_not_known_yet() {
    let mut world = World::one(|config| config.linger = Duration::from_secs(5));
    let record = world.send(0, "a");
    world.end_linger();
    world.run(ms(20));
    assert!(outcome(&record).is_some());
}

/// F33
#[test]
fn a_pause_that_the_broker_asks_for_is_kept_from_version_6_on() {
    for (version, paused) in [(5, false), (6, true)] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.versions.insert(0, (3, version));
        let mut world = warm(World::new(cluster, |_| {}));
        world.cluster.throttle_ms = 500;
        let records = world.send_batches(&["a"]);
        world.all_delivered(&records);
        let answered = world.elapsed();
        let records = world.send_batches(&["b", "c"]);
        world.all_delivered(&records);
        let waited = world.elapsed() - answered;
        assert_eq!(waited >= ms(500), paused, "v{version}: {waited:?}");
    }
}

#[test]
fn acks_zero_is_delivered_when_written_and_in_order() {
    let mut world = World::one(|config| {
        config.acks = Acks::Zero;
        config.idempotence = false;
    });
    let records = world.send_batches(&["a", "b", "c"]);
    for record in &records {
        assert_eq!(world.end_of(record).unwrap().offset, None);
    }
    world.run(ms(5));
    assert_eq!(world.cluster.stored(0), ["a", "b", "c"]);
    assert_eq!(world.count(ApiKey::InitProducerId), 0);
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn without_idempotence_batches_carry_no_identity_and_are_not_held_back() {
    let mut world = World::one(|config| {
        config.idempotence = false;
        config.batch_records_max = 1;
    });
    let records = world.send_batches(&["a", "b", "c"]);
    world.run_until(|world| !world.produced().is_empty());
    assert_eq!(world.batches_sent(), ["-1:-1 a", "-1:-1 b", "-1:-1 c"]);
    world.all_delivered(&records);
}

/// F49
#[test]
fn every_version_of_produce_and_metadata_is_spoken() {
    for metadata in 1..=13 {
        for produce in 3..=13 {
            let mut cluster = Cluster::new(2);
            cluster.create("t", 2);
            cluster.versions.insert(3, (metadata, metadata));
            cluster.versions.insert(0, (3, produce));
            let mut world = World::new(cluster, |_| {});
            let records = [world.send(0, "a"), world.send(1, "b")];
            world.all_delivered(&records);
            // Topics have ids from Metadata 10 on, and Produce 13 knows them by nothing else.
            let expected = if metadata < 10 { produce.min(12) } else { produce };
            assert!(world.produced().iter().all(|sent| sent.version == expected));
        }
    }
}

/// F47
#[test]
fn a_broker_like_redpanda_is_talked_to_without_a_second_question() {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 3);
    cluster.versions = [(0, (0, 7)), (3, (0, 8)), (18, (0, 3)), (22, (0, 3))].into();
    cluster.greeting = Greeting::Everything;
    let mut world = World::new(cluster, |_| {});
    let records: Vec<_> = (0..3).map(|partition| world.send(partition, "a")).collect();
    world.all_delivered(&records);
    assert!(world.produced().iter().all(|sent| sent.version == 7));
    assert_eq!(world.count(ApiKey::ApiVersions), 4, "one for each connection");
    world.cluster.move_leader(0, 2);
    let moved = world.send(0, "b");
    world.end_of(&moved).unwrap();
    assert_eq!(world.cluster.stored(0), ["a", "b"]);
}

/// F47
#[test]
fn brokers_that_know_only_old_versions_of_api_versions_are_asked_again_in_theirs() {
    for greeting in [Greeting::Empty, Greeting::OwnVersions] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.versions.insert(18, (0, 2));
        cluster.greeting = greeting;
        let mut world = World::new(cluster, |_| {});
        let record = world.send(0, "a");
        world.end_of(&record).unwrap();
        let asked = world.sent.iter().filter(|sent| sent.api == ApiKey::ApiVersions);
        let asked: Vec<_> = asked.map(|sent| sent.version).collect();
        let second = if greeting == Greeting::Empty { 0 } else { 2 };
        assert_eq!(asked, [4, second, 4, second]);
    }
}

/// F20
#[test]
fn unkeyed_records_use_partitions_that_were_added() {
    let mut world = warm(World::one(|config| {
        config.metadata_max_age = Duration::from_secs(60);
        config.batch_size = 100;
    }));
    let more = world.cluster.partition(0).clone();
    let grown = &mut world.cluster.topics.get_mut("t").unwrap().partitions;
    grown.resize(4, super::broker::Partition { log: super::log::Log::default(), ..more });
    world.run(Duration::from_secs(61));
    let value = [b'x'; 100];
    let records: Vec<_> =
        (0..40).map(|_| world.send_record(&Record::to("t").value(&value))).collect();
    world.all_delivered(&records);
    assert!((1..4).all(|partition| !world.cluster.stored(partition).is_empty()));
}
