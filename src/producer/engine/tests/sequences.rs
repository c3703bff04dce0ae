//! Idempotence: which numbers a batch carries, and what is in the log after an error.

use super::broker::{BatchFault, Cluster, Fault};
use super::world::{World, ms};
use crate::producer::completion::{Cause, Completion, DeliveryError};
use crate::producer::engine::Notice;
use crate::protocol::ErrorCode;
use std::time::Duration;

/// A world of one partition with one record to a batch, of which `first` was delivered.
fn world() -> World {
    let mut world = World::one(|config| config.batch_records_max = 1);
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.sent.clear();
    world
}

fn stored(world: &World) -> String {
    world.cluster.stored(0).join(" ")
}

fn renumbered(world: &World) -> usize {
    world.notices.iter().filter(|notice| matches!(notice, Notice::Renumbered { .. })).count()
}

fn rejection(world: &mut World, record: &Completion) -> ErrorCode {
    match world.end_of(record) {
        Err(DeliveryError::Rejected { code, .. }) => code,
        other => panic!("not rejected: {other:?}"),
    }
}

/// F26, F28
#[test]
fn a_retry_is_the_same_batch_to_the_byte() {
    for fault in [
        BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
        BatchFault::StoreAndAnswer(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let mut world = world();
        world.cluster.fault(0, fault);
        let records = world.send_batches(&["a"]);
        world.all_delivered(&records);
        let sent = world.produced();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].batches, sent[1].batches);
        assert!(sent[1].at - sent[0].at >= ms(80), "after a pause");
        assert_eq!(stored(&world), "first a");
    }
}

/// F3
#[test]
fn a_batch_lost_on_its_way_back_is_stored_once() {
    let mut world = world();
    world.cluster.faults.push_back(Fault::CloseAfter);
    let records = world.send_batches(&["a", "b", "c"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b c");
    assert_eq!(renumbered(&world), 0);
    let offset = world.end_of(&records[0]).unwrap().offset;
    assert_eq!(offset, Some(1), "the broker remembers it");
}

/// F35, F36
#[test]
fn whichever_of_five_in_flight_fails_all_are_stored_once_and_in_order() {
    for at in 0..5 {
        for fault in [
            BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
            BatchFault::Refuse(ErrorCode::REQUEST_TIMED_OUT),
            BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
            BatchFault::Refuse(ErrorCode::UNKNOWN_PRODUCER_ID),
            BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            BatchFault::Refuse(ErrorCode::INVALID_PRODUCER_EPOCH),
            BatchFault::Refuse(ErrorCode::CORRUPT_MESSAGE),
        ] {
            let mut world = world();
            (0..at).for_each(|_| world.cluster.fault(0, BatchFault::None));
            world.cluster.fault(0, fault);
            let records = world.send_batches(&["a", "b", "c", "d", "e", "f"]);
            world.all_delivered(&records);
            assert_eq!(stored(&world), "first a b c d e f", "{fault:?} at {at}");
            assert_eq!(world.budget.used(), 0);
        }
    }
}

/// F36
#[test]
fn a_later_batch_out_of_order_waits_for_the_earlier_one() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b", "0:1 a", "0:2 b"]);
    assert_eq!(renumbered(&world), 0);
}

#[test]
fn a_batch_that_is_sent_again_goes_alone() {
    let mut world = world();
    world.latency = ms(100);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    let began = world.elapsed();
    let mut records = world.send_batches(&["a"]);
    world.run(ms(190));
    records.extend(world.send_batches(&["b"]));
    // a is refused after 200 ms and its pause is over after 320 at most; b is back after 390.
    world.run(ms(250));
    records.extend(world.send_batches(&["c"]));
    world.all_delivered(&records);
    let sent: Vec<_> = world.produced().iter().map(|sent| sent.at - began).collect();
    assert_eq!(sent, [ms(0), ms(190), ms(390), ms(590), ms(790)]);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b", "0:1 a", "0:2 b", "0:3 c"]);
}

#[test]
fn nothing_new_goes_out_under_numbers_that_are_to_be_changed() {
    let mut world = world();
    world.latency = ms(100);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    let mut records = world.send_batches(&["a"]);
    world.run(ms(190));
    records.extend(world.send_batches(&["b"]));
    world.run(ms(20));
    records.extend(world.send_batches(&["c"]));
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b", "1:0 a", "1:1 b", "1:2 c"]);
}

#[test]
fn a_success_vouches_for_no_batch_that_was_refused() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.cluster.fault(0, BatchFault::Forget);
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    let stored = world.cluster.stored(0);
    assert_eq!(stored.iter().filter(|value| *value == "a").count(), 1, "{stored:?}");
}

