//! The exporter: from a configuration to rows in Kafka.
//!
//! Decides how the gateway's settings become the producer's, and what is said about failures. What has
//! to be true before the first row is taken is `startup`'s to find out.

use super::DataType;
use super::config::{ConfigError, TensorZeroConfig};
use super::encode::{RowRecord, encode};
use super::meter::{self, Meter};
use super::receive::{Row, rows};
use crate::exporter::Probe;
use crate::exporter::complaints::Complaints;
use crate::exporter::ledger::Ledger;
use crate::exporter::receive::ReceiveError;
use crate::exporter::sink::{Delivery, Sink};
use crate::exporter::startup::{Obstacle, Startup};
use crate::producer::{
    AdminError, Delivered, IfMissing, ProbeTopic, Producer, ProducerConfig, ProducerMetrics,
    Record, SendError, StartError, TlsError,
};
use std::sync::Arc;
use std::time::Duration;

/// The largest row, in bytes as JSON. What a broker takes may be less, and counts after compression
/// (`message.max.bytes`).
pub const ROW_SIZE_MAX: usize = 20 << 20;

/// Bytes of rows that wait for Kafka.
const BUFFER_SIZE: usize = 4 * ROW_SIZE_MAX;

/// How long a row waits for room in the buffer.
const MAX_BLOCK: Duration = Duration::from_secs(5);

/// Publishes rows.
///
/// ```no_run
/// use ottla::exporter::tensorzero::{DataType, TensorZeroConfig, TensorZeroExporter};
///
/// # async fn run(body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let config = TensorZeroConfig::new(["localhost:9092"], "tensorzero");
/// let exporter = TensorZeroExporter::start(&config).await?;
/// for row in exporter.receive(DataType::ModelInference, body) {
///     exporter.export(&row?); // returns at once
/// }
/// exporter.close(std::time::Duration::from_secs(5)).await;
/// println!("{:?}", exporter.ledger().counts());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TensorZeroExporter {
    config: TensorZeroConfig,
    /// In the order of [`DataType::ALL`].
    topics: [Topic; DataType::ALL.len()],
    sink: Sink,
    complaints: Arc<Complaints>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    meter: Meter,
}

