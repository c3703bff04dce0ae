//! The connector's settings.
//!
//! Decides their names, defaults and limits, for programs that build a [`BifrostConfig`] and for
//! Bifrost's `config.json` alike. `file` reads that file by means of `typed`, and `error` words
//! what is wrong. What the settings do is the filter's and the producer's.
//!
//! Reference: <https://docs.getbifrost.ai>, Kafka, configuration reference.

use std::time::Duration;

use crate::exporter::startup::out_of_range;
use crate::exporter::{Probe, TopicCreation, WhenFull};
use crate::producer::{
    Address, Pem, Roots, SaslConfig as ProducerSasl, TlsConfig, topic_name_fault,
};
use crate::protocol::Codec;
use crate::sasl::{SaslMechanism, Secret};

mod error;
pub use error::ConfigError;

mod file;
pub use file::KafkaEntry;

mod typed;

/// The largest `batch_size`.
pub const BATCH_SIZE_MAX: usize = 1_000_000;

/// The longest `flush_interval_ms`. A record that waits longer has long missed its deadline.
pub const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// How traces are published.
///
/// Built in code from [`BifrostConfig::new`], or read with [`KafkaEntry::from_json`].
#[derive(Debug, Clone)]
pub struct BifrostConfig {
    /// Addresses to find the cluster by, as `host:port` or `[ipv6]:port`. At least one.
    pub brokers: Vec<String>,
    /// The topic that every trace goes to.
    pub topic: String,
    /// Whether connections are encrypted. Default: false.
    pub tls_enabled: bool,
    /// Certificates in PEM that the brokers' must be signed by, or the path of a file with them.
    /// Default: the system's.
    pub ca_cert: Option<Secret>,
    /// Whether to log in. Needs `sasl`. Default: false.
    pub sasl_enabled: bool,
    /// How to log in.
    pub sasl: Option<SaslConfig>,
    /// How batches are compressed. Default: not at all.
    pub compression: Codec,
    /// How many traces one write holds at most, 1 to [`BATCH_SIZE_MAX`]. Default: 100.
    pub batch_size: usize,
    /// How long a trace waits for others before it is written, up to [`FLUSH_INTERVAL_MAX`]. Zero
    /// writes at once, in more and smaller batches. Default: one second.
    pub flush_interval: Duration,
    /// Whether a missing topic is created at start, which needs the right to. Default: false.
    pub auto_create_topic: bool,
    /// How it is created then. One that is there already is not altered. Default: as the broker
    /// does.
    pub topic_creation: TopicCreation,
    /// What becomes of prompts, answers and other message content. Default: it is published.
    /// Bifrost's `disable_content_logging` is [`ContentLogging::Seed`].
    pub content_logging: ContentLogging,
    /// Which request headers are published: names, prefixes such as `x-custom-*`, or `*`, in any
    /// case. Values of credentials are redacted, unless they are asked for by their very names.
    /// Default: none.
    pub request_headers: Vec<String>,
    /// Which plugins' spans are published. Default: all.
    pub plugin_span_filter: Option<PluginSpanFilter>,
    /// Whether Kafka must answer at start, and have the topic. Default: it must.
    pub probe: Probe,
    /// What becomes of a trace that finds the buffer full. Default: it waits for room, where its
    /// sender can.
    pub when_full: WhenFull,
}

impl BifrostConfig {
    /// The defaults for these brokers and this topic.
    pub fn new<B: Into<String>>(
        brokers: impl IntoIterator<Item = B>,
        topic: impl Into<String>,
    ) -> Self {
        Self {
            brokers: brokers.into_iter().map(Into::into).collect(),
            topic: topic.into(),
            tls_enabled: false,
            ca_cert: None,
            sasl_enabled: false,
            sasl: None,
            compression: Codec::None,
            batch_size: 100,
            flush_interval: Duration::from_secs(1),
            auto_create_topic: false,
            topic_creation: TopicCreation::default(),
            content_logging: ContentLogging::Keep,
            request_headers: Vec::new(),
            plugin_span_filter: None,
            probe: Probe::Require,
            when_full: WhenFull::Block,
        }
    }

