//! What a service is told, and by whom: flags, then the environment, then a file.
//!
//! Decides which exporters and receivers a command line asks for, and where each value came from.
//! What the values do is the exporters' and the service's; reading the file is `config_file`'s.

use super::broker::DEFAULT_LISTEN;
use super::config_file::{ConfigFile, OF_SERVICE};
use super::kafka_exporter::KafkaExporter;
use super::{Exit, duration};
use crate::broker::{BrokerConfig, EmbeddedBroker};
use crate::exporter::bifrost::BifrostConfig;
use crate::exporter::otlp::{Effective, Origin, OtlpConfig, OtlpOptions};
use crate::exporter::tensorzero::{DataType, SecurityProtocol, TensorZeroConfig};
use crate::producer::{Acks, Address};
use crate::service::{Ack, ServiceConfig, Stdin};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[cfg(test)]
mod schema;

/// Where OTLP is served unless told otherwise.
const DEFAULT_GRPC: &str = "127.0.0.1:4317";
const DEFAULT_HTTP: &str = "127.0.0.1:4318";

/// The topic of `--dev` without a configuration: the one of Bifrost's documentation.
pub(super) const DEV_TOPIC: &str = "bifrost-traces";

/// What topics of `--dev` begin with, without a configuration: as in TensorZero's documentation.
const DEV_PREFIX: &str = "tensorzero";

#[derive(Debug, Args)]
struct Flags {
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

/// What the command line and the environment say.
#[derive(Debug)]
pub(super) struct Sources {
    flags: Flags,
    /// Which of the service's options they give.
    given: BTreeMap<&'static str, Origin>,
}

impl Args for Sources {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for Sources {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let origin = |name| match matches.value_source(name)? {
            ValueSource::CommandLine => Some((name, Origin::Flag)),
            ValueSource::EnvVariable => Some((name, Origin::Environment)),
            _ => None,
        };
        let given = OF_SERVICE.into_iter().filter_map(origin).collect();
        Ok(Self { flags: Flags::from_arg_matches(matches)?, given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What all sources come to.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) service: ServiceConfig,
    /// Every option, as it will be. Of `--dev` it knows nothing.
    pub(super) effective: Vec<Effective>,
    /// What should be said about them.
    pub(super) notes: Vec<String>,
}

/// What the options of the Kafka exporter come to.
#[derive(Debug)]
struct Otlp {
    config: OtlpConfig,
    options: OtlpOptions,
    notes: Vec<String>,
}

/// What is published, and where; one at least.
struct Exporters {
    bifrost: Option<BifrostConfig>,
    tensorzero: Option<TensorZeroConfig>,
    otlp: Option<Otlp>,
}

impl Sources {
    /// Whether an embedded broker takes the place of the configured ones.
    pub(super) const fn is_dev(&self) -> bool {
        self.flags.dev
    }

    /// Reads the file, and settles what is to be done.
    pub(super) fn settle(&self) -> Result<Settled, Exit> {
        let file = match &self.flags.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        let Exporters { bifrost, tensorzero, otlp } = self.exporters(&file)?;
        let (otlp, options, notes) = match otlp {
            Some(Otlp { config, options, notes }) => (Some(config), Some(options), notes),
            None => (None, None, Vec::new()),
        };
        let mut service = self.service(&file, otlp.is_some())?;
        (service.bifrost, service.tensorzero, service.otlp) = (bifrost, tensorzero, otlp);
        let mut effective = self.of_service(&file, &service);
        if let (Some(options), Some(config)) = (options, &service.otlp) {
            effective.extend(of_otlp(&options, config));
        }
        if let Some(bifrost) = &service.bifrost {
            effective.extend(bifrost.effective().into_iter().map(|(name, value)| Effective {
                name: name.to_owned(),
                value,
                origin: file.gives_of_gateway(name).then_some(Origin::File),
            }));
        }
        if let Some(tensorzero) = &service.tensorzero {
            effective.extend(tensorzero.effective().into_iter().map(|(name, value)| Effective {
                name: name.to_owned(),
                value,
                origin: file.gives_of_gateway(name).then_some(Origin::File),
            }));
        }
        Ok(Settled { service, effective, notes })
    }

