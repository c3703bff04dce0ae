//! `ottla start`: the service, by the configuration and the command line.
//!
//! Decides what is said at start and at the end. What is to be done is settled by `sources`.

use super::sources::{Settled, Sources, start_broker};
use super::{Exit, asked_to_stop, plural};
use crate::exporter::otlp::OtlpConfig;
use crate::exporter::tensorzero::DataType;
use crate::service::{Service, ServiceConfig, Summary};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    sources: Sources,
}

impl Start {
    pub(super) async fn run(self) -> Result<(), Exit> {
        let Settled { service: mut config, notes, .. } = self.sources.settle()?;
        for note in notes {
            tracing::info!("{note}");
        }
        let broker = match self.sources.is_dev() {
            true => Some(start_broker(&mut config).await?),
            false => None,
        };
        let service = Service::start(config.clone()).await?;
        announce(&service, &config);
        let summary = service.run(asked_to_stop()).await?;
        if let Some(broker) = broker {
            broker.shutdown().await;
        }
        conclude(&summary, noun(&config))
    }
}

/// What people call one of the things that are published.
const fn noun(config: &ServiceConfig) -> &'static str {
    match (&config.otlp, &config.bifrost) {
        (Some(_), _) => "item",
        (None, Some(_)) => "trace",
        (None, None) => "row",
    }
}

fn announce(service: &Service, config: &ServiceConfig) {
    let ServiceConfig { bifrost, tensorzero, otlp, .. } = config;
    if let Some(otlp) = otlp {
        announce_otlp(service, otlp);
    }
    let http = service.http_address();
    if let Some(bifrost) = bifrost {
        let brokers = bifrost.brokers.join(",");
        tracing::info!("publishing to topic {:?} on {brokers}", bifrost.topic);
        if let Some(address) = http {
            tracing::info!("receiving traces at http://{address}/v1/bifrost/traces");
        }
    }
    if let Some(tensorzero) = tensorzero {
        let brokers = tensorzero.brokers.join(",");
        let topics = DataType::ALL.map(|kind| kind.topic(&tensorzero.topic_prefix));
        tracing::info!("publishing inferences to topics {} on {brokers}", topics.join(", "));
        if let Some(address) = http {
            let [first, others @ ..] = DataType::ALL.map(DataType::name);
            let others = others.join(" and ");
            tracing::info!(
                "receiving inferences at http://{address}/v1/tensorzero/{first}, {others}"
            );
        }
    }
    if let Some(address) = service.admin_address() {
        tracing::info!("health and metrics at http://{address}/healthz, /readyz and /metrics");
    }
}

fn announce_otlp(service: &Service, otlp: &OtlpConfig) {
    let brokers: Vec<_> = otlp.producer.bootstrap.iter().map(ToString::to_string).collect();
    let topics = &otlp.topics;
    tracing::info!(
        "publishing OpenTelemetry to topics {:?}, {:?} and {:?} on {}",
        topics.traces,
        topics.metrics,
        topics.logs,
        brokers.join(",")
    );
    if let Some(address) = service.grpc_address() {
        tracing::info!("receiving OTLP over gRPC at {address}");
    }
    if let Some(address) = service.http_address() {
        tracing::info!("receiving OTLP over HTTP at http://{address}/v1/traces, metrics and logs");
    }
}

fn conclude(summary: &Summary, noun: &str) -> Result<(), Exit> {
    let Summary { counts, refused, .. } = summary;
    let lost = counts.failed + counts.pending;
    let delivered = plural(counts.delivered, noun);
    let mut account = format!("{delivered} delivered, {lost} not delivered");
    if counts.unknown > 0 {
        account += &format!(" ({} of them may have been written)", counts.unknown);
    }
    if *refused > 0 {
        account += &format!("; {} of input refused", plural(*refused, "line"));
    }
    if summary.is_clean() {
        tracing::info!("{account}");
        Ok(())
    } else {
        Err(Exit::new(Exit::UNDELIVERED, account))
    }
}
