//! Connections: those that fail, those that lie, and how often a new one is tried.

use super::broker::{Cluster, Fault};
use super::world::{World, ms};
use crate::producer::completion::{Cause, DeliveryError, Waited};
use crate::producer::engine::Notice;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

/// A world of one partition with one record to a batch, of which `first` was delivered.
fn world(produce_version: i16) -> World {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 1);
    cluster.versions.insert(0, (3, produce_version));
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.run(ms(500));
    (world.sent, world.dials, world.notices) = Default::default();
    world
}

fn causes(world: &World) -> Vec<String> {
    let cause = |notice: &Notice| match notice {
        Notice::Disconnected { cause, .. } => Some(cause.to_string()),
        _ => None,
    };
    world.notices.iter().filter_map(cause).collect()
}

/// F9
#[test]
fn an_answer_out_of_order_ends_the_connection_and_harms_no_batch() {
    let mut world = world(12);
    world.cluster.faults.push_back(Fault::WrongCorrelation);
    let records = world.send_batches(&["a", "b", "c"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0), ["first", "a", "b", "c"]);
    assert_eq!(causes(&world), ["b1:9092: answer 3 came, answer 2 was due"]);
    assert_eq!(world.dials.len(), 1);
}

/// F4, F11
#[test]
fn an_answer_that_is_cut_off_anywhere_ends_the_connection_and_harms_no_batch() {
    for version in [3, 7, 12] {
        for size in (0..36).step_by(2) {
            let mut world = world(version);
            world.cluster.faults.push_back(Fault::Cut(size));
            let records = world.send_batches(&["a", "b"]);
            world.all_delivered(&records);
            assert_eq!(world.cluster.stored(0), ["first", "a", "b"], "v{version} at {size}");
            assert_eq!(causes(&world).len(), 1, "v{version} at {size}");
            assert_eq!(world.budget.used(), 0);
        }
    }
}

/// F32
#[test]
fn a_batch_that_the_answer_leaves_out_is_sent_again() {
    let mut world = world(12);
    world.cluster.faults.push_back(Fault::LeaveOut(0));
    let records = world.send_batches(&["a"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0), ["first", "a"]);
    let sent = world.produced();
    assert_eq!((sent.len(), &sent[0].batches), (2, &sent[1].batches));
}

/// F32
#[test]
fn of_two_words_on_a_partition_the_first_counts() {
    let mut world = world(12);
    world.cluster.faults.push_back(Fault::Repeat);
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0), ["first", "a", "b"]);
    assert!(causes(&world).is_empty());
}

/// F5
#[test]
fn a_request_without_an_answer_ends_the_connection_when_its_time_is_over() {
    let mut world = world(12);
    world.cluster.faults.push_back(Fault::StuckAfter);
    let began = world.elapsed();
    let records = world.send_batches(&["a", "b"]);
    world.run(Duration::from_secs(31));
    assert!(causes(&world).is_empty(), "the broker has 30 s, its answer 2 more");
    world.run(Duration::from_secs(1));
    assert_eq!(causes(&world), ["b1:9092 did not answer within 32s"]);
    world.all_delivered(&records);
    assert!(world.elapsed() - began < Duration::from_secs(33));
    assert_eq!(world.cluster.stored(0), ["first", "a", "b"]);
}

/// F7, F23
#[test]
fn a_broker_that_is_down_is_tried_less_and_less_often_and_found_when_it_is_back() {
    let mut world = world(12);
    world.cluster.up.clear();
    world.lose_node(1);
    world.dials.clear();
    let records = world.send_batches(&["a"]);
    world.run(Duration::from_secs(20));
    // The leader's connection and the one for metadata, each up to a second apart in the end.
    assert!((35..100).contains(&world.dials.len()), "{} dials", world.dials.len());
    world.cluster.up.insert(1);
    let began = world.elapsed();
    world.all_delivered(&records);
    assert!(world.elapsed() - began < ms(1300));
    // What was learnt is forgotten: the next loss begins with a short pause.
    let began = world.elapsed();
    world.lose_node(1);
    let records = world.send_batches(&["b"]);
    world.all_delivered(&records);
    assert!(world.elapsed() - began < ms(200), "{:?}", world.elapsed() - began);
}

