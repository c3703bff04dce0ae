//! Records on their way into batches: order, wakes, closing.

use super::super::completion::{Acknowledged, DeliveryError};
use super::*;
use std::task::{Context, Poll, Waker};

struct Fixture {
    accumulator: Accumulator,
    topic: Arc<Topic>,
    queues: Vec<Arc<PartitionQueue>>,
    now: Now,
}

fn accumulator(records_max: u32) -> (Accumulator, Now) {
    let accumulator = Accumulator::new(BatchLimits { bytes_max: 1000, records_max }, 1);
    #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
    let now = Now { instant: Instant::now(), unix_millis: 1000 };
    (accumulator, now)
}

/// Topic `t`, named by a first record that waits for its partitions.
fn unopened(records_max: u32) -> Fixture {
    let (accumulator, now) = accumulator(records_max);
    let pushed = push(&accumulator, now, 0, "first").unwrap();
    assert!(pushed.wake);
    let news = accumulator.take_news();
    assert!(news.partitions.is_empty());
    let topic = Arc::clone(&news.topics[0]);
    Fixture { accumulator, topic, queues: Vec::new(), now }
}

/// Topic `t` with this many empty partitions.
fn opened(records_max: u32, partitions: i32) -> Fixture {
    let mut fixture = unopened(records_max);
    fixture.topic.take_homeless(None);
    fixture.open(partitions);
    fixture
}

fn push(
    accumulator: &Accumulator,
    now: Now,
    partition: i32,
    value: &str,
) -> Result<Pushed, NotTaken> {
    let record = Record::to("t").partition(partition).value(value.as_bytes());
    accumulator.push(now, &record, 10)
}

impl Fixture {
    fn open(&mut self, partitions: i32) -> Vec<(Homeless, NoSuchPartition)> {
        let queue = |number: i32| {
            let slot = usize::try_from(number).unwrap() + 100;
            Arc::new(PartitionQueue::new("t".into(), number, slot))
        };
        self.queues = (0..partitions).map(queue).collect();
        let available = (0..partitions).collect();
        self.accumulator.open(&self.topic, self.queues.clone(), available)
    }

    fn push(&self, partition: i32, value: &str) -> Pushed {
        push(&self.accumulator, self.now, partition, value).unwrap()
    }
}

/// The offset of a record whose batch was stored at 100.
fn offset(completion: &Completion) -> Option<i64> {
    match completion.poll(&Context::from_waker(Waker::noop())) {
        Poll::Ready(delivered) => delivered.unwrap().offset,
        Poll::Pending => None,
    }
}

fn settle_at(batch: &OpenBatch, base_offset: i64) {
    batch.completion.settle(
        0..batch.builder.count(),
        Ok(Acknowledged {
            topic: "t".into(),
            partition: 0,
            base_offset: Some(base_offset),
            log_append_time: None,
        }),
    );
}

#[test]
fn the_driver_is_woken_when_a_batch_opens_and_when_it_is_full_and_not_between() {
    let fixture = opened(3, 1);
    let mut wakes = Vec::new();
    for number in 0..7 {
        wakes.push(fixture.push(0, &number.to_string()).wake);
        assert_eq!(fixture.accumulator.take_news().partitions.is_empty(), number % 3 == 1);
    }
    assert_eq!(wakes, [true, false, true, true, false, true, true]);
}

#[test]
fn nobody_wakes_a_driver_that_was_woken_and_has_not_looked() {
    let fixture = opened(100, 3);
    let wakes: Vec<_> = (0..3).map(|partition| fixture.push(partition, "a").wake).collect();
    assert_eq!(wakes, [true, false, false]);
    assert_eq!(fixture.accumulator.take_news().partitions, [100, 101, 102]);
    assert!(!fixture.push(0, "b").wake, "its batch is open");
}

