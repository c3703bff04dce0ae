//! The exporter: from a request's bytes to records in Kafka.
//!
//! Decides what a request becomes (its accepted items, cut by key, topic and size, in the records'
//! format), that it is taken whole or not at all, and what is told and counted of what does not fit.
//! A sender that has been told "later" may send the request again: nothing of it was taken.

use super::config::{Format, OtlpConfig, PerSignal};
use super::cut::{
    self, By, Cut, CutError, Key, Limits, Otherwise, Outcome, Oversized, Piece, Plan,
};
use super::dead_letters::DeadLetterOffice;
use super::fault::{Fault, Refused};
use super::json;
use super::meter::Meter;
use super::route::{Metadata, Route};
use super::schema::Signal;
use super::validate::validate;
use crate::exporter::Probe;
use crate::exporter::ledger::{Counts, Ledger};
use crate::exporter::sink::{Delivery, Sink};
use crate::producer::{
    Admin, AdminError, Producer, ProducerMetrics, Record, SendError, StartError,
};
use bytes::Bytes;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What a record takes besides its value, key and headers, at most.
const RECORD_OVERHEAD: usize = 128;

/// Records of one request may take so many times its size, or this much: what is around items is
/// repeated in every record.
const GROWTH_MAX: usize = 16;
const WRITTEN_MIN: usize = 64 << 20;

/// Publishes OpenTelemetry signals.
///
/// ```no_run
/// use ottla::exporter::otlp::{Encoding, Metadata, OtlpConfig, OtlpExporter, Request, Signal};
/// use ottla::producer::ProducerConfig;
/// use std::time::Duration;
///
/// # async fn run(body: bytes::Bytes) -> Result<(), Box<dyn std::error::Error>> {
/// let config = OtlpConfig::new(ProducerConfig::new(["localhost:9092"])?);
/// let exporter = OtlpExporter::start(config).await?;
/// let request = Request {
///     signal: Signal::Traces,
///     encoding: Encoding::Protobuf,
///     body,
///     metadata: Metadata::default(),
/// };
/// let taken = exporter.export(&request, Duration::from_secs(1)).await?;
/// for (_items, delivery) in taken.deliveries {
///     delivery.await?; // in Kafka
/// }
/// exporter.close(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OtlpExporter {
    config: OtlpConfig,
    sinks: PerSignal<Sink>,
    dead_letters: Option<DeadLetterOffice>,
    meters: PerSignal<Meter>,
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf.
    Protobuf,
    /// OTLP/JSON.
    Json,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What it carries.
    pub signal: Signal,
    /// How it is written.
    pub encoding: Encoding,
    /// The export request.
    pub body: Bytes,
    /// What came with it.
    pub metadata: Metadata<'a>,
}

/// What was taken of a request.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Taken {
    /// Items that are on their way to Kafka.
    pub items: u64,
    /// Items that are malformed.
    pub refused: Option<Refused>,
    /// Items that are too large, and are not sent.
    pub dropped: u64,
    /// What is to be said of the first of those.
    pub dropped_because: Option<String>,
    /// Why records behind the first were not accepted, if they were not: `Full` or `Closed`. The
    /// sender is to be told so, although it will then send again what was accepted.
    pub stopped: Option<ExportError>,
    /// The ends of the request's records, and how many items each has.
    pub deliveries: Vec<(u64, Delivery)>,
}

/// Why nothing of a request was taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It is no request.
    #[error(transparent)]
    Malformed(#[from] Fault),
    /// It cannot be cut.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// It names a topic that it may not name.
    #[error("topic {topic:?} is not one that senders may name: add it to allowed-topics")]
    Topic {
        /// As it was named.
        topic: String,
    },
    /// There is no room for its first record: later.
    #[error("the queue is full: send the request again later")]
    Full,
    /// The exporter is closed.
    #[error("shutting down: send the request elsewhere, or again later")]
    Closed,
    /// Its first record cannot be sent, and no later one was tried.
    #[error(transparent)]
    Send(SendError),
}

