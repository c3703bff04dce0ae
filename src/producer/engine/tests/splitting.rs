//! Batches that brokers find too large (KIP-126), and batches of which they refuse some records
//! (KIP-467).

use super::broker::{BatchFault, Cluster, Fault};
use super::world::{World, ms, outcome};
use crate::producer::completion::{Completion, DeliveryError, Waited};
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::engine::Notice;
use crate::protocol::ErrorCode;
use std::time::Duration;

/// Bytes of a batch of `count` records of one byte each.
const fn size_of(count: usize) -> usize {
    61 + 8 * count
}

/// A world in which `first` was delivered, and records share batches of up to eight.
fn world(change: impl FnOnce(&mut ProducerConfig)) -> World {
    let mut world = World::one(|config| {
        config.linger = ms(5);
        config.batch_records_max = 8;
        change(config);
    });
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.run(ms(10));
    world.sent.clear();
    world
}

fn send_all(world: &mut World, values: &str) -> Vec<Completion> {
    values.split(' ').map(|value| world.send(0, value)).collect()
}

fn stored(world: &World) -> String {
    world.cluster.stored(0).join(" ")
}

fn failures(world: &World) -> usize {
    world.notices.iter().filter(|notice| matches!(notice, Notice::Failed(_))).count()
}

fn renumbered(world: &World) -> bool {
    world.notices.iter().any(|notice| matches!(notice, Notice::Renumbered { .. }))
}

fn too_large(world: &mut World, record: &Completion) -> bool {
    let refusal = ErrorCode::MESSAGE_TOO_LARGE;
    matches!(world.end_of(record), Err(DeliveryError::Rejected { code, .. }) if code == refusal)
}

/// F29
#[test]
fn a_batch_that_is_too_large_becomes_two_with_the_same_numbers() {
    let mut world = world(|_| {});
    world.cluster.batch_size_max = size_of(4);
    let records = send_all(&mut world, "a b c d e f g h");
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a b c d e f g h", "0:1 a b c d", "0:5 e f g h"]);
    for (record, offset) in records.iter().zip(1..) {
        assert_eq!(world.end_of(record).unwrap().offset, Some(offset));
    }
    assert!(!renumbered(&world) && failures(&world) == 0);
    assert_eq!(world.budget.used(), 0);
}

/// F29
#[test]
fn a_batch_is_split_down_to_its_records_if_need_be() {
    for (values, transmissions) in [("a b", 3), ("a b c", 5), ("a b c d e f g h", 15)] {
        let mut world = world(|_| {});
        world.cluster.batch_size_max = size_of(1);
        let records = send_all(&mut world, values);
        world.all_delivered(&records);
        assert_eq!(stored(&world), format!("first {values}"));
        assert_eq!(world.produced().len(), transmissions, "{values}");
        assert!(!renumbered(&world));
    }
}

/// F29
#[test]
fn only_the_record_that_is_too_large_by_itself_fails() {
    let mut world = world(|_| {});
    world.cluster.batch_size_max = size_of(3);
    let records = send_all(&mut world, "a b much-too-large-a-value-for-this-broker d");
    assert!(too_large(&mut world, &records[2]));
    world.all_delivered(&records[..2]);
    world.all_delivered(&records[3..]);
    assert_eq!(stored(&world), "first a b d");
    assert_eq!(failures(&world), 1);
    assert_eq!(world.engine.meters().read(world.now).records_failed, 1);
    assert_eq!(world.batches_sent().last().unwrap(), "1:0 d", "its predecessor never came");
    assert_eq!(world.budget.used(), 0);
}

/// F29
#[test]
fn batches_behind_one_that_is_split_come_back_and_follow_its_halves() {
    let mut world = world(|config| config.batch_records_max = 4);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::MESSAGE_TOO_LARGE));
    let records = send_all(&mut world, "a b c d e f g h i j k l");
    world.all_delivered(&records);
    assert_eq!(
        world.batches_sent(),
        [
            "0:1 a b c d",
            "0:5 e f g h",
            "0:9 i j k l",
            "0:1 a b",
            "0:3 c d",
            "0:5 e f g h",
            "0:9 i j k l"
        ]
    );
    assert!(!renumbered(&world));
}

/// F29
#[test]
fn five_batches_in_flight_are_all_split_in_order() {
    for sealing in [0, 7] {
        let mut world = world(|config| config.batch_records_max = 4);
        world.sealing = ms(sealing);
        world.cluster.batch_size_max = size_of(2);
        let values: Vec<_> =
            (10..34).map(|number: u32| format!("{number}")[1..].to_owned()).collect();
        let records: Vec<_> = values.iter().map(|value| world.send(0, value)).collect();
        world.all_delivered(&records);
        assert_eq!(stored(&world), format!("first {}", values.join(" ")));
        assert!(!renumbered(&world));
        assert_eq!(world.budget.used(), 0);
    }
}

