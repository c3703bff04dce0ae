//! A cluster on the move: topics that go and come back, nodes that change places, outages of
//! everything, news that is slow or a lie.

use super::broker::{BatchFault, Cluster};
use super::world::{World, ms, outcome};
use crate::producer::completion::{Cause, DeliveryError, Waited};
use crate::producer::engine::Notice;
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

/// Nodes 1 to `nodes`, the first of which leads the only partition, and `first` delivered to it.
fn world(nodes: i32) -> World {
    let mut cluster = Cluster::new(nodes);
    cluster.create("t", 1);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.run(Duration::from_secs(1));
    world.sent.clear();
    world.dials.clear();
    world
}

fn stored(world: &World) -> String {
    world.cluster.stored(0).join(" ")
}

/// F19
#[test]
fn a_topic_that_is_deleted_under_way_takes_its_records_with_it_at_their_deadline() {
    let mut world = world(1);
    world.cluster.topics.remove("t");
    let records = world.send_batches(&["a", "b"]);
    let error = world.end_of(&records[0]).unwrap_err();
    let DeliveryError::Expired { waited, cause, .. } = error else { panic!("{error}") };
    assert_eq!(waited, Waited::Retry);
    assert_eq!(cause, Some(Cause::from(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
    let requests = world.produced().len() + world.count(ApiKey::Metadata);
    assert!(requests < 400, "{requests} requests in two minutes");
    assert_eq!(world.budget.used(), 0);
}

/// F19
#[test]
fn a_topic_that_is_deleted_and_created_again_under_way_gets_all_records_that_were_not_stored() {
    for (produce, metadata) in [(13, 13), (12, 13), (7, 8)] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.versions.insert(0, (3, produce));
        cluster.versions.insert(3, (0, metadata));
        let mut world = World::new(cluster, |config| config.batch_records_max = 1);
        let first = world.send(0, "first");
        world.end_of(&first).unwrap();
        let old = world.send_batches(&["old", "old too"]);
        world.all_delivered(&old);
        world.cluster.topics.remove("t");
        let records = world.send_batches(&["a", "b", "c"]);
        world.run(Duration::from_secs(3));
        world.cluster.create("t", 1);
        world.cluster.topics.get_mut("t").unwrap().id = 9;
        world.all_delivered(&records);
        let more = world.send_batches(&["d", "e"]);
        world.all_delivered(&more);
        assert_eq!(stored(&world), "a b c d e", "Produce {produce}");
    }
}

/// F15, F35
#[test]
fn a_leader_that_moves_while_five_are_in_flight_neither_doubles_nor_reorders() {
    for hints in [false, true] {
        for moved_after in 0..12 {
            let mut world = world(3);
            world.cluster.hints = hints;
            world.latency = ms(3);
            let mut records = world.send_batches(&["a", "b", "c", "d", "e"]);
            world.run(ms(moved_after));
            world.cluster.move_leader(0, 2);
            records.extend(world.send_batches(&["f", "g"]));
            world.run(ms(1));
            world.lose_node(1);
            world.all_delivered(&records);
            assert_eq!(stored(&world), "first a b c d e f g", "{hints}, {moved_after}");
        }
    }
}

/// F22
#[test]
fn a_node_that_listens_elsewhere_is_followed_there() {
    for broken in [false, true] {
        let mut world = world(2);
        world.cluster.hosts.insert(1, 11);
        if broken {
            world.lose_node(1);
        } else {
            // Long enough for metadata to be old.
            world.run(Duration::from_secs(301));
        }
        let began = world.elapsed();
        let records = world.send_batches(&["a", "b"]);
        world.all_delivered(&records);
        assert!(world.elapsed() - began < Duration::from_secs(1), "{:?}", world.elapsed() - began);
        assert_eq!(stored(&world), "first a b");
    }
}

/// F22
#[test]
fn nodes_that_are_added_and_replaced_one_by_one_take_the_records_over() {
    let mut world = world(2);
    let mut sent = vec!["first".to_owned()];
    for step in 0..6 {
        let (joins, leaves) = (step + 3, step + 1);
        world.cluster.nodes.insert(joins);
        world.cluster.up.insert(joins);
        world.cluster.move_leader(0, joins);
        world.cluster.nodes.remove(&leaves);
        world.cluster.up.remove(&leaves);
        world.lose_node(leaves);
        let value = step.to_string();
        let record = world.send(0, &value);
        world.end_of(&record).unwrap();
        sent.push(value);
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.cluster.stored(0), sent);
}

/// F22, F23
#[test]
fn a_cluster_that_comes_back_elsewhere_is_found_through_its_bootstrap_address() {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 3);
    // The bootstrap address is a name for whichever node is well; metadata names others.
    cluster.hosts = [(1, 11), (2, 12), (3, 13)].into();
    cluster.aliases = [(1, 1)].into();
    let mut world =
        World::new(cluster, |config| config.delivery_timeout = Duration::from_secs(900));
    let firsts: Vec<_> = (0..3).map(|partition| world.send(partition, "first")).collect();
    world.all_delivered(&firsts);
    world.cluster.up.clear();
    (1..=3).for_each(|node| world.lose_node(node));
    world.dials.clear();
    let records: Vec<_> = (0..3).map(|partition| world.send(partition, "a")).collect();
    world.run(Duration::from_secs(400));
    // Three leaders, and six addresses to ask, each about once a second in the end.
    assert!(world.dials.len() < 4000, "{} dials", world.dials.len());
    world.cluster.hosts = [(1, 21), (2, 22), (3, 23)].into();
    world.cluster.up = [1, 2, 3].into();
    let began = world.elapsed();
    world.all_delivered(&records);
    assert!(world.elapsed() - began < Duration::from_secs(6), "{:?}", world.elapsed() - began);
    assert!((0..3).all(|partition| world.cluster.stored(partition) == ["first", "a"]));
}

/// F24
#[test]
fn metadata_that_is_slow_holds_up_no_record() {
    let mut world = world(2);
    world.cluster.ignored.insert(ApiKey::Metadata as i16, 1);
    world.run(Duration::from_secs(300));
    assert_eq!(world.count(ApiKey::Metadata), 1, "asked for, without an answer");
    for number in 0..30 {
        let began = world.elapsed();
        let record = world.send(0, &number.to_string());
        world.end_of(&record).unwrap();
        assert!(world.elapsed() - began <= ms(2));
        world.run(Duration::from_secs(1));
    }
    world.run(Duration::from_secs(5));
    assert_eq!(world.count(ApiKey::Metadata), 2, "asked for again elsewhere");
}

/// F24
#[test]
fn a_new_topic_is_found_although_the_answer_on_its_way_never_comes() {
    let mut world = world(2);
    world.cluster.create("u", 1);
    world.cluster.ignored.insert(ApiKey::Metadata as i16, 1);
    let record = world.send_record(&Record::to("u").value(b"x"));
    let began = world.elapsed();
    world.end_of(&record).unwrap();
    assert!(world.elapsed() - began < Duration::from_secs(33), "{:?}", world.elapsed() - began);
}

/// F25
#[test]
fn nodes_that_name_each_other_as_the_leader_are_not_asked_as_fast_as_they_answer() {
    let mut world = world(2);
    world.latency = ms(1);
    let record = world.send(0, "a");
    // Wherever the record goes, the other node is said to lead, each time more recently.
    let lie = |world: &mut World| {
        let asked = world.produced().last().unwrap().node;
        world.cluster.move_leader(0, 3 - asked);
    };
    lie(&mut world);
    let mut known = 1;
    let end = world.now + Duration::from_secs(20);
    while world.now < end {
        world.run(ms(1));
        if world.produced().len() > known {
            known = world.produced().len();
            lie(&mut world);
        }
    }
    assert!((15..45).contains(&known), "{known} requests in twenty seconds");
    world.end_of(&record).unwrap();
    assert_eq!(stored(&world), "first a");
    // All is well again, and so is the next move worth no pause.
    world.cluster.move_leader(0, 1);
    let began = world.elapsed();
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    world.cluster.move_leader(0, 2);
    let record = world.send(0, "c");
    world.end_of(&record).unwrap();
    assert!(world.elapsed() - began < ms(100), "{:?}", world.elapsed() - began);
}

/// F18
#[test]
fn descriptions_without_a_partition_or_without_any_keep_the_records() {
    for kept in [0, 1] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 2);
        let mut world = World::new(cluster, |config| config.batch_records_max = 1);
        let firsts = [world.send(0, "first"), world.send(1, "first")];
        world.all_delivered(&firsts);
        world.cluster.stale_topics = world.cluster.topics.clone();
        world.cluster.stale_topics.get_mut("t").unwrap().partitions.truncate(kept);
        world.cluster.stale_answers = 1;
        world.cluster.fault(1, BatchFault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        let records = [world.send(1, "a"), world.send(1, "b"), world.send(0, "c")];
        world.all_delivered(&records);
        assert_eq!(world.cluster.stored(1), ["first", "a", "b"]);
        assert_eq!(world.cluster.stale_answers, 0, "it was told");
    }
}

