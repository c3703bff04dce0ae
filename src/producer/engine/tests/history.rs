//! What a producer promises, checked against what happened.
//!
//! A history is every accepted record with its end, put beside what the brokers' logs hold. The
//! promises, by the letters of the fault matrix:
//!
//! | | promise | idempotent | else |
//! |---|---|---|---|
//! | I-A | an acknowledged record is in the log | once; any other at most once | `acks` 1, all: at least once |
//! | I-B | records of a partition keep their order | always | of first copies, with one request in flight |
//! | I-C | a record that ended as not written is not in the log | always | always |
//! | I-D | every accepted record ends once, in time, and is counted once | always | always |
//! | I-E | no hang, no hot loop, no byte left behind | always | always |
//! | I-F | nothing happens to records of another partition | always | always |
//!
//! Promises that hold at every moment (one home per partition, nothing due that no timer spoke of)
//! are checked by `world`, under the same letters. A log that was deleted counts as one by itself:
//! a record may be in the old one and in the new one, but in neither twice.

use super::broker::{Appended, Cluster};
use super::log::Era;
use super::world::{Sent, World};
use crate::producer::completion::{Completion, Delivered, DeliveryError, Listener};
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::record::Record;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the timers of virtual time may be late by.
const SLACK: Duration = Duration::from_millis(1);

/// Events told of a failure.
const STORY_EVENTS_MAX: usize = 40;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invariant {
    /// I-A.
    Stored,
    /// I-B.
    Order,
    /// I-C.
    Refused,
    /// I-D.
    Ended,
    /// I-E.
    Quiet,
    /// I-F.
    Apart,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "I-A (an acknowledged record is in the log)",
            Self::Order => "I-B (records keep their order)",
            Self::Refused => "I-C (what ended as not written is not in the log)",
            Self::Ended => "I-D (every record ends once and in time)",
            Self::Quiet => "I-E (no hang, no hot loop, nothing left behind)",
            Self::Apart => "I-F (partitions do not touch each other)",
        })
    }
}

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    /// What happened, and to which record; then what led to it.
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.invariant, self.what)
    }
}

impl Violation {
    /// Fails the test, so that a mutant's run can tell which promise was broken.
    pub(super) fn raise(self) -> ! {
        eprintln!("broken: {self}");
        std::panic::resume_unwind(Box::new(self))
    }
}

/// How a record ended.
type End = Result<Delivered, DeliveryError>;

/// What was accepted, and how it ended.
pub(super) struct History {
    acks: Acks,
    idempotent: bool,
    max_in_flight: usize,
    delivery_timeout: Duration,
    /// Everything has to end by then.
    pub(super) closed_by: Option<Duration>,
    records: Vec<Accepted>,
    /// Ends that listeners were told and that have no time yet.
    told: Arc<Mutex<Vec<(usize, End)>>>,
    notes: Vec<(Duration, String)>,
}

/// A record that the producer took.
struct Accepted {
    topic: String,
    /// `None` if the producer chose it.
    partition: Option<i32>,
    /// By which it is known: no two records may have the same.
    value: String,
    at: Duration,
    ends: Vec<(Duration, End)>,
}

impl Accepted {
    fn end(&self) -> Option<&End> {
        self.ends.first().map(|(_, end)| end)
    }
}

/// A copy of a record in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Copy {
    /// Which of the logs.
    log: usize,
    offset: i64,
}

/// One era of one partition's log.
struct Stored<'a> {
    topic: &'a str,
    partition: i32,
    /// Nothing was deleted since.
    present: bool,
    era: &'a Era,
}

impl History {
    pub(super) fn new(config: &ProducerConfig) -> Self {
        Self {
            acks: config.acks,
            idempotent: config.idempotence,
            max_in_flight: config.max_in_flight,
            delivery_timeout: config.delivery_timeout,
            closed_by: None,
            records: Vec::new(),
            told: Arc::default(),
            notes: Vec::new(),
        }
    }

    pub(super) fn accept(&mut self, at: Duration, record: &Record<'_>, completion: &Completion) {
        let (index, told) = (self.records.len(), Arc::clone(&self.told));
        let listener = move |end| told.lock().unwrap().push((index, end));
        completion.listen(Listener::Once(Box::new(listener)));
        self.records.push(Accepted {
            topic: record.topic.to_owned(),
            partition: record.partition,
            value: String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned(),
            at,
            ends: Vec::new(),
        });
    }

