//! Metadata: leaders that move, topics that come late, news that is old.

use super::broker::{BatchFault, Cluster};
use super::world::{World, ms, outcome};
use crate::producer::completion::{Cause, DeliveryError, Waited};
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

/// Three nodes and as many partitions, with a record delivered to each.
fn three(records_max: u32) -> World {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 3);
    let mut world = World::new(cluster, |config| {
        config.batch_records_max = records_max;
        // Asked for as long as a scenario takes, used or not.
        config.metadata_max_idle = Duration::from_secs(36_000);
    });
    let firsts: Vec<_> = (0..3).map(|partition| world.send(partition, "first")).collect();
    world.all_delivered(&firsts);
    world.run(Duration::from_secs(1));
    world.sent.clear();
    world
}

fn stored(world: &World) -> String {
    world.cluster.stored(0).join(" ")
}

/// F15
#[test]
fn a_leader_that_is_named_in_the_refusal_is_followed_without_a_pause() {
    let mut world = three(1);
    world.cluster.move_leader(0, 2);
    let began = world.elapsed();
    let records = world.send_batches(&["a", "b", "c", "d", "e"]);
    world.all_delivered(&records);
    assert!(world.elapsed() - began < ms(20), "{:?}", world.elapsed() - began);
    assert_eq!(stored(&world), "first a b c d e");
    assert_eq!(world.count(ApiKey::Metadata), 1, "asked all the same");
}

