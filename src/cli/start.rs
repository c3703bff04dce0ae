//! `ottla start`: the service.
//!
//! Decides where the configuration comes from (flags, then the environment, then a file), which
//! exporters and receivers it asks for, and what is said at start and at the end.

use super::broker::DEFAULT_LISTEN;
use super::config_file::ConfigFile;
use super::kafka_exporter::KafkaExporter;
use super::{Exit, asked_to_stop, duration, plural};
use crate::broker::{BrokerConfig, EmbeddedBroker};
use crate::exporter::bifrost::BifrostConfig;
use crate::exporter::otlp::OtlpConfig;
use crate::exporter::tensorzero::{DataType, SecurityProtocol, TensorZeroConfig};
use crate::producer::Address;
use crate::service::{Ack, Service, ServiceConfig, Stdin, Summary};
use clap::{Args, ValueEnum};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where OTLP is served unless told otherwise.
const DEFAULT_GRPC: &str = "127.0.0.1:4317";
const DEFAULT_HTTP: &str = "127.0.0.1:4318";

/// The topic of `--dev` without a configuration: the one of Bifrost's documentation.
pub(super) const DEV_TOPIC: &str = "bifrost-traces";

/// What topics of `--dev` begin with, without a configuration: as in TensorZero's documentation.
const DEV_PREFIX: &str = "tensorzero";

const DEFAULT_MESSAGE_MIB: usize = 20;
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Start {
    /// Bifrost's config.json with a plugin entry named "kafka", TensorZero's TOML with a table
    /// [gateway.observability.kafka], or a TOML file of ours (README).
    #[arg(long, env = "OTTLA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to publish: kafka takes OpenTelemetry's signals, bifrost LLM traces, tensorzero
    /// inferences. Default: what the configuration asks for.
    #[arg(long, env = "OTTLA_EXPORTER", value_name = "NAME")]
    exporter: Option<Exporter>,
    /// Publish to an embedded broker instead of the configured ones.
    #[arg(long)]
    dev: bool,
    /// Read this kind of data from standard input, one a line, deliver it, then end.
    #[arg(long, value_name = "KIND")]
    stdin: Option<Kind>,
    /// Serve OTLP over gRPC here. Default: 127.0.0.1:4317 with --exporter kafka.
    #[arg(long, env = "OTTLA_OTLP_GRPC_ENDPOINT", value_name = "ADDR")]
    otlp_grpc_endpoint: Option<SocketAddr>,
    /// Serve HTTP here. Default: 127.0.0.1:4318, and with --stdin not at all.
    #[arg(long, env = "OTTLA_OTLP_HTTP_ENDPOINT", value_name = "ADDR")]
    otlp_http_endpoint: Option<SocketAddr>,
    /// Largest OTLP request after decompression, in MiB. Default: 20.
    #[arg(long, env = "OTTLA_OTLP_MAX_MESSAGE_MIB", value_name = "MIB")]
    otlp_max_message_mib: Option<usize>,
    /// Serve /healthz, /readyz and /metrics here. Default: nowhere.
    #[arg(long, env = "OTTLA_ADMIN_ENDPOINT", value_name = "ADDR")]
    admin_endpoint: Option<SocketAddr>,
    /// Answer a sender when Kafka has what it sent, or when that is queued. Default: broker for
    /// OpenTelemetry, queue for Bifrost, for TensorZero queue if its async_writes is on.
    #[arg(long, env = "OTTLA_ACK", value_name = "WHEN")]
    ack: Option<AckArgument>,
    /// How long what was accepted may take to be delivered at the end: 250ms, 10s, 2m. Default: 10s.
    #[arg(long, env = "OTTLA_SHUTDOWN_TIMEOUT", value_parser = duration, value_name = "TIME")]
    shutdown_timeout: Option<Duration>,
    #[command(flatten)]
    kafka_exporter: KafkaExporter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Exporter {
    /// OpenTelemetry's traces, metrics and logs.
    Kafka,
    /// Bifrost's LLM traces.
    Bifrost,
    /// TensorZero's inferences.
    #[value(name = "tensorzero")]
    TensorZero,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Bifrost traces.
    Bifrost,
    /// TensorZero's model inferences.
    #[value(name = "model_inference")]
    ModelInference,
    /// TensorZero's chat inferences.
    #[value(name = "chat_inference")]
    ChatInference,
    /// TensorZero's JSON inferences.
    #[value(name = "json_inference")]
    JsonInference,
}

impl From<Kind> for Stdin {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bifrost => Self::Bifrost,
            Kind::ModelInference => Self::TensorZero(DataType::ModelInference),
            Kind::ChatInference => Self::TensorZero(DataType::ChatInference),
            Kind::JsonInference => Self::TensorZero(DataType::JsonInference),
        }
    }
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

