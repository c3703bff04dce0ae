//! The OpenTelemetry SDK of Rust into the embedded broker: spans, logs and metrics by its own processors,
//! from threads that have no runtime and from the only thread of one.

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Status, Tracer, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use ottla::broker::{BrokerConfig, EmbeddedBroker, ProduceFault};
use ottla::exporter::otlp::{
    Encoding, Format, Grouping, Metadata, OtlpConfig, OtlpExporter, Request, Signal,
};
use ottla::exporter::sdk::KafkaExporter;
use ottla::producer::ProducerConfig;
use prost::Message;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A broker on threads of its own: it answers when the test's thread stands still.
struct Elsewhere {
    broker: EmbeddedBroker,
    runtime: Option<Runtime>,
}

impl Elsewhere {
    fn start() -> Self {
        let started = thread::spawn(|| {
            let runtime =
                Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let broker = runtime.block_on(EmbeddedBroker::start(BrokerConfig::default())).unwrap();
            Self { broker, runtime: Some(runtime) }
        });
        started.join().unwrap()
    }

    fn config(&self) -> OtlpConfig {
        OtlpConfig::new(ProducerConfig::new(self.broker.bootstrap()).unwrap())
    }

    /// Values, keys and headers of a topic's records, in an order of their own.
    fn records(&self, topic: &str) -> Vec<Stored> {
        let accepted = self.broker.accepted(topic).into_iter();
        let mut stored: Vec<_> = accepted
            .map(|record| {
                let headers = record.headers.into_iter();
                let headers = headers.map(|(name, value)| (name, value.unwrap().to_vec()));
                (
                    record.value.unwrap().to_vec(),
                    record.key.map(|key| key.to_vec()),
                    headers.collect(),
                )
            })
            .collect();
        stored.sort();
        stored
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

type Stored = (Vec<u8>, Option<Vec<u8>>, Vec<(String, Vec<u8>)>);

/// Keeps each request that the SDK's own conversions make of what an exporter is given.
#[derive(Debug)]
struct Recorded {
    exporter: KafkaExporter,
    resource: ResourceAttributesWithSchema,
    requests: Requests,
}

type Requests = Arc<Mutex<Vec<Vec<u8>>>>;

impl Recorded {
    fn new(exporter: &KafkaExporter) -> (Self, Requests) {
        let requests = Requests::default();
        let resource = ResourceAttributesWithSchema::default();
        (Self { exporter: exporter.clone(), resource, requests: Arc::clone(&requests) }, requests)
    }

    fn keep(&self, request: &impl Message) {
        self.requests.lock().unwrap().push(request.encode_to_vec());
    }
}

impl SpanExporter for Recorded {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch.clone(), &self.resource);
        self.keep(&ExportTraceServiceRequest { resource_spans });
        SpanExporter::export(&self.exporter, batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        SpanExporter::shutdown_with_timeout(&self.exporter, timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
        SpanExporter::set_resource(&mut self.exporter, resource);
    }
}

impl LogExporter for Recorded {
    fn export(&self, batch: LogBatch<'_>) -> impl Future<Output = OTelSdkResult> + Send {
        let resource_logs = group_logs_by_resource_and_scope(&batch, &self.resource);
        self.keep(&ExportLogsServiceRequest { resource_logs });
        LogExporter::export(&self.exporter, batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        LogExporter::shutdown_with_timeout(&self.exporter, timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
        LogExporter::set_resource(&mut self.exporter, resource);
    }
}

impl PushMetricExporter for Recorded {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        self.keep(&ExportMetricsServiceRequest::from(metrics));
        PushMetricExporter::export(&self.exporter, metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        PushMetricExporter::force_flush(&self.exporter)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        PushMetricExporter::shutdown_with_timeout(&self.exporter, timeout)
    }

    fn temporality(&self) -> Temporality {
        PushMetricExporter::temporality(&self.exporter)
    }
}

/// What the same settings put on this topic when the requests come from outside.
fn by_otlp(config: &OtlpConfig, signal: Signal, requests: &Requests) -> Vec<Stored> {
    let elsewhere = Elsewhere::start();
    let mut config = config.clone();
    config.producer = elsewhere.config().producer;
    let requests: Vec<_> = requests.lock().unwrap().drain(..).collect();
    let sent = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let exporter = OtlpExporter::start(config).await.unwrap();
            for body in requests {
                let (encoding, body) = (Encoding::Protobuf, body.into());
                let request = Request { signal, encoding, body, metadata: Metadata::default() };
                exporter.accept(&request, Duration::from_secs(10)).await.unwrap();
            }
            exporter.close(Duration::from_secs(10)).await;
        });
    });
    sent.join().unwrap();
    elsewhere.records(match signal {
        Signal::Traces => "otlp_traces",
        Signal::Metrics => "otlp_metrics",
        Signal::Logs => "otlp_logs",
    })
}