/// F7
#[test]
fn every_bootstrap_address_is_tried_before_a_pause() {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 1);
    cluster.up = [3].into();
    cluster.partition(0).leader = 3;
    let mut world = World::new(cluster, |_| {});
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    let nodes: Vec<_> = world.dials.iter().map(|(_, node)| *node).collect();
    assert_eq!(nodes, [1, 2, 3, 3]);
    assert!(world.elapsed() < ms(20), "{:?}", world.elapsed());

    let mut cluster = Cluster::new(3);
    cluster.up.clear();
    let mut world = World::new(cluster, |_| {});
    world.run(Duration::from_secs(10));
    assert!((30..60).contains(&world.dials.len()), "{} dials", world.dials.len());
}

/// F11
#[test]
fn a_broker_whose_metadata_cannot_be_read_is_left_for_another() {
    for api in [ApiKey::Metadata, ApiKey::InitProducerId, ApiKey::ApiVersions] {
        let mut cluster = Cluster::new(2);
        cluster.create("t", 1);
        cluster.partition(0).leader = 2;
        cluster.broken.insert((1, api as i16));
        let mut world = World::new(cluster, |_| {});
        let record = world.send(0, "a");
        world.end_of(&record).unwrap();
        assert!(world.elapsed() < Duration::from_secs(1), "{api:?}: {:?}", world.elapsed());
    }
}

#[test]
fn a_broker_that_hangs_up_after_the_handshake_is_not_dialled_in_a_hot_loop() {
    let mut world = world(12);
    world.cluster.unfriendly.insert(1);
    world.lose_node(1);
    world.dials.clear();
    let record = world.send(0, "a");
    world.run(Duration::from_secs(10));
    assert!(world.dials.len() < 400, "{} dials", world.dials.len());
    world.cluster.unfriendly.clear();
    world.end_of(&record).unwrap();
}

#[test]
fn a_broker_that_hangs_up_while_its_batches_pause_is_not_dialled_in_a_hot_loop() {
    let mut world = world(12);
    world.cluster.throttle_ms = 30_000;
    let first = world.send(0, "a");
    world.end_of(&first).unwrap();
    let record = world.send(0, "b");
    world.cluster.unfriendly.insert(1);
    world.lose_node(1);
    world.dials.clear();
    world.run(Duration::from_secs(10));
    assert!(world.dials.len() < 250, "{} dials", world.dials.len());
    world.cluster.unfriendly.clear();
    world.end_of(&record).unwrap();
}

/// F7
#[test]
fn a_peer_that_says_nothing_is_given_up_after_the_set_up_time() {
    let mut cluster = Cluster::new(2);
    cluster.create("t", 1);
    cluster.partition(0).leader = 2;
    cluster.mute.insert(1);
    let mut world = World::new(cluster, |_| {});
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    assert!((10_000..10_100).contains(&world.elapsed().as_millis()), "{:?}", world.elapsed());
    assert!(causes(&world)[0].starts_with("b1:9092 accepted the connection but did not answer"));
}

/// F12
#[test]
fn an_idle_connection_that_the_peer_closes_is_nobodys_news() {
    let mut world = world(12);
    world.run(Duration::from_secs(60));
    world.lose_node(1);
    assert!(causes(&world).is_empty());
    world.run(Duration::from_secs(60));
    let records = world.send_batches(&["a"]);
    world.all_delivered(&records);
    assert!(causes(&world).is_empty());
}

/// F7
#[test]
fn a_leader_that_cannot_be_reached_is_the_cause_of_the_end() {
    let mut world = world(12);
    world.cluster.up.clear();
    world.lose_node(1);
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    let DeliveryError::Expired { waited, attempts, cause, .. } = error else { panic!("{error}") };
    assert_eq!((waited, attempts), (Waited::Connection, 0));
    assert_eq!(cause, Some(Cause::Connection("refused".into())));
}
