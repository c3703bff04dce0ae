//! Records on their way into batches: the meeting point of callers and driver.
//!
//! A caller's thread encodes its record into the open batch of its partition, under the lock of
//! that partition alone. The driver is woken when a batch is opened (it must watch its linger) and
//! when one is full, so at most twice per batch, never per record.
//!
//! Records of a topic whose partitions are not known yet wait whole, in order, and are placed once
//! they are. Knows no broker and no sequence; decides nothing about time but when a batch was opened.

use super::completion::{BatchCompletion, Completion};
use super::partitioner::{Backlog, Partitioner, Partitions, Router};
use super::record::{OwnedRecord, Record, topic_name_fault};
use crate::protocol::record_batch::{Appended, BatchBuilder, BatchLimits};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// Index of a partition in the engine's table.
pub(super) type Slot = usize;

#[derive(Debug)]
pub(super) struct Accumulator {
    limits: BatchLimits,
    partitioner: Partitioner,
    /// Bytes of unkeyed records that stay on one partition.
    turn_size: usize,
    seed: u64,
    topics: RwLock<Topics>,
    news: Mutex<News>,
    spare: SpareMemory,
    /// Whether batches are sent as they are.
    summing: bool,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    /// Nothing more is taken.
    closed: bool,
}

/// The memory of batches that have ended, for those that begin: fresh memory would have to be
/// cleared by the system, page by page, and costs more than the records that are copied into it.
#[derive(Debug, Default)]
struct SpareMemory {
    batches: Mutex<Vec<Vec<u8>>>,
}

/// Batches' worth of memory that are kept. Few are free at a time: those that end while none begin.
const SPARE_MAX: usize = 8;

/// Less than this is no trouble to the system.
const SPARE_SIZE_MIN: usize = 64 << 10;

impl SpareMemory {
    /// Memory that was used last, so that it may still be in a cache; none, if there is none.
    fn take(&self) -> Vec<u8> {
        lock(&self.batches).pop().unwrap_or_default()
    }

    fn put(&self, memory: Vec<u8>) {
        let mut batches = lock(&self.batches);
        if batches.len() < SPARE_MAX && memory.capacity() >= SPARE_SIZE_MIN {
            batches.push(memory);
        }
    }
}

/// What changed since the driver last looked.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Partitions in which a batch was opened or filled.
    pub(super) partitions: Vec<Slot>,
    /// Topics that were named for the first time.
    pub(super) topics: Vec<Arc<Topic>>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.topics.is_empty()
    }
}

/// When a record was handed over, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub(super) unix_millis: i64,
}

/// Where a record's times come from. A record needs the time of day unless it brings a timestamp, and
/// the instant only if it opens a batch, so neither is read for nothing.
pub(super) trait Clock: Copy {
    fn instant(self) -> Instant;
    fn unix_millis(self) -> i64;
}

impl Clock for Now {
    fn instant(self) -> Instant {
        self.instant
    }

    fn unix_millis(self) -> i64 {
        self.unix_millis
    }
}

/// A record on its way in.
#[derive(Clone, Copy)]
struct Offer<'a, C> {
    clock: C,
    record: &'a Record<'a>,
    /// Bytes set aside for it.
    reserved: usize,
}

/// A record taken.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) completion: Completion,
    /// Whether the driver has to be woken.
    pub(super) wake: bool,
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The producer is closed.
    Closed,
    InvalidTopic(&'static str),
    NoSuchPartition(NoSuchPartition),
}

/// The explicit partition of a record does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuchPartition {
    pub(super) partition: i32,
    pub(super) count: i32,
}

impl Accumulator {
    pub(super) fn new(limits: BatchLimits, seed: u64) -> Self {
        Self {
            limits,
            partitioner: Partitioner::default(),
            turn_size: limits.bytes_max,
            seed,
            topics: RwLock::default(),
            news: Mutex::default(),
            spare: SpareMemory::default(),
            summing: false,
        }
    }

    /// For batches that will not be compressed.
    pub(super) fn summing(self, summing: bool) -> Self {
        Self { summing, ..self }
    }

    /// Chooses partitions by `partitioner`; unkeyed records fill batches one by one if `sticky`.
    pub(super) fn partitioned_by(self, partitioner: Partitioner, sticky: bool) -> Self {
        let turn_size = if sticky { self.limits.bytes_max } else { 0 };
        Self { partitioner, turn_size, ..self }
    }

