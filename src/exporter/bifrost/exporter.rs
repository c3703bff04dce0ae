//! The exporter: from a configuration to traces in Kafka.
//!
//! Decides what has to be true before the first trace is taken (the brokers answer, the topic is
//! there), how the connector's settings become the producer's, and what is said about failures.

use super::config::{BifrostConfig, ConfigError};
use super::encode::encode;
use super::filter::Filter;
use super::model::Trace;
use crate::exporter::ledger::Ledger;
use crate::exporter::sink::{Delivery, Sink};
use crate::producer::{
    Admin, AdminError, Producer, ProducerConfig, Record, SendError, StartError, TlsError,
};
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
///     exporter.export(trace?).await?; // accepted; await the result to know it delivered
/// }
/// exporter.close(std::time::Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BifrostExporter {
    topic: String,
    filter: Filter,
    sink: Sink,
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
    /// The topic cannot be looked at, or not be created.
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
    /// `BifrostError`; see its variants.
    pub async fn start(config: &BifrostConfig) -> Result<Self, BifrostError> {
        let producer_config = config.producer()?;
        ensure_topic(config, &producer_config).await?;
        Ok(Self {
            topic: config.topic.clone(),
            filter: Filter::new(config),
            sink: Sink::new(Producer::start(producer_config)?),
        })
    }

    /// Filters, encodes and hands over one trace. Ready when it is accepted: at once, unless the
    /// buffer is full.
    ///
    /// # Errors
    ///
    /// `SendError` when the trace is not accepted. Failures, then and later, are also logged and
    /// counted.
    pub async fn export(&self, mut trace: Trace<'_>) -> Result<Delivery, SendError> {
        self.filter.apply(&mut trace);
        let record = encode(&trace);
        let trace_id = trace.trace_id.into_owned();
        let tell = move |result: &Result<_, SendError>| {
            if let Err(error) = result {
                tracing::error!(
                    "kafka plugin: failed to write trace {}: {error}",
                    trace_id.escape_debug()
                );
            }
        };
        let record = Record::to(&self.topic).key(&record.key).value(&record.value);
        self.sink.send(record, 1, tell).await
    }

    /// The topic that traces go to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What became of every trace.
    pub fn ledger(&self) -> &Ledger {
        self.sink.ledger()
    }

    /// Takes no more traces, delivers those accepted for up to `timeout`, and ends the rest.
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
}

/// The producer's settings for the connector's.
fn producer_config(config: &BifrostConfig) -> Result<ProducerConfig, crate::producer::ConfigError> {
    let mut producer = ProducerConfig::new(&config.brokers)?;
    producer.compression = config.compression.into();
    producer.batch_records_max = u32::try_from(config.batch_size).unwrap_or(u32::MAX);
    producer.linger = config.flush_interval;
    producer.record_size_max = TRACE_SIZE_MAX;
    producer.buffer_memory = BUFFER_SIZE;
    producer.max_block = MAX_BLOCK;
    producer.allow_auto_create_topics = false;
    let shortest = producer.linger + producer.request_timeout;
    producer.delivery_timeout = producer.delivery_timeout.max(shortest);
    Ok(producer)
}

async fn ensure_topic(
    config: &BifrostConfig,
    producer: &ProducerConfig,
) -> Result<(), BifrostError> {
    let mut admin = Admin::connect(producer).await.map_err(|error| match error {
        AdminError::Tls(error) => BifrostError::Tls(error),
        error => BifrostError::Connect(error),
    })?;
    let found = admin.partition_count(&config.topic).await.map_err(BifrostError::Topic)?;
    match found {
        Some(_) => Ok(()),
        None if config.auto_create_topic => {
            admin.create_topic(&config.topic, None, None).await.map_err(BifrostError::Topic)
        }
        None => Err(BifrostError::NoTopic { topic: config.topic.clone() }),
    }
}