    /// Checks every setting, as reading a file does.
    ///
    /// # Errors
    ///
    /// The first that no trace could be published with: `Missing`, `InvalidBroker`, `InvalidTopic`,
    /// `OutOfRange`, `SaslMissing`, `InvalidSasl` or `InvalidCertificate`.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.brokers.is_empty() {
            return Err(ConfigError::Missing { field: "brokers" });
        }
        for (index, address) in self.brokers.iter().enumerate() {
            let parsed = address.parse::<Address>();
            parsed.map_err(|cause| ConfigError::InvalidBroker { index, cause })?;
        }
        self.check_topic()?;
        if !(1..=BATCH_SIZE_MAX).contains(&self.batch_size) {
            return Err(ConfigError::batch_size(self.batch_size.to_string()));
        }
        if self.flush_interval > FLUSH_INTERVAL_MAX {
            return Err(ConfigError::flush_interval(self.flush_interval.as_millis().to_string()));
        }
        if let Some((field, value, max)) = out_of_range(&self.topic_creation) {
            return Err(ConfigError::OutOfRange { field, value: value.to_string(), min: 1, max });
        }
        self.check_security()
    }

    pub(super) fn check_topic(&self) -> Result<(), ConfigError> {
        if self.topic.is_empty() {
            return Err(ConfigError::Missing { field: "topic" });
        }
        match topic_name_fault(&self.topic) {
            Some(fault) => Err(ConfigError::InvalidTopic { topic: self.topic.clone(), fault }),
            None => Ok(()),
        }
    }

    /// Every field of `config.json` with its value, in the order of the reference; `(set)` for a
    /// secret, empty for nothing.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        let secret = |secret: Option<&Secret>| match secret {
            Some(secret) if !secret.is_empty() => "(set)".to_owned(),
            _ => String::new(),
        };
        let sasl = self.sasl.as_ref();
        let filter = self.plugin_span_filter.as_ref().map(|filter| match filter.mode {
            FilterMode::Include => ("include", filter.plugins.join(",")),
            FilterMode::Exclude => ("exclude", filter.plugins.join(",")),
        });
        let (mode, plugins) = filter.unwrap_or_default();
        let mechanism = sasl.map_or("", |sasl| sasl.mechanism.name());
        let creation = &self.topic_creation;
        let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
        let configs = creation.configs.iter().map(|(name, value)| format!("{name}={value}"));
        vec![
            ("brokers", self.brokers.join(",")),
            ("topic", self.topic.clone()),
            ("tls_enabled", self.tls_enabled.to_string()),
            ("ca_cert", secret(self.ca_cert.as_ref())),
            ("sasl_enabled", self.sasl_enabled.to_string()),
            ("sasl.mechanism", mechanism.to_owned()),
            ("sasl.username", secret(sasl.map(|sasl| &sasl.username))),
            ("sasl.password", secret(sasl.map(|sasl| &sasl.password))),
            ("compression", self.compression.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("flush_interval_ms", self.flush_interval.as_millis().to_string()),
            ("auto_create_topic", self.auto_create_topic.to_string()),
            ("topic_partitions", number(creation.partitions.map(u64::from))),
            ("topic_replication_factor", number(creation.replication_factor.map(u64::from))),
            ("topic_configs", configs.collect::<Vec<_>>().join(",")),
            ("content_logging", self.content_logging.name().to_owned()),
            ("request_headers", self.request_headers.join(",")),
            ("plugin_span_filter.mode", mode.to_owned()),
            ("plugin_span_filter.plugins", plugins),
            ("probe", self.probe.name().to_owned()),
            ("when_full", self.when_full.name().to_owned()),
        ]
    }

    /// How connections are encrypted, if they are.
    pub(super) fn tls(&self) -> Option<TlsConfig> {
        let mut tls = self.tls_enabled.then(TlsConfig::default)?;
        if let Some(ca_cert) = &self.ca_cert {
            tls.roots = Roots::These(vec![match is_path(ca_cert) {
                true => Pem::File(ca_cert.expose().trim().into()),
                false => Pem::Text(ca_cert.clone()),
            }]);
        }
        Some(tls)
    }

    /// How to log in, if that is wanted.
    pub(super) fn login(&self) -> Result<Option<ProducerSasl>, ConfigError> {
        let Some(sasl) = self.sasl.as_ref().filter(|_| self.sasl_enabled) else { return Ok(None) };
        let SaslConfig { mechanism, username, password } = sasl.clone();
        let login = ProducerSasl::new(mechanism, username, password);
        login.map(Some).map_err(|cause| ConfigError::InvalidSasl { cause })
    }

    fn check_security(&self) -> Result<(), ConfigError> {
        if self.tls_enabled
            && let Some(ca_cert) = &self.ca_cert
            && !is_path(ca_cert)
            && !ca_cert.expose().contains("-----BEGIN CERTIFICATE-----")
        {
            return Err(ConfigError::InvalidCertificate);
        }
        if !self.sasl_enabled {
            return Ok(());
        }
        let sasl = self.sasl.as_ref().ok_or(ConfigError::SaslMissing)?;
        for (field, secret) in
            [("sasl.username", &sasl.username), ("sasl.password", &sasl.password)]
        {
            if secret.is_empty() {
                return Err(ConfigError::Missing { field });
            }
        }
        self.login().map(drop)
    }
}

