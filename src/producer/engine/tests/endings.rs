//! The end of what was accepted: by its time, by closing, by a producer that may not go on.

use super::broker::{BatchFault, Cluster, Fault};
use super::world::{World, ms, outcome};
use crate::producer::accumulator::{NotTaken, Now};
use crate::producer::completion::{Cause, Completion, DeliveryError, Waited};
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

fn waited(world: &mut World, record: &Completion) -> (Waited, u32) {
    let sent_at = world.elapsed();
    match world.end_of(record) {
        Err(DeliveryError::Expired { waited, attempts, .. }) => {
            assert_eq!(world.elapsed() - sent_at, Duration::from_secs(120), "by its deadline");
            assert_eq!(world.budget.used(), 0);
            (waited, attempts)
        }
        other => panic!("not expired: {other:?}"),
    }
}

fn warm() -> World {
    let mut world = World::one(|config| config.batch_records_max = 1);
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.run(Duration::from_secs(1));
    world
}

#[test]
fn an_expired_record_says_that_it_waited_for_a_leader() {
    let mut world = World::one(|_| {});
    world.cluster.partition(0).leader = -1;
    let record = world.send(0, "a");
    assert_eq!(waited(&mut world, &record), (Waited::Leader, 0));
}

#[test]
fn an_expired_record_says_that_it_waited_for_metadata() {
    let mut world = World::one(|_| {});
    world.cluster.up.clear();
    world.lose_node(1);
    let record = world.send(0, "a");
    assert_eq!(waited(&mut world, &record), (Waited::Metadata, 0));
}

#[test]
fn an_expired_record_says_that_it_waited_for_a_producer_id() {
    let mut world = World::one(|_| {});
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    world.cluster.identity_errors.extend([loading; 10_000]);
    let record = world.send(0, "a");
    assert_eq!(waited(&mut world, &record), (Waited::ProducerId, 0));
    assert!(world.count(ApiKey::InitProducerId) < 1300, "no hot loop");
}

#[test]
fn an_expired_record_says_that_it_waited_for_its_retry() {
    let mut world = warm();
    (0..1000).for_each(|_| {
        world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    });
    let record = world.send(0, "a");
    let (waited, attempts) = waited(&mut world, &record);
    assert_eq!(waited, Waited::Retry);
    assert!((110..140).contains(&attempts), "{attempts} attempts");
}

#[test]
fn an_expired_record_says_that_it_waited_behind_others() {
    let mut world = World::one(|config| {
        config.batch_records_max = 1;
        config.max_in_flight = 1;
    });
    // A retry long ago is no reason.
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    // As long a pause as is kept, behind each of those in front.
    world.cluster.throttle_ms = i32::MAX;
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    world.send(0, "c");
    let record = world.send(0, "d");
    assert_eq!(waited(&mut world, &record), (Waited::Queue, 0));
}

#[test]
fn records_that_expire_make_room_for_later_ones() {
    let mut world = warm();
    world.cluster.up.clear();
    world.lose_node(1);
    let early = world.send_batches(&["a", "b", "c", "d", "e"]);
    world.run(Duration::from_secs(60));
    let late = world.send_batches(&["f", "g"]);
    world.run(Duration::from_secs(61));
    assert!(early.iter().all(|record| matches!(outcome(record), Some(Err(_)))));
    world.cluster.up.insert(1);
    world.all_delivered(&late);
    assert_eq!(world.cluster.stored(0), ["first", "f", "g"]);
}

/// F40
#[test]
fn an_identity_is_asked_for_until_it_is_given() {
    let mut world = World::one(|_| {});
    world.cluster.identity_errors.extend([
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_COORDINATOR,
    ]);
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    assert_eq!(world.count(ApiKey::InitProducerId), 4);
    assert!((300..400).contains(&world.elapsed().as_millis()), "{:?}", world.elapsed());
}

/// F40
#[test]
fn a_lost_answer_about_the_identity_is_asked_for_again() {
    let mut world = World::one(|_| {});
    let record = world.send(0, "a");
    world.run_until(|world| world.count(ApiKey::InitProducerId) == 1);
    world.lose_node(1);
    world.end_of(&record).unwrap();
    assert_eq!(world.count(ApiKey::InitProducerId), 2);
}