/// Why the exporter does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The producer does not start.
    #[error("kafka exporter: {0}")]
    Producer(#[from] StartError),
    /// No broker answers as one.
    #[error("kafka exporter: failed to connect/authenticate with broker: {0}")]
    Connect(#[source] AdminError),
    /// The file of dead letters cannot be written.
    #[error("kafka exporter: dead-letter-file {path:?}: {cause}")]
    DeadLetterFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

impl OtlpExporter {
    /// Asks the brokers who they are, as `probe` says, and starts. Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// `OtlpError`; see its variants.
    pub async fn start(config: OtlpConfig) -> Result<Self, OtlpError> {
        if config.probe != Probe::Off
            && let Err(error) = Admin::connect(&config.producer).await
        {
            let error = OtlpError::Connect(error);
            match config.probe {
                Probe::Warn => tracing::warn!("{error}; it is tried again for every record"),
                _ => return Err(error),
            }
        }
        let mut producer_config = config.producer.clone();
        // Once a request's first record is in, the others wait for their room: half a request
        // cannot be given back.
        producer_config.max_block = producer_config.delivery_timeout;
        let producer = Producer::start(producer_config)?;
        let ledgers = PerSignal::from_fn(|_| Arc::<Ledger>::default());
        let dead_letters = match &config.oversize.dead_letters {
            Some(to) => {
                Some(DeadLetterOffice::open(to, config.format, &config.producer, &ledgers)?)
            }
            None => None,
        };
        let sink = |signal| Sink::booking(producer.clone(), Arc::clone(ledgers.of(signal)));
        Ok(Self {
            sinks: PerSignal::from_fn(sink),
            meters: PerSignal::from_fn(Meter::new),
            dead_letters,
            config,
        })
    }

    /// Takes a request, waiting up to `patience` for room for its first record.
    ///
    /// # Errors
    ///
    /// `ExportError` when nothing of it was taken. What fails later is told by its delivery, logged
    /// and counted.
    ///
    /// Dropping the future before it is ready leaves the records that were accepted on their way,
    /// and takes no more of them.
    pub async fn export(
        &self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Taken, ExportError> {
        let taken = self.take(request, patience).await;
        let meter = self.meters.of(request.signal);
        match &taken {
            Ok(taken) => {
                meter.on_taken(taken.items, taken.refused.as_ref(), taken.deliveries.len());
            }
            Err(error) => meter.on_refused_request(error),
        }
        taken
    }

    async fn take(&self, request: &Request<'_>, patience: Duration) -> Result<Taken, ExportError> {
        let signal = request.signal;
        let (body, refused) = accepted(request)?;
        let route = Route::of(&self.config, signal, &request.metadata)?;
        let cut = self.cut(signal, &body, &route)?;
        let taken = Taken { refused, ..Taken::default() };
        let mut sending = Sending { exporter: self, signal, route: &route, patience, taken };
        sending.cut(&cut).await?;
        Ok(sending.taken)
    }

    fn cut(&self, signal: Signal, request: &Bytes, route: &Route<'_>) -> Result<Cut, CutError> {
        let measured_later = self.config.format == Format::Json;
        let size_max = if measured_later { usize::MAX } else { self.value_size_max(route) };
        let plan = self.plan(signal, request.len(), size_max);
        cut::cut(request, &plan, &mut cut::Protobuf)
    }

    /// A plan for requests of this size; records of JSON are cut by it without a limit, and again
    /// if they come out too long.
    fn plan(&self, signal: Signal, request_size: usize, size_max: usize) -> Plan<'_> {
        let otherwise = match self.config.oversize.dead_letters {
            Some(_) => Otherwise::DeadLetter,
            None => Otherwise::Drop,
        };
        let written_max = (GROWTH_MAX * request_size).max(WRITTEN_MIN);
        Plan {
            signal,
            by: self.config.grouping.of(signal).by(),
            topic_attribute: self.config.topic_from_attribute.as_deref(),
            limits: Limits {
                size_max,
                written_max,
                truncate: self.config.oversize.truncate,
                otherwise,
            },
        }
    }

    fn value_size_max(&self, route: &Route<'_>) -> usize {
        let max = self.config.producer.record_size_max;
        max.saturating_sub(RECORD_OVERHEAD + route.headers_size()).max(1)
    }

    /// The exporter's settings.
    pub const fn config(&self) -> &OtlpConfig {
        &self.config
    }

    /// The producer's figures.
    pub fn producer_metrics(&self) -> ProducerMetrics {
        self.sinks.traces.producer_metrics()
    }

    /// What became of every item of a signal.
    pub fn ledger(&self, signal: Signal) -> &Ledger {
        self.sinks.of(signal).ledger()
    }

    /// What became of every item.
    pub fn counts(&self) -> Counts {
        Signal::ALL.into_iter().map(|signal| self.ledger(signal).counts()).sum()
    }

    /// Sends what was accepted so far without lingering, and waits until all of it has ended.
    pub async fn flush(&self) {
        let letters = async {
            if let Some(office) = &self.dead_letters {
                office.flush().await;
            }
        };
        tokio::join!(self.sinks.traces.flush(), letters);
    }

    /// Takes no more requests, delivers what was accepted for up to `timeout`, and ends the rest.
    pub async fn close(&self, timeout: Duration) {
        // One producer is behind all three signals.
        let letters = async {
            if let Some(office) = &self.dead_letters {
                office.close(timeout).await;
            }
        };
        tokio::join!(self.sinks.traces.close(timeout), letters);
    }
}

/// The accepted items of a request as protobuf, and what is refused of it.
fn accepted(request: &Request<'_>) -> Result<(Bytes, Option<Refused>), Fault> {
    let Request { signal, encoding, body, .. } = request;
    match encoding {
        Encoding::Protobuf => {
            let valid = validate(*signal, body)?;
            let refused = valid.refused().cloned();
            match valid.accepted() {
                Cow::Borrowed(_) => Ok((body.clone(), refused)),
                Cow::Owned(rest) => Ok((rest.into(), refused)),
            }
        }
        Encoding::Json => {
            let read = json::to_protobuf(*signal, body)?;
            Ok((read.protobuf.into(), read.refused))
        }
    }
}

/// A request on its way, piece by piece.
struct Sending<'a> {
    exporter: &'a OtlpExporter,
    signal: Signal,
    route: &'a Route<'a>,
    /// For the room of the first record.
    patience: Duration,
    taken: Taken,
}

impl Sending<'_> {
    async fn cut(&mut self, cut: &Cut) -> Result<(), ExportError> {
        for piece in cut.pieces() {
            match self.exporter.config.format {
                Format::Protobuf => self.record(&piece, piece.key, &piece.value).await?,
                Format::Json => self.as_json(&piece).await?,
            }
            if self.taken.stopped.is_some() {
                return Ok(());
            }
        }
        self.oversized(cut).await;
        Ok(())
    }

    async fn as_json(&mut self, piece: &Piece<'_>) -> Result<(), ExportError> {
        let mut text = Vec::with_capacity(2 * piece.value.len());
        json::write(self.signal, &piece.value, &mut text);
        let size_max = self.exporter.value_size_max(self.route);
        if text.len() <= size_max {
            return self.record(piece, piece.key, &text).await;
        }
        let plan = self.exporter.plan(self.signal, piece.value.len(), size_max);
        let plan = Plan { by: By::Request, topic_attribute: None, ..plan };
        let cut = match cut::cut(&piece.value, &plan, &mut cut::Json::new(json::size)) {
            Ok(cut) => cut,
            Err(error) => return self.stop(ExportError::Cut(error), piece.items),
        };
        for part in cut.pieces() {
            text.clear();
            json::write(self.signal, &part.value, &mut text);
            let part = Piece { topic: piece.topic, ..part };
            self.record(&part, piece.key, &text).await?;
            if self.taken.stopped.is_some() {
                return Ok(());
            }
        }
        self.oversized(&cut).await;
        Ok(())
    }

    async fn record(
        &mut self,
        piece: &Piece<'_>,
        key: Key,
        value: &[u8],
    ) -> Result<(), ExportError> {
        let topic = self.route.topic(piece.topic);
        let mut buffer = cut::KeyBuffer::default();
        let mut record = Record::to(topic).value(value).headers(self.route.headers());
        record.key = key.write(&mut buffer);
        let meter = self.exporter.meters.of(self.signal);
        let told = meter.record(topic, value.len(), piece.items);
        let sink = self.exporter.sinks.of(self.signal);
        let sent = sink.send(record, u64::from(piece.items), told);
        let sent = if self.taken.deliveries.is_empty() {
            timeout(self.patience, sent)
                .await
                .unwrap_or(Err(SendError::QueueFull { waited: self.patience }))
        } else {
            sent.await
        };
        match sent {
            Ok(delivery) => {
                self.taken.items += u64::from(piece.items);
                self.taken.deliveries.push((u64::from(piece.items), delivery));
                Ok(())
            }
            Err(error) => {
                let error = match error {
                    SendError::QueueFull { .. } => ExportError::Full,
                    SendError::Closed => ExportError::Closed,
                    error => ExportError::Send(error),
                };
                self.stop(error, piece.items)
            }
        }
    }

    /// Ends the request with an error if nothing of it is on its way. Otherwise it goes on without
    /// these items, unless there is no room for others either.
    fn stop(&mut self, error: ExportError, items: u32) -> Result<(), ExportError> {
        if self.taken.deliveries.is_empty() {
            return Err(error);
        }
        match error {
            ExportError::Full | ExportError::Closed => self.taken.stopped = Some(error),
            error => self.drop_items(u64::from(items), || error.to_string()),
        }
        Ok(())
    }

    fn drop_items(&mut self, items: u64, because: impl FnOnce() -> String) {
        self.taken.dropped += items;
        self.taken.dropped_because.get_or_insert_with(because);
    }

    /// Tells of items that were too large, and posts the dead letters.
    async fn oversized(&mut self, cut: &Cut) {
        let exporter = self.exporter;
        let meter = exporter.meters.of(self.signal);
        for item in cut.oversized() {
            meter.on_oversized(item);
            let told = sentence(item);
            tracing::warn!("{told}");
            if item.outcome == Outcome::Dropped {
                exporter.ledger(self.signal).on_received(u64::from(item.items));
                exporter.ledger(self.signal).on_failed(u64::from(item.items), false);
                self.drop_items(u64::from(item.items), || told);
            }
        }
        let Some(office) = &exporter.dead_letters else { return };
        for letter in cut.dead_letters() {
            match office.post(self.signal, &letter, self.route).await {
                Ok(delivery) => {
                    self.taken.items += u64::from(letter.items);
                    let delivery = delivery.map(|delivery| (u64::from(letter.items), delivery));
                    self.taken.deliveries.extend(delivery);
                }
                Err(error) => self.drop_items(u64::from(letter.items), || error),
            }
        }
    }
}

/// What happened to an item that was too large, in words.
fn sentence(item: &Oversized) -> String {
    let Oversized { path, name, item_size, record_size, .. } = item;
    let noun = match item.signal {
        Signal::Traces => "span",
        Signal::Metrics => "metric",
        Signal::Logs => "log record",
    };
    let end = match item.outcome {
        Outcome::Truncated { record_size } => format!("shortened to a record of {record_size}"),
        Outcome::DeadLetter => "sent to the dead letters".to_owned(),
        Outcome::Dropped => "dropped: raise max-message-bytes, or set oversize".to_owned(),
    };
    let point = path.point.map(|point| format!(", point {point}")).unwrap_or_default();
    format!(
        "{noun} {name:?} of {item_size} bytes (resource {}, scope {}, item {}{point}) needs a record \
         of {record_size}: {end}",
        path.resource, path.scope, path.item
    )
}
