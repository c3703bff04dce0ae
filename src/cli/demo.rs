//! `ottla demo`: a trace's whole way, in seconds and without anything else installed.
//!
//! What runs is the real thing: the exporter and producer of `ottla start`, TCP, a broker that
//! checks every batch as Kafka does, and a reader that fetches what was stored.

use super::reader::TopicReader;
use super::sources::DEV_TOPIC;
use super::terminal::{Style, harmless, say};
use super::{Exit, waterfall};
use crate::broker::{BrokerConfig, EmbeddedBroker};
use crate::exporter::bifrost::{
    BifrostConfig, BifrostExporter, FilterMode, PluginSpanFilter, traces,
};
use crate::producer::{Admin, Delivered, ProducerConfig, TopicCreation};
use crate::protocol::Codec;
use clap::Args;
use std::time::Duration;

/// Two requests to an LLM gateway: one answered, one refused by the first provider.
const SAMPLE: &[u8] = include_bytes!("demo/traces.ndjson");

/// Nothing of the demo takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) async fn run(self) -> Result<(), Exit> {
        let style = Style::of_stdout();
        let step =
            |number: u8, text: &str| say(&format!("{} {text}", style.green(&format!("{number}."))));

        let broker = EmbeddedBroker::start(BrokerConfig::default()).await;
        let broker = broker.map_err(|error| Exit::new(Exit::FAILED, error))?;
        let bootstrap = broker.bootstrap();
        step(1, &format!("a Kafka broker, in this process, on {}", bootstrap.join(",")));

        let mut admin = Admin::connect(&producer_config(&bootstrap)?).await?;
        admin.create_topic(DEV_TOPIC, &TopicCreation::default()).await?;
        let config = exporter_config(bootstrap.clone());
        let exporter = BifrostExporter::start(&config).await;
        let exporter = exporter.map_err(|error| Exit::new(Exit::FAILED, error))?;
        step(2, &format!("topic {DEV_TOPIC:?} created, over the Kafka protocol"));

        let delivered = publish(&exporter).await?;
        step(
            3,
            "two traces of an LLM gateway: filtered, encoded, batched, compressed, acknowledged",
        );
        say("   left out: the spans of plugin \"logging\", and every header but x-tenant-id");
        for (trace_id, Delivered { partition, offset, .. }) in &delivered {
            let offset = offset.map_or_else(String::new, |offset| format!(" offset {offset}"));
            say(&format!("   {} is at partition {partition}{offset}", harmless(trace_id)));
        }
        exporter.close(PATIENCE).await;

        step(4, "read back from the topic, each batch checked:");
        show(&bootstrap, delivered.len(), style).await?;
        broker.shutdown().await;
        suggest(style);
        Ok(())
    }
}

fn producer_config(brokers: &[String]) -> Result<ProducerConfig, Exit> {
    ProducerConfig::new(brokers).map_err(|error| Exit::new(Exit::FAILED, error))
}

fn exporter_config(brokers: Vec<String>) -> BifrostConfig {
    let mut config = BifrostConfig::new(brokers, DEV_TOPIC);
    config.compression = Codec::Zstd;
    config.flush_interval = Duration::from_millis(10);
    config.request_headers = vec!["x-tenant-id".to_owned()];
    // One of the two plugins of the sample: its spans are left out, and their children move up.
    config.plugin_span_filter =
        Some(PluginSpanFilter { mode: FilterMode::Exclude, plugins: vec!["logging".to_owned()] });
    config
}

async fn publish(exporter: &BifrostExporter) -> Result<Vec<(String, Delivered)>, Exit> {
    let failed = |error: &dyn std::fmt::Display| Exit::new(Exit::UNDELIVERED, error);
    let mut accepted = Vec::new();
    for trace in traces(SAMPLE) {
        let trace = trace.map_err(|error| failed(&error))?;
        let trace_id = trace.trace_id.to_string();
        let delivery = exporter.accept(trace).await.map_err(|error| failed(&error))?;
        accepted.push((trace_id, delivery));
    }
    let mut delivered = Vec::new();
    for (trace_id, delivery) in accepted {
        delivered.push((trace_id, delivery.await.map_err(|error| failed(&error))?));
    }
    Ok(delivered)
}

async fn show(bootstrap: &[String], expected: usize, style: Style) -> Result<(), Exit> {
    let mut reader = TopicReader::open(&producer_config(bootstrap)?, DEV_TOPIC, None).await?;
    let mut shown = 0;
    while shown < expected {
        let records = reader.read(PATIENCE).await?;
        if records.is_empty() {
            let missing = expected - shown;
            let message = format!("{missing} traces were acknowledged but are not in the topic");
            return Err(Exit::new(Exit::UNDELIVERED, message));
        }
        for read in records {
            let value = read.record.value.as_deref().unwrap_or_default();
            say("");
            say(waterfall::render(value, style).unwrap_or_default().trim_end());
            shown += 1;
        }
    }
    Ok(())
}

fn suggest(style: Style) {
    // As it was called, so that the lines can be copied.
    let ottla = std::env::args().next().unwrap_or_else(|| "ottla".to_owned());
    let command = |text: &str| say(&format!("  {}", style.bold(text)));
    say("");
    say("Try it yourself:");
    command(&format!("{ottla} start --dev"));
    say("      a broker and a receiver for traces, until Ctrl-C; then, beside it:");
    command("echo '{\"TraceID\":\"1\",\"Spans\":[{\"SpanID\":\"a\",\"Name\":\"hello\"}]}' |");
    command("    curl --data-binary @- http://127.0.0.1:4318/v1/bifrost/traces");
    command(&format!("{ottla} tail {DEV_TOPIC} --follow"));
    say("      what is in the topic, as it comes; kcat and every other client read it too");
    command(&format!("{ottla} start --config config.json"));
    say("      the same against your Kafka, with Bifrost's own configuration");
}
