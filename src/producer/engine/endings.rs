//! The end of everything that was accepted: timeouts, flush, close, and the producer's own end.
//!
//! Whatever happens, each record's completion is settled exactly once, and the bytes set aside for
//! it are given back.

use super::super::accumulator::{Homeless, NoSuchPartition, Slot};
use super::super::completion::{BatchCompletion, Cause, DeliveryError, Outcome, Waited};
use super::super::meters::Meters;
use super::link::Link;
use super::partition::{Batch, Place};
use super::{Action, Engine, Notice, Target};
use crate::protocol::ErrorCode;
use std::sync::Arc;
use std::time::Instant;

impl Engine {
    /// Ends linger for everything accepted so far. Returns what a flush has to wait for.
    pub(in crate::producer) fn handle_flush(&mut self, now: Instant) -> Vec<Arc<BatchCompletion>> {
        self.take_news();
        let homeless = self.topics.values().flat_map(|entry| entry.topic.flush_homeless());
        let mut outstanding: Vec<_> = homeless.collect();
        for slot in &self.active {
            let partition = &self.partitions[*slot];
            let taken = partition.batches.iter().map(|batch| Arc::clone(batch.completion()));
            outstanding.extend(taken);
            outstanding.extend(partition.queue.close_open());
        }
        self.advance(now);
        outstanding
    }

    /// Takes no more records, delivers those there are until `deadline`, then ends.
    pub(in crate::producer) fn handle_close(&mut self, now: Instant, deadline: Instant) {
        self.budget.close();
        let sooner = self.closing.map_or(deadline, |earlier| earlier.min(deadline));
        self.closing = Some(sooner);
        self.advance(now);
    }