/// F15
#[test]
fn a_leader_that_is_not_named_is_found_by_metadata() {
    let mut world = three(1);
    world.cluster.hints = false;
    world.cluster.move_leader(0, 2);
    let records = world.send_batches(&["a", "b", "c"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b c");
    let nodes: Vec<_> = world.produced().iter().map(|sent| sent.node).collect();
    assert_eq!(nodes, [1, 1, 1, 2, 2, 2]);
}

#[test]
fn nothing_goes_to_the_new_leader_while_the_old_one_owes_an_answer() {
    let mut world = three(1);
    world.latency = ms(50);
    let mut records = world.send_batches(&["a", "b"]);
    world.run(ms(20));
    world.cluster.move_leader(0, 2);
    // News of the move arrives over another partition's answer, before the answers to a and b.
    world.cluster.fault(1, BatchFault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    records.push(world.send(1, "x"));
    records.extend(world.send_batches(&["c"]));
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b c");
}

/// F17
#[test]
fn old_news_of_a_leader_is_not_believed_until_it_is_repeated() {
    for (stale, believed) in [(1, false), (5, false), (6, true)] {
        let mut world = three(1);
        world.cluster.stale_topics = world.cluster.topics.clone();
        world.cluster.move_leader(0, 2);
        let record = world.send(0, "a");
        world.end_of(&record).unwrap();
        world.cluster.stale_answers = stale;
        for _ in 0..stale {
            world.run(Duration::from_secs(301));
        }
        world.sent.clear();
        let record = world.send(0, "b");
        world.end_of(&record).unwrap();
        let asked_first = world.produced()[0].node;
        assert_eq!(asked_first == 1, believed, "after {stale}");
        assert_eq!(stored(&world), "first a b");
    }
}

/// F16
#[test]
fn a_partition_without_a_leader_waits_and_the_others_go_on() {
    let mut world = three(10);
    world.cluster.move_leader(0, -1);
    let waiting = world.send(0, "a");
    let other = world.send(1, "x");
    world.end_of(&other).unwrap();
    world.run(Duration::from_secs(5));
    assert!(outcome(&waiting).is_none());
    let asked = world.count(ApiKey::Metadata);
    assert!((4..12).contains(&asked), "{asked} questions in five seconds");
    world.cluster.move_leader(0, 3);
    world.end_of(&waiting).unwrap();
    assert_eq!(stored(&world), "first a");
}

/// F18
#[test]
fn a_passing_error_about_the_topic_takes_no_partition_away() {
    for code in [
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ] {
        let mut world = three(1);
        world.cluster.topics.get_mut("t").unwrap().error = code;
        world.run(Duration::from_secs(301));
        let records = world.send_batches(&["a", "b"]);
        world.all_delivered(&records);
        assert_eq!(stored(&world), "first a b");
    }
}

/// F21
#[test]
fn records_of_an_unknown_topic_wait_for_it_in_order() {
    let mut world = World::new(Cluster::new(1), |_| {});
    let records = world.send_batches(&["a", "b", "c"]);
    world.run(Duration::from_secs(10));
    let asked = world.count(ApiKey::Metadata);
    assert!((5..25).contains(&asked), "{asked} questions in ten seconds");
    world.cluster.create("t", 2);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "a b c");
}

/// F21
#[test]
fn records_of_a_topic_that_never_comes_expire_and_say_why() {
    let mut world = World::new(Cluster::new(1), |_| {});
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    assert_eq!(world.elapsed(), Duration::from_secs(120));
    let DeliveryError::Expired { waited, attempts, cause, .. } = error else { panic!("{error}") };
    assert_eq!((waited, attempts), (Waited::Metadata, 0));
    assert_eq!(cause, Some(Cause::from(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
    assert_eq!(world.budget.used(), 0);
}

/// F34
#[test]
fn a_topic_that_may_not_be_written_refuses_its_records_until_it_may() {
    let mut world = World::one(|_| {});
    let refusal = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    world.cluster.topics.get_mut("t").unwrap().error = refusal;
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    assert!(matches!(error, DeliveryError::Rejected { code, .. } if code == refusal), "{error}");
    world.run(Duration::from_secs(10));
    world.cluster.topics.get_mut("t").unwrap().error = ErrorCode::NONE;
    let record = world.send(0, "b");
    let sent_at = world.elapsed();
    let ended = world.end_of(&record);
    assert!(ended.is_ok() || world.elapsed() - sent_at < Duration::from_secs(2));
    let record = world.send(0, "c");
    world.end_of(&record).unwrap();
}

#[test]
fn a_partition_that_the_topic_turns_out_not_to_have_is_named() {
    let mut world = World::one(|_| {});
    let record = world.send(7, "a");
    let error = world.end_of(&record).unwrap_err();
    let DeliveryError::Rejected { partition, message, .. } = error else { panic!("{error}") };
    assert_eq!((partition, message.as_deref()), (7, Some("the topic has partitions 0 to 0")));
    assert_eq!(world.budget.used(), 0);
}

/// F25
#[test]
fn a_partition_that_every_node_disowns_is_not_asked_for_in_a_hot_loop() {
    let mut world = three(1);
    world.cluster.hints = false;
    (0..1000).for_each(|_| {
        world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    });
    let record = world.send(0, "a");
    world.run(Duration::from_secs(20));
    let (tried, asked) = (world.produced().len(), world.count(ApiKey::Metadata));
    assert!((15..35).contains(&tried) && asked <= tried + 1, "{tried} and {asked}");
    let error = world.end_of(&record).unwrap_err();
    let DeliveryError::Expired { waited, cause, .. } = error else { panic!("{error}") };
    assert_eq!(waited, Waited::Retry);
    assert_eq!(cause, Some(Cause::from(ErrorCode::NOT_LEADER_OR_FOLLOWER)));
}

/// F5
#[test]
fn a_silent_leader_holds_up_nobody_else() {
    let mut world = three(10);
    world.cluster.faults.push_back(super::broker::Fault::StuckBefore);
    let stuck = world.send(0, "a");
    world.run(ms(5));
    let others = [world.send(1, "x"), world.send(2, "y")];
    world.all_delivered(&others);
    assert!(outcome(&stuck).is_none());
    world.end_of(&stuck).unwrap();
    let waited = world.elapsed() - Duration::from_secs(33);
    assert!(waited < Duration::from_secs(1), "after the request timeout, not {waited:?} later");
}

#[test]
fn unkeyed_records_avoid_partitions_without_a_leader() {
    let mut world = three(1);
    world.cluster.move_leader(1, -1);
    world.run(Duration::from_secs(301));
    let records: Vec<_> =
        (0..30).map(|_| world.send_record(&Record::to("t").value(b"x"))).collect();
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(1), ["first"]);
}