    /// Takes a record for which `reserved` bytes were set aside.
    pub(super) fn push(
        &self,
        clock: impl Clock,
        record: &Record<'_>,
        reserved: usize,
    ) -> Result<Pushed, NotTaken> {
        let offer = Offer { clock, record, reserved };
        loop {
            // Held until the record is in: closing waits for it, and nothing comes after.
            let topics = read(&self.topics);
            if topics.closed {
                return Err(NotTaken::Closed);
            }
            if let Some(topic) = topics.by_name.get(record.topic) {
                return self.push_to(topic, offer).map_err(NotTaken::NoSuchPartition);
            }
            drop(topics);
            if let Some(fault) = topic_name_fault(record.topic) {
                return Err(NotTaken::InvalidTopic(fault));
            }
            self.add_topic(record.topic);
        }
    }

    fn add_topic(&self, name: &str) {
        let mut topics = write(&self.topics);
        if topics.by_name.contains_key(name) {
            return;
        }
        let name: Arc<str> = name.into();
        let seed = self.seed ^ topics.by_name.len() as u64;
        let topic = Arc::new(Topic {
            name: Arc::clone(&name),
            routes: RwLock::default(),
            router: Router::new(self.partitioner.clone(), self.turn_size, seed),
        });
        topics.by_name.insert(name, Arc::clone(&topic));
        self.news().topics.push(topic);
    }

    /// Takes no more records. Those that are being taken are in when this returns.
    pub(super) fn close(&self) {
        write(&self.topics).closed = true;
    }

    fn push_to(
        &self,
        topic: &Topic,
        offer: Offer<'_, impl Clock>,
    ) -> Result<Pushed, NoSuchPartition> {
        let routes = read(&topic.routes);
        if !routes.partitions.is_empty() {
            return self.place_one(topic, &routes, offer);
        }
        drop(routes);
        let mut routes = write(&topic.routes);
        if !routes.partitions.is_empty() {
            return self.place_one(topic, &routes, offer);
        }
        let completion = Arc::new(BatchCompletion::single());
        routes.homeless.push_back(Homeless {
            record: offer.record.into(),
            now: Now { instant: offer.clock.instant(), unix_millis: offer.clock.unix_millis() },
            reserved: offer.reserved,
            completion: Arc::clone(&completion),
        });
        // The first one asks for the metadata; the news of the topic does that.
        let wake = routes.homeless.len() == 1;
        Ok(Pushed { completion: Completion { batch: completion, index: 0 }, wake })
    }

