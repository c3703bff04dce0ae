//! The exporter: from a configuration to traces in Kafka.
//!
//! Decides how the connector's settings become the producer's, and what is said about failures. What
//! has to be true before the first trace is taken is `startup`'s to find out.

use super::config::{BifrostConfig, ConfigError};
use super::encode::{TraceRecord, encode};
use super::filter::Filter;
use super::meter::Meter;
use super::model::Trace;
use crate::exporter::Probe;
use crate::exporter::complaints::Complaints;
use crate::exporter::ledger::Ledger;
use crate::exporter::sink::{Delivery, Sink};
use crate::exporter::startup::{Obstacle, Startup};
use crate::producer::{
    AdminError, Delivered, IfMissing, ProbeTopic, Producer, ProducerConfig, ProducerMetrics,
    Record, SendError, StartError, TlsError,
};
use std::sync::Arc;
use std::time::Duration;

/// The largest trace, in bytes as JSON. What a broker takes may be less, and counts after
/// compression (`message.max.bytes`).
pub const TRACE_SIZE_MAX: usize = 20 << 20;

/// Bytes of traces that wait for Kafka.
const BUFFER_SIZE: usize = 4 * TRACE_SIZE_MAX;

/// How long a trace waits for room in the buffer.
const MAX_BLOCK: Duration = Duration::from_secs(5);

/// Publishes traces.
///
/// ```no_run
/// use ottla::exporter::bifrost::{BifrostConfig, BifrostExporter, traces};
///
/// # async fn run(body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let config = BifrostConfig::new(["localhost:9092"], "bifrost-traces");
/// let exporter = BifrostExporter::start(&config).await?;
/// for trace in traces(body) {
///     exporter.export(trace?); // returns at once
/// }
/// exporter.close(std::time::Duration::from_secs(5)).await;
/// println!("{:?}", exporter.ledger().counts());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BifrostExporter {
    topic: String,
    filter: Filter,
    sink: Sink,
    meter: Meter,
    complaints: Arc<Complaints>,
}