/// F29
#[test]
fn halves_outlive_lost_connections_moved_leaders_and_refusals() {
    for lost in 0..6 {
        for fault in [Fault::CloseBefore, Fault::CloseAfter, Fault::Cut(3)] {
            let mut cluster = Cluster::new(2);
            cluster.create("t", 1);
            let mut world = World::new(cluster, |config| {
                config.linger = ms(5);
                config.batch_records_max = 4;
            });
            world.cluster.batch_size_max = size_of(2);
            (0..lost).for_each(|_| world.cluster.faults.push_back(Fault::None));
            world.cluster.faults.push_back(fault);
            let records = send_all(&mut world, "a b c d e f g h");
            world.run(ms(12));
            world.cluster.move_leader(0, 2);
            world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
            // A batch whose first transmission may have been stored is never split: such a record
            // may end as unknown, but then it must not be there twice.
            for record in &records {
                let end = world.end_of(record);
                assert!(end.is_ok() || end.is_err_and(|error| error.may_be_written()));
            }
            let stored = world.cluster.stored(0);
            assert!(stored.is_sorted_by(|a, b| a < b), "{stored:?} after {fault:?} at {lost}");
            assert_eq!(world.budget.used(), 0);
        }
    }
}

/// F29
#[test]
fn a_batch_that_may_be_in_the_log_is_not_split() {
    let mut world = world(|_| {});
    world.cluster.faults.push_back(Fault::CloseAfter);
    world.cluster.fault(0, BatchFault::None);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::MESSAGE_TOO_LARGE));
    let records = send_all(&mut world, "a b");
    let error = world.end_of(&records[1]).unwrap_err();
    assert!(error.may_be_written(), "{error}");
    assert_eq!(stored(&world), "first a b");
}

/// F29, F38
#[test]
fn a_batch_that_expired_in_flight_is_not_split_and_fails_once() {
    let mut world = world(|config| {
        config.request_timeout = Duration::from_secs(10);
        config.delivery_timeout = Duration::from_secs(11);
    });
    world.cluster.batch_size_max = size_of(2);
    world.latency = ms(5800);
    let records = send_all(&mut world, "a b c d");
    world.run(Duration::from_secs(11));
    assert!(outcome(&records[0]).unwrap().unwrap_err().may_be_written());
    world.latency = ms(1);
    world.run(Duration::from_secs(20));
    assert_eq!(world.batches_sent(), ["0:1 a b c d"]);
    let counts = world.engine.meters().read(world.now);
    assert_eq!((counts.records_failed, failures(&world)), (4, 1));
    let record = world.send(0, "e");
    world.end_of(&record).unwrap();
    assert_eq!(world.batches_sent()[1], "0:1 e", "the numbers are free again");
}

/// F29
#[test]
fn halves_that_are_never_sent_expire_and_are_not_written() {
    let mut world = world(|_| {});
    world.cluster.batch_size_max = size_of(2);
    let records = send_all(&mut world, "a b c d");
    world.run_until(|world| world.produced().len() == 1);
    world.sealing = Duration::from_secs(500);
    for record in &records {
        let error = world.end_of(record).unwrap_err();
        let DeliveryError::Expired { waited, attempts, .. } = error else { panic!("{error}") };
        assert_eq!((waited, attempts), (Waited::Queue, 1));
    }
    assert_eq!(world.budget.used(), 0);
    world.sealing = ms(0);
    world.run(Duration::from_secs(600));
    let record = world.send(0, "e");
    world.end_of(&record).unwrap();
    assert_eq!(stored(&world), "first e");
}

/// F29
#[test]
fn a_split_counts_as_no_retry() {
    let mut world = world(|config| config.retries = 1);
    world.cluster.batch_size_max = size_of(2);
    // Eight, four and two records at first; then the two once more.
    world.cluster.fault(0, BatchFault::None);
    world.cluster.fault(0, BatchFault::None);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    let records = send_all(&mut world, "a b c d e f g h");
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b c d e f g h");
}

/// F29
#[test]
fn without_idempotence_halves_are_sent_without_numbers() {
    let mut world = world(|config| {
        config.idempotence = false;
        config.acks = Acks::One;
    });
    world.cluster.batch_size_max = size_of(2);
    let records = send_all(&mut world, "a b c d");
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["-1:-1 a b c d", "-1:-1 a b", "-1:-1 c d"]);
}