#[test]
fn records_that_waited_for_partitions_come_before_all_others() {
    let mut fixture = unopened(100);
    let waiting: Vec<_> = ["a", "b", "c"].map(|value| fixture.push(0, value)).into();
    assert!(waiting.iter().all(|pushed| !pushed.wake), "one question is enough");
    assert_eq!(fixture.topic.waiting_since(), Some(fixture.now.instant));
    assert!(fixture.open(1).is_empty());
    assert_eq!(fixture.topic.waiting_since(), None);
    let late = fixture.push(0, "d");
    let batch = fixture.queues[0].take_head().unwrap();
    assert_eq!((batch.builder.count(), batch.reserved), (5, 50));
    settle_at(&batch, 100);
    let offsets: Vec<_> = waiting.iter().map(|pushed| offset(&pushed.completion)).collect();
    assert_eq!(offsets, [Some(101), Some(102), Some(103)]);
    assert_eq!(offset(&late.completion), Some(104));
}

#[test]
fn records_that_waited_for_a_partition_that_does_not_exist_are_handed_back() {
    let mut fixture = unopened(100);
    push(&fixture.accumulator, fixture.now, 5, "a").unwrap();
    push(&fixture.accumulator, fixture.now, -1, "b").unwrap();
    let faults: Vec<_> = fixture.open(2).into_iter().map(|(_, fault)| fault).collect();
    let fault = |partition| NoSuchPartition { partition, count: 2 };
    assert_eq!(faults, [fault(5), fault(-1)]);
    let late = push(&fixture.accumulator, fixture.now, 2, "c").unwrap_err();
    assert_eq!(late, NotTaken::NoSuchPartition(fault(2)));
}

#[test]
fn only_records_that_have_waited_long_enough_are_taken_out() {
    let fixture = unopened(100);
    let later = fixture.now.instant + std::time::Duration::from_secs(1);
    let now = Now { instant: later, ..fixture.now };
    push(&fixture.accumulator, now, 0, "later").unwrap();
    assert_eq!(fixture.topic.take_homeless(Some(fixture.now.instant)).len(), 1);
    assert_eq!(fixture.topic.waiting_since(), Some(later));
    assert_eq!(fixture.topic.take_homeless(None).len(), 1);
    assert!(push(&fixture.accumulator, now, 0, "again").unwrap().wake, "nobody waits now");
}

#[test]
fn a_closed_accumulator_takes_nothing_known_or_new() {
    let fixture = opened(100, 1);
    fixture.accumulator.close();
    let known = push(&fixture.accumulator, fixture.now, 0, "a").unwrap_err();
    let new = fixture.accumulator.push(fixture.now, &Record::to("new"), 1).unwrap_err();
    assert_eq!((known, new), (NotTaken::Closed, NotTaken::Closed));
    assert!(fixture.accumulator.take_news().topics.is_empty());
    assert!(fixture.queues[0].head().is_none());
}

#[test]
fn a_name_that_no_topic_can_have_is_refused_and_not_remembered() {
    let (accumulator, now) = accumulator(100);
    let refused = accumulator.push(now, &Record::to("a b"), 1).unwrap_err();
    assert!(matches!(refused, NotTaken::InvalidTopic(_)));
    assert!(accumulator.take_news().topics.is_empty());
}

#[test]
fn a_flush_closes_the_open_batch_and_later_records_open_another() {
    let fixture = opened(100, 1);
    fixture.push(0, "a");
    let queue = &fixture.queues[0];
    assert!(!queue.head().unwrap().closed);
    assert_eq!(queue.close_open().len(), 1);
    assert!(queue.head().unwrap().closed);
    fixture.push(0, "b");
    assert_eq!(queue.close_open().len(), 2);
    assert_eq!(queue.take_head().unwrap().builder.count(), 1);
    assert_eq!(queue.take_head().unwrap().builder.count(), 1);
    assert!(queue.close_open().is_empty());
}

#[test]
fn a_flush_of_waiting_records_closes_the_batches_that_they_get() {
    for flushed in [false, true] {
        let mut fixture = unopened(100);
        if flushed {
            assert_eq!(fixture.topic.flush_homeless().len(), 1);
        }
        fixture.open(1);
        assert_eq!(fixture.queues[0].head().unwrap().closed, flushed);
        fixture.push(0, "later");
        let counts: Vec<_> = std::iter::from_fn(|| fixture.queues[0].take_head())
            .map(|batch| batch.builder.count())
            .collect();
        assert_eq!(counts, if flushed { vec![1, 1] } else { vec![2] });
    }
}

