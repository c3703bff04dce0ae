//! What a program measures, to Kafka: spans, logs and metrics by the OpenTelemetry SDK.
//!
//! ```sh
//! ottla broker &
//! cargo run --example sdk --features otel-sdk -- localhost:9092
//! ```

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ottla::exporter::otlp::{Grouping, OtlpConfig};
use ottla::exporter::sdk::KafkaExporter;
use ottla::producer::ProducerConfig;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = OtlpConfig::new(ProducerConfig::new([brokers])?);
    config.grouping.traces = Grouping::TraceId;
    let kafka = KafkaExporter::start_blocking(config)?;

    let resource = Resource::builder().with_service_name("example").build();
    let tracers = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(kafka.clone())
        .build();
    let loggers = SdkLoggerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(kafka.clone())
        .build();
    let meters = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_periodic_exporter(kafka.clone())
        .build();

    let mut span = tracers.tracer("example").start("a piece of work");
    let logger = loggers.logger("example");
    let mut record = logger.create_log_record();
    record.set_severity_number(Severity::Info);
    record.set_body(AnyValue::from("working"));
    logger.emit(record);
    let done = meters.meter("example").u64_counter("pieces").build();
    done.add(1, &[KeyValue::new("kind", "example")]);
    span.end();

    tracers.shutdown()?;
    loggers.shutdown()?;
    meters.shutdown()?;
    if let Some(exporter) = kafka.exporter() {
        println!("{} items are in Kafka", exporter.counts().delivered);
    }
    Ok(())
}