/// F16
#[test]
fn while_some_partitions_have_no_leader_the_others_flow() {
    let mut cluster = Cluster::new(2);
    cluster.create("t", 4);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let firsts: Vec<_> = (0..4).map(|partition| world.send(partition, "first")).collect();
    world.all_delivered(&firsts);
    world.cluster.move_leader(0, -1);
    world.cluster.move_leader(2, -1);
    let waiting = [world.send(0, "a"), world.send(2, "a")];
    for _ in 0..5 {
        let flowing = [world.send(1, "x"), world.send(3, "x")];
        world.all_delivered(&flowing);
        world.run(Duration::from_secs(1));
    }
    assert!(waiting.iter().all(|record| outcome(record).is_none()));
    world.cluster.move_leader(0, 2);
    world.cluster.move_leader(2, 1);
    let began = world.elapsed();
    world.all_delivered(&waiting);
    assert!(world.elapsed() - began < Duration::from_millis(2300));
}

/// F40
#[test]
fn an_identity_that_is_slow_or_never_comes_is_waited_for_and_asked_for_again() {
    let mut cluster = Cluster::new(2);
    cluster.create("t", 1);
    cluster.ignored.insert(ApiKey::InitProducerId as i16, 1);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let records = world.send_batches(&["a", "b"]);
    world.run(Duration::from_secs(31));
    assert!(records.iter().all(|record| outcome(record).is_none()), "buffered meanwhile");
    world.all_delivered(&records);
    assert!(world.elapsed() < Duration::from_secs(34), "{:?}", world.elapsed());
    assert_eq!(world.count(ApiKey::InitProducerId), 2);
    assert_eq!(stored(&world), "a b");
    let lost = |notice: &Notice| matches!(notice, Notice::Disconnected { .. });
    assert_eq!(world.notices.iter().filter(|notice| lost(notice)).count(), 1);
}

/// F23
#[test]
fn a_broker_that_wants_the_bootstrap_list_asked_again_is_left_for_it() {
    let mut world = world(2);
    world.cluster.metadata_errors.extend([ErrorCode::REBOOTSTRAP_REQUIRED; 2]);
    world.cluster.hints = false;
    world.cluster.move_leader(0, 2);
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b");
    assert_eq!(world.count(ApiKey::Metadata), 3);
    assert!(world.elapsed() < Duration::from_secs(3), "{:?}", world.elapsed());
}

#[test]
fn a_topic_that_rested_is_asked_for_again_by_its_next_record() {
    let mut world = world(2);
    world.run(Duration::from_secs(301));
    assert_eq!(world.cluster.asked_for, ["t"], "idle for the first time");
    world.run(Duration::from_secs(600));
    assert!(world.cluster.asked_for.is_empty(), "nobody uses it");
    world.cluster.move_leader(0, 2);
    let again = world.send(0, "again");
    world.end_of(&again).unwrap();
    assert_eq!(world.cluster.asked_for, ["t"]);
    assert_eq!(stored(&world), "first again");
}
