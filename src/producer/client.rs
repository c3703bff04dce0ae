//! [`Producer`]: what a program holds.
//!
//! `send` encodes the record into a batch on the caller's thread and returns a future of its end.
//! The rest happens in the driver's task, on the runtime that the producer was started in.

use super::accumulator::{Accumulator, NoSuchPartition, NotTaken};
use super::budget::{Budget, NoRoom, Reservation, Reserved};
use super::completion::{
    BatchCompletion, Completion, Delivered, DeliveryError, DeliveryListener, Listener, Run,
};
use super::config::{ConfigError, ProducerConfig, WhenFull};
use super::driver::{self, Command, Driver, SystemClock};
use super::engine::Engine;
use super::meters::{Meters, ProducerMetrics};
use super::net::Transport;
use super::record::{OwnedRecord, Record};
use super::tls::TlsError;
use crate::protocol::Codec;
use crate::protocol::record_batch::BatchLimits;
use crate::sasl::SaslMechanism;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};

/// Records that [`Producer::send_all`] takes at a time.
const CHUNK_RECORDS: usize = 64;

/// They wait for room together, if the buffer holds so many times as much.
const CHUNK_SHARE_MIN: usize = 8;

/// A Kafka producer. Clones share it; when the last is dropped, what was accepted is still
/// delivered, as long as the runtime lives.
///
/// ```no_run
/// use ottla::producer::{Producer, ProducerConfig, Record};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::start(ProducerConfig::new(["localhost:9092"])?)?;
/// let delivered = producer.send(Record::to("traces").key(b"0e8b").value(b"{}")).await?;
/// println!("partition {}, offset {:?}", delivered.partition, delivered.offset);
/// producer.close(std::time::Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    accumulator: Arc<Accumulator>,
    budget: Arc<Budget>,
    bell: Arc<Notify>,
    commands: UnboundedSender<Command>,
    record_size_max: usize,
    when_full: WhenFull,
    max_block: Duration,
    meters: Arc<Meters>,
    batch_size: usize,
}