fn resource() -> Resource {
    Resource::builder_empty()
        .with_service_name("checkout")
        .with_attribute(KeyValue::new("region", "eu-1"))
        .build()
}

fn scope(name: &'static str) -> InstrumentationScope {
    InstrumentationScope::builder(name).with_version("1.2").with_schema_url("https://s/1").build()
}

/// Ends a span with everything that a span may have.
fn end_span(tracers: &SdkTracerProvider, scope_name: &'static str, name: String) {
    let mut span = tracers.tracer_with_scope(scope(scope_name)).start(name);
    span.set_attributes([KeyValue::new("a", 1), KeyValue::new("b", 0.5), KeyValue::new("c", "x")]);
    span.add_event("event", vec![KeyValue::new("d", true)]);
    span.add_link(span.span_context().clone(), vec![KeyValue::new("e", "link")]);
    span.set_status(Status::error("no"));
    span.end();
}

#[tokio::test(flavor = "current_thread")]
async fn spans_of_a_batch_processor_are_what_otlp_would_have_written() {
    let elsewhere = Elsewhere::start();
    let mut config = elsewhere.config();
    config.grouping.traces = Grouping::TraceId;
    config.record_headers = vec![("from".to_owned(), "sdk".to_owned())];
    let kafka = KafkaExporter::start(config.clone()).await.unwrap();
    let (recorded, requests) = Recorded::new(&kafka);
    drop(kafka);
    let tracers = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(recorded)
        .build();
    for number in 0..60 {
        end_span(&tracers, ["one", "two", "three"][number % 3], format!("span {number}"));
    }
    // The runtime's only thread stands still here.
    tracers.shutdown().unwrap();
    let records = elsewhere.records("otlp_traces");
    assert_eq!(records.len(), 60);
    assert_eq!(records, by_otlp(&config, Signal::Traces, &requests));
    let request = ExportTraceServiceRequest::decode(&records[0].0[..]).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    let hex: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(records[0].1.as_deref(), Some(hex.as_bytes()));
    assert_eq!(request.resource_spans[0].resource.as_ref().unwrap().attributes.len(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_span_of_a_simple_processor_is_in_kafka_when_it_has_ended() {
    let elsewhere = Elsewhere::start();
    let mut config = elsewhere.config();
    config.format = Format::Json;
    let kafka = KafkaExporter::start(config.clone()).await.unwrap();
    let (recorded, requests) = Recorded::new(&kafka);
    let tracers = SdkTracerProvider::builder().with_simple_exporter(recorded).build();
    for number in 1..=3 {
        end_span(&tracers, "one", format!("span {number}"));
        assert_eq!(elsewhere.records("otlp_traces").len(), number);
    }
    tracers.shutdown().unwrap();
    let records = elsewhere.records("otlp_traces");
    assert!(records[0].0.starts_with(b"{\"resourceSpans\":["));
    assert_eq!(records, by_otlp(&config, Signal::Traces, &requests));
}

#[test]
fn logs_are_what_otlp_would_have_written_except_our_own() {
    let elsewhere = Elsewhere::start();
    let mut config = elsewhere.config();
    config.grouping.logs = Grouping::Resource;
    let kafka = KafkaExporter::start_blocking(config.clone()).unwrap();
    let (recorded, requests) = Recorded::new(&kafka);
    let loggers = SdkLoggerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(recorded)
        .build();
    let logger = loggers.logger_with_scope(scope("one"));
    for number in 0..20 {
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Warn);
        record.set_severity_text("WARN");
        record.set_body(AnyValue::from(format!("line {number}")));
        record.add_attribute("number", number);
        logger.emit(record);
    }
    loggers.force_flush().unwrap();
    let records = elsewhere.records("otlp_logs");
    assert_eq!(records, by_otlp(&config, Signal::Logs, &requests));
    let keys = records.iter().map(|(_, key, _)| key.as_ref().unwrap().len());
    assert!(keys.into_iter().all(|size| size > 0));
    assert_eq!(kafka.exporter().unwrap().counts().delivered, 20);

    for target in ["ottla", "ottla::producer", "ottlabs"] {
        let mut record = logger.create_log_record();
        record.set_target(target);
        logger.emit(record);
        loggers.force_flush().unwrap();
    }
    loggers.shutdown().unwrap();
    assert_eq!(kafka.exporter().unwrap().counts().delivered, 21);
    for (target, taken) in [("ottla", false), ("ottla::producer", false), ("ottlabs", true)] {
        assert_eq!(kafka.event_enabled(Severity::Error, target, None), taken);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn metrics_are_what_otlp_would_have_written() {
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let elsewhere = Elsewhere::start();
        let config = elsewhere.config();
        let kafka = KafkaExporter::start(config.clone()).await.unwrap();
        let (recorded, requests) = Recorded::new(&kafka.with_temporality(temporality));
        let meters = SdkMeterProvider::builder()
            .with_resource(resource())
            .with_periodic_exporter(recorded)
            .build();
        let meter = meters.meter_with_scope(scope("one"));
        let (sums, sizes) = (meter.u64_counter("sums").build(), meter.f64_histogram("s").build());
        let gauge = meter.i64_gauge("gauge").with_unit("s").build();
        for round in 1..=2 {
            for number in 0..5 {
                sums.add(number, &[KeyValue::new("path", "/a")]);
                sizes.record(0.5, &[]);
                gauge.record(-7, &[KeyValue::new("path", "/b")]);
            }
            meters.force_flush().unwrap();
            assert_eq!(elsewhere.records("otlp_metrics").len(), round);
        }
        meters.shutdown().unwrap();
        let records = elsewhere.records("otlp_metrics");
        assert_eq!(records, by_otlp(&config, Signal::Metrics, &requests));
        let request = ExportMetricsServiceRequest::decode(&records[0].0[..]).unwrap();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let sum = metrics.iter().find_map(|metric| match &metric.data {
            Some(Data::Sum(sum)) => Some(sum.aggregation_temporality()),
            _ => None,
        });
        let expected = match temporality {
            Temporality::Delta => AggregationTemporality::Delta,
            _ => AggregationTemporality::Cumulative,
        };
        assert_eq!(sum, Some(expected));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_shutdown_without_a_broker_ends_in_time_and_says_so() {
    let elsewhere = Elsewhere::start();
    elsewhere.broker.create_topic("otlp_traces", 1).unwrap();
    elsewhere.broker.inject("otlp_traces", 0, ProduceFault::DelayAnswer(Duration::from_secs(60)));
    let kafka = KafkaExporter::start(elsewhere.config()).await.unwrap();
    let patience = Duration::from_millis(100);
    let exporter = kafka.exporter().unwrap();
    let tracers =
        SdkTracerProvider::builder().with_simple_exporter(kafka.with_timeout(patience)).build();
    end_span(&tracers, "one", "span".to_owned());
    assert_eq!(exporter.counts().pending, 1);
    let ended = tracers.shutdown_with_timeout(patience);
    assert!(matches!(ended, Err(OTelSdkError::InternalFailure(told)) if told.contains("Timeout")));
    // The last to be shut down gives up what it cannot wait for.
    assert_eq!((exporter.counts().pending, exporter.counts().unknown), (0, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_not_in_kafka_is_an_error_that_says_why() {
    let elsewhere = Elsewhere::start();
    let mut config = elsewhere.config();
    config.producer.record_size_max = 1000;
    config.oversize.truncate = false;
    let kafka = KafkaExporter::start(config).await.unwrap();
    let tracers = SdkTracerProvider::builder().with_batch_exporter(kafka).build();
    end_span(&tracers, "one", "small".to_owned());
    end_span(&tracers, "one", "large".repeat(1000));
    let error = tracers.force_flush().unwrap_err().to_string();
    assert!(error.contains("1 items of traces are not in Kafka: span "), "{error}");
    assert_eq!(elsewhere.records("otlp_traces").len(), 1);
}

#[tokio::test]
async fn clones_end_one_by_one_and_the_last_closes() {
    let elsewhere = Elsewhere::start();
    let first = KafkaExporter::start(elsewhere.config()).await.unwrap();
    let second = first.clone();
    let exporter = first.exporter().unwrap();
    SpanExporter::shutdown(&first).unwrap();
    assert!(matches!(SpanExporter::shutdown(&first), Err(OTelSdkError::AlreadyShutdown)));
    assert!(matches!(SpanExporter::force_flush(&first), Err(OTelSdkError::AlreadyShutdown)));
    let refused = SpanExporter::export(&first, Vec::new()).await;
    assert!(matches!(refused, Err(OTelSdkError::AlreadyShutdown)));

    SpanExporter::export(&second, Vec::new()).await.unwrap();
    assert_eq!(elsewhere.records("otlp_traces").len(), 0);
    SpanExporter::force_flush(&second).unwrap();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(second).build();
    meters.meter("one").u64_counter("n").build().add(1, &[]);
    meters.shutdown().unwrap();
    assert_eq!(exporter.counts().delivered, 1);
    let body = elsewhere.records("otlp_metrics").remove(0).0.into();
    let (signal, encoding) = (Signal::Metrics, Encoding::Protobuf);
    let request = Request { signal, encoding, body, metadata: Metadata::default() };
    let closed = exporter.accept(&request, Duration::ZERO).await;
    assert_eq!(
        closed.unwrap_err().to_string(),
        "shutting down: send the request elsewhere, or again later"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_exporter_of_another_is_shared_and_left_open() {
    let elsewhere = Elsewhere::start();
    let exporter = Arc::new(OtlpExporter::start(elsewhere.config()).await.unwrap());
    for round in 1..=2 {
        let kafka = KafkaExporter::over(Arc::clone(&exporter)).unwrap();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(kafka).build();
        end_span(&tracers, "one", "span".to_owned());
        tracers.shutdown().unwrap();
        assert_eq!(elsewhere.records("otlp_traces").len(), round);
    }
    exporter.close(Duration::from_secs(5)).await;
    assert_eq!(exporter.counts().delivered, 2);
}

#[tokio::test(flavor = "current_thread")]
async fn an_exporter_on_a_runtime_that_stands_still_keeps_nobody_for_ever() {
    let elsewhere = Elsewhere::start();
    let exporter = Arc::new(OtlpExporter::start(elsewhere.config()).await.unwrap());
    let patience = Duration::from_millis(50);
    let kafka = KafkaExporter::over(Arc::clone(&exporter)).unwrap().with_timeout(patience);
    let tracers = SdkTracerProvider::builder().with_simple_exporter(kafka).build();
    end_span(&tracers, "one", "span".to_owned());
    assert!(tracers.shutdown_with_timeout(patience).is_err());
    assert_eq!(exporter.counts().pending, 1);
    exporter.flush().await;
    assert_eq!(exporter.counts().delivered, 1);
}

#[test]
fn what_cannot_start_says_why() {
    let mut producer = ProducerConfig::new(["127.0.0.1:1"]).unwrap();
    producer.connection_setup_timeout = Duration::from_millis(50);
    let error = KafkaExporter::start_blocking(OtlpConfig::new(producer)).unwrap_err().to_string();
    assert!(error.starts_with("kafka exporter: failed to connect"), "{error}");
}