/// F36
#[test]
fn a_head_of_line_out_of_order_starts_a_new_epoch_from_zero() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b", "1:0 a", "1:1 b"]);
    assert_eq!(stored(&world), "first a b");
    assert_eq!(renumbered(&world), 1);
}

/// F36, F37
#[test]
fn a_broker_that_forgot_us_is_told_anew() {
    let mut world = world();
    world.cluster.partition(0).log.forget_producers();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::UNKNOWN_PRODUCER_ID));
    let records = world.send_batches(&["a"]);
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "1:0 a"]);
}

/// F36
#[test]
fn a_refused_producer_id_is_replaced() {
    for code in [ErrorCode::INVALID_PRODUCER_EPOCH, ErrorCode::INVALID_PRODUCER_ID_MAPPING] {
        let mut world = world();
        world.cluster.fault(0, BatchFault::Refuse(code));
        let records = world.send_batches(&["a", "b"]);
        world.all_delivered(&records);
        let ids = world.produced().into_iter().map(|sent| sent.batches[0].1.stamp.producer_id);
        assert_eq!(ids.collect::<Vec<_>>(), [1000, 1000, 1001, 1001], "{code}");
        assert_eq!(stored(&world), "first a b");
    }
}

#[test]
fn an_unsure_batch_keeps_its_number_when_one_behind_it_loses_the_producer_id() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT));
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::INVALID_PRODUCER_EPOCH));
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b", "a was stored the first time");
}

/// F39
#[test]
fn epochs_that_are_used_up_are_followed_by_a_new_id() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 1);
    cluster.next_identity = (7, i16::MAX);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    let records = world.send_batches(&["a"]);
    world.all_delivered(&records);
    let stamp = world.produced().last().unwrap().batches[0].1.stamp;
    assert_eq!((stamp.producer_id, stamp.epoch, stamp.base_sequence), (8, 0, 0));
}

#[test]
fn a_definite_refusal_fails_one_batch_and_those_behind_it_go_on() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::None);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::INVALID_RECORD));
    let records = world.send_batches(&["a", "b", "c", "d"]);
    assert_eq!(rejection(&mut world, &records[1]), ErrorCode::INVALID_RECORD);
    world.all_delivered(&records[..1]);
    world.all_delivered(&records[2..]);
    assert_eq!(stored(&world), "first a c d");
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn the_number_of_the_last_batch_is_used_again_when_it_is_refused() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::MESSAGE_TOO_LARGE));
    let refused = world.send_batches(&["a"]);
    assert_eq!(rejection(&mut world, &refused[0]), ErrorCode::MESSAGE_TOO_LARGE);
    let records = world.send_batches(&["b"]);
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:1 b"]);
}

/// F28
#[test]
fn a_refusal_after_an_unanswered_transmission_does_not_say_that_nothing_was_stored() {
    let mut world = world();
    world.cluster.faults.push_back(Fault::CloseAfter);
    world.cluster.fault(0, BatchFault::None);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let records = world.send_batches(&["a"]);
    let error = world.end_of(&records[0]).unwrap_err();
    assert!(error.may_be_written(), "{error}");
    assert_eq!(stored(&world), "first a");
    let records = world.send_batches(&["b"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first a b");
}

/// F35
#[test]
fn an_unsure_batch_is_acknowledged_by_the_success_of_the_next() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT));
    let records = world.send_batches(&["a", "b"]);
    let delivered = world.end_of(&records[0]).unwrap();
    assert_eq!(delivered.offset, None, "nobody said which");
    world.all_delivered(&records);
    assert_eq!(world.batches_sent(), ["0:1 a", "0:2 b"]);
    assert_eq!(stored(&world), "first a b");
}

/// F36
#[test]
fn a_duplicate_is_a_success_without_an_offset() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::StoreAndAnswer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER));
    let records = world.send_batches(&["a"]);
    assert_eq!(world.end_of(&records[0]).unwrap().offset, None);
}

#[test]
fn a_corrupt_batch_is_sent_again_a_few_times() {
    let mut world = world();
    (0..9).for_each(|_| {
        world.cluster.fault(0, BatchFault::Refuse(ErrorCode::CORRUPT_MESSAGE));
    });
    let records = world.send_batches(&["a"]);
    assert_eq!(rejection(&mut world, &records[0]), ErrorCode::CORRUPT_MESSAGE);
    assert_eq!(world.produced().len(), 4);
}

