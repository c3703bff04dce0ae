//! The first words with brokers of other times: which versions are settled on, and when again.

use super::broker::{Cluster, Greeting};
use super::world::{World, ms};
use crate::producer::completion::DeliveryError;
use crate::protocol::Codec;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

fn asked(world: &World) -> Vec<i16> {
    let greetings = world.sent.iter().filter(|sent| sent.api == ApiKey::ApiVersions);
    greetings.map(|sent| sent.version).collect()
}

/// F47
#[test]
fn a_broker_that_hangs_up_on_a_version_too_new_is_asked_in_the_oldest_in_the_end() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 1);
    cluster.versions.insert(18, (0, 2));
    cluster.greeting = Greeting::HangUp;
    let mut world = World::new(cluster, |_| {});
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    assert_eq!(asked(&world), [4, 4, 4, 0, 4, 4, 4, 0], "of either connection");
    assert!(world.elapsed() < Duration::from_secs(2), "{:?}", world.elapsed());
    // The next connection begins with the best again: the broker may have been replaced.
    world.sent.clear();
    world.cluster.versions.insert(18, (0, 4));
    world.lose_node(1);
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    assert_eq!(asked(&world), [4]);
}

/// F47
#[test]
fn however_a_broker_refuses_the_version_the_record_arrives() {
    for greeting in [Greeting::Empty, Greeting::OwnVersions, Greeting::Everything, Greeting::HangUp]
    {
        for max in 0..=4 {
            let mut cluster = Cluster::new(1);
            cluster.create("t", 1);
            cluster.versions.insert(18, (0, max));
            cluster.greeting = greeting;
            let mut world = World::new(cluster, |_| {});
            let record = world.send(0, "a");
            world.end_of(&record).unwrap();
            assert_eq!(world.cluster.stored(0), ["a"]);
        }
    }
}

/// F48
#[test]
fn a_cluster_that_is_upgraded_and_rolled_back_is_spoken_to_in_its_version_of_the_day() {
    let mut cluster = Cluster::new(2);
    cluster.create("t", 1);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let mut expected = Vec::new();
    for (step, (produce, metadata)) in
        [(12, 13), (7, 8), (3, 1), (9, 9), (12, 13)].into_iter().enumerate()
    {
        world.cluster.versions.insert(0, (3, produce));
        world.cluster.versions.insert(3, (0, metadata));
        world.sent.clear();
        world.lose_node(1);
        world.lose_node(2);
        for number in 0..3 {
            let value = (step * 3 + number).to_string();
            let record = world.send(0, &value);
            world.end_of(&record).unwrap();
            expected.push(value);
        }
        assert!(world.produced().iter().all(|sent| sent.version == produce), "{produce}");
        world.run(Duration::from_secs(400));
        let metadata_asked: Vec<_> =
            world.sent.iter().filter(|sent| sent.api == ApiKey::Metadata).collect();
        assert!(metadata_asked.iter().all(|sent| sent.version == metadata), "{metadata}");
    }
    assert_eq!(world.cluster.stored(0), expected);
}

/// F49
#[test]
fn a_broker_that_does_not_know_zstd_gets_batches_as_they_are() {
    for version in 3..7 {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.versions.insert(0, (3, version));
        let mut world = World::new(cluster, |config| {
            config.compression = Codec::Zstd.into();
            config.linger = ms(5);
        });
        let values: Vec<_> =
            (0..20).map(|number| format!("{number} {}", "x".repeat(500))).collect();
        world.cluster.batch_size_max = 6000;
        let records: Vec<_> = values.iter().map(|value| world.send(0, value)).collect();
        // The decoder here knows no codec at all.
        world.all_delivered(&records);
        assert_eq!(world.cluster.stored(0), values);
    }
}

/// F49
#[test]
fn a_broker_that_speaks_nothing_of_ours_is_named_when_time_is_over() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 1);
    cluster.versions.insert(0, (0, 2));
    let mut world = World::new(cluster, |_| {});
    let record = world.send(0, "a");
    let DeliveryError::Expired { cause, .. } = world.end_of(&record).unwrap_err() else {
        panic!("not expired")
    };
    let cause = cause.unwrap().to_string();
    assert!(cause.contains("no version of Produce that ottla speaks"), "{cause}");
    assert!(world.dials.len() < 200, "{} dials", world.dials.len());
}
