//! The one place that reads the clock, sleeps and spawns.
//!
//! Carries events to the engine and performs its actions. Decides nothing about records: every
//! rule is the engine's, and can be tested without this file.

use super::accumulator::{Clock, Displaced};
use super::completion::BatchCompletion;
use super::config::ProducerConfig;
use super::engine::{Action, BatchRef, ConnectionId, Engine, Notice, Seeds};
use super::net::{self, NetEvent, Outgoing, Transport};
use crate::protocol::compression::Compressor;
use crate::protocol::record_batch::{BatchBuilder, SealedBatch};
use crate::protocol::{Codec, Compression};
use crate::sasl::SaltedPassword;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

/// Batches below this are compressed where they are: handing them over would cost more.
const SEAL_INLINE_SIZE_MAX: usize = 16 << 10;

/// A caller's wish that is not a record.
#[derive(Debug)]
pub(super) enum Command {
    /// Answer with what is outstanding, which lingers no more.
    Flush(oneshot::Sender<Vec<Arc<BatchCompletion>>>),
    /// Give up what there is, and go on.
    Purge,
    /// Tell the senders of these records that they gave way.
    TellDisplaced(Displaced),
    /// Deliver what there is within the time, then end, and tell.
    Close(Duration, oneshot::Sender<()>),
}

/// What happened outside the engine.
#[derive(Debug)]
enum Event {
    Net(ConnectionId, NetEvent),
    Sealed(BatchRef, SealedBatch),
    Derived(ConnectionId, SaltedPassword),
}

#[derive(Debug)]
pub(super) struct Driver {
    engine: Engine,
    /// Rung when callers have news for the engine.
    bell: Arc<Notify>,
    commands: UnboundedReceiver<Command>,
    events: UnboundedReceiver<Event>,
    report: UnboundedSender<Event>,
    connections: HashMap<ConnectionId, Connection>,
    /// What carries the connections. Polled by the driver's own task: an answer that had to wake
    /// another task to be heard would cost more than its reading.
    carriers: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>,
    transport: Transport,
    delivery_timeout: Duration,
    closers: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Connection {
    outgoing: UnboundedSender<Outgoing>,
    carrier: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Driver {
    pub(super) fn new(
        engine: Engine,
        config: &ProducerConfig,
        transport: Transport,
        bell: Arc<Notify>,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        let (report, events) = unbounded_channel();
        Self {
            engine,
            bell,
            commands,
            events,
            report,
            connections: HashMap::new(),
            carriers: FuturesUnordered::new(),
            transport,
            delivery_timeout: config.delivery_timeout,
            closers: Vec::new(),
        }
    }

    /// Runs until the producer is closed, or dropped and drained.
    pub(super) fn spawn(self, runtime: &tokio::runtime::Handle) -> JoinHandle<()> {
        runtime.spawn(self.run())
    }

    async fn run(mut self) {
        let mut dropped = false;
        let mut alarm = Alarm::new();
        loop {
            self.perform_actions();
            if self.engine.is_finished() {
                break;
            }
            let timeout = self.engine.poll_timeout();
            tokio::select! {
                // Sockets first: what they bring is an event then.
                biased;
                Some(()) = self.carriers.next() => {}
                () = self.bell.notified() => self.engine.handle_news(now()),
                Some(event) = self.events.recv() => self.on_event(event),
                command = self.commands.recv(), if !dropped => match command {
                    Some(command) => self.on_command(command),
                    None => {
                        // Nobody can send any more; what was accepted is still delivered.
                        dropped = true;
                        let now = now();
                        self.engine.handle_close(now, now + self.delivery_timeout);
                    }
                },
                () = alarm.rings(timeout) => self.engine.handle_timeout(now()),
            }
        }
        // What gave way at the last moment is told before anybody hears that all is over.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        for closer in self.closers.drain(..) {
            // Whoever closed may have stopped waiting.
            let _ = closer.send(());
        }
    }

    fn perform_actions(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Connect { connection, address } => {
                    let (outgoing, frames) = unbounded_channel();
                    let report = self.report.clone();
                    let transport = self.transport.clone();
                    let carry = net::carry(transport, address, frames, move |event| {
                        // The driver may have ended before its connections.
                        let _ = report.send(Event::Net(connection, event));
                    });
                    let (carry, carrier) = abortable(carry);
                    self.carriers.push(Box::pin(carry.map(drop)));
                    self.connections.insert(connection, Connection { outgoing, carrier });
                }
                Action::Transmit { connection, frame, report } => {
                    if let Some(connection) = self.connections.get(&connection) {
                        // If its task has ended, that is on its way to the engine.
                        let _ = connection.outgoing.send(Outgoing { pieces: frame, report });
                    }
                }
                Action::Close { connection } => drop(self.connections.remove(&connection)),
                Action::Derive { connection, derivation, salted } => {
                    let report = self.report.clone();
                    drop(tokio::task::spawn_blocking(move || {
                        // The driver may have ended before the login.
                        let _ = report.send(Event::Derived(connection, salted.derive(&derivation)));
                    }));
                }
                Action::Seal { batch, builder, compression } => {
                    self.seal(batch, builder, compression);
                }
                Action::Notice(notice) => log(&notice),
            }
        }
    }

    fn seal(&mut self, batch: BatchRef, builder: BatchBuilder, compression: Compression) {
        if is_quick_to_seal(compression, &builder) {
            let sealed = seal(compression, builder);
            self.engine.handle_sealed(now(), batch, sealed);
            return;
        }
        let report = self.report.clone();
        drop(tokio::task::spawn_blocking(move || {
            // The driver may have ended before its batches.
            let _ = report.send(Event::Sealed(batch, seal(compression, builder)));
        }));
    }

    fn on_event(&mut self, event: Event) {
        let now = now();
        match event {
            Event::Net(connection, NetEvent::Connected) => {
                self.engine.handle_connected(now, connection);
            }
            Event::Net(connection, NetEvent::Frame(frame)) => {
                self.engine.handle_frame(now, connection, &frame);
            }
            Event::Net(connection, NetEvent::Written(correlation_id)) => {
                self.engine.handle_written(now, connection, correlation_id);
            }
            Event::Net(connection, NetEvent::Closed(error)) => {
                self.connections.remove(&connection);
                self.engine.handle_disconnected(now, connection, error.to_string().into());
            }
            Event::Sealed(batch, sealed) => self.engine.handle_sealed(now, batch, sealed),
            Event::Derived(connection, salted) => {
                self.engine.handle_derived(now, connection, &salted);
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Flush(answer) => {
                // Whoever flushed may have stopped waiting.
                let _ = answer.send(self.engine.handle_flush(now));
            }
            Command::Purge => self.engine.handle_purge(now),
            Command::TellDisplaced(displaced) => drop(displaced),
            Command::Close(timeout, done) => {
                self.closers.push(done);
                let deadline = now.checked_add(timeout).unwrap_or(now + self.delivery_timeout);
                self.engine.handle_close(now, deadline);
            }
        }
    }
}