    fn exporters(&self, file: &ConfigFile) -> Result<Exporters, Exit> {
        let flags = &self.flags;
        let named = match flags.exporter {
            Some(exporter) => Some(exporter),
            None => file.service("exporter", |text| Exporter::from_str(text, true))?,
        };
        let asks_for_otlp = file.otlp.is_some() || flags.kafka_exporter.is_given();
        let otlp = match named {
            Some(Exporter::Kafka) => Some(self.otlp(file)?),
            None if asks_for_otlp => Some(self.otlp(file)?),
            _ => None,
        };
        let rows = matches!(flags.stdin, Some(kind) if kind != Kind::Bifrost);
        let mut bifrost =
            file.bifrost.clone().filter(|_| matches!(named, None | Some(Exporter::Bifrost)));
        let mut tensorzero =
            file.tensorzero.clone().filter(|_| matches!(named, None | Some(Exporter::TensorZero)));
        if flags.dev && bifrost.is_none() && tensorzero.is_none() && otlp.is_none() {
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
        if flags.stdin == Some(Kind::Bifrost) && bifrost.is_none() {
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

    fn otlp(&self, file: &ConfigFile) -> Result<Otlp, Exit> {
        let refuse = |error| Exit::new(Exit::USAGE, error);
        let mut options = file.otlp.clone().unwrap_or_default();
        self.flags.kafka_exporter.apply(&mut options).map_err(refuse)?;
        let settled = options.clone().into_config(&|name| std::env::var(name).ok());
        let (config, notes) = settled.map_err(refuse)?;
        Ok(Otlp { config, options, notes: notes.iter().map(ToString::to_string).collect() })
    }

    /// Without exporters, of which it need only know whether there is OpenTelemetry's.
    fn service(&self, file: &ConfigFile, has_otlp: bool) -> Result<ServiceConfig, Exit> {
        let flags = &self.flags;
        let default =
            |text: &str, wanted: bool| wanted.then(|| text.parse().expect("a socket address"));
        let grpc = flags.otlp_grpc_endpoint.or(file.service("otlp_grpc_endpoint", parsed)?);
        let http = flags.otlp_http_endpoint.or(file.service("otlp_http_endpoint", parsed)?);
        let mib = flags.otlp_max_message_mib.or(file.service("otlp_max_message_mib", parsed)?);
        let ack = file.service("ack", |text| AckArgument::from_str(text, true))?;
        let within = flags.shutdown_timeout.or(file.service("shutdown_timeout", duration)?);
        let defaults = ServiceConfig::default();
        Ok(ServiceConfig {
            grpc: grpc.or_else(|| default(DEFAULT_GRPC, has_otlp)).filter(|_| has_otlp),
            http: http.or_else(|| default(DEFAULT_HTTP, flags.stdin.is_none())),
            admin: flags.admin_endpoint.or(file.service("admin_endpoint", parsed)?),
            stdin: flags.stdin.map(Stdin::from),
            ack: flags.ack.or(ack).map(Ack::from),
            message_size_max: mib
                .map_or(defaults.message_size_max, |mib: usize| mib.clamp(1, 1024) << 20),
            shutdown_timeout: within.unwrap_or(defaults.shutdown_timeout),
            ..defaults
        })
    }

    /// The service's own options, as they will be.
    fn of_service(&self, file: &ConfigFile, service: &ServiceConfig) -> Vec<Effective> {
        let address = |address: Option<SocketAddr>| {
            address.map_or_else(String::new, |address| address.to_string())
        };
        let names = [
            service.otlp.as_ref().map(|_| "kafka"),
            service.bifrost.as_ref().map(|_| "bifrost"),
            service.tensorzero.as_ref().map(|_| "tensorzero"),
        ];
        let names: Vec<_> = names.into_iter().flatten().collect();
        let ack = match service.ack {
            Some(Ack::Broker) => "broker",
            Some(Ack::Queue) => "queue",
            None => "as each exporter's",
        };
        let value = |name: &str| match name {
            "otlp_grpc_endpoint" => address(service.grpc),
            "otlp_http_endpoint" => address(service.http),
            "admin_endpoint" => address(service.admin),
            "otlp_max_message_mib" => (service.message_size_max >> 20).to_string(),
            "shutdown_timeout" => format!("{:?}", service.shutdown_timeout),
            "exporter" => names.join(", "),
            "ack" => ack.to_owned(),
            _ => String::new(),
        };
        let of_file = |name| file.gives(name).then_some(Origin::File);
        let option = |name| Effective {
            name: str::replace(name, "_", "-"),
            value: value(name),
            origin: self.given.get(name).copied().or_else(|| of_file(name)),
        };
        OF_SERVICE.into_iter().map(option).collect()
    }
}

/// The exporter's options as they will be, spelled as flags.
fn of_otlp(options: &OtlpOptions, config: &OtlpConfig) -> impl Iterator<Item = Effective> {
    let acks = config.producer.acks;
    options.effective().into_iter().map(move |option| {
        // The one default that gives way to what another option needs.
        let is_raised = option.name == "acks" && option.origin.is_none() && acks == Acks::All;
        let value = if is_raised { "all".to_owned() } else { option.value };
        Effective { name: KafkaExporter::spelled(&option.name), value, origin: option.origin }
    })
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("{text:?}: {error}"))
}

/// The embedded broker of `--dev`, with everything pointed at it: on Kafka's own port, or on a free
/// one if that is taken. It encrypts nothing and knows nobody, and is alone.
pub(super) async fn start_broker(service: &mut ServiceConfig) -> Result<EmbeddedBroker, Exit> {
    let usual = DEFAULT_LISTEN.parse().expect("a socket address");
    let broker = match EmbeddedBroker::start(BrokerConfig::default().with_listen([usual])).await {
        Ok(broker) => broker,
        Err(error) => {
            tracing::warn!("{usual} cannot be listened on ({error}): taking a free port");
            let started = EmbeddedBroker::start(BrokerConfig::default()).await;
            started.map_err(|error| Exit::new(Exit::FAILED, error))?
        }
    };
    if let Some(bifrost) = &mut service.bifrost {
        bifrost.brokers = broker.bootstrap();
        bifrost.auto_create_topic = true;
        bifrost.topic_creation.replication_factor = None;
        bifrost.tls_enabled = false;
        bifrost.sasl_enabled = false;
    }
    if let Some(tensorzero) = &mut service.tensorzero {
        tensorzero.brokers = broker.bootstrap();
        tensorzero.security_protocol = SecurityProtocol::Plaintext;
        tensorzero.sasl = None;
        tensorzero.tls_ca_file = None;
        tensorzero.auto_create_topics = true;
        tensorzero.topic_creation.replication_factor = None;
    }
    if let Some(otlp) = &mut service.otlp {
        let addresses: Result<Vec<Address>, _> =
            broker.bootstrap().iter().map(|address| address.parse()).collect();
        otlp.producer.bootstrap = addresses.map_err(|error| Exit::new(Exit::FAILED, error))?;
        otlp.producer.tls = None;
        otlp.producer.sasl = None;
        otlp.create_topics = true;
        otlp.topic_creation.replication_factor = None;
    }
    Ok(broker)
}
