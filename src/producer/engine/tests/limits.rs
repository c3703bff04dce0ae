//! What the settings bound: retries, idle connections, pauses, time; and what has no bound but memory.

use super::broker::{BatchFault, Cluster, Fault};
use super::world::{World, ms, outcome};
use crate::producer::accumulator::Now;
use crate::producer::completion::{Completion, DeliveryError};
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use kafka_protocol::messages::ApiKey;
use std::time::Duration;

/// A world of one partition with one record to a batch, of which `first` was delivered.
fn world(change: impl FnOnce(&mut ProducerConfig)) -> World {
    let mut world = World::one(|config| {
        config.batch_records_max = 1;
        change(config);
    });
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.run(Duration::from_secs(1));
    (world.sent, world.dials, world.notices) = Default::default();
    world
}

fn stored(world: &World) -> String {
    world.cluster.stored(0).join(" ")
}

#[test]
fn a_batch_is_sent_again_as_often_as_retries_allows_and_no_more() {
    for idempotence in [true, false] {
        for retries in [1, 2, 7] {
            let mut world = world(|config| {
                config.retries = retries;
                config.idempotence = idempotence;
            });
            let refusal = BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
            world.cluster.value_faults.insert("a".to_owned(), (refusal, u32::MAX));
            world.cluster.value_faults.insert("b".to_owned(), (refusal, retries));
            let records = world.send_batches(&["a"]);
            let error = world.end_of(&records[0]).unwrap_err();
            let expected = ErrorCode::NOT_ENOUGH_REPLICAS;
            assert!(matches!(error, DeliveryError::Rejected { code, .. } if code == expected));
            assert_eq!(world.produced().len(), usize::try_from(retries).unwrap() + 1);
            let records = world.send_batches(&["b", "c"]);
            world.all_delivered(&records);
            assert_eq!(world.budget.used(), 0);
        }
    }
}

