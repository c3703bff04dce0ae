//! The gateway's settings.
//!
//! Decides their names, defaults and limits, for programs that build a [`TensorZeroConfig`] and for
//! TensorZero's TOML alike, and what is said of those that cannot be used. `file` reads the TOML.
//! `key`, `probe`, `when_full`, `security_protocol`, `tls_ca_file` and what is said of topics' creation are ours,
//! beside TensorZero's.

use super::DataType;
use crate::exporter::json::clip;
use crate::exporter::startup::out_of_range;
use crate::exporter::{Probe, TopicCreation, WhenFull};
use crate::producer::{
    ConfigError as ProducerError, Pem, ProducerConfig, Roots, SaslConfig, TlsConfig,
    topic_name_fault,
};
use crate::protocol::Codec;
use crate::sasl::SaslError;
use std::path::PathBuf;
use std::time::Duration;

mod file;

/// The largest `batch_size`.
pub const BATCH_SIZE_MAX: u32 = 1_000_000;

/// The longest `linger_ms` and `request_timeout_ms`.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);

/// How rows are published.
///
/// Built in code from [`TensorZeroConfig::new`], or read with [`TensorZeroConfig::from_toml`].
#[derive(Debug, Clone)]
pub struct TensorZeroConfig {
    /// Whether a sender is answered before Kafka has its rows. Default: false.
    pub async_writes: bool,
    /// Addresses to find the cluster by, as `host:port` or `[ipv6]:port`. At least one.
    pub brokers: Vec<String>,
    /// What topics begin with: `tensorzero` makes `tensorzero_chat_inference`, and so on.
    pub topic_prefix: String,
    /// How batches are compressed. Default: not at all.
    pub compression: Codec,
    /// How many rows a batch holds at most, 1 to [`BATCH_SIZE_MAX`]. Default: 1000.
    pub batch_size: u32,
    /// How long a row waits for others, up to [`WAIT_MAX`]. Default: 10 ms.
    pub linger: Duration,
    /// How long a broker may take for a request, 1 ms to [`WAIT_MAX`]. Default: 5 s.
    pub request_timeout: Duration,
    /// How to log in, if that is wanted.
    pub sasl: Option<SaslConfig>,
    /// Whether connections are encrypted and begin with a login. Must agree with `sasl`. Default:
    /// `Plaintext`; in TOML `SASL_SSL` where there is `sasl`.
    pub security_protocol: SecurityProtocol,
    /// Who signs brokers' certificates, in PEM. Default: whom the system trusts.
    pub tls_ca_file: Option<PathBuf>,
    /// What rows are keyed by. Default: their `id`.
    pub key: KeyField,
    /// Whether Kafka must answer at start, and let us write. Default: it must.
    pub probe: Probe,
    /// What becomes of a row that finds the buffer full. Default: it waits for room, where its sender
    /// can.
    pub when_full: WhenFull,
    /// Whether topics that are missing are created at start, which needs the right to. Default:
    /// false, so that a topic's first row creates it if the brokers are set to.
    pub auto_create_topics: bool,
    /// How they are created then. One that is there already is not altered. Default: as the broker
    /// does.
    pub topic_creation: TopicCreation,
}

/// The field that a row is keyed by. Where it is empty, the first of `id`, `inference_id`,
/// `episode_id` and `target_id` that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyField {
    /// The row's own, which spreads rows.
    #[default]
    Id,
    /// What a model's inference was made for, which is the `id` of that function's row: both have the
    /// same key.
    InferenceId,
    /// The episode's: its rows are in order.
    EpisodeId,
}

/// Whether connections are encrypted, and begin with a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityProtocol {
    /// Neither.
    #[default]
    Plaintext,
    /// Encrypted.
    Ssl,
    /// With a login that everybody on the way can read.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

impl SecurityProtocol {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    const fn encrypts(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn logs_in(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// Why a configuration cannot be used. All are the operator's to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not TOML, or has a field of ours that is unknown or of another type.
    #[error("line {line} column {column}: {reason}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A field without which nothing can be published is missing or empty.
    #[error("kafka.{field}: missing or empty; {remedy}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What to write.
        remedy: &'static str,
    },
    /// A broker's address that cannot be one.
    #[error("kafka.brokers: {cause}")]
    InvalidBroker {
        /// What is wrong with it.
        cause: ProducerError,
    },
    /// A prefix that makes topics that no broker would accept.
    #[error("kafka.topic_prefix: {:?} makes no topic name: {fault}", clip(.prefix))]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// One of a few words was expected.
    #[error("kafka.{field}: {:?} is unknown; use {choices}", clip(.value))]
    UnknownChoice {
        /// The field.
        field: &'static str,
        /// The word.
        value: String,
        /// The words that are known.
        choices: &'static str,
    },
    /// A number that its field does not take.
    #[error("kafka.{field}: {value} is out of range; use a whole number from {min} to {max}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The number.
        value: u64,
        /// The least that it takes.
        min: u64,
        /// The most that it takes.
        max: u64,
    },
    /// The credentials are none that could be sent.
    #[error("kafka.sasl: {cause}")]
    InvalidSasl {
        /// What is wrong with them.
        cause: SaslError,
    },
    /// A secret names an environment variable that has no value.
    #[error(
        "kafka.sasl.{field}: the environment variable {:?} is {}; set it, or give another",
        clip(.variable), if *.empty { "empty" } else { "not set" }
    )]
    Variable {
        /// The field.
        field: &'static str,
        /// The variable.
        variable: String,
        /// Whether it is set, but to nothing.
        empty: bool,
    },
    /// `security_protocol` and another setting contradict each other.
    #[error("kafka.security_protocol: {}: {remedy}", .protocol.name())]
    Contradiction {
        /// The protocol.
        protocol: SecurityProtocol,
        /// What to change.
        remedy: &'static str,
    },
}

