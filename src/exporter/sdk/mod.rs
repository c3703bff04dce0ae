//! Exporters for the OpenTelemetry SDK of Rust: what a program measures goes to Kafka without a
//! Collector.
//!
//! Decides how the SDK's calls become requests, and what the SDK is told of their ends. A request is
//! the one that an SDK's OTLP exporter would have sent, and takes the same way as one that came from
//! outside: keys, topics, cutting and formats are those of [`OtlpExporter`].
//!
//! Spec: <https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-exporter>, and the same of logs and
//! metrics.

mod client;

use super::otlp::{
    Encoding, ExportError, Metadata, OtlpConfig, OtlpError, OtlpExporter, Request, Signal,
};
use client::Client;
use opentelemetry::logs::Severity;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the SDK waits for Kafka to have a batch, unless told otherwise; OTLP's default.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// For [`PushMetricExporter::force_flush`] and its like, which are given no time: the SDK's default.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// An exporter of spans, logs and metrics for the OpenTelemetry SDK.
///
/// Clones share a producer, each for one provider:
///
/// ```no_run
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use ottla::exporter::otlp::OtlpConfig;
/// use ottla::exporter::sdk::KafkaExporter;
/// use ottla::producer::ProducerConfig;
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let config = OtlpConfig::new(ProducerConfig::new(["localhost:9092"])?);
/// let kafka = KafkaExporter::start_blocking(config)?;
/// let tracers = SdkTracerProvider::builder().with_batch_exporter(kafka.clone()).build();
/// let loggers = SdkLoggerProvider::builder().with_batch_exporter(kafka.clone()).build();
/// let meters = SdkMeterProvider::builder().with_periodic_exporter(kafka).build();
/// // ...
/// tracers.shutdown()?;
/// loggers.shutdown()?;
/// meters.shutdown()?;
/// # Ok(())
/// # }
/// ```
///
/// * An export has succeeded when Kafka has every record of it. What takes longer than the timeout is
///   told as such, and is still delivered by the producer's own deadline if it was accepted.
/// * Works on a thread of its own, so from any thread, with or without a Tokio runtime. A provider's
///   `shutdown` blocks its caller, but a runtime that stands still meanwhile disturbs nothing here.
/// * Shutting down flushes. The last clone to be shut down or dropped closes the producer.
/// * Telemetry is suppressed on that thread, and logs of `ottla` itself are not taken: what happens
///   while exporting is never exported.
#[derive(Debug)]
pub struct KafkaExporter {
    /// `None` after its shutdown.
    client: Mutex<Option<Arc<Client>>>,
    resource: Arc<ResourceAttributesWithSchema>,
    timeout: Duration,
    temporality: Temporality,
}

/// Why an exporter does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdkError {
    /// What it sends by does not start.
    #[error(transparent)]
    Exporter(#[from] OtlpError),
    /// The system has no thread for it, or no sockets.
    #[error("kafka exporter: cannot start a thread: {0}")]
    Thread(io::Error),
}

impl KafkaExporter {
    /// Starts a thread, and on it an exporter, when its brokers have said who they are. May be awaited
    /// on any executor.
    ///
    /// # Errors
    ///
    /// `SdkError`; see its variants.
    pub async fn start(config: OtlpConfig) -> Result<Self, SdkError> {
        let (tell, told) = oneshot::channel();
        Client::start(config, |started| drop(tell.send(started)))?;
        told.await.map_or_else(|_| Err(ended_early()), |client| Ok(Self::of(client?)))
    }

    /// The same, blocking the present thread. A broker that runs on that thread cannot answer.
    ///
    /// # Errors
    ///
    /// `SdkError`; see its variants.
    pub fn start_blocking(config: OtlpConfig) -> Result<Self, SdkError> {
        let (tell, told) = mpsc::sync_channel(1);
        Client::start(config, move |started| drop(tell.send(started)))?;
        told.recv().map_or_else(|_| Err(ended_early()), |client| Ok(Self::of(client?)))
    }

    /// Sends by an exporter that was started elsewhere, and is closed by whoever did that. Its
    /// producer stays on the runtime where it was started, whose telemetry is not suppressed.
    ///
    /// # Errors
    ///
    /// `Thread`.
    pub fn over(exporter: Arc<OtlpExporter>) -> Result<Self, SdkError> {
        let (tell, told) = mpsc::sync_channel(1);
        Client::over(exporter, move |started| drop(tell.send(started)))?;
        told.recv().map_or_else(|_| Err(ended_early()), |client| Ok(Self::of(client?)))
    }