    /// Dates the ends that were told since the last call.
    pub(super) fn note_ends(&mut self, at: Duration) {
        for (index, end) in self.told.lock().unwrap().drain(..) {
            self.records[index].ends.push((at, end));
        }
    }

    /// Remembers something that was done to the cluster or the producer.
    pub(super) fn note(&mut self, at: Duration, what: String) {
        self.notes.push((at, what));
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Says if one of these records was not delivered: a well cluster takes them all.
    pub(super) fn are_delivered(
        &self,
        records: Range<usize>,
        world: &World,
    ) -> Result<(), Violation> {
        let failed =
            records.into_iter().find(|index| !matches!(self.records[*index].end(), Some(Ok(_))));
        match failed {
            Some(index) => Checker::new(world).broken(
                Invariant::Quiet,
                index,
                "is not delivered although all is well",
            ),
            None => Ok(()),
        }
    }

    /// Records by how they ended.
    pub(super) fn ends(&self) -> BTreeMap<&'static str, usize> {
        let mut ends = BTreeMap::new();
        for end in self.records.iter().filter_map(Accepted::end) {
            *ends.entry(kind(end)).or_default() += 1;
        }
        ends
    }

    /// Things that were done to the cluster or the producer.
    pub(super) fn notes(&self) -> usize {
        self.notes.len()
    }
}

/// Checks all promises, once everything has ended.
pub(super) fn check(world: &World) -> Result<(), Violation> {
    let checker = Checker::new(world);
    checker.every_record_ends_once_and_in_time()?;
    checker.nothing_is_stored_elsewhere()?;
    checker.acknowledged_records_are_stored()?;
    checker.no_copy_is_made()?;
    checker.refused_records_are_not_stored()?;
    checker.order_is_kept()?;
    checker.nothing_is_left_behind()
}

struct Checker<'a> {
    world: &'a World,
    history: &'a History,
    logs: Vec<Stored<'a>>,
    /// By record.
    copies: Vec<Vec<Copy>>,
    /// Values in a log that nobody sent.
    strangers: Vec<String>,
}

impl<'a> Checker<'a> {
    fn new(world: &'a World) -> Self {
        let history = &world.history;
        let logs = logs(&world.cluster);
        let by_value: HashMap<_, _> =
            history.records.iter().enumerate().map(|(i, r)| (r.value.as_str(), i)).collect();
        assert_eq!(by_value.len(), history.records.len(), "values by which records are known");
        let mut copies = vec![Vec::new(); history.records.len()];
        let mut strangers = Vec::new();
        for (log, stored) in logs.iter().enumerate() {
            for (offset, value) in (stored.era.start..).zip(&stored.era.values) {
                match by_value.get(value.as_str()) {
                    Some(index) => copies[*index].push(Copy { log, offset }),
                    None => strangers.push(value.clone()),
                }
            }
        }
        Self { world, history, logs, copies, strangers }
    }

    fn records(&self) -> impl Iterator<Item = (usize, &Accepted, &[Copy])> {
        self.history
            .records
            .iter()
            .zip(&self.copies)
            .enumerate()
            .map(|(index, (record, copies))| (index, record, copies.as_slice()))
    }

    /// I-A: what was acknowledged is there.
    fn acknowledged_records_are_stored(&self) -> Result<(), Violation> {
        if self.history.acks == Acks::Zero {
            // Written to a socket is all that was promised.
            return Ok(());
        }
        for (index, record, copies) in self.records() {
            if matches!(record.end(), Some(Ok(_))) && copies.is_empty() {
                return self.broken(Invariant::Stored, index, "was acknowledged and is nowhere");
            }
        }
        Ok(())
    }

    /// I-A: nothing is there twice, if that was promised.
    fn no_copy_is_made(&self) -> Result<(), Violation> {
        for (index, _, copies) in self.records().filter(|_| self.history.idempotent) {
            for (number, copy) in copies.iter().enumerate() {
                if copies[..number].iter().any(|earlier| earlier.log == copy.log) {
                    return self.broken(Invariant::Stored, index, "is in the log twice");
                }
            }
        }
        Ok(())
    }

