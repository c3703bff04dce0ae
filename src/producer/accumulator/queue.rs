//! The batches of one partition that no one has taken yet.
//!
//! Decides when a batch is full and when another is opened. Its lock is the only one that a record
//! waits for, and is held for the copy of the record and little more.

use super::super::completion::BatchCompletion;
use super::super::partitioner::Backlog;
use super::super::record::Record;
use super::{Slot, lock};
use crate::protocol::record_batch::{Appended, BatchBuilder};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// When a record was handed over, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(in crate::producer) struct Now {
    pub(in crate::producer) instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub(in crate::producer) unix_millis: i64,
}

/// Where a record's times come from. A record needs the time of day unless it brings a timestamp, and
/// the instant only if it opens a batch, so neither is read for nothing.
pub(in crate::producer) trait Clock: Copy {
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
pub(super) struct Offer<'a, C> {
    pub(super) clock: C,
    pub(super) record: &'a Record<'a>,
    /// Bytes set aside for it.
    pub(super) reserved: usize,
}

/// The batches of one partition that no one has taken yet.
#[derive(Debug)]
pub(in crate::producer) struct PartitionQueue {
    pub(in crate::producer) topic: Arc<str>,
    pub(in crate::producer) partition: i32,
    pub(super) slot: Slot,
    batches: Mutex<VecDeque<OpenBatch>>,
    /// What [`backlog`](Self::backlog) tells, for those who do not want to wait for `batches`.
    batch_count: AtomicUsize,
    room: AtomicUsize,
}

/// A batch that still takes records, if it is its queue's last.
#[derive(Debug)]
pub(in crate::producer) struct OpenBatch {
    pub(in crate::producer) builder: BatchBuilder,
    pub(in crate::producer) completion: Arc<BatchCompletion>,
    pub(in crate::producer) opened_at: Instant,
    /// Bytes set aside for its records.
    pub(in crate::producer) reserved: usize,
    /// No more records: full, or flushed.
    closed: bool,
}

/// What a queue's first batch looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::producer) struct Head {
    pub(in crate::producer) opened_at: Instant,
    pub(in crate::producer) closed: bool,
}

impl PartitionQueue {
    pub(in crate::producer) fn new(topic: Arc<str>, partition: i32, slot: Slot) -> Self {
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
    pub(super) fn append(
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
    pub(super) fn backlog(&self) -> Backlog {
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
    pub(in crate::producer) fn head(&self) -> Option<Head> {
        let batches = lock(&self.batches);
        batches.front().map(|batch| Head { opened_at: batch.opened_at, closed: batch.closed })
    }

    /// Takes the first batch, full or not.
    pub(in crate::producer) fn take_head(&self) -> Option<OpenBatch> {
        let mut batches = lock(&self.batches);
        let head = batches.pop_front();
        self.publish(&batches);
        head
    }

    /// Takes the first batch, if it was opened by `limit`.
    pub(super) fn take_head_of(&self, limit: Instant) -> Option<OpenBatch> {
        let mut batches = lock(&self.batches);
        let is_old = batches.front().is_some_and(|batch| batch.opened_at <= limit);
        let head = if is_old { batches.pop_front() } else { None };
        self.publish(&batches);
        head
    }

    /// Closes the open batch, so that it lingers no longer, and returns the completions of all.
    pub(in crate::producer) fn close_open(&self) -> Vec<Arc<BatchCompletion>> {
        let mut batches = lock(&self.batches);
        if let Some(open) = batches.back_mut() {
            open.closed = true;
        }
        self.publish(&batches);
        batches.iter().map(|batch| Arc::clone(&batch.completion)).collect()
    }
}