/// F40
#[test]
fn a_producer_that_may_not_write_idempotently_ends_and_says_what_it_needs() {
    let mut world = World::one(|_| {});
    world.cluster.identity_errors.push_back(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    assert!(error.to_string().contains("needs the right IDEMPOTENT_WRITE"), "{error}");
    let late = world.send(0, "b");
    assert!(matches!(world.end_of(&late), Err(DeliveryError::Fatal(_))));
    assert_eq!(world.budget.used(), 0);
    world.run(Duration::from_secs(1000));
    assert_eq!(world.count(ApiKey::InitProducerId), 1);
}

/// F49
#[test]
fn a_broker_without_identities_ends_an_idempotent_producer_and_no_other() {
    for idempotence in [true, false] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.versions.remove(&22);
        let mut world = World::new(cluster, |config| config.idempotence = idempotence);
        let record = world.send(0, "a");
        match world.end_of(&record) {
            Err(DeliveryError::Fatal(cause)) if idempotence => {
                let text = cause.to_string();
                assert!(text.contains("set idempotence to false"), "{text}");
            }
            Ok(_) if !idempotence => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn closing_delivers_what_there_is_and_takes_nothing_more() {
    let mut world = World::one(|config| config.linger = Duration::from_secs(5));
    let records = [world.send(0, "a"), world.send(0, "b")];
    world.close(Duration::from_secs(30));
    assert!(world.budget.try_reserve(1).is_err());
    world.run_until(|world| world.engine.is_finished());
    assert!(records.iter().all(|record| matches!(outcome(record), Some(Ok(_)))));
    assert!(world.elapsed() < ms(50), "nothing lingers: {:?}", world.elapsed());
    assert!(world.open_connections().is_empty());
    let now = Now { instant: world.now, unix_millis: 0 };
    let refused = world.accumulator.push(now, &Record::to("t"), 1).unwrap_err();
    assert_eq!(refused, NotTaken::Closed);
}

/// F52
#[test]
fn closing_ends_what_its_time_does_not_reach_and_says_what_may_be_written() {
    let mut world = warm();
    world.cluster.faults.push_back(Fault::StuckAfter);
    let sent = world.send(0, "a");
    world.run(ms(5));
    world.cluster.partition(0).leader = -1;
    let queued: Vec<_> = ["b", "c", "d", "e", "f"].map(|value| world.send(0, value)).into();
    let homeless = world.send_record(&Record::to("unknown").value(b"x"));
    world.close(Duration::from_secs(3));
    world.run(Duration::from_millis(2999));
    assert!(outcome(&sent).is_none() && !world.engine.is_finished());
    world.run(ms(1));
    assert!(world.engine.is_finished());
    assert!(outcome(&sent).unwrap().unwrap_err().may_be_written());
    for record in queued[4..].iter().chain([&homeless]) {
        let error = outcome(record).unwrap().unwrap_err();
        assert!(matches!(error, DeliveryError::Abandoned { .. }), "{error}");
    }
    assert_eq!(world.budget.used(), 0);
}

/// F52
#[test]
fn closing_twice_keeps_the_sooner_deadline() {
    let mut world = warm();
    world.cluster.faults.push_back(Fault::StuckAfter);
    world.send(0, "a");
    world.close(Duration::from_secs(20));
    world.close(Duration::from_secs(2));
    world.close(Duration::from_secs(20));
    world.run(Duration::from_secs(2));
    assert!(world.engine.is_finished());
}

/// F58
#[test]
fn an_engine_that_is_dropped_leaves_nobody_waiting() {
    let mut world = warm();
    world.cluster.faults.push_back(Fault::StuckAfter);
    let sent = world.send(0, "a");
    world.run(ms(5));
    let homeless = world.send_record(&Record::to("unknown").value(b"x"));
    let World { engine, budget, .. } = world;
    drop(engine);
    assert!(outcome(&sent).unwrap().unwrap_err().may_be_written());
    assert!(matches!(outcome(&homeless), Some(Err(DeliveryError::Abandoned { .. }))));
    assert_eq!(budget.used(), 0);
}

/// F51
#[test]
fn a_flush_waits_for_what_is_on_its_way_too() {
    let mut world = warm();
    world.cluster.faults.push_back(Fault::StuckAfter);
    let sent = world.send(0, "a");
    world.run(ms(5));
    let queued = world.send(0, "b");
    let outstanding = world.engine.handle_flush(world.now);
    world.perform();
    assert_eq!(outstanding.len(), 2);
    world.all_delivered(&[sent, queued]);
    assert!(world.engine.handle_flush(world.now).is_empty());
}

#[test]
fn the_last_error_is_told_with_the_end() {
    let mut world = warm();
    (0..1000).for_each(|_| {
        world.cluster.fault(0, BatchFault::Refuse(ErrorCode::KAFKA_STORAGE_ERROR));
    });
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), Cause::from(ErrorCode::KAFKA_STORAGE_ERROR).to_string());
}
