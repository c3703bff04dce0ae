//! How a record's story ends, and how its sender hears of it.
//!
//! A batch has one `BatchCompletion`, shared by the futures of all its records: a record costs no
//! channel and no allocation of its own, only its index in the batch. An accepted record ends
//! exactly once: acknowledged ([`Delivered`]) or with one of the four truths of [`DeliveryError`].
//!
//! "Unknown" is not "failed": after a lost connection or a timeout the record may be in the log.

use crate::protocol::ErrorCode;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A record that Kafka has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset. `None` with `acks=0`, and when the broker knew the record from an earlier
    /// transmission but no longer its offset.
    pub offset: Option<i64>,
    /// When the broker appended it, in milliseconds since the Unix epoch, on topics with
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<i64>,
}

/// An accepted record that Kafka does not have, or may not have.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// A broker refused it for good. It is not in the log.
    #[error("topic {topic:?} partition {partition}: the broker refused the record: {code}{}",
        Detail(message.as_deref()))]
    Rejected {
        /// Its topic.
        topic: Arc<str>,
        /// Its partition; −1 if none was chosen yet.
        partition: i32,
        /// The broker's reason.
        code: ErrorCode,
        /// The broker's words, if it sent any.
        message: Option<Arc<str>>,
    },
    /// Its time was over before it could be delivered. It is not in the log.
    #[error("topic {topic:?}: not delivered within {}, {waited}, after {attempts} attempts",
        Seconds(*timeout))]
    Expired {
        /// Its topic.
        topic: Arc<str>,
        /// The delivery timeout.
        timeout: Duration,
        /// What it was waiting for at the end.
        waited: Waited,
        /// Transmissions.
        attempts: u32,
        /// The last thing that went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// Its last transmission was not answered. It may be in the log.
    #[error("topic {topic:?} partition {partition}: sent, but no answer came within {}, after \
        {attempts} attempts; the record may have been written", Seconds(*timeout))]
    Unknown {
        /// Its topic.
        topic: Arc<str>,
        /// Its partition.
        partition: i32,
        /// The delivery timeout, or what was left of it when the producer closed.
        timeout: Duration,
        /// Transmissions.
        attempts: u32,
        /// The last thing that went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// Another record of the same batch was refused, and the batch with it (KIP-467). This one is
    /// not in the log, and can be sent again.
    #[error(
        "topic {topic:?} partition {partition}: the broker refused another record of the batch, \
         {code}: send this one again"
    )]
    Spoiled {
        /// Its topic.
        topic: Arc<str>,
        /// Its partition.
        partition: i32,
        /// The broker's reason against the other record.
        code: ErrorCode,
    },
    /// The producer was closed, dropped or purged before the record was sent. It is not in the log.
    #[error("topic {topic:?}: the producer gave the record up before it was sent")]
    Abandoned {
        /// Its topic.
        topic: Arc<str>,
        /// The last thing that went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// The buffer was full, and the record gave its room to newer ones
    /// ([`WhenFull::DropOldest`](super::WhenFull::DropOldest)). It is not in the log.
    #[error(
        "topic {topic:?}: given up for newer records, as the buffer was full: brokers take \
        records too slowly"
    )]
    Displaced {
        /// Its topic.
        topic: Arc<str>,
    },
    /// The producer can deliver nothing more, and says why. The record is not in the log.
    #[error("the producer has stopped: {0}")]
    Fatal(#[source] Cause),
}

impl DeliveryError {
    /// Whether the record may be in the log all the same.
    pub const fn may_be_written(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// What kept a record waiting until its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited {
    /// For metadata that names the topic's partitions.
    Metadata,
    /// For the partition to have a leader.
    Leader,
    /// For a connection to the leader.
    Connection,
    /// For a producer id, which an idempotent producer needs.
    ProducerId,
    /// For earlier records of the partition.
    Queue,
    /// For its next retry.
    Retry,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "waiting for the topic's metadata",
            Self::Leader => "waiting for the partition to have a leader",
            Self::Connection => "waiting for a connection to the partition's leader",
            Self::ProducerId => "waiting for a producer id",
            Self::Queue => "waiting behind earlier records",
            Self::Retry => "waiting for a retry",
        })
    }
}

/// Something that went wrong on the way, and was tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// A broker answered with an error.
    #[error("the broker answered {code}{}", Detail(message.as_deref()))]
    Broker {
        /// Its code.
        code: ErrorCode,
        /// Its words, if any.
        message: Option<Arc<str>>,
    },
    /// A connection failed.
    #[error("{0}")]
    Connection(Arc<str>),
}

impl From<ErrorCode> for Cause {
    fn from(code: ErrorCode) -> Self {
        Self::Broker { code, message: None }
    }
}

struct Detail<'a>(Option<&'a str>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// How a whole batch, or a run of its records, ended.
pub(super) type Outcome = Result<Acknowledged, DeliveryError>;

