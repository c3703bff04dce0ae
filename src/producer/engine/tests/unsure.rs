//! Batches that may be in the log: how they are found out, and what they keep others from.

use super::broker::{BatchFault, Fault};
use super::world::{World, ms, outcome};
use crate::producer::completion::DeliveryError;
use crate::producer::config::ProducerConfig;
use crate::producer::engine::Notice;
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use std::time::Duration;

/// A world of one partition with one record to a batch, of which `first` was delivered.
fn world(change: impl FnOnce(&mut ProducerConfig)) -> World {
    let mut world = World::one(|config| {
        config.batch_records_max = 1;
        change(config);
    });
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.sent.clear();
    world
}

fn stored(world: &World) -> String {
    world.cluster.stored(0).join(" ")
}

/// Transmissions of a batch, each as its bytes.
fn transmissions(world: &World, value: &str) -> Vec<bytes::Bytes> {
    let batches = world.produced().into_iter().flat_map(|sent| &sent.batches);
    let same = batches.filter(|(_, batch)| batch.values[0] == value);
    same.map(|(_, batch)| batch.bytes.clone()).collect()
}

/// F28
#[test]
fn doubt_then_a_lost_connection_then_success_leave_one_copy() {
    for first in [
        BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
        BatchFault::StoreAndAnswer(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        BatchFault::Refuse(ErrorCode::REQUEST_TIMED_OUT),
    ] {
        for second in [Fault::CloseBefore, Fault::CloseAfter, Fault::Cut(2), Fault::StuckAfter] {
            let mut world = world(|_| {});
            world.cluster.value_faults.insert("a".to_owned(), (first, 1));
            world.cluster.faults.extend([Fault::None, second]);
            let records = world.send_batches(&["a"]);
            world.all_delivered(&records);
            assert_eq!(stored(&world), "first a", "{first:?}, {second:?}");
            let sent = transmissions(&world, "a");
            assert!(sent.len() == 3 && sent.iter().all(|bytes| *bytes == sent[0]));
        }
    }
}

/// F35, F3, F4
#[test]
fn whichever_of_however_many_in_flight_is_in_doubt_all_are_stored_once() {
    let answered = [
        BatchFault::Refuse(ErrorCode::REQUEST_TIMED_OUT),
        BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
        BatchFault::StoreAndAnswer(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        BatchFault::StoreAndAnswer(ErrorCode::NETWORK_EXCEPTION),
    ];
    let lost = [Fault::CloseBefore, Fault::CloseAfter, Fault::Cut(5), Fault::WrongCorrelation];
    let values = ["a", "b", "c", "d", "e", "f", "g"];
    for in_flight in 1..=5 {
        for at in 0..in_flight {
            for case in 0..answered.len() + lost.len() {
                let mut world = world(|config| config.max_in_flight = in_flight);
                match answered.get(case) {
                    Some(fault) => {
                        world.cluster.value_faults.insert(values[at].to_owned(), (*fault, 1));
                    }
                    None => {
                        world.cluster.faults.extend(vec![Fault::None; at]);
                        world.cluster.faults.push_back(lost[case - answered.len()]);
                    }
                }
                let records = world.send_batches(&values);
                world.all_delivered(&records);
                assert_eq!(stored(&world), "first a b c d e f g", "{case} at {at} of {in_flight}");
                let anew = |notice: &Notice| matches!(notice, Notice::Renumbered { .. });
                assert!(!world.notices.iter().any(anew), "no number was in doubt");
                assert_eq!(world.budget.used(), 0);
            }
        }
    }
}

/// F38
#[test]
fn an_answer_that_comes_after_the_end_changes_no_end_and_breaks_no_sequence() {
    for late in [
        BatchFault::None,
        BatchFault::StoreAndAnswer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER),
        BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
        BatchFault::Refuse(ErrorCode::REQUEST_TIMED_OUT),
        BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
        BatchFault::Refuse(ErrorCode::INVALID_RECORD),
        BatchFault::Refuse(ErrorCode::MESSAGE_TOO_LARGE),
        BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        BatchFault::Refuse(ErrorCode::UNKNOWN_PRODUCER_ID),
        BatchFault::Refuse(ErrorCode::INVALID_PRODUCER_EPOCH),
        BatchFault::Refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
    ] {
        for early in [false, true] {
            let mut world = world(|config| {
                config.request_timeout = Duration::from_secs(10);
                config.delivery_timeout = Duration::from_secs(11);
            });
            world.cluster.value_faults.insert("a".to_owned(), (late, 1));
            world.latency = ms(5800);
            let records = world.send_batches(&["a"]);
            world.run(Duration::from_secs(11));
            let error = outcome(&records[0]).expect("its time is over").unwrap_err();
            assert!(error.may_be_written(), "{error}");
            world.latency = ms(1);
            // Before or after the answer, which comes after 11.6 s.
            world.run(Duration::from_secs(if early { 0 } else { 1 }));
            let later = world.send_batches(&["b", "c"]);
            world.all_delivered(&later);
            let error = outcome(&records[0]).unwrap().unwrap_err();
            assert!(error.may_be_written(), "{late:?}: its end is told once");
            assert_eq!(transmissions(&world, "a").len(), 1, "{late:?}: nobody waits for it");
            let is_stored = !matches!(late, BatchFault::Refuse(_));
            let expected = if is_stored { "first a b c" } else { "first b c" };
            assert_eq!(stored(&world), expected, "{late:?}");
            let counts = world.engine.meters().read(world.now);
            assert_eq!((counts.records_failed, counts.records_delivered), (1, 3), "{late:?}");
            assert_eq!(world.budget.used(), 0);
        }
    }
}

/// F6
#[test]
fn a_broker_that_vanishes_and_comes_back_is_used_again_and_no_deadline_is_missed() {
    for outage in [40, 200] {
        let mut world = world(|_| {});
        let began = world.elapsed();
        world.cluster.mute.insert(1);
        let early = world.send_batches(&["a", "b"]);
        world.run(Duration::from_secs(outage));
        let late = world.send_batches(&["c"]);
        world.cluster.mute.clear();
        for record in &early {
            let end = world.end_of(record);
            assert_eq!(end.is_ok(), outage < 120, "{end:?}");
            assert!(end.is_ok() || end.unwrap_err().may_be_written());
        }
        assert!(outage < 120 || world.elapsed() - began <= Duration::from_secs(outage));
        world.all_delivered(&late);
        let expected = if outage < 120 { "first a b c" } else { "first c" };
        assert_eq!(stored(&world), expected);
        // One attempt in 32 s on the connection at hand, then one in 10 s to set up another.
        assert!(world.dials.len() < 60, "{} dials", world.dials.len());
    }
}

/// F41
#[test]
fn whoever_stops_waiting_for_a_record_loses_and_disturbs_nothing() {
    let mut world = world(|config| {
        config.linger = ms(50);
        config.batch_records_max = 100;
    });
    world.sealing = ms(10);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    // While it lingers, is sealed, is in flight, and waits for its retry.
    let mut sent = Vec::new();
    for (wait, value) in [(0, "a"), (55, "b"), (6, "c"), (20, "d"), (500, "e")] {
        world.run(ms(wait));
        sent.push((world.send(0, value), value));
        drop(sent.remove(0));
    }
    let last = world.send(0, "f");
    world.end_of(&last).unwrap();
    assert_eq!(stored(&world), "first a b c d e f");
    drop(world.send_record(&Record::to("unknown").value(b"x")));
    world.run(Duration::from_secs(121));
    assert_eq!(world.budget.used(), 0);
}

/// F36
#[test]
fn every_word_about_numbers_wherever_it_comes_ends_in_order() {
    for code in [45, 46, 47, 49, 59].map(ErrorCode) {
        for at in 0..5 {
            let mut world = world(|_| {});
            let values = ["a", "b", "c", "d", "e"];
            let fault = match code {
                ErrorCode::DUPLICATE_SEQUENCE_NUMBER => BatchFault::StoreAndAnswer(code),
                _ => BatchFault::Refuse(code),
            };
            world.cluster.value_faults.insert(values[at].to_owned(), (fault, 1));
            let records = world.send_batches(&values);
            world.all_delivered(&records);
            assert_eq!(stored(&world), "first a b c d e", "{code} at {at}");
        }
    }
}

/// F37
#[test]
fn a_partition_that_forgot_its_producers_between_any_two_batches_goes_on() {
    let values = ["a", "b", "c", "d", "e", "f"];
    for at in 0..values.len() {
        let mut world = world(|_| {});
        world.cluster.value_faults.insert(values[at].to_owned(), (BatchFault::Forget, 1));
        let records = world.send_batches(&values);
        world.all_delivered(&records);
        assert_eq!(stored(&world), "first a b c d e f", "before {}", values[at]);
    }
}

/// F39
#[test]
fn sequences_pass_their_largest_within_a_batch_and_between_two() {
    for start in [i32::MAX - 4, i32::MAX - 3, i32::MAX - 2, i32::MAX - 1, i32::MAX] {
        let mut world = World::one(|config| {
            config.linger = ms(5);
            config.batch_records_max = 3;
        });
        world.engine.sequencer.first_number = start;
        world.cluster.fault(0, BatchFault::None);
        world.cluster.fault(0, BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT));
        let values = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let records: Vec<_> = values.iter().map(|value| world.send(0, value)).collect();
        world.all_delivered(&records);
        assert_eq!(stored(&world), values.join(" "));
        let mut bases: Vec<_> =
            world.produced().iter().map(|sent| sent.batches[0].1.stamp.base_sequence).collect();
        bases.dedup();
        assert!(bases.iter().all(|base| *base >= 0), "{bases:?}");
        assert_eq!(bases[0], start);
    }
}

