//! One partition on its way to its leader: the batches taken, in the order of their sequence.
//!
//! Decides which batch may be sent next. The rules that keep the order:
//!
//! * the first batch that is not in flight goes next, never a later one;
//! * a batch that is sent again goes alone, and nothing goes beside it;
//! * while a batch is in flight on one connection, nothing goes out on another;
//! * the first batch of an identity goes alone, until a broker has confirmed it;
//! * numbers are given anew only when nothing is in flight.

use super::super::accumulator::{OpenBatch, PartitionQueue};
use super::super::cluster::NodeId;
use super::super::completion::{BatchCompletion, Cause, Outcome, Waited};
use super::super::sequencer::{PartitionSequence, Sequencer, stamp_after};
use super::Target;
use super::link::ConnectionId;
use crate::protocol::record_batch::{BatchBuilder, ProducerStamp, SealedBatch};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Full batches taken ahead, so that they are compressed while earlier ones are on their way.
const AHEAD_MAX: usize = 2;

/// A batch, for as long as the engine holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::producer) struct BatchRef {
    pub(super) slot: usize,
    pub(super) id: u64,
}

/// The way to a leader at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) now: Instant,
    pub(super) connection: ConnectionId,
    pub(super) sequencer: &'a Sequencer,
}

/// How long batches that are not full wait for more records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linger {
    time: Duration,
    /// Those that were opened by then wait no longer.
    pub(super) ended_for: Option<Instant>,
}

impl Linger {
    pub(super) const fn of(time: Duration) -> Self {
        Self { time, ended_for: None }
    }

    pub(super) fn ends(self, opened_at: Instant) -> Instant {
        let is_over = self.ended_for.is_some_and(|by| opened_at <= by);
        if is_over { opened_at } else { opened_at + self.time }
    }
}

/// Where a batch is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: usize,
    /// Among the batches of its partition.
    pub(super) index: usize,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) queue: Arc<PartitionQueue>,
    pub(super) leader: Option<NodeId>,
    /// In sequence order.
    pub(super) batches: VecDeque<Batch>,
    pub(super) sequence: PartitionSequence,
    /// All stamps are void as soon as nothing is in flight.
    renumber: bool,
    /// Connection of the batches in flight.
    in_flight_on: Option<ConnectionId>,
    /// Pause before the next transmission.
    pub(super) not_before: Option<Instant>,
    /// The leader for whose sake a pause was skipped last, until a batch is acknowledged.
    followed: Option<NodeId>,
    next_id: u64,
}

#[derive(Debug)]
pub(super) struct Batch {
    id: u64,
    completion: Arc<BatchCompletion>,
    /// Which of the completion's records it holds: all, unless it was split.
    records: Range<u32>,
    /// `None` while it is being compressed.
    sealed: Option<SealedBatch>,
    opened_at: Instant,
    pub(super) reserved: usize,
    /// Transmissions.
    pub(super) attempts: u32,
    /// Those of them that `retries` counts: not the first, and not those that a split or new
    /// numbers made necessary.
    pub(super) retries: u32,
    /// Those of them that few are granted of, as of a batch that may be corrupt.
    pub(super) suspicions: u32,
    /// Its identity and sequence, from its first transmission on.
    pub(super) stamp: Option<ProducerStamp>,
    in_flight: bool,
    /// It may be in the log.
    pub(super) unsure: bool,
    /// Its records have heard how it ended; it only waits for its answer.
    settled: bool,
    pub(super) cause: Option<Cause>,
}

impl Partition {
    pub(super) fn new(queue: Arc<PartitionQueue>) -> Self {
        Self {
            queue,
            leader: None,
            batches: VecDeque::new(),
            sequence: PartitionSequence::default(),
            renumber: false,
            in_flight_on: None,
            not_before: None,
            followed: None,
            next_id: 0,
        }
    }