    /// I-B: the order of the log is the order of acceptance.
    fn order_is_kept(&self) -> Result<(), Violation> {
        let promised = self.history.idempotent || self.history.max_in_flight == 1;
        let mut last: Vec<Option<(i64, usize)>> = vec![None; self.logs.len()];
        for (index, _, copies) in self.records().filter(|_| promised) {
            for (number, copy) in copies.iter().enumerate() {
                if copies[..number].iter().any(|earlier| earlier.log == copy.log) {
                    continue;
                }
                if let Some((offset, earlier)) = last[copy.log]
                    && offset > copy.offset
                {
                    let what = format!("was accepted after record {earlier} and stored before it");
                    return self.broken(Invariant::Order, index, &what);
                }
                last[copy.log] = Some((copy.offset, index));
            }
        }
        Ok(())
    }

    /// I-C: whoever was told so can send the record again.
    fn refused_records_are_not_stored(&self) -> Result<(), Violation> {
        for (index, record, copies) in self.records() {
            let is_there = || copies.iter().any(|copy| self.logs[copy.log].present);
            if matches!(record.end(), Some(Err(error)) if !error.may_be_written()) && is_there() {
                return self.broken(
                    Invariant::Refused,
                    index,
                    "ended as not written and is stored",
                );
            }
        }
        Ok(())
    }

    /// I-D.
    fn every_record_ends_once_and_in_time(&self) -> Result<(), Violation> {
        for (index, record, _) in self.records() {
            let [(ended_at, _)] = record.ends.as_slice() else {
                let what = format!("has {} ends", record.ends.len());
                return self.broken(Invariant::Ended, index, &what);
            };
            let closed_by = self.history.closed_by.unwrap_or(Duration::MAX);
            let due = (record.at + self.history.delivery_timeout).min(closed_by) + SLACK;
            if *ended_at > due {
                return self.broken(Invariant::Ended, index, "ended too late");
            }
        }
        let counted = self.world.counted_ends();
        let accepted = self.history.records.len() as u64;
        if counted != accepted {
            let what = format!("{accepted} records were accepted and {counted} ends counted");
            return self.broken_as_a_whole(Invariant::Ended, &what);
        }
        Ok(())
    }

    /// I-E, as far as it shows at the end.
    fn nothing_is_left_behind(&self) -> Result<(), Violation> {
        let used = self.world.budget.used();
        if used > 0 {
            let what = format!("{used} bytes are still set aside");
            return self.broken_as_a_whole(Invariant::Quiet, &what);
        }
        Ok(())
    }

    /// I-F: what is stored is where it was sent, and what is told is of the record itself.
    fn nothing_is_stored_elsewhere(&self) -> Result<(), Violation> {
        if let Some(stranger) = self.strangers.first() {
            let what = format!("{stranger:?} is stored and was never sent");
            return self.broken_as_a_whole(Invariant::Apart, &what);
        }
        for (index, record, copies) in self.records() {
            let is_at_home = |copy: &Copy| {
                let log = &self.logs[copy.log];
                log.topic == record.topic && record.partition.is_none_or(|it| it == log.partition)
            };
            if !copies.iter().all(is_at_home) {
                return self.broken(Invariant::Apart, index, "is in another partition's log");
            }
            let Some(Ok(told)) = record.end() else { continue };
            let named = record.partition.is_none_or(|partition| partition == told.partition);
            if *told.topic != *record.topic || !named {
                return self.broken(Invariant::Apart, index, "has the end of another partition's");
            }
            let is_told = |copy: &Copy| told.offset.is_none_or(|offset| offset == copy.offset);
            if !copies.is_empty() && !copies.iter().any(is_told) {
                let what = "was told an offset that is another record's";
                return self.broken(Invariant::Apart, index, what);
            }
        }
        Ok(())
    }

    fn broken(&self, invariant: Invariant, index: usize, what: &str) -> Result<(), Violation> {
        let record = &self.history.records[index];
        let partition =
            record.partition.map_or_else(|| "any".to_owned(), |number| number.to_string());
        let mut said = format!("record {index} to {}/{partition} {what}", record.topic);
        for copy in &self.copies[index] {
            let log = &self.logs[copy.log];
            let deleted = if log.present { "" } else { ", deleted since" };
            let _ = write!(
                said,
                "\n  stored in {}/{} at {}{deleted}",
                log.topic, log.partition, copy.offset
            );
        }
        said.push_str(&story(self.world, Some(index)));
        Err(Violation { invariant, what: said })
    }