    /// Whether everything has ended, and nothing will be accepted any more.
    pub(in crate::producer) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Ends what has waited too long.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        self.budget.expire(now);
        self.end_overdue_waits(now);
        self.end_overdue_homeless(now);
        self.end_overdue_batches(now);
        if self.fatal.is_some() || self.closing.is_some_and(|deadline| deadline <= now) {
            self.end_everything();
        }
        // Before anybody asks whether somebody waits.
        self.budget.serve();
    }

    fn end_overdue_waits(&mut self, now: Instant) {
        let leaders = self.leaders.iter().map(|(node, link)| (Target::Leader(*node), link));
        let links = leaders.chain([(Target::Control, &self.control)]);
        let overdue: Vec<_> = links
            .filter(|(_, link)| link.is_overdue(now))
            .map(|(target, link)| {
                let setup = self.config.connection_setup_timeout;
                (target, link.overdue_cause(setup, self.answer_timeout()))
            })
            .collect();
        for (target, cause) in overdue {
            self.cut(now, target, cause);
        }
        self.close_idle(now);
    }

    /// Closes connections before the broker does, so that no request meets a closed door.
    fn close_idle(&mut self, now: Instant) {
        let idle_max = self.config.connections_max_idle;
        let leaders = self.leaders.iter().map(|(node, link)| (Target::Leader(*node), link));
        let links = leaders.chain([(Target::Control, &self.control)]);
        let idle: Vec<_> = links
            .filter(|(_, link)| link.idle_until(idle_max).is_some_and(|at| at <= now))
            .filter_map(|(target, link)| Some((target, link.connection()?)))
            .collect();
        for (target, connection) in idle {
            self.actions.push_back(Action::Close { connection });
            self.lose_link(now, target, None);
        }
    }

    fn end_overdue_homeless(&self, now: Instant) {
        let timeout = self.config.delivery_timeout;
        let Some(limit) = now.checked_sub(timeout) else { return };
        for (name, entry) in &self.topics {
            for homeless in entry.topic.take_homeless(Some(limit)) {
                let told = self.cluster.topic(name).and_then(|view| view.error);
                let error = DeliveryError::Expired {
                    topic: Arc::clone(name),
                    timeout,
                    waited: Waited::Metadata,
                    attempts: 0,
                    cause: told.map(Cause::from).or_else(|| self.control.last_error.clone()),
                };
                self.end_homeless(homeless, error);
            }
        }
    }

    fn end_overdue_batches(&mut self, now: Instant) {
        let timeout = self.config.delivery_timeout;
        let Some(limit) = now.checked_sub(timeout) else { return };
        let overdue = |slot: &Slot| self.partitions[*slot].oldest().is_some_and(|at| at <= limit);
        let slots: Vec<_> = self.active.iter().copied().filter(overdue).collect();
        for slot in slots {
            // Those not taken over yet follow those that are.
            let queue = Arc::clone(&self.partitions[slot].queue);
            while queue.head().is_some_and(|head| head.opened_at <= limit) {
                let Some(open) = queue.take_head() else { break };
                self.partitions[slot].take(open);
            }
            let mut index = 0;
            while let Some(batch) = self.partitions[slot].batches.get(index) {
                if batch.is_settled() || batch.opened_at() > limit {
                    index += 1;
                    continue;
                }
                let error = self.overdue_error(slot, batch);
                index += self.end_batch(Place { slot, index }, error);
            }
        }
    }

    fn overdue_error(&self, slot: usize, batch: &Batch) -> DeliveryError {
        let partition = &self.partitions[slot];
        let topic = Arc::clone(&partition.queue.topic);
        let link = partition.leader.and_then(|node| self.leaders.get(&node));
        let lost = link.and_then(|link| link.last_error.clone());
        let cause = batch.cause.clone().or(lost).or_else(|| self.control.last_error.clone());
        let (timeout, attempts) = (self.config.delivery_timeout, batch.attempts);
        let may_be_written = batch.unsure || batch.is_in_flight();
        #[cfg(test)]
        let may_be_written = self.mutant.admits(may_be_written);
        if may_be_written {
            let partition = partition.queue.partition;
            return DeliveryError::Unknown { topic, partition, timeout, attempts, cause };
        }
        let connected = link.is_some_and(|link| link.up().is_some());
        let waited = partition.waits_for(connected, self.sequencer.is_ready());
        DeliveryError::Expired { topic, timeout, waited, attempts, cause }
    }

    /// Tells a batch's records how it ended, and lets go of it unless its answer is still to come:
    /// until then its place in the sequence is taken. Returns how many batches stay in its place.
    fn end_batch(&mut self, at: Place, error: DeliveryError) -> usize {
        self.notice(Notice::Failed(error.clone()));
        let partition = &mut self.partitions[at.slot];
        if partition.batches[at.index].is_in_flight() {
            tell(&self.meters, &mut partition.batches[at.index], Err(error));
            return 1;
        }
        let batch = partition.remove(at.index);
        #[cfg(test)]
        let batch = self.mutant.expired(batch);
        if let Some(stamp) = batch.stamp
            && !batch.unsure
        {
            partition.sequence.on_rejected(stamp, batch.count());
        }
        self.let_go(batch, Err(error));
        0
    }

    /// Tells a batch's records how it ended, and gives its bytes back.
    pub(super) fn let_go(&self, mut batch: Batch, outcome: Outcome) {
        // First, so that whoever waits for room finds the memory, too.
        batch.free_memory();
        self.budget.give_back(batch.reserved);
        #[cfg(test)]
        let outcome = self.mutant.told(outcome, |again| tell(&self.meters, &mut batch, again));
        tell(&self.meters, &mut batch, outcome);
    }

    /// Ends a record that never had a batch.
    pub(super) fn end_homeless(&self, homeless: Homeless, error: DeliveryError) {
        self.budget.release(homeless.reserved);
        self.meters.note(|counts| counts.figures.records_failed += 1);
        homeless.completion.settle(0..1, Err(error));
    }

    /// Ends everything that is not in Kafka yet, and takes new records all the same.
    pub(in crate::producer) fn handle_purge(&mut self, now: Instant) {
        self.take_news();
        for (name, entry) in &self.topics {
            for homeless in entry.topic.take_homeless(None) {
                self.end_homeless(homeless, self.abandoned(name));
            }
        }
        for slot in self.active.clone() {
            self.take_whole_queue(slot);
            let mut index = 0;
            while let Some(batch) = self.partitions[slot].batches.get(index) {
                if batch.is_settled() {
                    index += 1;
                    continue;
                }
                let error = self.given_up(slot, batch);
                index += self.end_batch(Place { slot, index }, error);
            }
        }
        self.advance(now);
    }

    fn take_whole_queue(&mut self, slot: usize) {
        let partition = &mut self.partitions[slot];
        while let Some(open) = partition.queue.take_head() {
            partition.take(open);
        }
    }

    /// A record that names a partition which does not exist.
    pub(super) fn reject_misplaced(
        &self,
        topic: &Arc<str>,
        homeless: Homeless,
        fault: NoSuchPartition,
    ) {
        let message = format!("the topic has partitions 0 to {}", fault.count - 1);
        let error = DeliveryError::Rejected {
            topic: Arc::clone(topic),
            partition: fault.partition,
            code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            message: Some(message.into()),
        };
        self.end_homeless(homeless, error);
    }

    /// Nothing can be delivered any more.
    pub(super) fn fail_for_good(&mut self, cause: Cause) {
        if self.fatal.is_none() {
            self.notice(Notice::Failed(DeliveryError::Fatal(cause.clone())));
            self.fatal = Some(cause);
            self.end_everything();
        }
    }

    /// Ends every record that is not delivered, saying for each whether it may be written.
    fn end_everything(&mut self) {
        self.take_news();
        for (name, entry) in &self.topics {
            for homeless in entry.topic.take_homeless(None) {
                self.end_homeless(homeless, self.abandoned(name));
            }
        }
        for slot in std::mem::take(&mut self.active) {
            self.take_whole_queue(slot);
            while let Some(batch) = self.partitions[slot].batches.pop_front() {
                if batch.is_settled() {
                    self.budget.give_back(batch.reserved);
                } else {
                    let error = self.given_up(slot, &batch);
                    self.let_go(batch, Err(error));
                }
            }
        }
        self.budget.serve();
    }

    /// How a batch ends for which nothing more is done.
    fn given_up(&self, slot: usize, batch: &Batch) -> DeliveryError {
        let queue = &self.partitions[slot].queue;
        if batch.unsure || batch.is_in_flight() {
            DeliveryError::Unknown {
                topic: Arc::clone(&queue.topic),
                partition: queue.partition,
                timeout: self.now.saturating_duration_since(batch.opened_at()),
                attempts: batch.attempts,
                cause: batch.cause.clone(),
            }
        } else {
            self.abandoned(&queue.topic)
        }
    }

    fn abandoned(&self, topic: &Arc<str>) -> DeliveryError {
        match &self.fatal {
            Some(cause) => DeliveryError::Fatal(cause.clone()),
            None => DeliveryError::Abandoned {
                topic: Arc::clone(topic),
                cause: self.control.last_error.clone(),
            },
        }
    }

    /// Lets go of partitions that hold nothing, and of everything once closing is done.
    pub(super) fn settle_down(&mut self) {
        let partitions = &self.partitions;
        self.active.retain(|slot| !partitions[*slot].is_idle());
        let homeless = self.topics.values().any(|entry| entry.topic.waiting_since().is_some());
        if self.closing.is_none() || self.finished || homeless || !self.active.is_empty() {
            return;
        }
        // No caller gets past this; what came in just before is ended here.
        self.accumulator.close();
        self.end_everything();
        self.finished = true;
        let links = self.leaders.values().chain([&self.control]);
        let open: Vec<_> = links.filter_map(Link::connection).collect();
        self.connections.clear();
        self.actions.extend(open.into_iter().map(|connection| Action::Close { connection }));
    }
}

/// Tells a batch's records how it ended, and counts them.
fn tell(meters: &Meters, batch: &mut Batch, outcome: Outcome) {
    if !batch.is_settled() || outcome.is_err() {
        let records = u64::from(batch.count());
        meters.note(|counts| match &outcome {
            Ok(_) => counts.figures.records_delivered += records,
            Err(_) => counts.figures.records_failed += records,
        });
    }
    batch.settle(outcome);
}

impl Drop for Engine {
    /// A driver that ends without closing, as when its runtime is shut down, leaves no future
    /// waiting for ever.
    fn drop(&mut self) {
        self.budget.close();
        self.accumulator.close();
        self.end_everything();
    }
}