/// What is published, and where; one at least.
struct Exporters {
    bifrost: Option<BifrostConfig>,
    tensorzero: Option<TensorZeroConfig>,
    otlp: Option<OtlpConfig>,
}

impl Start {
    pub(super) async fn run(self) -> Result<(), Exit> {
        let file = match &self.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        let mut exporters = self.exporters(&file)?;
        let broker = if self.dev {
            let broker = start_broker().await?;
            exporters.point_at(&broker)?;
            Some(broker)
        } else {
            None
        };
        let service = Service::start(self.service(&file, &exporters)?).await?;
        announce(&service, &exporters);
        let summary = service.run(asked_to_stop()).await?;
        if let Some(broker) = broker {
            broker.shutdown().await;
        }
        conclude(&summary, exporters.noun())
    }

    fn exporters(&self, file: &ConfigFile) -> Result<Exporters, Exit> {
        let named = match self.exporter {
            Some(exporter) => Some(exporter),
            None => file.service("exporter", |text| Exporter::from_str(text, true))?,
        };
        let asks_for_otlp = file.otlp.is_some() || self.kafka_exporter.is_given();
        let otlp = match named {
            Some(Exporter::Kafka) => Some(self.otlp(file)?),
            None if asks_for_otlp => Some(self.otlp(file)?),
            _ => None,
        };
        let rows = matches!(self.stdin, Some(kind) if kind != Kind::Bifrost);
        let mut bifrost =
            file.bifrost.clone().filter(|_| matches!(named, None | Some(Exporter::Bifrost)));
        let mut tensorzero =
            file.tensorzero.clone().filter(|_| matches!(named, None | Some(Exporter::TensorZero)));
        if self.dev && bifrost.is_none() && tensorzero.is_none() && otlp.is_none() {
            if named == Some(Exporter::TensorZero) || (named.is_none() && rows) {
                tensorzero = Some(TensorZeroConfig::new([DEFAULT_LISTEN], DEV_PREFIX));
            } else {
                bifrost = Some(BifrostConfig::new([DEFAULT_LISTEN], DEV_TOPIC));
            }
        }
        if bifrost.is_none() && tensorzero.is_none() && otlp.is_none() {
            let remedy = "give --config FILE, --exporter kafka for OpenTelemetry, or --dev to try it \
                          with an embedded broker";
            return Err(Exit::new(Exit::USAGE, format!("nowhere to publish to: {remedy}")));
        }
        if self.stdin == Some(Kind::Bifrost) && bifrost.is_none() {
            let told =
                "--stdin bifrost needs Bifrost's exporter: give its config.json with --config";
            return Err(Exit::new(Exit::USAGE, told));
        }
        if rows && tensorzero.is_none() {
            let told = "--stdin of inferences needs TensorZero's exporter: give its TOML, with a \
                        table [gateway.observability.kafka], with --config";
            return Err(Exit::new(Exit::USAGE, told));
        }
        Ok(Exporters { bifrost, tensorzero, otlp })
    }

    fn otlp(&self, file: &ConfigFile) -> Result<OtlpConfig, Exit> {
        let refuse = |error| Exit::new(Exit::USAGE, error);
        let mut options = file.otlp.clone().unwrap_or_default();
        self.kafka_exporter.apply(&mut options).map_err(refuse)?;
        let settled = options.into_config(&|name| std::env::var(name).ok());
        let (config, notes) = settled.map_err(refuse)?;
        for note in notes {
            tracing::info!("{note}");
        }
        Ok(config)
    }