/// A batch that Kafka has.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// Offset of the run's first record, if known.
    pub(super) base_offset: Option<i64>,
    pub(super) log_append_time: Option<i64>,
}

impl Acknowledged {
    /// The same, from a later record on.
    fn from(self, first: u32) -> Self {
        Self { base_offset: self.base_offset.map(|base| base + i64::from(first)), ..self }
    }

    /// One record of the run.
    fn record(&self, index: u32) -> Delivered {
        Delivered {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offset: self.base_offset.map(|base| base + i64::from(index)),
            log_append_time: self.log_append_time,
        }
    }
}

/// The shared end of a batch's records. Mostly they end together; those of a batch that is split,
/// or in which only some are refused, end in runs.
#[derive(Debug, Default)]
pub(super) struct BatchCompletion {
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// How the first records to end did: mostly all of them.
    end: Option<End>,
    later_ends: Vec<End>,
    /// Records of the batch; `None` while it takes more.
    count: Option<u32>,
    /// By record index; filled as far as futures were polled.
    record_wakers: Vec<Option<Waker>>,
    batch_wakers: Vec<Waker>,
    /// Records that had a completion before they had a batch.
    forwards: Vec<(u32, Arc<BatchCompletion>)>,
    /// Records whose end someone wants to be told instead of waiting for it.
    listeners: Vec<(u32, Listener)>,
    /// Runs of records that have ended, and whose listeners are being told.
    telling: u32,
}

/// How a run of records ended.
#[derive(Debug, Clone)]
struct End {
    records: Range<u32>,
    outcome: Outcome,
}

impl End {
    fn record(&self, index: u32) -> Result<Delivered, DeliveryError> {
        self.outcome.clone().map(|run| run.record(index - self.records.start))
    }

    /// The outcome of the run's records from `first` on.
    fn from(&self, first: u32) -> Outcome {
        self.outcome.clone().map(|run| run.from(first - self.records.start))
    }
}

impl Progress {
    fn end_of(&self, index: u32) -> Option<&End> {
        self.ends().find(|end| end.records.contains(&index))
    }

    fn ends(&self) -> impl Iterator<Item = &End> {
        self.end.iter().chain(&self.later_ends)
    }

    fn add(&mut self, end: End) {
        match self.end {
            None => self.end = Some(end),
            Some(_) => self.later_ends.push(end),
        }
    }

    /// Whether all records have ended, and whoever wanted to be told has been.
    fn is_over(&self) -> bool {
        if self.telling > 0 {
            return false;
        }
        let ended: u32 = self.ends().map(|end| end.records.end - end.records.start).sum();
        self.count == Some(ended)
    }
}

/// Is told how a record ended.
pub(super) enum Listener {
    Once(Box<dyn FnOnce(Result<Delivered, DeliveryError>) + Send>),
    Shared { listener: Arc<dyn DeliveryListener>, tag: u64 },
}

/// Is told how records end: the counterpart of
/// [`Producer::try_send`](super::Producer::try_send). Any `Fn(u64, Result<Delivered,
/// DeliveryError>)` that is `Send + Sync` is one.
pub trait DeliveryListener: Send + Sync {
    /// The record that was sent with `tag` has ended. Called once for each, on the producer's own
    /// task, in the order of the records of a partition: it must not block. If it panics, that is
    /// logged.
    fn on_end(&self, tag: u64, end: Result<Delivered, DeliveryError>);
}

impl<F: Fn(u64, Result<Delivered, DeliveryError>) + Send + Sync> DeliveryListener for F {
    fn on_end(&self, tag: u64, end: Result<Delivered, DeliveryError>) {
        self(tag, end);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// A listener that panics must not take the producer with it.
    fn tell(self, end: Result<Delivered, DeliveryError>) {
        let tell = || match self {
            Self::Once(listener) => listener(end),
            Self::Shared { listener, tag } => listener.on_end(tag, end),
        };
        if catch_unwind(AssertUnwindSafe(tell)).is_err() {
            tracing::error!("a listener to a record's end panicked");
        }
    }
}

impl BatchCompletion {
    /// The completion of one record that has no batch yet.
    pub(super) fn single() -> Self {
        let completion = Self::default();
        completion.close(1);
        completion
    }

    /// The batch takes no more records than these.
    pub(super) fn close(&self, count: u32) {
        self.lock().count = Some(count);
    }

