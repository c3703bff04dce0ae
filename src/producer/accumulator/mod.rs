//! Records on their way into batches: the meeting point of callers and driver.
//!
//! A caller's thread encodes its record into the open batch of its partition, under the lock of
//! that partition alone (`queue`). The driver is woken when a batch is opened (it must watch its linger) and
//! when one is full, so at most twice per batch, never per record.
//!
//! Records of a topic whose partitions are not known yet wait whole, in order, and are placed once
//! they are. Knows no broker and no sequence; decides nothing about time but when a batch was opened.
//!
//! What has not been taken by the driver may have to give way (`displaced`).

mod queue;

pub(super) use queue::{Clock, Now, OpenBatch, PartitionQueue};

mod displaced;

pub(super) use displaced::Displaced;

use super::completion::{BatchCompletion, Completion};
use super::partitioner::{Backlog, Partitioner, Partitions, Router};
use super::record::{OwnedRecord, Record, topic_name_fault};
use crate::protocol::chunks::ChunkPool;
use crate::protocol::record_batch::{BatchBuilder, BatchLimits};
use queue::Offer;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// Bytes that are kept while no batch needs them: what one request carries.
const SPARE_SIZE_MAX: usize = 8 << 20;

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
    /// Memory of batches that have ended, for those that begin.
    pool: Arc<ChunkPool>,
    /// Whether batches are sent as they are.
    summing: bool,
    /// Records taken since the start.
    accepted: AtomicU64,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    /// Nothing more is taken.
    closed: bool,
}

/// What changed since the driver last looked.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Partitions in which a batch was opened or filled.
    pub(super) partitions: Vec<Slot>,
    /// Topics that were named for the first time.
    pub(super) topics: Vec<Arc<Topic>>,
    /// No batch that was opened by then shall linger any more.
    pub(super) linger_ended: Option<Instant>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.topics.is_empty() && self.linger_ended.is_none()
    }
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
            pool: Arc::new(ChunkPool::new(SPARE_SIZE_MAX)),
            summing: false,
            accepted: AtomicU64::new(0),
        }
    }

    /// Records taken since the start.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
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
                let pushed = self.push_to(topic, offer).map_err(NotTaken::NoSuchPartition)?;
                self.accepted.fetch_add(1, Ordering::Relaxed);
                return Ok(pushed);
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
            let mut accepted = 0;
            for (record, reserved) in &records[index..end] {
                let offer = Offer { clock, record, reserved: *reserved };
                match self.place(topic, &routes, offer, |batch, at| taken(index, Ok((batch, at)))) {
                    Ok(woken) => {
                        wake |= woken;
                        accepted += 1;
                    }
                    Err(fault) => taken(index, Err(NotTaken::NoSuchPartition(fault))),
                }
                index += 1;
            }
            self.accepted.fetch_add(accepted, Ordering::Relaxed);
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
        let open = || {
            let builder = BatchBuilder::from_pool(self.limits, Arc::clone(&self.pool));
            if self.summing { builder.summing() } else { builder }
        };
        let changed = queue.append(offer, open, taken);
        Ok(changed && self.announce(|news| news.partitions.push(queue.slot)))
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

    /// Lets nothing linger that was taken by `now`. Returns whether the driver has to be woken.
    pub(super) fn end_linger(&self, now: Instant) -> bool {
        self.announce(|news| news.linger_ended = news.linger_ended.max(Some(now)))
    }

    /// Whether the driver has to be woken for it: it takes all the news at once.
    fn announce(&self, add: impl FnOnce(&mut News)) -> bool {
        let mut news = self.news();
        let first = news.is_empty();
        add(&mut news);
        first
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
        if self.waiting_since().is_none() {
            // Mostly so; callers are not to wait for this look.
            return Vec::new();
        }
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
mod tests;