    fn service(&self, file: &ConfigFile, exporters: &Exporters) -> Result<ServiceConfig, Exit> {
        let Exporters { bifrost, tensorzero, otlp } = exporters;
        let default =
            |text: &str, wanted: bool| wanted.then(|| text.parse().expect("a socket address"));
        let grpc = self.otlp_grpc_endpoint.or(file.service("otlp_grpc_endpoint", parsed)?);
        let http = self.otlp_http_endpoint.or(file.service("otlp_http_endpoint", parsed)?);
        let mib = self.otlp_max_message_mib.or(file.service("otlp_max_message_mib", parsed)?);
        let ack = file.service("ack", |text| AckArgument::from_str(text, true))?;
        let within = self.shutdown_timeout.or(file.service("shutdown_timeout", duration)?);
        Ok(ServiceConfig {
            grpc: grpc.or_else(|| default(DEFAULT_GRPC, otlp.is_some())).filter(|_| otlp.is_some()),
            http: http.or_else(|| default(DEFAULT_HTTP, self.stdin.is_none())),
            admin: self.admin_endpoint.or(file.service("admin_endpoint", parsed)?),
            stdin: self.stdin.map(Stdin::from),
            ack: self.ack.or(ack).map(Ack::from),
            message_size_max: mib.unwrap_or(DEFAULT_MESSAGE_MIB).clamp(1, 1024) << 20,
            shutdown_timeout: within.unwrap_or(DEFAULT_SHUTDOWN),
            bifrost: bifrost.clone(),
            tensorzero: tensorzero.clone(),
            otlp: otlp.clone(),
        })
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("{text:?}: {error}"))
}

/// An embedded broker on Kafka's own port, or on a free one if that is taken.
async fn start_broker() -> Result<EmbeddedBroker, Exit> {
    let usual = DEFAULT_LISTEN.parse().expect("a socket address");
    match EmbeddedBroker::start(BrokerConfig::default().with_listen([usual])).await {
        Ok(broker) => Ok(broker),
        Err(error) => {
            tracing::warn!("{usual} cannot be listened on ({error}): taking a free port");
            let started = EmbeddedBroker::start(BrokerConfig::default()).await;
            started.map_err(|error| Exit::new(Exit::FAILED, error))
        }
    }
}

impl Exporters {
    /// Publishes to the embedded broker, which encrypts nothing and knows nobody.
    fn point_at(&mut self, broker: &EmbeddedBroker) -> Result<(), Exit> {
        if let Some(bifrost) = &mut self.bifrost {
            bifrost.brokers = broker.bootstrap();
            bifrost.auto_create_topic = true;
            bifrost.tls_enabled = false;
            bifrost.sasl_enabled = false;
        }
        if let Some(tensorzero) = &mut self.tensorzero {
            tensorzero.brokers = broker.bootstrap();
            tensorzero.security_protocol = SecurityProtocol::Plaintext;
            tensorzero.sasl = None;
            tensorzero.tls_ca_file = None;
        }
        if let Some(otlp) = &mut self.otlp {
            let addresses: Result<Vec<Address>, _> =
                broker.bootstrap().iter().map(|address| address.parse()).collect();
            otlp.producer.bootstrap = addresses.map_err(|error| Exit::new(Exit::FAILED, error))?;
            otlp.producer.tls = None;
            otlp.producer.sasl = None;
        }
        Ok(())
    }

    /// What people call one of the things that are published.
    const fn noun(&self) -> &'static str {
        match (&self.otlp, &self.bifrost) {
            (Some(_), _) => "item",
            (None, Some(_)) => "trace",
            (None, None) => "row",
        }
    }
}

fn announce(service: &Service, exporters: &Exporters) {
    let Exporters { bifrost, tensorzero, otlp } = exporters;
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