/// Why the exporter does not start. The sentences are the connector's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BifrostError {
    /// The settings cannot be used.
    #[error("kafka plugin: {0}")]
    Config(#[from] ConfigError),
    /// The certificates cannot be used.
    #[error("kafka plugin: ca_cert: {0}")]
    Tls(#[source] TlsError),
    /// No broker answers as one.
    #[error("kafka plugin: failed to connect/authenticate with broker: {0}")]
    Connect(#[source] AdminError),
    /// `auto_create_topic` is off, and the topic is not there.
    #[error("kafka plugin: topic {topic:?} does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// The topic cannot be looked at, not be created, or not be written to.
    #[error("kafka plugin: {0}")]
    Topic(#[source] AdminError),
    /// The producer does not start.
    #[error("kafka plugin: {0}")]
    Producer(#[from] StartError),
}

impl BifrostExporter {
    /// Checks the settings, the brokers and the topic, creates the topic if it may, and starts.
    /// Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// `BifrostError`; see its variants. `Connect`, `NoTopic` and `Topic` only where the probe is
    /// required.
    pub async fn start(config: &BifrostConfig) -> Result<Self, BifrostError> {
        let producer_config = config.producer()?;
        let startup = Startup {
            who: "kafka plugin: ",
            probe: config.probe,
            producer: &producer_config,
            topics: &config.probe_topics(),
        };
        startup.run(BifrostError::from).await?;
        Ok(Self::publishing_to(
            Sink::booking(Producer::start(producer_config)?, Arc::default()),
            config,
        ))
    }

    /// Publishes by a producer that others send by, too. Of the settings, those of the topic and of
    /// what is published count; brokers, batches and the buffer are the producer's. Its
    /// `record_size_max` should allow what traces may take.
    ///
    /// # Errors
    ///
    /// `Config` when the topic is none.
    pub fn over(producer: Producer, config: &BifrostConfig) -> Result<Self, BifrostError> {
        config.check_topic()?;
        Ok(Self::publishing_to(Sink::sharing(producer, Arc::default()), config))
    }

    fn publishing_to(sink: Sink, config: &BifrostConfig) -> Self {
        Self {
            topic: config.topic.clone(),
            filter: Filter::new(config),
            sink,
            meter: Meter::new(&config.topic),
            complaints: Arc::new(Complaints::new("kafka plugin")),
        }
    }

    /// Filters, encodes and hands over one trace. Returns at once, and is no trouble to the request
    /// that was traced: a trace that finds the buffer full is dropped, or older ones are
    /// ([`WhenFull`](crate::producer::WhenFull)). What fails is logged and counted.
    pub fn export(&self, trace: Trace<'_>) {
        let (record, tell) = self.record(trace);
        self.sink.offer(self.to_topic(&record), 1, tell);
    }

    /// As [`export`](Self::export), but ready when the trace is accepted: at once, unless the buffer
    /// is full and records wait for room. The result is ready when Kafka has it.
    ///
    /// # Errors
    ///
    /// `SendError` when the trace is not accepted. A lack of room is not logged then.
    pub async fn accept(&self, trace: Trace<'_>) -> Result<Delivery, SendError> {
        let (record, tell) = self.record(trace);
        self.sink.send(self.to_topic(&record), 1, tell).await
    }

    /// As [`accept`](Self::accept), but ready when Kafka has the trace.
    ///
    /// # Errors
    ///
    /// `SendError` when Kafka does not have it, or perhaps not. Dropping the future of an accepted
    /// trace does not recall it.
    pub async fn export_and_wait(&self, trace: Trace<'_>) -> Result<Delivered, SendError> {
        self.accept(trace).await?.await
    }

    /// What is sent of a trace, what is counted of its end, and said if it fails.
    fn record(
        &self,
        mut trace: Trace<'_>,
    ) -> (TraceRecord, impl FnOnce(&Result<Delivered, SendError>) + Send + use<>) {
        self.filter.apply(&mut trace);
        let record = encode(&trace);
        let (trace_id, complaints) = (trace.trace_id.into_owned(), Arc::clone(&self.complaints));
        let count = self.meter.record(record.value.len());
        let tell = move |result: &Result<_, SendError>| {
            count(result);
            if let Err(error) = result {
                complaints
                    .tell(|| format!("failed to write trace {}: {error}", trace_id.escape_debug()));
            }
        };
        (record, tell)
    }

    fn to_topic<'a>(&'a self, record: &'a TraceRecord) -> Record<'a> {
        Record::to(&self.topic).key(&record.key).value(&record.value)
    }

    /// The topic that traces go to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The producer's figures.
    pub fn producer_metrics(&self) -> ProducerMetrics {
        self.sink.producer_metrics()
    }

    /// What became of every trace.
    pub fn ledger(&self) -> &Ledger {
        self.sink.ledger()
    }

    /// Lets nothing linger that was accepted so far, and waits for nothing.
    pub fn end_linger(&self) {
        self.sink.end_linger();
    }

    /// Sends the traces accepted so far without waiting for others, and is ready when all have ended.
    pub async fn flush(&self) {
        self.sink.flush().await;
    }

    /// Takes no more traces, delivers those accepted for up to `timeout`, and ends the rest; a shared
    /// producer goes on with those.
    pub async fn close(&self, timeout: Duration) {
        self.sink.close(timeout).await;
    }
}

impl BifrostConfig {
    /// The settings of the producer that publishes the traces.
    ///
    /// # Errors
    ///
    /// `Config` or `Producer`.
    pub fn producer(&self) -> Result<ProducerConfig, BifrostError> {
        self.check()?;
        let mut producer = producer_config(self).map_err(StartError::Config)?;
        producer.tls = self.tls();
        producer.sasl = self.login()?;
        Ok(producer)
    }

    /// Where traces go, and what happens at start if it is not there: what [`BifrostExporter::start`]
    /// looks at.
    pub fn probe_topics(&self) -> Vec<ProbeTopic> {
        let if_missing = match self.auto_create_topic && self.probe != Probe::Off {
            true => IfMissing::IsCreated(self.topic_creation.clone()),
            false => IfMissing::Fails,
        };
        vec![ProbeTopic { name: self.topic.clone(), if_missing }]
    }
}

impl From<Obstacle> for BifrostError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Tls(error) => Self::Tls(error),
            Obstacle::Connect(error) => Self::Connect(error),
            Obstacle::Topic(AdminError::Missing { topic }) => Self::NoTopic { topic },
            Obstacle::Topic(error) => Self::Topic(error),
        }
    }
}

/// The producer's settings for the connector's.
fn producer_config(config: &BifrostConfig) -> Result<ProducerConfig, crate::producer::ConfigError> {
    let mut producer = ProducerConfig::new(&config.brokers)?;
    producer.compression = config.compression.into();
    producer.batch_records_max = u32::try_from(config.batch_size).unwrap_or(u32::MAX);
    producer.linger = config.flush_interval;
    producer.record_size_max = TRACE_SIZE_MAX;
    producer.buffer_memory = BUFFER_SIZE;
    producer.when_full = config.when_full;
    producer.max_block = MAX_BLOCK;
    producer.allow_auto_create_topics = false;
    let shortest = producer.linger + producer.request_timeout;
    producer.delivery_timeout = producer.delivery_timeout.max(shortest);
    Ok(producer)
}