/// Whether a value is where a certificate is, rather than one: PEM has lines, and hyphens.
fn is_path(ca_cert: &Secret) -> bool {
    let text = ca_cert.expose().trim();
    !text.contains('\n') && !text.contains("-----")
}

/// How to log in to the brokers.
#[derive(Debug, Clone)]
pub struct SaslConfig {
    /// Which exchange. There is no default.
    pub mechanism: SaslMechanism,
    /// The user. Not empty.
    pub username: Secret,
    /// The password. Not empty.
    pub password: Secret,
}

/// What becomes of message content.
///
/// A trace that Bifrost marked with `bifrost.content_logging.disabled` is never kept: it is
/// published as by `Seed`, and where `Hash` is set as by `Strict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentLogging {
    /// It is published.
    #[default]
    Keep,
    /// Attributes named `gen_ai.input.*` and `gen_ai.output.*` are left out, as by Bifrost's own
    /// connector. Tools, instructions, reasoning and raw bodies stay.
    Seed,
    /// Everything that can hold content is left out, wherever in the trace it stands: every
    /// `gen_ai.*` that is not known to be metadata, and raw requests and responses.
    Strict,
    /// What `Strict` leaves out is replaced by `sha256:` and the SHA-256, in hex, of its JSON, so
    /// that equal content can be found. Whoever can guess a content can confirm the guess.
    Hash,
}

impl ContentLogging {
    /// Every choice, from the most to the least that is published of the content.
    pub const ALL: [Self; 4] = [Self::Keep, Self::Seed, Self::Hash, Self::Strict];

    /// The word for it in `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Seed => "seed",
            Self::Strict => "strict",
            Self::Hash => "hash",
        }
    }
}

/// Which spans of kind `plugin` are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSpanFilter {
    /// What the list means.
    pub mode: FilterMode,
    /// Plugins, by the `<name>` of `plugin.<name>.<hook>`, compared exactly.
    pub plugins: Vec<String>,
}