#[test]
fn the_last_retry_that_is_not_answered_leaves_the_record_unknown() {
    let mut world = world(|config| config.retries = 1);
    world.cluster.faults.extend([Fault::CloseAfter, Fault::CloseBefore]);
    let records = world.send_batches(&["a"]);
    let error = world.end_of(&records[0]).unwrap_err();
    assert!(error.may_be_written(), "{error}");
    assert_eq!((world.produced().len(), stored(&world).as_str()), (2, "first a"));
    let records = world.send_batches(&["b"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b");
}

#[test]
fn without_retries_a_refusal_that_would_pass_is_final() {
    let mut world = world(|config| {
        config.retries = 0;
        config.idempotence = false;
        config.acks = Acks::One;
    });
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let records = world.send_batches(&["a"]);
    assert!(!world.end_of(&records[0]).unwrap_err().may_be_written());
    assert_eq!(world.produced().len(), 1);
}

#[test]
fn a_purge_ends_every_record_at_once_and_the_producer_goes_on() {
    let mut world = world(|config| config.linger = ms(50));
    world.cluster.faults.push_back(Fault::StuckAfter);
    let in_flight = world.send_batches(&["a"]);
    world.run(ms(5));
    let homeless = world.send_record(&Record::to("unknown").value(b"x"));
    world.cluster.partition(0).leader = -1;
    let queued: Vec<_> = ["b", "c", "d", "e", "f", "g"].map(|value| world.send(0, value)).into();
    world.engine.handle_purge(world.now);
    world.perform();
    assert!(outcome(&in_flight[0]).unwrap().unwrap_err().may_be_written());
    let abandoned =
        |record: &Completion| matches!(outcome(record), Some(Err(DeliveryError::Abandoned { .. })));
    assert!(abandoned(&homeless) && queued[4..].iter().all(abandoned));
    assert!(queued.iter().all(|record| outcome(record).is_some()));
    world.cluster.partition(0).leader = 1;
    let records = world.send_batches(&["h", "i"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0).last().unwrap(), "i");
    assert_eq!(world.budget.used(), 0);
    world.engine.handle_purge(world.now);
    world.perform();
    assert_eq!(world.engine.meters().read(world.now).records_failed, 8);
}

#[test]
fn a_purge_of_what_waits_for_its_retry_does_not_stop_the_next() {
    for unsure in [false, true] {
        let mut world = world(|_| {});
        let code = ErrorCode::REQUEST_TIMED_OUT;
        let fault =
            if unsure { BatchFault::StoreAndAnswer(code) } else { BatchFault::Refuse(code) };
        world.cluster.value_faults.insert("a".to_owned(), (fault, 1));
        let records = world.send_batches(&["a"]);
        world.run(ms(10));
        world.engine.handle_purge(world.now);
        world.perform();
        assert!(outcome(&records[0]).unwrap().unwrap_err().may_be_written());
        assert_eq!(world.budget.used(), 0);
        let records = world.send_batches(&["b", "c"]);
        world.all_delivered(&records);
        assert_eq!(stored(&world), if unsure { "first a b c" } else { "first b c" });
    }
}

/// F12
#[test]
fn a_connection_without_use_is_closed_before_the_broker_does_and_made_again() {
    let mut world = world(|config| {
        config.connections_max_idle = Duration::from_secs(30);
        config.metadata_max_age = Duration::from_secs(3000);
    });
    assert_eq!(world.open_connections().len(), 2, "to the leader, and for questions");
    world.run(Duration::from_secs(28));
    let records = world.send_batches(&["a"]);
    world.all_delivered(&records);
    world.run(Duration::from_secs(29));
    assert_eq!(world.open_connections().len(), 1, "the one that was used is kept");
    world.run(Duration::from_secs(2));
    assert!(world.open_connections().is_empty());
    assert!(world.notices.is_empty(), "nobody's news");
    let records = world.send_batches(&["b", "c"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b c");
    assert_eq!(world.dials.len(), 1);
}

/// F33
#[test]
fn a_pause_of_half_a_minute_is_kept_and_does_not_block_closing() {
    let mut world = world(|_| {});
    world.cluster.throttle_ms = 30_000;
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    let began = world.elapsed();
    world.cluster.throttle_ms = 0;
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    assert_eq!(world.elapsed() - began, ms(30_002), "counted from the answer, and there and back");

    world.cluster.throttle_ms = 30_000;
    let record = world.send(0, "c");
    world.end_of(&record).unwrap();
    let muted = world.send(0, "d");
    world.close(Duration::from_secs(2));
    world.run(Duration::from_secs(2));
    assert!(world.engine.is_finished());
    assert!(matches!(outcome(&muted), Some(Err(DeliveryError::Abandoned { .. }))));
}

#[test]
fn a_pause_of_weeks_is_cut_short() {
    let mut world = world(|_| {});
    world.cluster.throttle_ms = i32::MAX;
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    let began = world.elapsed();
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    assert_eq!(world.elapsed() - began, ms(60_002));
}

/// F32
#[test]
fn an_answer_about_what_nobody_asked_for_is_ignored() {
    for version in [3, 7, 12] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.versions.insert(0, (3, version));
        let mut world = World::new(cluster, |config| config.batch_records_max = 1);
        world.cluster.faults.extend([Fault::Stray; 3]);
        let records = world.send_batches(&["a", "b", "c"]);
        world.all_delivered(&records);
        assert_eq!(stored(&world), "a b c");
        assert_eq!(world.produced().len(), 3);
    }
}

#[test]
fn answers_that_acks_zero_did_not_ask_for_are_read_and_forgotten() {
    for latency in [1, 0, 40] {
        let mut cluster = Cluster::new(1);
        cluster.create("t", 1);
        cluster.talkative = true;
        let mut world = World::new(cluster, |config| {
            config.acks = Acks::Zero;
            config.idempotence = false;
            config.batch_records_max = 1;
        });
        world.latency = ms(latency);
        for value in ["a", "b", "c", "d"] {
            let record = world.send(0, value);
            world.end_of(&record).unwrap();
        }
        world.run(Duration::from_secs(40));
        assert_eq!(stored(&world), "a b c d");
        assert_eq!(world.dials.len(), 2, "no connection was lost");
        assert_eq!(world.budget.used(), 0);
    }
}

#[test]
fn with_acks_zero_a_broker_that_hangs_up_is_asked_who_leads_now() {
    let mut cluster = Cluster::new(2);
    cluster.create("t", 1);
    let mut world = World::new(cluster, |config| {
        config.acks = Acks::Zero;
        config.idempotence = false;
    });
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    world.run(Duration::from_secs(1));
    world.cluster.move_leader(0, 2);
    world.cluster.faults.push_back(Fault::CloseBefore);
    world.latency = ms(3);
    let lost = world.send(0, "b");
    assert!(world.end_of(&lost).is_ok(), "written is all that was wanted");
    world.run(Duration::from_secs(1));
    let record = world.send(0, "c");
    world.end_of(&record).unwrap();
    world.run(Duration::from_secs(1));
    assert_eq!(stored(&world), "a c");
}

/// F56
#[test]
fn a_process_that_was_suspended_for_minutes_goes_on_where_it_was() {
    let mut world = world(|_| {});
    let records = world.send_batches(&["a", "b", "c"]);
    // The answers come in while nobody looks at the clock.
    world.run(ms(1));
    world.now += Duration::from_secs(60);
    world.all_delivered(&records);
    world.now += Duration::from_secs(600);
    let records = world.send_batches(&["d"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b c d");
}

/// F56
#[test]
fn a_wall_clock_that_goes_back_changes_no_deadline_and_no_order() {
    let mut world = world(|config| {
        config.batch_records_max = 100;
        config.linger = ms(20);
    });
    let began = world.elapsed();
    let mut records = Vec::new();
    for (value, unix_millis) in [("a", 1_700_000_000_000), ("b", 1_699_996_400_000), ("c", -5)] {
        let record = Record::to("t").partition(0).value(value.as_bytes());
        let size = record.content().size_bound();
        world.budget.try_reserve(size).unwrap();
        let now = Now { instant: world.now, unix_millis };
        records.push(world.accumulator.push(now, &record, size).unwrap().completion);
    }
    world.engine.handle_news(world.now);
    world.perform();
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a b c"]);
    assert_eq!(world.elapsed() - began, ms(22));
}

/// Pushes a record without a word to the engine.
fn push(world: &World, record: &Record<'_>) -> Completion {
    let size = record.content().size_bound();
    world.budget.try_reserve(size).unwrap();
    let now = Now { instant: world.now, unix_millis: 0 };
    world.accumulator.push(now, record, size).unwrap().completion
}

/// F57
#[test]
fn ten_thousand_partitions_share_few_requests() {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 10_000);
    let mut world = World::new(cluster, |config| config.linger = ms(5));
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.sent.clear();
    let send = |partition| push(&world, &Record::to("t").partition(partition).value(b"x"));
    let records: Vec<_> = (1..10_000).map(send).collect();
    world.engine.handle_news(world.now);
    world.perform();
    world.all_delivered(&records);
    assert!(world.produced().len() <= 4, "{} requests", world.produced().len());
    assert!((1..10_000).all(|partition| world.cluster.stored(partition) == ["x"]));
    assert_eq!(world.budget.used(), 0);
}

/// F57
#[test]
fn a_thousand_topics_share_few_requests() {
    let mut cluster = Cluster::new(3);
    let names: Vec<_> = (0..1000).map(|number| format!("topic-{number}")).collect();
    names.iter().for_each(|name| cluster.create(name, 3));
    let mut world = World::new(cluster, |config| config.linger = ms(5));
    let send = |name: &String| push(&world, &Record::to(name).partition(1).value(b"x"));
    let records: Vec<_> = names.iter().map(send).collect();
    world.engine.handle_news(world.now);
    world.perform();
    world.all_delivered(&records);
    assert!(world.count(ApiKey::Metadata) <= 3);
    assert!(world.produced().len() <= 3, "{} requests", world.produced().len());
    assert_eq!(world.budget.used(), 0);
}

/// F57
#[test]
fn records_of_one_byte_and_of_nearly_a_megabyte_mix() {
    let mut world = world(|config| config.batch_records_max = 10_000);
    let large = "x".repeat(900_000);
    let values: Vec<_> = (0..24).map(|n| if n % 3 == 0 { large.as_str() } else { "y" }).collect();
    let records: Vec<_> = values.iter().map(|value| world.send(0, value)).collect();
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0)[1..], values);
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn without_idempotence_one_request_in_flight_keeps_the_order() {
    for fault in [
        BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
        BatchFault::Refuse(ErrorCode::REQUEST_TIMED_OUT),
        BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let mut world = world(|config| {
            config.idempotence = false;
            config.max_in_flight = 1;
        });
        world.cluster.value_faults.insert("b".to_owned(), (fault, 1));
        let records = world.send_batches(&["a", "b", "c", "d"]);
        world.all_delivered(&records);
        let twice = matches!(fault, BatchFault::StoreAndAnswer(_));
        assert_eq!(stored(&world), if twice { "first a b b c d" } else { "first a b c d" });
    }
}
