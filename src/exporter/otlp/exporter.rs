//! The exporter: from a request's bytes to records in Kafka.
//!
//! Decides what has to be true before the first request is taken, and what a request becomes: its
//! accepted items, cut by key, topic and size, in the records' format. How the pieces get on their
//! way is said in `sending`.

use super::config::{Format, OtlpConfig, PerSignal};
use super::cut::{self, Cut, CutError, Limits, Otherwise, Plan};
use super::dead_letters::DeadLetterOffice;
use super::fault::{Fault, Refused};
use super::json;
use super::meter::Meter;
use super::route::{Metadata, Route};
use super::schema::Signal;
use super::sending::{Ended, ExportError, Patience, Sending, Taken};
use super::validate::validate;
use crate::exporter::complaints::Complaints;
use crate::exporter::ledger::{Counts, Ledger};
use crate::exporter::sink::Sink;
use crate::exporter::startup::{Obstacle, Startup};
use crate::producer::{AdminError, Producer, ProducerMetrics, StartError};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
/// exporter.export(&request); // returns at once
/// let ended = exporter.export_and_wait(&request, Duration::from_secs(1)).await?;
/// println!("{} items are in Kafka, {} are not", ended.delivered, ended.lost);
/// exporter.close(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OtlpExporter {
    pub(super) config: OtlpConfig,
    pub(super) sinks: PerSignal<Sink>,
    pub(super) dead_letters: Option<DeadLetterOffice>,
    pub(super) meters: PerSignal<Meter>,
    pub(super) complaints: Arc<Complaints>,
    /// Apart from failures, which would not be told for their number.
    pub(super) oversized: Complaints,
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
    /// A topic is not there and would not be created, or it cannot be looked at, created or written
    /// to.
    #[error("kafka exporter: {0}")]
    Topic(#[source] AdminError),
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
    /// Looks at the brokers and the topics, as `probe` says, creates the topics that it may, and
    /// starts. Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// `OtlpError`; see its variants. `Connect` and `Topic` only where the probe is required.
    pub async fn start(config: OtlpConfig) -> Result<Self, OtlpError> {
        let startup = Startup {
            who: "kafka exporter: ",
            probe: config.probe,
            producer: &config.producer,
            topics: &config.probe_topics(),
        };
        startup.run(OtlpError::from).await?;
        let mut producer_config = config.producer.clone();
        // Once a request's first record is in, the others wait for their room: half a request
        // cannot be given back.
        producer_config.max_block = producer_config.delivery_timeout;
        Self::publishing_by(Producer::start(producer_config)?, config, Sink::booking)
    }

    /// Publishes by a producer that others send by, too, and that was started with
    /// `config.producer`. Dead letters for a topic have a producer of their own.
    ///
    /// # Errors
    ///
    /// `DeadLetterFile`, or `Producer` of dead letters.
    pub fn over(producer: Producer, config: OtlpConfig) -> Result<Self, OtlpError> {
        Self::publishing_by(producer, config, Sink::sharing)
    }

    fn publishing_by(
        producer: Producer,
        config: OtlpConfig,
        sink: impl Fn(Producer, Arc<Ledger>) -> Sink,
    ) -> Result<Self, OtlpError> {
        let ledgers = PerSignal::from_fn(|_| Arc::<Ledger>::default());
        let complaints = Arc::new(Complaints::new("kafka exporter"));
        let dead_letters = match &config.oversize.dead_letters {
            Some(to) => {
                Some(DeadLetterOffice::open(to, &config, &ledgers, Arc::clone(&complaints))?)
            }
            None => None,
        };
        let sink = |signal| sink(producer.clone(), Arc::clone(ledgers.of(signal)));
        Ok(Self {
            sinks: PerSignal::from_fn(sink),
            meters: PerSignal::from_fn(Meter::new),
            dead_letters,
            complaints,
            oversized: Complaints::new("kafka exporter"),
            config,
        })
    }

    /// Takes a request, and returns at once. Records that find the buffer full are dropped, or older
    /// ones are ([`WhenFull`](crate::producer::WhenFull)). What cannot be sent is logged and counted.
    pub fn export(&self, request: &Request<'_>) {
        // Without patience nothing waits, so it is ready.
        let taken = self.take(request, Patience::None).now_or_never();
        if let Some(Err(error)) = taken.map(|taken| self.count(request.signal, taken)) {
            self.complaints
                .tell(|| format!("a request with {} is not sent: {error}", request.signal.name()));
        }
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
    pub async fn accept(
        &self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Taken, ExportError> {
        let taken = self.take(request, Patience::UpTo(patience)).await;
        self.count(request.signal, taken)
    }

    /// Takes a request as [`accept`](Self::accept) does, and is ready when all of it has ended.
    ///
    /// # Errors
    ///
    /// `ExportError` when nothing of it was taken.
    pub async fn export_and_wait(
        &self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Ended, ExportError> {
        Ok(self.accept(request, patience).await?.end().await)
    }

    fn count(
        &self,
        signal: Signal,
        taken: Result<Taken, ExportError>,
    ) -> Result<Taken, ExportError> {
        let meter = self.meters.of(signal);
        match &taken {
            Ok(taken) => meter.on_taken(taken.items, taken.refused.as_ref(), taken.records),
            Err(error) => meter.on_refused_request(error),
        }
        taken
    }

    async fn take(&self, request: &Request<'_>, patience: Patience) -> Result<Taken, ExportError> {
        let signal = request.signal;
        let (body, refused) = accepted(request)?;
        let route = Route::of(&self.config, signal, &request.metadata)?;
        let cut = self.cut(signal, &body, &route)?;
        let taken = Taken { refused, ..Taken::default() };
        let mut sending =
            Sending { exporter: self, signal, route: &route, patience, begun: false, taken };
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
    pub(super) fn plan(&self, signal: Signal, request_size: usize, size_max: usize) -> Plan<'_> {
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

    pub(super) fn value_size_max(&self, route: &Route<'_>) -> usize {
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

    /// The figures of the producer of dead letters, if they go to a topic.
    pub fn dead_letter_metrics(&self) -> Option<ProducerMetrics> {
        self.dead_letters.as_ref()?.producer_metrics()
    }

    /// What became of every item of a signal.
    pub fn ledger(&self, signal: Signal) -> &Ledger {
        self.sinks.of(signal).ledger()
    }

    /// What became of every item.
    pub fn counts(&self) -> Counts {
        Signal::ALL.into_iter().map(|signal| self.ledger(signal).counts()).sum()
    }

    /// Lets nothing linger that was accepted so far, and waits for nothing.
    pub fn end_linger(&self) {
        self.sinks.traces.end_linger();
        if let Some(office) = &self.dead_letters {
            office.end_linger();
        }
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

    /// Takes no more requests, delivers what was accepted for up to `timeout`, and ends the rest; a
    /// shared producer goes on with that.
    pub async fn close(&self, timeout: Duration) {
        let sinks = Signal::ALL.map(|signal| self.sinks.of(signal).close(timeout));
        let letters = async {
            if let Some(office) = &self.dead_letters {
                office.close(timeout).await;
            }
        };
        tokio::join!(join_all(sinks), letters);
    }
}

impl From<Obstacle> for OtlpError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Tls(error) => Self::Producer(StartError::Tls(error)),
            Obstacle::Connect(error) => Self::Connect(error),
            Obstacle::Topic(error) => Self::Topic(error),
        }
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