/// F59, F29
#[test]
fn a_limit_that_is_lowered_and_raised_again_is_followed() {
    let mut world = world(|_| {});
    for (limit, values) in [(1000, "a b c d"), (size_of(2), "e f g h"), (1000, "i j k l")] {
        world.cluster.batch_size_max = limit;
        world.sent.clear();
        let records = send_all(&mut world, values);
        world.all_delivered(&records);
        assert_eq!(world.produced().len(), if limit == 1000 { 1 } else { 3 });
    }
    assert_eq!(stored(&world), "first a b c d e f g h i j k l");
}

/// How each record ended: delivered, guilty (with the broker's words), or spoiled by another.
fn ends(world: &mut World, records: &[Completion]) -> Vec<String> {
    let end = |record| match world.end_of(record) {
        Ok(_) => "delivered".to_owned(),
        Err(DeliveryError::Rejected { code: ErrorCode::INVALID_RECORD, message, .. }) => {
            format!("guilty: {}", message.as_deref().unwrap_or_default())
        }
        Err(DeliveryError::Spoiled { code: ErrorCode::INVALID_RECORD, .. }) => "spoiled".to_owned(),
        Err(other) => other.to_string(),
    };
    records.iter().map(end).collect()
}

/// F30
#[test]
fn records_are_refused_for_what_is_said_against_them_and_the_others_for_nothing() {
    let cases: [(&[&str], [&str; 4]); 4] = [
        (&["b"], ["spoiled", "guilty: no b", "spoiled", "spoiled"]),
        (&["a", "d"], ["guilty: no a", "spoiled", "spoiled", "guilty: no d"]),
        (&["b", "c"], ["spoiled", "guilty: no b", "guilty: no c", "spoiled"]),
        (&["a", "b", "c", "d"], ["guilty: no a", "guilty: no b", "guilty: no c", "guilty: no d"]),
    ];
    for (disliked, expected) in cases {
        let mut world = world(|config| config.batch_records_max = 4);
        world.cluster.disliked = disliked.iter().map(|value| (*value).to_owned()).collect();
        let records = send_all(&mut world, "a b c d e f g h");
        assert_eq!(ends(&mut world, &records[..4]), expected);
        assert!(ends(&mut world, &records[4..]).iter().all(|end| end == "delivered"));
        let counts = world.engine.meters().read(world.now);
        assert_eq!((counts.records_failed, counts.records_delivered), (4, 5));
        assert_eq!((stored(&world).as_str(), world.budget.used()), ("first e f g h", 0));
        // Those that were only in bad company are taken in better.
        let good: Vec<_> =
            ["a", "b", "c", "d"].into_iter().filter(|value| !disliked.contains(value)).collect();
        let again: Vec<_> = good.iter().map(|value| world.send(0, value)).collect();
        assert!(ends(&mut world, &again).iter().all(|end| end == "delivered"));
    }
}

/// F30
#[test]
fn a_record_alone_in_its_batch_is_guilty() {
    let mut world = world(|config| config.batch_records_max = 1);
    world.cluster.disliked = ["b".to_owned()].into();
    let records = send_all(&mut world, "a b c");
    assert_eq!(ends(&mut world, &records), ["delivered", "guilty: no b", "delivered"]);
}

/// F30
#[test]
fn a_broker_that_names_no_record_refuses_them_all() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 1);
    cluster.versions.insert(0, (3, 7));
    cluster.disliked = ["b".to_owned()].into();
    let mut world = World::new(cluster, |config| config.linger = ms(5));
    let records = send_all(&mut world, "a b c");
    assert_eq!(ends(&mut world, &records), ["guilty: "; 3]);
}

/// F29, F30
#[test]
fn of_a_half_the_right_record_is_blamed() {
    let mut world = world(|_| {});
    world.cluster.batch_size_max = size_of(4);
    world.cluster.disliked = ["f".to_owned()].into();
    let records = send_all(&mut world, "a b c d e f g h");
    let expected = ["spoiled", "guilty: no f", "spoiled", "spoiled"];
    assert_eq!(ends(&mut world, &records[..4]), ["delivered"; 4]);
    assert_eq!(ends(&mut world, &records[4..]), expected);
    assert_eq!(stored(&world), "first a b c d");
}

/// F30
#[test]
fn a_refused_record_of_a_batch_that_may_be_in_the_log_is_unknown() {
    let mut world = world(|_| {});
    world.cluster.faults.push_back(Fault::CloseAfter);
    let records = send_all(&mut world, "a b");
    world.run_until(|world| world.produced().len() == 1);
    world.run(ms(3));
    world.cluster.disliked = ["b".to_owned()].into();
    for record in &records {
        let error = world.end_of(record).unwrap_err();
        assert!(error.may_be_written(), "{error}");
    }
    assert_eq!(stored(&world), "first a b");
}