impl TensorZeroConfig {
    /// The defaults for these brokers and this prefix.
    pub fn new<B: Into<String>>(
        brokers: impl IntoIterator<Item = B>,
        topic_prefix: impl Into<String>,
    ) -> Self {
        Self {
            async_writes: false,
            brokers: brokers.into_iter().map(Into::into).collect(),
            topic_prefix: topic_prefix.into(),
            compression: Codec::None,
            batch_size: 1000,
            linger: Duration::from_millis(10),
            request_timeout: Duration::from_secs(5),
            sasl: None,
            security_protocol: SecurityProtocol::Plaintext,
            tls_ca_file: None,
            key: KeyField::Id,
            probe: Probe::Require,
            when_full: WhenFull::Block,
            auto_create_topics: false,
            topic_creation: TopicCreation::default(),
        }
    }

    /// Checks every setting, as reading a file does.
    ///
    /// # Errors
    ///
    /// The first that no row could be published with: `Missing`, `InvalidBroker`, `InvalidPrefix`,
    /// `OutOfRange` or `Contradiction`.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.producer().map(drop)
    }

    /// Every setting by its name in TOML, and its value; of a secret, whether it is set.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        let sasl = self.sasl.as_ref();
        let set = sasl.map_or("", |_| "(set)");
        let creation = &self.topic_creation;
        let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
        let configs = creation.configs.iter().map(|(name, value)| format!("{name}={value}"));
        let ca_file = self.tls_ca_file.as_ref().map(|path| path.display().to_string());
        vec![
            ("async_writes", self.async_writes.to_string()),
            ("brokers", self.brokers.join(",")),
            ("topic_prefix", self.topic_prefix.clone()),
            ("compression_type", self.compression.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("linger_ms", self.linger.as_millis().to_string()),
            ("request_timeout_ms", self.request_timeout.as_millis().to_string()),
            ("security_protocol", format!("{:?}", self.security_protocol)),
            ("tls_ca_file", ca_file.unwrap_or_default()),
            ("sasl.mechanism", sasl.map_or("", |sasl| sasl.mechanism.name()).to_owned()),
            ("sasl.username", set.to_owned()),
            ("sasl.password", set.to_owned()),
            ("key", format!("{:?}", self.key)),
            ("probe", self.probe.name().to_owned()),
            ("when_full", self.when_full.name().to_owned()),
            ("auto_create_topics", self.auto_create_topics.to_string()),
            ("topic_partitions", number(creation.partitions.map(u64::from))),
            ("topic_replication_factor", number(creation.replication_factor.map(u64::from))),
            ("topic_configs", configs.collect::<Vec<_>>().join(",")),
        ]
    }

    /// The producer's settings for these; what rows need besides is the exporter's to add.
    pub(crate) fn producer(&self) -> Result<ProducerConfig, ConfigError> {
        if self.brokers.is_empty() {
            let remedy = "name at least one broker, such as \"localhost:9092\"";
            return Err(ConfigError::Missing { field: "brokers", remedy });
        }
        self.check_topics()?;
        let wait_max = millis(WAIT_MAX);
        in_range("batch_size", u64::from(self.batch_size), 1, u64::from(BATCH_SIZE_MAX))?;
        in_range("linger_ms", millis(self.linger), 0, wait_max)?;
        in_range("request_timeout_ms", millis(self.request_timeout), 1, wait_max)?;
        if let Some((field, value, max)) = out_of_range(&self.topic_creation) {
            return Err(ConfigError::OutOfRange { field, value, min: 1, max });
        }
        self.check_security()?;
        let mut producer = ProducerConfig::new(&self.brokers)
            .map_err(|cause| ConfigError::InvalidBroker { cause })?;
        producer.compression = self.compression.into();
        producer.batch_records_max = self.batch_size;
        producer.linger = self.linger;
        producer.request_timeout = self.request_timeout;
        producer.when_full = self.when_full;
        producer.tls = self.security_protocol.encrypts().then(|| self.tls());
        producer.sasl.clone_from(&self.sasl);
        Ok(producer)
    }

    fn tls(&self) -> TlsConfig {
        let mut tls = TlsConfig::default();
        if let Some(path) = &self.tls_ca_file {
            tls.roots = Roots::These(vec![Pem::File(path.clone())]);
        }
        tls
    }

    pub(super) fn check_topics(&self) -> Result<(), ConfigError> {
        if self.topic_prefix.is_empty() {
            let remedy = "name what topics begin with, such as \"tensorzero\"";
            return Err(ConfigError::Missing { field: "topic_prefix", remedy });
        }
        for data_type in DataType::ALL {
            if let Some(fault) = topic_name_fault(&data_type.topic(&self.topic_prefix)) {
                let prefix = self.topic_prefix.clone();
                return Err(ConfigError::InvalidPrefix { prefix, fault });
            }
        }
        Ok(())
    }

    fn check_security(&self) -> Result<(), ConfigError> {
        let protocol = self.security_protocol;
        let remedy = match (&self.sasl, protocol.logs_in()) {
            (Some(_), false) => "it has no login, but sasl is given; use SASL_SSL, or remove sasl",
            (None, true) => "sasl is missing; add it with mechanism, username and password",
            _ if self.tls_ca_file.is_some() && !protocol.encrypts() => {
                "it has no use for tls_ca_file; use SSL or SASL_SSL, or remove tls_ca_file"
            }
            _ => return Ok(()),
        };
        Err(ConfigError::Contradiction { protocol, remedy })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn in_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange { field, value, min, max }),
    }
}