    /// Takes many records at once, each with the bytes set aside for it, under one look at its
    /// topic. Tells `taken` the end of each, in order. Returns whether the driver has to be woken.
    pub(super) fn push_all(
        &self,
        clock: impl Clock,
        records: &[(Record<'_>, usize)],
        mut taken: impl FnMut(usize, Result<(&Arc<BatchCompletion>, u32), NotTaken>),
    ) -> bool {
        // One reading does for all: they are taken within microseconds.
        let clock = Now { instant: clock.instant(), unix_millis: clock.unix_millis() };
        let mut wake = false;
        let mut index = 0;
        while index < records.len() {
            let same = |(record, _): &&(Record<'_>, usize)| record.topic == records[index].0.topic;
            let end = index + records[index..].iter().take_while(same).count();
            let topics = read(&self.topics);
            let known = topics.by_name.get(records[index].0.topic).filter(|_| !topics.closed);
            let routes = known.map(|topic| (topic, read(&topic.routes)));
            let Some((topic, routes)) = routes.filter(|(_, routes)| !routes.partitions.is_empty())
            else {
                drop(topics);
                let (record, reserved) = &records[index];
                match self.push(clock, record, *reserved) {
                    Ok(pushed) => {
                        wake |= pushed.wake;
                        let Completion { batch, index: at } = &pushed.completion;
                        taken(index, Ok((batch, *at)));
                    }
                    Err(fault) => taken(index, Err(fault)),
                }
                index += 1;
                continue;
            };
            for (record, reserved) in &records[index..end] {
                let offer = Offer { clock, record, reserved: *reserved };
                match self.place(topic, &routes, offer, |batch, at| taken(index, Ok((batch, at)))) {
                    Ok(woken) => wake |= woken,
                    Err(fault) => taken(index, Err(NotTaken::NoSuchPartition(fault))),
                }
                index += 1;
            }
        }
        wake
    }

    /// Puts a record into a batch, and tells `taken` which. Returns whether the driver has to be
    /// woken.
    fn place(
        &self,
        topic: &Topic,
        routes: &Routes,
        offer: Offer<'_, impl Clock>,
        taken: impl FnOnce(&Arc<BatchCompletion>, u32),
    ) -> Result<bool, NoSuchPartition> {
        let queue = topic.route(routes, offer.record, offer.reserved)?;
        let open = |memory| {
            let builder = BatchBuilder::in_memory(self.limits, memory);
            if self.summing { builder.summing() } else { builder }
        };
        let changed = queue.append(offer, || open(self.spare.take()), taken);
        Ok(changed && self.announce(queue.slot))
    }

    fn place_one(
        &self,
        topic: &Topic,
        routes: &Routes,
        offer: Offer<'_, impl Clock>,
    ) -> Result<Pushed, NoSuchPartition> {
        let mut completion = None;
        let take = |batch: &Arc<BatchCompletion>, index| {
            completion = Some(Completion { batch: Arc::clone(batch), index });
        };
        let wake = self.place(topic, routes, offer, take)?;
        Ok(Pushed { completion: completion.expect("a record that is placed is in a batch"), wake })
    }

    /// Whether the driver has to be woken for it: it takes all the news at once.
    fn announce(&self, slot: Slot) -> bool {
        let mut news = self.news();
        let first = news.is_empty();
        news.partitions.push(slot);
        first
    }

    /// Takes back the memory of a batch that has ended.
    pub(super) fn recycle(&self, memory: Vec<u8>) {
        self.spare.put(memory);
    }

    pub(super) fn take_news(&self) -> News {
        std::mem::take(&mut *self.news())
    }

    /// Gives a topic the partitions that it turned out to have, and places the records that waited
    /// for them. Returns those that name a partition which does not exist.
    pub(super) fn open(
        &self,
        topic: &Topic,
        added: Vec<Arc<PartitionQueue>>,
        available: Vec<i32>,
    ) -> Vec<(Homeless, NoSuchPartition)> {
        let mut routes = write(&topic.routes);
        routes.partitions.extend(added);
        routes.available = available;
        if routes.partitions.is_empty() {
            return Vec::new();
        }
        let homeless = std::mem::take(&mut routes.homeless);
        // Placed under the write lock: no later record may pass them.
        let place = |waiting: Homeless| {
            let placed = waiting.record.with(|record| {
                let offer = Offer { clock: waiting.now, record, reserved: waiting.reserved };
                self.place_one(topic, &routes, offer)
            });
            match placed {
                Ok(Pushed { completion: Completion { batch, index }, .. }) => {
                    batch.forward(index, waiting.completion);
                    None
                }
                Err(fault) => Some((waiting, fault)),
            }
        };
        let misplaced = homeless.into_iter().filter_map(place).collect();
        if std::mem::take(&mut routes.flush) {
            for queue in &routes.partitions {
                queue.close_open();
            }
        }
        misplaced
    }

    fn news(&self) -> MutexGuard<'_, News> {
        lock(&self.news)
    }
}

/// A topic that records were sent to.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    routes: RwLock<Routes>,
    router: Router,
}

#[derive(Debug, Default)]
struct Routes {
    /// By partition number; empty until metadata tells.
    partitions: Vec<Arc<PartitionQueue>>,
    /// Those that have a leader, ascending.
    available: Vec<i32>,
    /// Empty once there are partitions.
    homeless: VecDeque<Homeless>,
    /// The homeless shall not linger once they have a batch.
    flush: bool,
}

impl Routes {
    fn queue(&self, partition: i32) -> Option<&PartitionQueue> {
        let index = usize::try_from(partition).ok()?;
        self.partitions.get(index).map(Arc::as_ref)
    }
}

impl Partitions for Routes {
    fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("partition numbers are INT32")
    }

    fn available(&self) -> &[i32] {
        &self.available
    }

    fn backlog(&self, partition: i32) -> Backlog {
        self.queue(partition).map(PartitionQueue::backlog).unwrap_or_default()
    }
}

/// A record without a partition yet.
#[derive(Debug)]
pub(super) struct Homeless {
    record: OwnedRecord,
    now: Now,
    pub(super) reserved: usize,
    pub(super) completion: Arc<BatchCompletion>,
}