    fn broken_as_a_whole(&self, invariant: Invariant, what: &str) -> Result<(), Violation> {
        Err(Violation { invariant, what: format!("{what}{}", story(self.world, None)) })
    }
}

/// All logs that ever were.
fn logs(cluster: &Cluster) -> Vec<Stored<'_>> {
    let present = cluster.topics.iter().map(|(name, topic)| (name, topic, true));
    let deleted = cluster.deleted.iter().map(|(name, topic)| (name, topic, false));
    let mut logs = Vec::new();
    for (name, topic, exists) in present.chain(deleted) {
        for (partition, told) in (0..).zip(&topic.partitions) {
            let last = told.log.eras().count() - 1;
            logs.extend(told.log.eras().enumerate().map(|(number, era)| Stored {
                topic: name,
                partition,
                present: exists && number == last,
                era,
            }));
        }
    }
    logs
}

/// A promise was broken at this moment.
pub(super) fn violation(world: &World, invariant: Invariant, what: &str) -> Violation {
    Violation { invariant, what: format!("{what}{}", story(world, None)) }
}

/// The last events, of a record's partition if it is about one.
fn story(world: &World, about: Option<usize>) -> String {
    let history = &world.history;
    let record = about.map(|index| &history.records[index]);
    let until = record.and_then(|r| Some(r.ends.first()?.0)).unwrap_or(Duration::MAX);
    let mut events: Vec<(Duration, String)> = history.notes.clone();
    let partition = record.and_then(|record| record.partition);
    events.extend(world.sent.iter().filter_map(|sent| Some((sent.at, told_of(sent, partition)?))));
    events.extend(
        world
            .cluster
            .results
            .iter()
            .filter(|result| partition.is_none_or(|partition| partition == result.partition))
            .map(|result| (result.at, appended(result))),
    );
    for (index, record) in history.records.iter().enumerate() {
        for (at, end) in record.ends.iter().filter(|_| about.is_none_or(|it| it == index)) {
            events.push((*at, format!("record {index} ends: {}", ended(end))));
        }
    }
    if let (Some(index), Some(record)) = (about, record) {
        events.push((record.at, format!("record {index} is accepted")));
    }
    events.sort_by_key(|(at, _)| *at);
    // What shows only at the end of a copy's life is told to the end.
    let count = events.iter().filter(|(at, _)| *at <= until).count().max(events.len().min(1));
    let count =
        if about.is_some() { (count + STORY_EVENTS_MAX / 2).min(events.len()) } else { count };
    let mut story = String::new();
    for (at, event) in &events[count.saturating_sub(STORY_EVENTS_MAX)..count] {
        let _ = write!(story, "\n  {:>9.3} {event}", at.as_secs_f64());
    }
    story
}

fn told_of(sent: &Sent, partition: Option<i32>) -> Option<String> {
    let batches = sent.batches.iter().filter(|(at, _)| partition.is_none_or(|it| it == *at));
    let told: Vec<_> = batches
        .map(|(at, batch)| {
            let stamp = batch.stamp;
            format!(
                "[{at}: {}:{}:{} {}]",
                stamp.producer_id,
                stamp.epoch,
                stamp.base_sequence,
                batch.values.join(" ")
            )
        })
        .collect();
    if told.is_empty() && !sent.batches.is_empty() {
        return None;
    }
    Some(format!("{:?} v{} to {} {}", sent.api, sent.version, sent.node, told.join(" ")))
}

fn appended(result: &Appended) -> String {
    let Appended { node, partition, first, code, offset, .. } = result;
    format!("node {node}, partition {partition}, batch of {first}: {code}, offset {offset}")
}

const fn kind(end: &End) -> &'static str {
    match end {
        Ok(_) => "delivered",
        Err(DeliveryError::Rejected { .. }) => "rejected",
        Err(DeliveryError::Expired { .. }) => "expired",
        Err(DeliveryError::Unknown { .. }) => "unknown",
        Err(DeliveryError::Spoiled { .. }) => "spoiled",
        Err(DeliveryError::Abandoned { .. }) => "abandoned",
        Err(DeliveryError::Displaced { .. }) => "displaced",
        Err(DeliveryError::Fatal(_)) => "fatal",
    }
}

fn ended(end: &End) -> String {
    match end {
        Ok(Delivered { offset, .. }) => format!("delivered at {offset:?}"),
        Err(error) => error.to_string(),
    }
}