#[test]
fn a_record_without_room_left_for_it_closes_its_batch() {
    let fixture = opened(100, 1);
    let large = "x".repeat(600);
    fixture.push(0, &large);
    fixture.push(0, &large);
    let first = fixture.queues[0].head().unwrap();
    assert!(first.closed);
    assert_eq!(fixture.queues[0].take_head().unwrap().reserved, 10);
    assert!(!fixture.queues[0].head().unwrap().closed);
}

#[test]
fn keys_decide_the_partition_and_an_explicit_one_decides_before_them() {
    let fixture = opened(100, 7);
    let push = |record: Record<'_>| {
        fixture.accumulator.push(fixture.now, &record, 1).unwrap();
        fixture.accumulator.take_news().partitions
    };
    assert_eq!(push(Record::to("t").key(b"kafka")), [103]);
    assert_eq!(push(Record::to("t").key(b"hejsan")), [106]);
    assert_eq!(push(Record::to("t").key(b"kafka").partition(1)), [101]);
}

fn displaced(fixture: &Fixture) -> Option<usize> {
    fixture.accumulator.displace_oldest().map(|displaced| displaced.reserved)
}

fn has_given_way(pushed: &Pushed) -> bool {
    let end = pushed.completion.poll(&Context::from_waker(Waker::noop()));
    matches!(end, Poll::Ready(Err(DeliveryError::Displaced { .. })))
}

#[test]
fn the_oldest_batch_of_all_partitions_gives_way_whole() {
    let fixture = opened(2, 2);
    let after = |seconds| {
        let instant = fixture.now.instant + std::time::Duration::from_secs(seconds);
        Now { instant, ..fixture.now }
    };
    let push =
        |partition, seconds| push(&fixture.accumulator, after(seconds), partition, "v").unwrap();
    let (young, old) = (push(0, 2), push(1, 1));
    let (also_old, youngest) = (push(1, 3), push(1, 4));
    assert_eq!(displaced(&fixture), Some(20), "two records of ten bytes");
    assert!(has_given_way(&old) && has_given_way(&also_old));
    assert!(!has_given_way(&young) && !has_given_way(&youngest));
    assert_eq!(displaced(&fixture), Some(10));
    assert!(has_given_way(&young) && !has_given_way(&youngest));
    assert_eq!(fixture.queues[1].take_head().unwrap().builder.count(), 1, "the driver has it");
    assert_eq!(displaced(&fixture), None);
}

#[test]
fn records_without_a_partition_give_way_one_by_one_and_the_others_get_theirs() {
    let mut fixture = unopened(100);
    let [second, third] = ["b", "c"].map(|value| fixture.push(0, value));
    assert_eq!(displaced(&fixture), Some(10));
    assert_eq!(displaced(&fixture), Some(10));
    assert!(has_given_way(&second) && !has_given_way(&third));
    fixture.open(1);
    let batch = fixture.queues[0].take_head().unwrap();
    assert_eq!(batch.builder.count(), 1);
    settle_at(&batch, 100);
    assert_eq!(offset(&third.completion), Some(100));
}

#[test]
fn a_record_that_had_no_partition_hears_that_its_batch_has_given_way() {
    let mut fixture = unopened(100);
    let waiting = fixture.push(0, "b");
    fixture.open(1);
    assert_eq!(displaced(&fixture), Some(20));
    assert!(has_given_way(&waiting));
}

#[test]
fn whoever_joins_a_batch_that_has_given_way_hears_of_it() {
    let batch = BatchCompletion::default();
    batch.settle(0..1, Err(DeliveryError::Displaced { topic: "t".into() }));
    let single = Arc::new(BatchCompletion::single());
    batch.forward(0, Arc::clone(&single));
    let completion = Completion { batch: single, index: 0 };
    let end = completion.poll(&Context::from_waker(Waker::noop()));
    assert!(matches!(end, Poll::Ready(Err(DeliveryError::Displaced { .. }))));
}