impl Producer {
    /// Starts a producer on the present Tokio runtime. Does not wait for a broker.
    ///
    /// # Errors
    ///
    /// `StartError` when the settings do not go together, or there is no runtime.
    pub fn start(config: ProducerConfig) -> Result<Self, StartError> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let transport = Transport::new(&config)?;
        if let (None, Some(SaslMechanism::Plain)) =
            (&config.tls, config.sasl.as_ref().map(|sasl| sasl.mechanism))
        {
            tracing::warn!(
                "the password is sent in clear text (sasl.mechanism=PLAIN without TLS): use SCRAM, \
                 or security.protocol=sasl_ssl"
            );
        }
        let seeds = driver::seeds().map_err(StartError::NoRandomness)?;
        let limits =
            BatchLimits { bytes_max: config.batch_size, records_max: config.batch_records_max };
        let accumulator = Accumulator::new(limits, seeds.random)
            .partitioned_by(config.partitioner.clone(), config.sticky_partitioning)
            .summing(config.compression.codec() == Codec::None);
        let accumulator = Arc::new(accumulator);
        let budget = Arc::new(Budget::new(config.buffer_memory));
        let bell = Arc::new(Notify::new());
        let (commands, inbox) = unbounded_channel();
        let now = driver::now();
        let engine =
            Engine::new(now, config.clone(), Arc::clone(&accumulator), Arc::clone(&budget), seeds);
        let shared = Arc::new(Shared {
            accumulator,
            budget,
            bell: Arc::clone(&bell),
            commands,
            record_size_max: config.record_size_max,
            when_full: config.when_full,
            max_block: config.max_block,
            meters: engine.meters(),
            batch_size: config.batch_size,
        });
        drop(Driver::new(engine, &config, transport, bell, inbox).spawn(&runtime));
        Ok(Self { shared })
    }

    /// Sends a record.
    ///
    /// If there is room, the record is accepted before this returns, and records of one thread
    /// keep their order. If the buffer is full, [`WhenFull`] decides: the future waits for room, in
    /// turn with others, for up to `max_block`, and the record is accepted then; or the record is
    /// refused; or older ones give way.
    ///
    /// Dropping the future of an accepted record neither recalls it nor disturbs others; one that
    /// still waits for room is not sent.
    ///
    /// # Errors
    ///
    /// The future resolves to `SendError`: the record was not accepted, or, as
    /// [`SendError::Delivery`], was accepted and not, or perhaps not, delivered.
    pub fn send(&self, record: Record<'_>) -> Sending {
        Sending(match self.accept_at_once(&record) {
            Ok(completion) => State::Accepted(completion),
            Err(SendError::QueueFull { .. }) if self.shared.when_full == WhenFull::Block => {
                self.wait_for_room(&record)
            }
            Err(error) => State::Refused(Some(error)),
        })
    }

    /// Waits until a record is accepted; the future that it resolves to waits for the record's end.
    ///
    /// As [`send`](Self::send), but a record that waits for room stays where its caller has it, and
    /// takes no more memory.
    ///
    /// ```no_run
    /// # use ottla::producer::{Producer, Record, SendError};
    /// # async fn run(producer: &Producer, value: &[u8]) -> Result<(), SendError> {
    /// let sending = producer.accept(Record::to("traces").value(value)).await?;
    /// // `value` is not needed any more.
    /// sending.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `SendError` when the record is not accepted.
    pub async fn accept(&self, record: Record<'_>) -> Result<Sending, SendError> {
        let completion = self.accept_borrowed(&record).await?;
        Ok(Sending(State::Accepted(completion)))
    }

    /// Accepts a record without waiting for anything; the future waits for the record's end.
    ///
    /// # Errors
    ///
    /// `SendError` when the record is not accepted, `QueueFull` among them.
    pub fn try_accept(&self, record: Record<'_>) -> Result<Sending, SendError> {
        let completion = self.accept_at_once(&record)?;
        Ok(Sending(State::Accepted(completion)))
    }

    fn wait_for_room(&self, record: &Record<'_>) -> State {
        let size = record.content().size_bound();
        let reservation = self.shared.queue(size);
        let shared = Arc::clone(&self.shared);
        State::Waiting(Box::new(Waiting { record: record.into(), size, reservation, shared }))
    }

    /// Sends a record without waiting for anything: for callers that cannot wait, or need not.
    ///
    /// `listener` is told how the record ended, with this `tag`. It is shared by many records, so
    /// that a record costs no allocation.
    ///
    /// ```no_run
    /// # use ottla::producer::{Delivered, DeliveryError, DeliveryListener, Producer, Record};
    /// # use std::sync::Arc;
    /// # fn run(producer: &Producer) -> Result<(), ottla::producer::SendError> {
    /// let listener: Arc<dyn DeliveryListener> =
    ///     Arc::new(|tag: u64, end: Result<Delivered, DeliveryError>| {
    ///         if let Err(error) = end {
    ///             eprintln!("record {tag}: {error}");
    ///         }
    ///     });
    /// for tag in 0..100 {
    ///     producer.try_send(Record::to("traces").value(b"{}"), tag, &listener)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `SendError` when the record is not accepted, `QueueFull` among them: the listener is not
    /// told then.
    pub fn try_send(
        &self,
        record: Record<'_>,
        tag: u64,
        listener: &Arc<dyn DeliveryListener>,
    ) -> Result<(), SendError> {
        let completion = self.accept_at_once(&record)?;
        completion.listen(Listener::Shared { listener: Arc::clone(listener), tag });
        Ok(())
    }

    /// Sends many records and waits until all have ended: one wait for each batch, not for each
    /// record. Waits for room between them if the buffer is full, and keeps their order.
    ///
    /// Dropping the future recalls no record that was accepted, and sends none that was not.
    ///
    /// ```no_run
    /// # use ottla::producer::{Producer, Record};
    /// # async fn run(producer: &Producer, lines: &[String]) {
    /// let records = lines.iter().map(|line| Record::to("lines").value(line.as_bytes()));
    /// let ends = producer.send_all(records).await;
    /// println!("{} delivered", ends.delivered);
    /// for (index, error) in ends.failed {
    ///     println!("line {index}: {error}");
    /// }
    /// # }
    /// ```
    pub async fn send_all<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) -> Ends {
        let mut records = records.into_iter();
        let mut gathering = Gathering::default();
        let mut chunk = Vec::with_capacity(CHUNK_RECORDS);
        loop {
            let sized = |record: Record<'a>| (record, record.content().size_bound());
            chunk.extend(records.by_ref().take(CHUNK_RECORDS).map(sized));
            if chunk.is_empty() {
                break;
            }
            self.accept_all(&chunk, &mut gathering).await;
            chunk.clear();
            gathering.settle_ended().await;
        }
        gathering.finish().await
    }

    /// Accepts a chunk once there is room for all of it; one by one, if it is much beside the buffer.
    async fn accept_all(&self, chunk: &[(Record<'_>, usize)], gathering: &mut Gathering) {
        let shared = &self.shared;
        let whole = chunk.iter().map(|(_, size)| size).sum();
        let fits = chunk.iter().all(|(_, size)| *size <= shared.record_size_max);
        if !fits || whole > shared.budget.limit() / CHUNK_SHARE_MIN {
            for (record, _) in chunk {
                gathering.add(self.accept_borrowed(record).await);
            }
            return;
        }
        match shared.room(whole).await {
            Ok(()) => shared.push_all(chunk, gathering),
            Err(error) => chunk.iter().for_each(|_| gathering.add(Err(error.clone()))),
        }
    }

    /// Accepts a record once there is room.
    async fn accept_borrowed(&self, record: &Record<'_>) -> Result<Completion, SendError> {
        let size = self.shared.size_of(record)?;
        self.shared.room(size).await?;
        self.shared.push(record, size)
    }

    /// Accepts a record, if there is room at once, or can be made.
    fn accept_at_once(&self, record: &Record<'_>) -> Result<Completion, SendError> {
        let size = self.shared.size_of(record)?;
        match self.shared.room_at_once(size) {
            Ok(()) => self.shared.push(record, size),
            Err(why) => Err(SendError::of(why, Duration::ZERO)),
        }
    }

    /// Sends all records accepted so far without lingering, and waits until each has ended,
    /// delivered or not, and its listener has been told. Records sent later do not prolong it.
    /// Dropping the future stops the wait only.
    pub async fn flush(&self) {
        let (answer, outstanding) = oneshot::channel();
        if self.shared.commands.send(Command::Flush(answer)).is_err() {
            // The driver has ended, and with it every record.
            return;
        }
        for batch in outstanding.await.unwrap_or_default() {
            std::future::poll_fn(|context| batch.poll_settled(context)).await;
        }
    }

    /// Lets no record linger that was accepted so far, and waits for nothing: for callers who know
    /// that nobody comes to keep it company. As under a [linger](ProducerConfig::linger) of zero,
    /// batches still grow while their broker is busy.
    pub fn end_linger(&self) {
        if self.shared.accumulator.end_linger(driver::now()) {
            self.shared.bell.notify_one();
        }
    }

    /// Refuses new records, delivers those accepted for up to `timeout`, and ends the rest as
    /// [`DeliveryError::Abandoned`] or [`DeliveryError::Unknown`]. Zero ends them at once. Closing
    /// again is harmless. Dropping the future stops the wait, not the closing.
    pub async fn close(&self, timeout: Duration) {
        let (done, closed) = oneshot::channel();
        if self.shared.commands.send(Command::Close(timeout, done)).is_ok() {
            // An error means that the driver ended: closed, too.
            let _ = closed.await;
        }
    }

    /// Gives up every record that has not ended, those on their way included: they end as
    /// [`DeliveryError::Abandoned`], or [`DeliveryError::Unknown`] if they may be in the log. The
    /// producer goes on.
    pub fn purge(&self) {
        // An error means that the driver has ended, and with it every record.
        let _ = self.shared.commands.send(Command::Purge);
    }

    /// The producer's figures at this moment.
    pub fn metrics(&self) -> ProducerMetrics {
        let mut metrics = self.shared.meters.read(driver::now());
        let ended = metrics.records_delivered + metrics.records_failed;
        metrics.buffered_records = self.shared.accumulator.accepted().saturating_sub(ended);
        metrics.buffered_bytes = self.shared.budget.used();
        metrics.buffer_limit_bytes = self.shared.budget.limit();
        metrics.waiting_sends = self.shared.budget.waiting();
        metrics.batch_bytes_max = self.shared.batch_size;
        metrics
    }
}

impl Shared {
    /// The most that a record takes, if it may take that.
    fn size_of(&self, record: &Record<'_>) -> Result<usize, SendError> {
        let (size, max) = (record.content().size_bound(), self.record_size_max);
        if size > max { Err(SendError::TooLarge { size, max }) } else { Ok(size) }
    }

    /// Sets room aside, as soon as there is some.
    async fn room(&self, size: usize) -> Result<(), SendError> {
        match self.room_at_once(size) {
            Err(NoRoom::Full) if self.when_full == WhenFull::Block => {
                let mut reservation = self.queue(size);
                let room = std::future::poll_fn(|context| reservation.poll(context)).await;
                room.map_err(|why| SendError::of(why, self.max_block))
            }
            at_once => at_once.map_err(|why| SendError::of(why, Duration::ZERO)),
        }
    }

    /// Sets room aside, if there is some, or older records may give way.
    fn room_at_once(&self, size: usize) -> Result<(), NoRoom> {
        loop {
            match self.budget.try_reserve(size) {
                Ok(Reserved { exhausts }) => {
                    if exhausts {
                        // Nothing may linger from now on.
                        self.bell.notify_one();
                    }
                    return Ok(());
                }
                Err(NoRoom::Full) if self.displace_oldest() => {}
                Err(why) => return Err(why),
            }
        }
    }

    /// Whether something gave its room away.
    fn displace_oldest(&self) -> bool {
        if self.when_full != WhenFull::DropOldest {
            return false;
        }
        let Some(displaced) = self.accumulator.displace_oldest() else { return false };
        self.budget.release(displaced.reserved);
        self.meters.note(|counts| {
            counts.figures.records_failed += u64::from(displaced.records);
            counts.figures.records_displaced += u64::from(displaced.records);
        });
        // If the driver has ended, its senders are told here and now.
        let _ = self.commands.send(Command::TellDisplaced(displaced));
        true
    }

    fn queue(&self, size: usize) -> Reservation {
        let reservation = self.budget.queue(size, driver::now() + self.max_block);
        // Nothing may linger while someone waits, and the wait has an end.
        self.bell.notify_one();
        reservation
    }

    /// Hands over records for which room was set aside.
    fn push_all(&self, records: &[(Record<'_>, usize)], gathering: &mut Gathering) {
        let wake = self.accumulator.push_all(SystemClock, records, |index, taken| match taken {
            Ok((batch, at)) => gathering.add_accepted(batch, at),
            Err(fault) => {
                let (record, size) = &records[index];
                self.budget.release(*size);
                gathering.add(Err(SendError::from_fault(fault, record)));
            }
        });
        if wake {
            self.bell.notify_one();
        }
    }

    /// Hands over a record for which room was set aside.
    fn push(&self, record: &Record<'_>, size: usize) -> Result<Completion, SendError> {
        match self.accumulator.push(SystemClock, record, size) {
            Ok(pushed) => {
                if pushed.wake {
                    self.bell.notify_one();
                }
                Ok(pushed.completion)
            }
            Err(fault) => {
                self.budget.release(size);
                Err(SendError::from_fault(fault, record))
            }
        }
    }
}

/// The ends of records that are sent together, as they come in.
#[derive(Debug, Default)]
struct Gathering {
    /// Records seen so far.
    count: usize,
    /// Those that have not ended, as far as is known, each run with the place of its first record.
    runs: VecDeque<(usize, Run)>,
    ends: Ends,
}

impl Gathering {
    fn add(&mut self, accepted: Result<Completion, SendError>) {
        match accepted {
            Ok(completion) => self.add_accepted(&completion.batch, completion.index),
            Err(error) => {
                self.ends.failed.push((self.count, error));
                self.count += 1;
            }
        }
    }

    fn add_accepted(&mut self, batch: &Arc<BatchCompletion>, index: u32) {
        if !self.runs.back_mut().is_some_and(|(_, run)| run.extend(batch, index)) {
            self.runs.push_back((self.count, Run::new(batch, index)));
        }
        self.count += 1;
    }

    /// Books what has ended already, so that memory is held for what is on its way only.
    async fn settle_ended(&mut self) {
        while self.runs.front().is_some_and(|(_, run)| run.is_over()) {
            self.settle_first().await;
        }
    }

    async fn finish(mut self) -> Ends {
        while !self.runs.is_empty() {
            self.settle_first().await;
        }
        self.ends.failed.sort_by_key(|(index, _)| *index);
        self.ends
    }

    async fn settle_first(&mut self) {
        let Some((mut first, mut run)) = self.runs.pop_front() else { return };
        while let Some((count, end)) = run.next_end().await {
            let indices = first..first + count as usize;
            first = indices.end;
            match end {
                Ok(()) => self.ends.delivered += u64::from(count),
                Err(error) => {
                    let failed = indices.map(|index| (index, error.clone().into()));
                    self.ends.failed.extend(failed);
                }
            }
        }
    }
}

/// How the records of a [`send_all`](Producer::send_all) ended.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Ends {
    /// Records that Kafka has.
    pub delivered: u64,
    /// The others, by their place among the records, ascending.
    pub failed: Vec<(usize, SendError)>,
}

/// A record on its way: resolves to its place in the log, or to why it has none.
#[derive(Debug)]
#[must_use = "the record is sent all the same, but its failure goes unnoticed"]
pub struct Sending(State);

#[derive(Debug)]
enum State {
    Waiting(Box<Waiting>),
    Accepted(Completion),
    /// `None` once it has been told.
    Refused(Option<SendError>),
}

#[derive(Debug)]
struct Waiting {
    record: OwnedRecord,
    size: usize,
    reservation: Reservation,
    shared: Arc<Shared>,
}

impl Sending {
    /// Waits until the record is accepted: at once, unless the buffer is full.
    ///
    /// # Errors
    ///
    /// The record is not accepted, and will not be sent.
    pub async fn accepted(&mut self) -> Result<(), SendError> {
        let poll = |context: &mut Context<'_>| self.poll_accepted(context).map_ok(drop);
        std::future::poll_fn(poll).await
    }

    fn poll_accepted(&mut self, context: &Context<'_>) -> Poll<Result<&Completion, SendError>> {
        if let State::Waiting(waiting) = &mut self.0 {
            let room = ready!(waiting.reservation.poll(context));
            self.0 = waiting.end(room);
        }
        match &mut self.0 {
            State::Accepted(completion) => Poll::Ready(Ok(completion)),
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(SendError::Closed))),
            State::Waiting(_) => Poll::Pending,
        }
    }

    /// Tells `listener` how the record ended, instead of the future. It runs on the producer's own
    /// task and must not block; if it panics, that is logged.
    ///
    /// A record that still waits for room is not sent: wait for [`accepted`](Self::accepted) first.
    pub fn on_end(self, listener: impl FnOnce(Result<Delivered, SendError>) + Send + 'static) {
        match self.0 {
            State::Accepted(completion) => {
                let listener = |end: Result<_, _>| listener(end.map_err(SendError::Delivery));
                completion.listen(Listener::Once(Box::new(listener)));
            }
            State::Refused(error) => listener(Err(error.unwrap_or(SendError::Closed))),
            State::Waiting(waiting) => {
                listener(Err(SendError::QueueFull { waited: Duration::ZERO }));
                drop(waiting);
            }
        }
    }
}