    /// Whether it holds nothing, so that nothing has to be done for it.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty() && self.queue.head().is_none()
    }

    /// When its oldest batch was opened whose records have not heard of its end.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let unsettled = self.batches.iter().find(|batch| !batch.settled);
        unsettled
            .map(|batch| batch.opened_at)
            .or_else(|| self.queue.head().map(|head| head.opened_at))
    }

    /// Whether the queue's first batch should be taken: a full one ahead of time, one that is not
    /// full only when it can go out at once, for while it cannot it may still grow.
    pub(super) fn wants_next(&self, on: Route<'_>, linger: Linger) -> bool {
        let unsent = self.batches.iter().filter(|batch| !batch.in_flight).count();
        self.queue.head().is_some_and(|head| {
            if head.closed {
                unsent < AHEAD_MAX
            } else {
                unsent == 0 && linger.ends(head.opened_at) <= on.now && self.is_open_for(on, false)
            }
        })
    }

    /// Whether a batch may be sent beside what is in flight: a new one, or one that is sent again.
    fn is_open_for(&self, on: Route<'_>, again: bool) -> bool {
        if self.not_before.is_some_and(|at| at > on.now) {
            return false;
        }
        let Some(connection) = self.in_flight_on else { return true };
        let unconfirmed = on.sequencer.is_idempotent() && !self.sequence.is_confirmed();
        let behind_retry = self.batches.iter().any(|batch| batch.in_flight && batch.attempts > 1);
        connection == on.connection && !(again || behind_retry || unconfirmed || self.renumber)
    }

    /// Takes a batch over from the queue.
    pub(super) fn take(&mut self, open: OpenBatch) -> (u64, BatchBuilder) {
        let id = self.new_id();
        let count = open.builder.count();
        open.completion.close(count);
        self.batches.push_back(Batch {
            id,
            completion: open.completion,
            records: 0..count,
            sealed: None,
            opened_at: open.opened_at,
            reserved: open.reserved,
            attempts: 0,
            retries: 0,
            suspicions: 0,
            stamp: None,
            in_flight: false,
            unsure: false,
            settled: false,
            cause: None,
        });
        (id, open.builder)
    }

    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Makes two batches of one, in its place, each with half of its records and their numbers.
    /// Returns what is to be sealed.
    ///
    /// # Panics
    ///
    /// Unless the batch is sealed and holds two records or more.
    pub(super) fn split(&mut self, index: usize) -> [(u64, BatchBuilder); 2] {
        let whole = self.remove(index);
        let sealed = whole.sealed.as_ref().expect("only what was sent is too large");
        let builders = sealed.split();
        let middle = whole.records.start + builders[0].count();
        let (first_reserved, first_count) = (whole.reserved / 2, builders[0].count());
        let half = |id, records, reserved, stamp| Batch {
            id,
            completion: Arc::clone(&whole.completion),
            records,
            sealed: None,
            opened_at: whole.opened_at,
            reserved,
            attempts: whole.attempts,
            retries: whole.retries,
            suspicions: whole.suspicions,
            stamp,
            in_flight: false,
            unsure: false,
            settled: false,
            cause: whole.cause.clone(),
        };
        let ids = [self.new_id(), self.new_id()];
        let second_stamp = whole.stamp.map(|stamp| stamp_after(stamp, first_count));
        let records = [whole.records.start..middle, middle..whole.records.end];
        let [first_records, second_records] = records;
        let second_reserved = whole.reserved - first_reserved;
        self.batches.insert(index, half(ids[1], second_records, second_reserved, second_stamp));
        self.batches.insert(index, half(ids[0], first_records, first_reserved, whole.stamp));
        let [first, second] = builders;
        [(ids[0], first), (ids[1], second)]
    }

    /// The batch of this id.
    pub(super) fn batch(&self, id: u64) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.id == id)
    }

    pub(super) fn on_sealed(&mut self, id: u64, sealed: SealedBatch) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.id == id) {
            batch.sealed = Some(sealed);
        }
    }

    /// The batch that may be sent now, stamped.
    pub(super) fn next_to_send(&mut self, on: Route<'_>) -> Option<&mut Batch> {
        let index = self.batches.iter().position(|batch| !batch.in_flight)?;
        if !self.is_open_for(on, self.batches[index].attempts > 0) {
            return None;
        }
        let count = self.batches[index].sealed.as_ref()?.count();
        if self.batches[index].stamp.is_none() {
            let holds_stamps = self.batches.iter().any(|batch| batch.stamp.is_some());
            let stamp = on.sequencer.reserve(&mut self.sequence, count, holds_stamps)?;
            self.batches[index].stamp = Some(stamp);
        }
        Some(&mut self.batches[index])
    }

    /// The batch is on its way. Returns how long it had waited for that, the first time.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        sent: BatchRef,
        connection: ConnectionId,
    ) -> Option<Duration> {
        let batch = self.batches.iter_mut().find(|batch| batch.id == sent.id)?;
        batch.in_flight = true;
        batch.attempts += 1;
        self.in_flight_on = Some(connection);
        self.not_before = None;
        (batch.attempts == 1).then(|| now.saturating_duration_since(batch.opened_at))
    }

    /// The batch is on its way no longer, answered or not. Returns its place, unless it is one
    /// whose end was told before.
    pub(super) fn on_returned(&mut self, returned: BatchRef) -> Option<Place> {
        let is_it = |batch: &Batch| batch.id == returned.id && batch.in_flight;
        let index = self.batches.iter().position(is_it)?;
        self.batches[index].in_flight = false;
        if !self.batches.iter().any(|batch| batch.in_flight) {
            self.in_flight_on = None;
        }
        Some(Place { slot: returned.slot, index })
    }

    /// Skips the pause that an answer made necessary if the broker it came from leads no more: the
    /// pause was for that one. Only for one new leader in a row: two brokers that name each other
    /// would else be asked in turn as fast as they answer.
    pub(super) fn spare_pause(&mut self, answered_by: Target) {
        let Some(leader) = self.leader else { return };
        if answered_by != Target::Leader(leader) && self.followed.is_none_or(|node| node == leader)
        {
            self.followed = Some(leader);
            self.not_before = None;
        }
    }

    /// A batch is in the log.
    pub(super) const fn on_acked(&mut self) {
        self.followed = None;
    }

    /// Numbers everything anew once nothing is in flight.
    pub(super) const fn order_renumbering(&mut self) {
        self.renumber = true;
    }

    /// Voids the stamps, if that was ordered and can be done.
    pub(super) fn renumber_if_ordered(&mut self) {
        if self.renumber && self.in_flight_on.is_none() {
            self.renumber = false;
            self.sequence.restart();
            for batch in &mut self.batches {
                // The broker refused the first of them for what came before it, so it has none.
                batch.stamp = None;
                batch.unsure = false;
            }
        }
    }

    /// Takes out a batch.
    pub(super) fn remove(&mut self, index: usize) -> Batch {
        self.batches.remove(index).expect("the caller found it there")
    }

    /// What its first batch waits for, with a leader that can be talked to or not.
    pub(super) fn waits_for(&self, connected: bool, identified: bool) -> Waited {
        match () {
            () if self.leader.is_none() => Waited::Leader,
            () if !connected => Waited::Connection,
            () if !identified => Waited::ProducerId,
            () if self.not_before.is_some() => Waited::Retry,
            () => Waited::Queue,
        }
    }
}

impl Batch {
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) const fn sealed(&self) -> Option<&SealedBatch> {
        self.sealed.as_ref()
    }

    pub(super) const fn opened_at(&self) -> Instant {
        self.opened_at
    }

    pub(super) const fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) const fn completion(&self) -> &Arc<BatchCompletion> {
        &self.completion
    }

    /// Tells its records how it ended. Those that have been told otherwise keep to that.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        self.settled = true;
        self.completion.settle(self.records.clone(), outcome);
    }

    /// Tells some of its records, counted from its first, how they ended.
    pub(super) fn settle_part(&mut self, part: Range<u32>, outcome: Outcome) {
        let first = self.records.start;
        self.settled = true;
        self.completion.settle(first + part.start..first + part.end, outcome);
    }

    /// Gives its memory back: the batch is not sent again.
    pub(super) fn free_memory(&mut self) {
        self.sealed = None;
    }

    /// Records in it.
    pub(super) const fn count(&self) -> u32 {
        self.records.end - self.records.start
    }
}
