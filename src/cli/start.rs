//! `ottla start`: the service.
//!
//! Decides where the configuration comes from and what is said at start and at the end.

use super::broker::DEFAULT_LISTEN;
use super::{Exit, asked_to_stop, duration, plural};
use crate::broker::{BrokerConfig, EmbeddedBroker};
use crate::exporter::bifrost::{BifrostConfig, KafkaEntry};
use crate::service::{Ack, Service, ServiceConfig, Summary};
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where HTTP is served unless told otherwise: OTLP's port.
const DEFAULT_HTTP: &str = "127.0.0.1:4318";

/// The topic of `--dev` without a configuration: the one of Bifrost's documentation.
pub(super) const DEV_TOPIC: &str = "bifrost-traces";

#[derive(Debug, Args)]
pub(super) struct Start {
    /// Bifrost's config.json, with a plugin entry named "kafka".
    #[arg(long, env = "OTTLA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Publish to an embedded broker instead of the configured ones.
    #[arg(long)]
    dev: bool,
    /// Read this kind of data from standard input, one a line, deliver it, then end.
    #[arg(long, value_name = "KIND")]
    stdin: Option<Kind>,
    /// Serve HTTP here. Default: 127.0.0.1:4318, and with --stdin not at all.
    #[arg(long, env = "OTTLA_OTLP_HTTP_ENDPOINT", value_name = "ADDR")]
    otlp_http_endpoint: Option<SocketAddr>,
    /// Answer a sender when Kafka has its traces, or when they are queued.
    #[arg(long, env = "OTTLA_ACK", default_value = "queue", value_name = "WHEN")]
    ack: AckArgument,
    /// How long accepted traces may take to be delivered at the end: 250ms, 10s, 2m.
    #[arg(long, env = "OTTLA_SHUTDOWN_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    shutdown_timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Bifrost traces.
    Bifrost,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AckArgument {
    Queue,
    Broker,
}

impl From<AckArgument> for Ack {
    fn from(argument: AckArgument) -> Self {
        match argument {
            AckArgument::Queue => Self::Queue,
            AckArgument::Broker => Self::Broker,
        }
    }
}

impl Start {
    pub(super) async fn run(self) -> Result<(), Exit> {
        let mut bifrost = match &self.config {
            Some(path) => read_config(path)?,
            None if !self.dev => {
                let remedy = "give --config FILE, or --dev to try it with an embedded broker";
                return Err(Exit::new(Exit::USAGE, format!("nowhere to publish to: {remedy}")));
            }
            None => BifrostConfig::new([DEFAULT_LISTEN], DEV_TOPIC),
        };
        let broker = if self.dev { Some(start_broker(&mut bifrost).await?) } else { None };
        let default_http = || match self.stdin {
            Some(Kind::Bifrost) => None,
            None => Some(DEFAULT_HTTP.parse().expect("a socket address")),
        };
        let service = Service::start(ServiceConfig {
            http: self.otlp_http_endpoint.or_else(default_http),
            stdin: self.stdin.is_some(),
            ack: self.ack.into(),
            shutdown_timeout: self.shutdown_timeout,
            bifrost: bifrost.clone(),
        })
        .await?;
        announce(&service, &bifrost);
        let summary = service.run(asked_to_stop()).await?;
        if let Some(broker) = broker {
            broker.shutdown().await;
        }
        conclude(&summary)
    }
}

fn read_config(path: &Path) -> Result<BifrostConfig, Exit> {
    let shown = path.display();
    let refuse = |reason: String| Exit::new(Exit::USAGE, format!("{shown}: {reason}"));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let entry = KafkaEntry::from_json(&text, &|name| std::env::var(name).ok())
        .map_err(|error| refuse(error.to_string()))?;
    match entry {
        KafkaEntry::Enabled(config) => Ok(*config),
        KafkaEntry::Disabled => {
            Err(refuse("the plugin entry \"kafka\" is off; set its \"enabled\" to true".into()))
        }
        KafkaEntry::Missing => {
            Err(refuse("\"plugins\" has no entry with \"name\": \"kafka\"; add one".into()))
        }
    }
}

/// An embedded broker on Kafka's own port, or on a free one if that is taken.
async fn start_broker(bifrost: &mut BifrostConfig) -> Result<EmbeddedBroker, Exit> {
    let usual = DEFAULT_LISTEN.parse().expect("a socket address");
    let broker = match EmbeddedBroker::start(BrokerConfig::default().with_listen([usual])).await {
        Ok(broker) => broker,
        Err(error) => {
            tracing::warn!("{usual} cannot be listened on ({error}): taking a free port");
            let started = EmbeddedBroker::start(BrokerConfig::default()).await;
            started.map_err(|error| Exit::new(Exit::FAILED, error))?
        }
    };
    bifrost.brokers = broker.bootstrap();
    bifrost.auto_create_topic = true;
    bifrost.tls_enabled = false;
    bifrost.sasl_enabled = false;
    Ok(broker)
}

fn announce(service: &Service, bifrost: &BifrostConfig) {
    let brokers = bifrost.brokers.join(",");
    tracing::info!("publishing to topic {:?} on {brokers}", bifrost.topic);
    if let Some(address) = service.http_address() {
        tracing::info!("receiving traces at http://{address}/v1/bifrost/traces");
    }
}

fn conclude(summary: &Summary) -> Result<(), Exit> {
    let Summary { counts, refused, .. } = summary;
    let lost = counts.failed + counts.pending;
    let delivered = plural(counts.delivered, "trace");
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