    /// Ends records of the batch, in a row. For each, only the first outcome counts.
    pub(super) fn settle(&self, records: Range<u32>, outcome: Outcome) {
        let mut progress = self.lock();
        if progress.end_of(records.start).is_some() {
            return;
        }
        let end = End { records: records.clone(), outcome };
        progress.add(end.clone());
        let waiting = progress.record_wakers.len();
        let (from, to) = (records.start as usize, records.end as usize);
        let ended = &mut progress.record_wakers[from.min(waiting)..to.min(waiting)];
        let wakers: Vec<_> = ended.iter_mut().filter_map(Option::take).collect();
        let forwards = take_those_of(&records, &mut progress.forwards);
        let listeners = take_those_of(&records, &mut progress.listeners);
        progress.telling += 1;
        drop(progress);
        // Wakers and listeners run foreign code: never under the lock.
        wakers.into_iter().for_each(Waker::wake);
        for (index, single) in forwards {
            single.settle(0..1, end.from(index));
        }
        for (index, listener) in listeners {
            listener.tell(end.record(index));
        }
        // Last, so that whoever flushed finds everything booked.
        let mut progress = self.lock();
        progress.telling -= 1;
        let wakers = std::mem::take(&mut progress.batch_wakers);
        drop(progress);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends `single`, a completion of one record, as this batch's record of `index` ends.
    pub(super) fn forward(&self, index: u32, single: Arc<Self>) {
        let mut progress = self.lock();
        // The batch is not sent before its records have joined it, but may have given way.
        let Some(end) = progress.end_of(index).map(|end| end.from(index)) else {
            return progress.forwards.push((index, single));
        };
        drop(progress);
        single.settle(0..1, end);
    }

    fn poll_record(
        &self,
        index: u32,
        context: &Context<'_>,
    ) -> Poll<Result<Delivered, DeliveryError>> {
        let mut progress = self.lock();
        if let Some(end) = progress.end_of(index) {
            return Poll::Ready(end.record(index));
        }
        let slot = index as usize;
        if progress.record_wakers.len() <= slot {
            progress.record_wakers.resize(slot + 1, None);
        }
        match &mut progress.record_wakers[slot] {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Ready once the record of `first` has ended, with how it and those that ended alongside it,
    /// before `until`, did.
    fn poll_run(
        &self,
        records: &Range<u32>,
        context: &Context<'_>,
    ) -> Poll<(u32, Result<(), DeliveryError>)> {
        let mut progress = self.lock();
        match progress.end_of(records.start) {
            Some(end) => {
                let count = end.records.end.min(records.end) - records.start;
                Poll::Ready((count, end.outcome.clone().map(drop)))
            }
            None => {
                progress.batch_wakers.push(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ready once all records of the batch have ended, however they did.
    pub(super) fn poll_settled(&self, context: &Context<'_>) -> Poll<()> {
        let mut progress = self.lock();
        if progress.is_over() {
            return Poll::Ready(());
        }
        progress.batch_wakers.push(context.waker().clone());
        Poll::Pending
    }

    fn listen(&self, index: u32, listener: Listener) {
        let mut progress = self.lock();
        match progress.end_of(index).map(|end| end.record(index)) {
            Some(end) => {
                drop(progress);
                listener.tell(end);
            }
            None => progress.listeners.push((index, listener)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_those_of<T>(records: &Range<u32>, all: &mut Vec<(u32, T)>) -> Vec<(u32, T)> {
    if all.iter().all(|(index, _)| records.contains(index)) {
        return std::mem::take(all);
    }
    all.extract_if(.., |(index, _)| records.contains(index)).collect()
}

/// Records in a row that share a batch, of those that were sent together.
#[derive(Debug)]
pub(super) struct Run {
    batch: Arc<BatchCompletion>,
    first: u32,
    count: u32,
}

impl Run {
    pub(super) fn new(batch: &Arc<BatchCompletion>, index: u32) -> Self {
        Self { batch: Arc::clone(batch), first: index, count: 1 }
    }

    /// Takes the record in, if it is the next of the same batch.
    pub(super) fn extend(&mut self, batch: &Arc<BatchCompletion>, index: u32) -> bool {
        let follows = Arc::ptr_eq(&self.batch, batch) && self.first + self.count == index;
        self.count += u32::from(follows);
        follows
    }

    /// Whether the records have ended, so that nobody has to wait for them.
    pub(super) fn is_over(&self) -> bool {
        let progress = self.batch.lock();
        (self.first..self.first + self.count).all(|index| progress.end_of(index).is_some())
    }

    /// How the first records ended, and how many ended like that, in turn; `None` at the end.
    pub(super) async fn next_end(&mut self) -> Option<(u32, Result<(), DeliveryError>)> {
        let records = self.first..self.first + self.count;
        if records.is_empty() {
            return None;
        }
        let poll = |context: &mut Context<'_>| self.batch.poll_run(&records, context);
        let (count, end) = std::future::poll_fn(poll).await;
        self.first += count;
        self.count -= count;
        Some((count, end))
    }
}

/// One record's view of its batch's end. Dropping it recalls nothing.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) batch: Arc<BatchCompletion>,
    pub(super) index: u32,
}

impl Completion {
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Result<Delivered, DeliveryError>> {
        self.batch.poll_record(self.index, context)
    }

    pub(super) fn listen(&self, listener: Listener) {
        self.batch.listen(self.index, listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn acknowledged(base_offset: i64) -> Outcome {
        Ok(Acknowledged {
            topic: "t".into(),
            partition: 2,
            base_offset: Some(base_offset),
            log_append_time: None,
        })
    }

    fn offset(completion: &Completion) -> Option<i64> {
        match completion.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(delivered) => delivered.unwrap().offset,
            Poll::Pending => None,
        }
    }

    #[test]
    fn each_record_of_a_batch_learns_its_own_offset_and_only_the_first_outcome_counts() {
        let batch = Arc::new(BatchCompletion::default());
        let records: Vec<_> =
            (0..3).map(|index| Completion { batch: Arc::clone(&batch), index }).collect();
        assert_eq!(offset(&records[1]), None);
        batch.settle(0..3, acknowledged(40));
        batch.settle(0..3, acknowledged(90));
        assert_eq!(records.iter().map(offset).collect::<Vec<_>>(), [Some(40), Some(41), Some(42)]);
    }

    #[test]
    fn a_batch_is_settled_when_its_listeners_have_been_told() {
        let batch = Arc::new(BatchCompletion::default());
        batch.close(1);
        let (told, seen) = std::sync::mpsc::channel();
        let same = Arc::clone(&batch);
        let listener = move |_| {
            let settled = same.poll_settled(&Context::from_waker(Waker::noop()));
            told.send(settled.is_ready()).unwrap();
        };
        batch.listen(0, Listener::Once(Box::new(listener)));
        batch.settle(0..1, acknowledged(40));
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [false]);
        assert!(batch.poll_settled(&Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn a_listener_is_told_once_before_or_after_the_end_and_may_panic() {
        let batch = Arc::new(BatchCompletion::default());
        let (told, ends) = std::sync::mpsc::channel();
        for index in [0, 2] {
            let told = told.clone();
            let listener = move |end: Result<Delivered, _>| told.send(end.unwrap().offset).unwrap();
            batch.listen(index, Listener::Once(Box::new(listener)));
        }
        batch.listen(1, Listener::Once(Box::new(|_| panic!("on purpose"))));
        batch.settle(0..4, acknowledged(40));
        let shared = move |tag, end: Result<Delivered, _>| {
            assert_eq!(tag, 77);
            told.send(end.unwrap().offset).unwrap();
        };
        batch.listen(3, Listener::Shared { listener: Arc::new(shared), tag: 77 });
        let ends: Vec<_> = ends.into_iter().collect();
        assert_eq!(ends, [Some(40), Some(42), Some(43)]);
    }

    #[test]
    fn a_record_that_joined_late_ends_with_its_batch() {
        let batch = BatchCompletion::default();
        let single = Arc::new(BatchCompletion::single());
        batch.forward(7, Arc::clone(&single));
        let waiting = Completion { batch: single, index: 0 };
        assert_eq!(offset(&waiting), None);
        batch.settle(0..9, acknowledged(100));
        assert_eq!(offset(&waiting), Some(107));
    }

    #[test]
    fn the_runs_of_a_split_batch_end_apart() {
        let batch = Arc::new(BatchCompletion::default());
        let mut run = Run { batch: Arc::clone(&batch), first: 1, count: 4 };
        batch.close(6);
        let records: Vec<_> =
            (0..6).map(|index| Completion { batch: Arc::clone(&batch), index }).collect();
        assert_eq!(offset(&records[4]), None);
        let context = Context::from_waker(Waker::noop());
        batch.settle(3..6, acknowledged(40));
        assert_eq!((offset(&records[2]), offset(&records[4])), (None, Some(41)));
        assert!(batch.poll_settled(&context).is_pending());
        batch.settle(0..3, acknowledged(70));
        assert_eq!((offset(&records[2]), offset(&records[4])), (Some(72), Some(41)));
        assert!(batch.poll_settled(&context).is_ready());
        let mut next = || match pin!(run.next_end()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(end) => end.map(|(count, end)| (count, end.is_ok())),
            Poll::Pending => panic!("it has ended"),
        };
        assert_eq!([next(), next(), next()], [Some((2, true)), Some((2, true)), None]);
    }

    #[test]
    fn errors_say_what_happened_in_one_sentence() {
        let error = DeliveryError::Expired {
            topic: "traces".into(),
            timeout: Duration::from_millis(1500),
            waited: Waited::Connection,
            attempts: 0,
            cause: None,
        };
        assert_eq!(
            error.to_string(),
            "topic \"traces\": not delivered within 1.5 s, waiting for a connection to the \
             partition's leader, after 0 attempts"
        );
        assert!(!error.may_be_written());
    }
}