impl Future for Sending {
    type Output = Result<Delivered, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let completion = ready!(self.poll_accepted(context))?;
        completion.poll(context).map_err(SendError::Delivery)
    }
}

impl Waiting {
    fn end(&self, room: Result<(), NoRoom>) -> State {
        let accepted = match room {
            Ok(()) => self.record.with(|record| self.shared.push(record, self.size)),
            Err(why) => Err(SendError::of(why, self.shared.max_block)),
        };
        match accepted {
            Ok(completion) => State::Accepted(completion),
            Err(error) => State::Refused(Some(error)),
        }
    }
}

/// Why a producer does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its settings do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It was started outside a Tokio runtime.
    #[error("a producer must be started within a Tokio runtime with IO and time enabled")]
    NoRuntime,
    /// The system gives no random numbers.
    #[error("a producer needs random numbers, and the system gives none: {0}")]
    NoRandomness(#[source] std::io::Error),
}

/// Why a record is not in the log, or may not be.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It is larger than `record_size_max` allows. Not accepted.
    #[error("the record may take {size} bytes, record_size_max allows {max}")]
    TooLarge {
        /// What it takes at most, in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The buffer was full, and stayed so for `max_block` if the record might wait. Not accepted.
    #[error("the producer's buffer {}: brokers take records too slowly", Full(*waited))]
    QueueFull {
        /// How long it waited.
        waited: Duration,
    },
    /// The producer is closed. Not accepted.
    #[error("the producer is closed")]
    Closed,
    /// No topic can have this name. Not accepted.
    #[error("topic name {topic:?} is not valid: {fault}")]
    InvalidTopic {
        /// As it was given.
        topic: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The record, or a custom partitioner for it, names a partition that the topic does not have.
    /// Not accepted.
    #[error("topic {topic:?} has no partition {partition}, only 0 to {}", count - 1)]
    NoSuchPartition {
        /// Its topic.
        topic: String,
        /// As it was given.
        partition: i32,
        /// Partitions of the topic.
        count: i32,
    },
    /// Accepted, and then not delivered, or perhaps not.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

struct Full(Duration);

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Duration::ZERO => f.write_str("is full"),
            waited => write!(f, "was full for {waited:?}"),
        }
    }
}

impl SendError {
    const fn of(why: NoRoom, waited: Duration) -> Self {
        match why {
            NoRoom::Closed => Self::Closed,
            NoRoom::Full => Self::QueueFull { waited },
        }
    }

    fn from_fault(fault: NotTaken, record: &Record<'_>) -> Self {
        let topic = record.topic.to_owned();
        match fault {
            NotTaken::Closed => Self::Closed,
            NotTaken::InvalidTopic(fault) => Self::InvalidTopic { topic, fault },
            NotTaken::NoSuchPartition(NoSuchPartition { partition, count }) => {
                Self::NoSuchPartition { topic, partition, count }
            }
        }
    }

    /// Whether the record was given up because the buffer was full: it, or it for a newer one.
    pub const fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::QueueFull { .. } | Self::Delivery(DeliveryError::Displaced { .. }))
    }

    /// Whether the record may be in the log all the same.
    pub const fn may_be_written(&self) -> bool {
        matches!(self, Self::Delivery(error) if error.may_be_written())
    }
}