/// Why the exporter does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorZeroError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificates cannot be used.
    #[error("kafka: tls_ca_file: {0}")]
    Tls(#[source] TlsError),
    /// No broker answers as one.
    #[error("kafka: failed to connect: {0}")]
    Connect(#[source] AdminError),
    /// A topic cannot be looked at, not be created, or not be written to.
    #[error("kafka: {0}")]
    Topic(#[source] AdminError),
    /// The producer does not start.
    #[error("kafka: {0}")]
    Producer(#[from] StartError),
}

impl TensorZeroExporter {
    /// Checks the settings, the brokers and the topics, creates those that it may, and starts. Needs a
    /// Tokio runtime.
    ///
    /// # Errors
    ///
    /// `TensorZeroError`; see its variants. `Connect` and `Topic` only where the probe is required.
    pub async fn start(config: &TensorZeroConfig) -> Result<Self, TensorZeroError> {
        let producer_config = producer_config(config)?;
        let startup = Startup {
            who: "kafka: ",
            probe: config.probe,
            producer: &producer_config,
            topics: &config.probe_topics(),
        };
        let mut is_connected = true;
        let found = startup.run(|obstacle| {
            is_connected = matches!(obstacle, Obstacle::Topic(_));
            TensorZeroError::from(obstacle)
        });
        let found = found.await;
        if config.probe != Probe::Off {
            meter::on_connected(is_connected);
        }
        found?;
        Ok(Self::publishing_to(
            Sink::booking(Producer::start(producer_config)?, Arc::default()),
            config,
        ))
    }

    /// Publishes by a producer that others send by, too. Of the settings, `topic_prefix` and `key`
    /// count; brokers, batches and the buffer are the producer's. Its `record_size_max` should allow
    /// what rows may take.
    ///
    /// # Errors
    ///
    /// `Config` when the prefix makes no topics.
    pub fn over(producer: Producer, config: &TensorZeroConfig) -> Result<Self, TensorZeroError> {
        config.check_topics()?;
        Ok(Self::publishing_to(Sink::sharing(producer, Arc::default()), config))
    }

    fn publishing_to(sink: Sink, config: &TensorZeroConfig) -> Self {
        Self {
            topics: DataType::ALL.map(|data_type| {
                let name = data_type.topic(&config.topic_prefix);
                Topic { meter: Meter::new(data_type, &name), name: name.into() }
            }),
            sink,
            complaints: Arc::new(Complaints::new("kafka")),
            config: config.clone(),
        }
    }

    /// The rows of `body`, as [`rows`] has them; refused ones are counted.
    pub fn receive<'a>(
        &self,
        data_type: DataType,
        body: &'a [u8],
    ) -> impl Iterator<Item = Result<Row<'a>, ReceiveError>> + Send + use<'a> {
        rows(data_type, body).inspect(|row| {
            if row.is_err() {
                meter::on_refused();
            }
        })
    }

    /// Encodes and hands over one row, to the topic of its kind. Returns at once, and is no trouble to
    /// the inference: a row that finds the buffer full is dropped, or older ones are
    /// ([`WhenFull`](crate::producer::WhenFull)). What fails is logged and counted.
    pub fn export(&self, row: &Row<'_>) {
        let encoded = encode(row, self.config.key);
        self.sink.offer(self.to_topic(row, &encoded), 1, self.tell(row, &encoded));
    }

    /// As [`export`](Self::export), but ready when the row is accepted: at once, unless the buffer is
    /// full and records wait for room. The result is ready when Kafka has it.
    ///
    /// # Errors
    ///
    /// `SendError` when the row is not accepted. A lack of room is neither logged nor counted then.
    pub async fn accept(&self, row: &Row<'_>) -> Result<Delivery, SendError> {
        let encoded = encode(row, self.config.key);
        self.sink.send(self.to_topic(row, &encoded), 1, self.tell(row, &encoded)).await
    }

    /// As [`accept`](Self::accept), but ready when Kafka has the row.
    ///
    /// # Errors
    ///
    /// `SendError` when Kafka does not have it, or perhaps not. Dropping the future of an accepted row
    /// does not recall it.
    pub async fn export_and_wait(&self, row: &Row<'_>) -> Result<Delivered, SendError> {
        self.accept(row).await?.await
    }

    fn topic_of(&self, row: &Row<'_>) -> &Topic {
        &self.topics[row.data_type() as usize]
    }

    fn to_topic<'a>(&'a self, row: &Row<'_>, encoded: &'a RowRecord<'_>) -> Record<'a> {
        let mut record = Record::to(&self.topic_of(row).name).value(encoded.value.as_bytes());
        record.key = encoded.key.map(str::as_bytes);
        record
    }

    /// What is counted of a row's end, and said if it fails.
    fn tell(
        &self,
        row: &Row<'_>,
        encoded: &RowRecord<'_>,
    ) -> impl FnOnce(&Result<Delivered, SendError>) + Send + use<> {
        let topic = self.topic_of(row);
        let (count, complaints) = (topic.meter.row(), Arc::clone(&self.complaints));
        let (name, key) = (Arc::clone(&topic.name), encoded.key.unwrap_or_default().to_owned());
        move |result: &Result<_, SendError>| {
            count(result);
            if let Err(error) = result {
                let key = key.escape_debug();
                complaints.tell(|| format!("failed to write row {key} to {name}: {error}"));
            }
        }
    }

    /// The exporter's settings.
    pub const fn config(&self) -> &TensorZeroConfig {
        &self.config
    }

    /// The producer's figures.
    pub fn producer_metrics(&self) -> ProducerMetrics {
        self.sink.producer_metrics()
    }

    /// What became of every row.
    pub fn ledger(&self) -> &Ledger {
        self.sink.ledger()
    }

    /// Lets nothing linger that was accepted so far, and waits for nothing.
    pub fn end_linger(&self) {
        self.sink.end_linger();
    }

    /// Sends the rows accepted so far without waiting for others, and is ready when all have ended.
    pub async fn flush(&self) {
        self.sink.flush().await;
    }

    /// Takes no more rows, delivers those accepted for up to `timeout`, and ends the rest; a shared
    /// producer goes on with those.
    pub async fn close(&self, timeout: Duration) {
        self.sink.close(timeout).await;
    }
}

fn producer_config(config: &TensorZeroConfig) -> Result<ProducerConfig, ConfigError> {
    let mut producer = config.producer()?;
    producer.record_size_max = ROW_SIZE_MAX;
    producer.buffer_memory = BUFFER_SIZE;
    producer.max_block = MAX_BLOCK;
    let shortest = producer.linger + producer.request_timeout;
    producer.delivery_timeout = producer.delivery_timeout.max(shortest);
    Ok(producer)
}

impl TensorZeroConfig {
    /// Where rows go, and what happens at start if a topic is not there: what
    /// [`TensorZeroExporter::start`] looks at.
    pub fn probe_topics(&self) -> Vec<ProbeTopic> {
        let if_missing = match self.auto_create_topics && self.probe != Probe::Off {
            true => IfMissing::IsCreated(self.topic_creation.clone()),
            false => IfMissing::BrokerDecides,
        };
        let topic = |data_type: DataType| ProbeTopic {
            name: data_type.topic(&self.topic_prefix),
            if_missing: if_missing.clone(),
        };
        DataType::ALL.map(topic).into()
    }
}

impl From<Obstacle> for TensorZeroError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Tls(error) => Self::Tls(error),
            Obstacle::Connect(error) => Self::Connect(error),
            Obstacle::Topic(error) => Self::Topic(error),
        }
    }
}