thread_local! {
    /// The compressor that this thread used last: its tables are worth keeping, and they may not
    /// change threads.
    static COMPRESSOR: RefCell<Option<(Compression, Compressor)>> = const { RefCell::new(None) };
}

fn is_quick_to_seal(compression: Compression, builder: &BatchBuilder) -> bool {
    compression.codec() == Codec::None || builder.size() < SEAL_INLINE_SIZE_MAX
}

fn seal(compression: Compression, builder: BatchBuilder) -> SealedBatch {
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some((known, compressor)) if *known == compression => builder.seal(compressor),
        _ => {
            let (_, compressor) = kept.insert((compression, Compressor::new(compression)));
            builder.seal(compressor)
        }
    })
}

fn log(notice: &Notice) {
    match notice {
        Notice::Disconnected { address, cause } => {
            tracing::warn!(%address, "connection lost: {cause}");
        }
        Notice::Retrying { topic, partition, attempts, cause } => {
            tracing::info!(%topic, partition, attempts, "batch will be sent again: {cause}");
        }
        Notice::Failed(error) => tracing::error!("records not delivered: {error}"),
        Notice::Renumbered { topic, partition, cause } => {
            tracing::warn!(%topic, partition, "sequence starts anew: {cause}");
        }
        Notice::TopicError { topic, cause } => {
            tracing::warn!(%topic, "topic not available: {cause}");
        }
    }
}

/// The time as the system knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
impl Clock for SystemClock {
    fn instant(self) -> Instant {
        Instant::now()
    }

    fn unix_millis(self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

pub(super) fn now() -> Instant {
    SystemClock.instant()
}

/// Seeds that nobody knows.
pub(super) fn seeds() -> io::Result<Seeds> {
    let (mut random, mut nonces) = ([0; 8], [0; 32]);
    for seed in [&mut random[..], &mut nonces] {
        getrandom::fill(seed).map_err(io::Error::other)?;
    }
    Ok(Seeds { random: u64::from_ne_bytes(random), nonces })
}

/// A timer that is seldom set.
///
/// Each request moves the time at which something is due, mostly on. Setting a timer costs a call of
/// the system, as the runtime may have to sleep less long then; so it is only set to ring sooner. One
/// that rings too soon is asked again, and set to what is due by then.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it rings; `None` if it has.
    set_to: Option<Instant>,
}

impl Alarm {
    fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(now().into())), set_to: None }
    }

    /// Ready at this time, or sooner; never, if `None`. Dropping the future leaves the timer set.
    async fn rings(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        if self.set_to.is_none_or(|set_to| at < set_to) {
            self.sleep.as_mut().reset(at.into());
            self.set_to = Some(at);
        }
        self.sleep.as_mut().await;
        self.set_to = None;
    }
}