/// F1
#[test]
fn a_connection_that_is_gone_before_the_request_arrives_costs_one_more() {
    let mut world = world(|_| {});
    let records = world.send_batches(&["a"]);
    world.lose_node(1);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a");
    assert_eq!(transmissions(&world, "a").len(), 2);
}

/// F5
#[test]
fn what_a_silent_broker_was_sent_goes_on_when_its_time_is_over() {
    let mut world = world(|_| {});
    world.cluster.ignored.insert(0, 1);
    let records = world.send_batches(&["a"]);
    world.run(Duration::from_secs(31));
    assert!(outcome(&records[0]).is_none());
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a");
    assert!(world.elapsed() < Duration::from_secs(34));
}

/// F11
#[test]
fn answers_of_random_bytes_end_their_connection_and_split_nothing() {
    for seed in 0..60 {
        for version in [3, 7, 12] {
            let mut world = world(|_| {});
            world.cluster.versions.insert(0, (3, version));
            world.lose_node(1);
            let second = world.send(0, "second");
            world.end_of(&second).unwrap();
            world.sent.clear();
            world.cluster.faults.extend([Fault::Garble(seed), Fault::Garble(seed + 1000)]);
            let records = world.send_batches(&["a", "b"]);
            for record in &records {
                // Random bytes may happen to say something.
                let end = world.end_of(record);
                let told = matches!(
                    end,
                    Ok(_)
                        | Err(DeliveryError::Unknown { .. }
                            | DeliveryError::Rejected { .. }
                            | DeliveryError::Fatal(_))
                );
                assert!(told, "seed {seed}, v{version}: {end:?}");
            }
            assert!(transmissions(&world, "a").len() <= 3, "seed {seed}, v{version}");
            assert_eq!(world.budget.used(), 0, "seed {seed}, v{version}");
        }
    }
}