/// F42
#[test]
fn a_new_epoch_of_one_partition_leaves_the_batches_of_others_as_they_are() {
    let mut cluster = Cluster::new(1);
    cluster.create("t", 2);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let firsts = [world.send(0, "first"), world.send(1, "first")];
    world.all_delivered(&firsts);
    world.sent.clear();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    world.cluster.fault(1, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    let mut records = vec![world.send(0, "a"), world.send(1, "x")];
    world.run(ms(2));
    records.extend([world.send(0, "b"), world.send(1, "y")]);
    world.all_delivered(&records);
    let of_1 = world.produced().into_iter().flat_map(|sent| &sent.batches);
    let of_1 = of_1.filter(|(partition, _)| *partition == 1);
    let stamps: Vec<_> =
        of_1.map(|(_, batch)| (batch.stamp.epoch, batch.stamp.base_sequence)).collect();
    assert_eq!(stamps, [(0, 1), (0, 1), (1, 0)], "the old epoch until nothing carries it");
    assert_eq!(world.cluster.stored(0), ["first", "a", "b"]);
    assert_eq!(world.cluster.stored(1), ["first", "x", "y"]);
}

/// F42
#[test]
fn a_new_epoch_waits_for_what_is_in_flight_under_the_old_one() {
    let mut cluster = Cluster::new(2);
    cluster.create("t", 2);
    let mut world = World::new(cluster, |config| config.batch_records_max = 1);
    let firsts = [world.send(0, "first"), world.send(1, "first")];
    world.all_delivered(&firsts);
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    world.cluster.fault(1, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    world.latency = ms(50);
    let mut records = vec![world.send(1, "x")];
    world.latency = ms(1);
    records.push(world.send(0, "a"));
    world.run(ms(5));
    records.push(world.send(1, "y"));
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(1), ["first", "x", "y"]);
}

/// F19
#[test]
fn a_topic_created_again_loses_and_doubles_nothing_even_if_old_news_comes_back() {
    let mut world = world();
    let old = world.cluster.topics["t"].clone();
    world.cluster.topics.remove("t");
    world.cluster.create("t", 1);
    world.cluster.topics.get_mut("t").unwrap().id = 9;
    world.run(Duration::from_secs(301));
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    // A broker that lags shows the old topic; then the new one is seen again.
    world.cluster.stale_topics = [("t".to_owned(), old)].into();
    world.cluster.stale_answers = 1;
    world.run(Duration::from_secs(301));
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    world.run(Duration::from_secs(301));
    let records = world.send_batches(&["c", "d"]);
    world.all_delivered(&records);
    assert_eq!(stored(&world), "a b c d");
}

/// F38
#[test]
fn a_batch_that_expires_in_flight_may_be_written_and_the_next_goes_on() {
    for fault in [Fault::StuckAfter, Fault::StuckBefore] {
        let mut world = World::one(|config| {
            config.batch_records_max = 1;
            config.request_timeout = Duration::from_secs(10);
            config.delivery_timeout = Duration::from_secs(15);
        });
        let first = world.send(0, "first");
        world.end_of(&first).unwrap();
        world.cluster.faults.extend([Fault::StuckAfter, fault]);
        let lost = world.send_batches(&["a"]);
        world.run(Duration::from_secs(12));
        let records = world.send_batches(&["b", "c"]);
        let error = world.end_of(&lost[0]).unwrap_err();
        assert!(error.may_be_written(), "{error}");
        world.all_delivered(&records);
        assert_eq!(stored(&world), "first a b c");
        assert_eq!(world.budget.used(), 0);
    }
}

/// F38
#[test]
fn the_sequence_goes_on_when_the_batch_that_expired_was_never_stored() {
    let mut world = World::one(|config| {
        config.batch_records_max = 1;
        config.request_timeout = Duration::from_secs(10);
        config.delivery_timeout = Duration::from_secs(10);
    });
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.cluster.faults.push_back(Fault::StuckBefore);
    let lost = world.send_batches(&["a"]);
    world.run(Duration::from_secs(9));
    let records = world.send_batches(&["b", "c"]);
    let error = world.end_of(&lost[0]).unwrap_err();
    assert!(error.may_be_written(), "{error}");
    world.all_delivered(&records);
    assert_eq!(stored(&world), "first b c");
    assert_eq!(renumbered(&world), 1, "b's predecessor never came");
}

#[test]
fn a_fenced_producer_ends_for_good() {
    let mut world = world();
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::PRODUCER_FENCED));
    let records = world.send_batches(&["a", "b"]);
    let error = world.end_of(&records[0]).unwrap_err();
    let DeliveryError::Fatal(Cause::Broker { code, .. }) = error else { panic!("{error}") };
    assert_eq!(code, ErrorCode::PRODUCER_FENCED);
    let error = world.end_of(&records[1]).unwrap_err();
    assert!(error.may_be_written(), "it was in flight: {error}");
    let late = world.send(0, "c");
    assert!(matches!(world.end_of(&late), Err(DeliveryError::Fatal(_))));
    assert_eq!(world.budget.used(), 0);
}