    fn of(client: Client) -> Self {
        Self {
            client: Mutex::new(Some(Arc::new(client))),
            resource: Arc::default(),
            timeout: EXPORT_TIMEOUT,
            temporality: Temporality::default(),
        }
    }

    /// How long the SDK's threads wait for Kafka to have a batch; 10 s by default.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What metrics count since; the start (`Cumulative`) by default.
    #[must_use]
    pub const fn with_temporality(mut self, temporality: Temporality) -> Self {
        self.temporality = temporality;
        self
    }

    /// What it sends by: its counts, ledgers and settings. `None` after its shutdown.
    pub fn exporter(&self) -> Option<Arc<OtlpExporter>> {
        self.client().as_ref().map(|client| Arc::clone(client.exporter()))
    }

    fn client(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, from now on, and is ready when all of it has ended. One without items is no
    /// record.
    fn send(
        &self,
        signal: Signal,
        body: Vec<u8>,
    ) -> impl Future<Output = OTelSdkResult> + Send + use<> {
        let patience = self.timeout;
        let sent = self.client().as_ref().map(|client| {
            let exporter = Arc::clone(client.exporter());
            client.run(async move {
                let (encoding, body) = (Encoding::Protobuf, body.into());
                let request = Request { signal, encoding, body, metadata: Metadata::default() };
                let published = publish(&exporter, &request, patience);
                let in_time = timeout(patience, published).await;
                in_time.unwrap_or(Err(OTelSdkError::Timeout(patience)))
            })
        });
        async {
            match sent {
                Some(sent) => sent.await.unwrap_or(Err(OTelSdkError::AlreadyShutdown)),
                None => Err(OTelSdkError::AlreadyShutdown),
            }
        }
    }

    fn flush(&self) -> OTelSdkResult {
        let client = self.client().as_ref().map(Arc::clone);
        client.ok_or(OTelSdkError::AlreadyShutdown)?.flush(FLUSH_TIMEOUT)
    }

    fn end(&self, timeout: Duration) -> OTelSdkResult {
        let client = self.client().take().ok_or(OTelSdkError::AlreadyShutdown)?;
        Client::shut_down(client, timeout)
    }
}

/// Another exporter by the same producer, for another provider.
impl Clone for KafkaExporter {
    fn clone(&self) -> Self {
        Self {
            client: Mutex::new(self.client().clone()),
            resource: Arc::clone(&self.resource),
            timeout: self.timeout,
            temporality: self.temporality,
        }
    }
}

impl SpanExporter for KafkaExporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        self.send(Signal::Traces, request.encode_to_vec())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.end(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = Arc::new(resource.into());
    }
}

impl LogExporter for KafkaExporter {
    fn export(&self, batch: LogBatch<'_>) -> impl Future<Output = OTelSdkResult> + Send {
        // Batches come with what `event_enabled` was not asked of.
        let taken = batch.iter().filter(|(log, _)| !log.target().is_some_and(|it| is_ours(it)));
        let taken: Vec<_> = taken.collect();
        let batch = LogBatch::new(&taken);
        let resource_logs = group_logs_by_resource_and_scope(&batch, &self.resource);
        let request = ExportLogsServiceRequest { resource_logs };
        self.send(Signal::Logs, request.encode_to_vec())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.end(timeout)
    }

    fn event_enabled(&self, _level: Severity, target: &str, _name: Option<&str>) -> bool {
        !is_ours(target)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = Arc::new(resource.into());
    }
}

impl PushMetricExporter for KafkaExporter {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        self.send(Signal::Metrics, ExportMetricsServiceRequest::from(metrics).encode_to_vec())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.end(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

/// Sends a request, and waits until every record of it has ended. An error tells how many items are
/// not in Kafka, and why the first is not.
async fn publish(
    exporter: &OtlpExporter,
    request: &Request<'_>,
    patience: Duration,
) -> OTelSdkResult {
    let taken = exporter.accept(request, patience).await.map_err(|error| match error {
        ExportError::Closed => OTelSdkError::AlreadyShutdown,
        error => OTelSdkError::InternalFailure(error.to_string()),
    })?;
    // The SDK exports one batch at a time, and waits.
    exporter.end_linger();
    let ended = taken.end().await;
    match ended.because {
        Some(because) => Err(OTelSdkError::InternalFailure(format!(
            "{} items of {} are not in Kafka: {because}",
            ended.lost,
            request.signal.name()
        ))),
        None => Ok(()),
    }
}

/// Whether a log is of this crate. Failures to export that are exported fail again.
fn is_ours(target: &str) -> bool {
    target.split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

fn ended_early() -> SdkError {
    SdkError::Thread(io::Error::other("it ended before it had started"))
}