impl Topic {
    fn route<'a>(
        &self,
        routes: &'a Routes,
        record: &Record<'_>,
        size: usize,
    ) -> Result<&'a PartitionQueue, NoSuchPartition> {
        let partition = record
            .partition
            .unwrap_or_else(|| self.router.partition(&self.name, record.key, size, routes));
        routes.queue(partition).ok_or_else(|| NoSuchPartition { partition, count: routes.count() })
    }

    /// When the first record began to wait for the topic's partitions.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        read(&self.routes).homeless.front().map(|waiting| waiting.now.instant)
    }

    /// Takes the records that have waited for partitions since `limit` or longer; all, if `None`.
    pub(super) fn take_homeless(&self, limit: Option<Instant>) -> Vec<Homeless> {
        let mut routes = write(&self.routes);
        let old = |waiting: &Homeless| limit.is_none_or(|limit| waiting.now.instant <= limit);
        let count = routes.homeless.iter().take_while(|waiting| old(waiting)).count();
        routes.homeless.drain(..count).collect()
    }

    /// Lets the records that still wait for partitions not linger after that. Returns their
    /// completions.
    pub(super) fn flush_homeless(&self) -> Vec<Arc<BatchCompletion>> {
        let mut routes = write(&self.routes);
        routes.flush = !routes.homeless.is_empty();
        let completion = |waiting: &Homeless| Arc::clone(&waiting.completion);
        routes.homeless.iter().map(completion).collect()
    }
}

/// The batches of one partition that no one has taken yet.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    slot: Slot,
    batches: Mutex<VecDeque<OpenBatch>>,
    /// What [`backlog`](Self::backlog) tells, for those who do not want to wait for `batches`.
    batch_count: AtomicUsize,
    room: AtomicUsize,
}

/// A batch that still takes records, if it is its queue's last.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) builder: BatchBuilder,
    pub(super) completion: Arc<BatchCompletion>,
    pub(super) opened_at: Instant,
    /// Bytes set aside for its records.
    pub(super) reserved: usize,
    /// No more records: full, or flushed.
    closed: bool,
}

/// What a queue's first batch looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opened_at: Instant,
    pub(super) closed: bool,
}

impl PartitionQueue {
    pub(super) fn new(topic: Arc<str>, partition: i32, slot: Slot) -> Self {
        Self {
            topic,
            partition,
            slot,
            batches: Mutex::default(),
            batch_count: AtomicUsize::new(0),
            room: AtomicUsize::new(0),
        }
    }

    /// Appends to the open batch, or opens one, and tells `taken` which. Returns whether the driver
    /// should know.
    fn append(
        &self,
        offer: Offer<'_, impl Clock>,
        open: impl FnOnce() -> BatchBuilder,
        taken: impl FnOnce(&Arc<BatchCompletion>, u32),
    ) -> bool {
        let Offer { clock, record, reserved } = offer;
        let timestamp = record.timestamp.unwrap_or_else(|| clock.unix_millis());
        let content = record.content();
        let mut batches = lock(&self.batches);
        if let Some(batch) = batches.back_mut().filter(|batch| !batch.closed) {
            if let Appended::Index(index) = batch.builder.try_append(timestamp, &content) {
                batch.reserved += reserved;
                batch.closed = batch.builder.is_full();
                let closed = batch.closed;
                taken(&batch.completion, index);
                self.publish(&batches);
                return closed;
            }
            batch.closed = true;
        }
        let mut builder = open();
        builder.try_append(timestamp, &content);
        let closed = builder.is_full();
        let (completion, opened_at) = (Arc::default(), clock.instant());
        taken(&completion, 0);
        batches.push_back(OpenBatch { builder, completion, opened_at, reserved, closed });
        self.publish(&batches);
        true
    }

    /// What waits here, by the latest word.
    fn backlog(&self) -> Backlog {
        Backlog {
            batches: self.batch_count.load(Ordering::Relaxed),
            room: self.room.load(Ordering::Relaxed),
        }
    }

    fn publish(&self, batches: &VecDeque<OpenBatch>) {
        let open = batches.back().filter(|batch| !batch.closed);
        self.batch_count.store(batches.len(), Ordering::Relaxed);
        self.room.store(open.map_or(0, |open| open.builder.room()), Ordering::Relaxed);
    }

    /// The first batch, if there is one.
    pub(super) fn head(&self) -> Option<Head> {
        let batches = lock(&self.batches);
        batches.front().map(|batch| Head { opened_at: batch.opened_at, closed: batch.closed })
    }

    /// Takes the first batch, full or not.
    pub(super) fn take_head(&self) -> Option<OpenBatch> {
        let mut batches = lock(&self.batches);
        let head = batches.pop_front();
        self.publish(&batches);
        head
    }

    /// Closes the open batch, so that it lingers no longer, and returns the completions of all.
    pub(super) fn close_open(&self) -> Vec<Arc<BatchCompletion>> {
        let mut batches = lock(&self.batches);
        if let Some(open) = batches.back_mut() {
            open.closed = true;
        }
        self.publish(&batches);
        batches.iter().map(|batch| Arc::clone(&batch.completion)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::completion::Acknowledged;
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
}