/// What a list of plugins means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterMode {
    /// Publish the spans of these plugins only.
    Include,
    /// Publish the spans of all other plugins.
    Exclude,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BifrostConfig {
        BifrostConfig::new(["localhost:9092"], "bifrost-traces")
    }

    fn refused(config: &BifrostConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_the_connectors() {
        let config = config();
        assert!(config.check().is_ok());
        assert!(!config.tls_enabled && !config.sasl_enabled && !config.auto_create_topic);
        assert_eq!(config.topic_creation, TopicCreation::default());
        assert_eq!(config.probe, Probe::Require);
        assert_eq!(config.content_logging, ContentLogging::Keep);
        assert!(config.ca_cert.is_none() && config.sasl.is_none());
        assert_eq!(config.compression, Codec::None);
        assert_eq!(config.batch_size, 100);
        assert_eq!(config.flush_interval, Duration::from_millis(1000));
        assert!(config.request_headers.is_empty() && config.plugin_span_filter.is_none());
    }

    #[test]
    fn the_wrong_one_of_several_brokers_is_named() {
        assert_eq!(
            refused(&BifrostConfig::new(["localhost:9092", "kafka.internal"], "t")),
            "brokers[1]: \"kafka.internal\" is not a broker's address: the port is missing, write \
             host:port",
        );
    }

    #[test]
    fn a_topic_that_kafka_forbids_is_refused() {
        assert_eq!(
            refused(&BifrostConfig::new(["a:1"], "a b")),
            "topic: \"a b\" is not a topic name: only ASCII letters, digits, \".\", \"_\" and \"-\" \
             are allowed",
        );
        let error = refused(&BifrostConfig::new(["a:1"], "a".repeat(250)));
        assert!(error.starts_with("topic: \"aaaa") && error.len() < 300, "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            refused(&BifrostConfig::new(Vec::<String>::new(), "t")),
            "brokers: missing or empty; name at least one broker, such as [\"localhost:9092\"]",
        );
        assert_eq!(
            refused(&BifrostConfig::new(["a:1"], "")),
            "topic: missing or empty; name the topic to publish to",
        );
        assert_eq!(
            refused(&BifrostConfig { sasl_enabled: true, ..config() }),
            "sasl_enabled: true but sasl is missing; add sasl with mechanism, username and \
             password, or set sasl_enabled to false",
        );
        let sasl = SaslConfig {
            mechanism: SaslMechanism::Plain,
            username: Secret::new("u"),
            password: Secret::new(""),
        };
        assert_eq!(
            refused(&BifrostConfig { sasl_enabled: true, sasl: Some(sasl), ..config() }),
            "sasl.password: missing or empty; give it as text or as \"env.NAME\"",
        );
    }

    #[test]
    fn limits_are_named() {
        assert_eq!(
            refused(&BifrostConfig { batch_size: 0, ..config() }),
            "batch_size: 0 is out of range; use a whole number from 1 to 1000000",
        );
        assert_eq!(
            refused(&BifrostConfig { flush_interval: Duration::from_secs(3601), ..config() }),
            "flush_interval_ms: 3601000 is out of range; use a whole number from 0 to 3600000",
        );
        assert!(BifrostConfig { flush_interval: Duration::ZERO, ..config() }.check().is_ok());
    }

    #[test]
    fn a_certificate_is_a_text_or_a_file_and_must_look_like_it() {
        let with = |ca_cert: &str| BifrostConfig {
            tls_enabled: true,
            ca_cert: Some(Secret::new(ca_cert)),
            ..config()
        };
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (ca_cert, pem) in [
            (text, Pem::Text(Secret::new(text))),
            (" /etc/ssl/ca.pem\n", Pem::File("/etc/ssl/ca.pem".into())),
        ] {
            let config = with(ca_cert);
            config.check().unwrap();
            assert_eq!(config.tls().unwrap().roots, Roots::These(vec![pem]));
        }
        assert_eq!(
            refused(&with("-----BEGIN PRIVATE KEY-----\nAAAA")),
            "ca_cert: holds no PEM certificate; give the text from \"-----BEGIN CERTIFICATE-----\" \
             on, or the path of a file with it",
        );
        assert!(config().tls().is_none());
        let system = BifrostConfig { tls_enabled: true, ..config() };
        assert_eq!(system.tls().unwrap().roots, Roots::System);
    }

    #[test]
    fn a_login_is_made_of_what_was_given_and_only_if_it_is_on() {
        let sasl = |username: &str| SaslConfig {
            mechanism: SaslMechanism::ScramSha512,
            username: Secret::new(username),
            password: Secret::new("hunter2"),
        };
        let with = |sasl_enabled, username: &str| BifrostConfig {
            sasl_enabled,
            sasl: Some(sasl(username)),
            ..config()
        };
        let login = with(true, "alice").login().unwrap().unwrap();
        assert_eq!(login.mechanism, SaslMechanism::ScramSha512);
        assert!(with(false, "alice").login().unwrap().is_none());
        assert_eq!(refused(&with(true, "al\0ice")), "sasl: the username holds a NUL character");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let sasl = SaslConfig {
            mechanism: SaslMechanism::ScramSha512,
            username: Secret::new("alice"),
            password: Secret::new("hunter2"),
        };
        let config =
            BifrostConfig { sasl: Some(sasl), ca_cert: Some(Secret::new("pem")), ..config() };
        let shown = format!("{config:?} {:?}", config.effective());
        assert!(!shown.contains("alice") && !shown.contains("hunter2") && !shown.contains("pem"));
    }
}
