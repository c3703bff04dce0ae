//! TensorZero's TOML.
//!
//! Decides how `[gateway.observability]` and the tables below it are read. The rest of the file is
//! TensorZero's own and only has to be TOML. Whether the settings make sense is decided by
//! [`TensorZeroConfig::check`].

use super::{ConfigError, KeyField, SaslConfig, SecurityProtocol, TensorZeroConfig};
use crate::exporter::json::position;
use crate::exporter::{Probe, TopicCreation, WhenFull};
use crate::protocol::Codec;
use crate::sasl::{SaslMechanism, Secret, VariableError};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const SECRET_REMEDY: &str = "give it as text or as \"env.NAME\"";

#[derive(Deserialize)]
struct File {
    gateway: Option<Gateway>,
}

#[derive(Deserialize)]
struct Gateway {
    observability: Option<Observability>,
}

/// It has more fields, which are not about Kafka.
#[derive(Deserialize)]
struct Observability {
    enabled: Option<bool>,
    #[serde(default)]
    async_writes: bool,
    kafka: Option<Kafka>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kafka {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    brokers: String,
    #[serde(default)]
    topic_prefix: String,
    compression_type: Option<String>,
    batch_size: Option<u64>,
    linger_ms: Option<u64>,
    request_timeout_ms: Option<u64>,
    sasl: Option<Sasl>,
    #[serde(default)]
    key: KeyField,
    #[serde(default)]
    probe: Probe,
    #[serde(default)]
    when_full: WhenFull,
    security_protocol: Option<String>,
    tls_ca_file: Option<PathBuf>,
    #[serde(default)]
    auto_create_topics: bool,
    topic_partitions: Option<u32>,
    topic_replication_factor: Option<u16>,
    #[serde(default)]
    topic_configs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sasl {
    #[serde(default)]
    mechanism: String,
    username: Option<SecretText>,
    password: Option<SecretText>,
}

struct SecretText(Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(Secret::new(text))),
            // serde's own error would repeat the value.
            other => Err(D::Error::custom(format_args!(
                "invalid type: {}, expected a string",
                other.type_str()
            ))),
        }
    }
}

impl TensorZeroConfig {
    /// Reads TensorZero's TOML; `None` if its observability is off, or Kafka in it. Secrets written
    /// as `env.NAME` are asked of `lookup`, which answers with the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Any [`ConfigError`].
    pub fn from_toml(
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| malformed(text, &error))?;
        let Some(observability) = file.gateway.and_then(|gateway| gateway.observability) else {
            return Ok(None);
        };
        let is_on = observability.enabled.unwrap_or(true);
        let Some(kafka) = observability.kafka.filter(|kafka| is_on && kafka.enabled) else {
            return Ok(None);
        };
        let mut config = kafka.settings(lookup)?;
        config.async_writes = observability.async_writes;
        config.check()?;
        Ok(Some(config))
    }
}

/// As the table `[gateway.observability.kafka]`, in any format that has tables, with secrets from the
/// environment. `enabled` is read and not asked for: whoever has the settings may want to start.
impl<'de> Deserialize<'de> for TensorZeroConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kafka = Kafka::deserialize(deserializer)?;
        let config = kafka.settings(&|name| std::env::var(name).ok());
        let config = config.map_err(D::Error::custom)?;
        config.check().map_err(D::Error::custom)?;
        Ok(config)
    }
}

impl Kafka {
    fn settings(
        self,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<TensorZeroConfig, ConfigError> {
        let brokers = self.brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty());
        let mut config = TensorZeroConfig::new(brokers, self.topic_prefix);
        if let Some(value) = self.compression_type {
            config.compression = compression(value)?;
        }
        if let Some(value) = self.batch_size {
            config.batch_size = u32::try_from(value).map_err(|_| ConfigError::OutOfRange {
                field: "batch_size",
                value,
                min: 1,
                max: u64::from(super::BATCH_SIZE_MAX),
            })?;
        }
        config.linger = self.linger_ms.map_or(config.linger, Duration::from_millis);
        config.request_timeout =
            self.request_timeout_ms.map_or(config.request_timeout, Duration::from_millis);
        config.sasl = self.sasl.map(|sasl| sasl.login(lookup)).transpose()?;
        config.security_protocol = match self.security_protocol {
            Some(value) => security_protocol(value)?,
            None if config.sasl.is_some() => SecurityProtocol::SaslSsl,
            None => SecurityProtocol::Plaintext,
        };
        config.tls_ca_file = self.tls_ca_file;
        config.key = self.key;
        config.probe = self.probe;
        config.when_full = self.when_full;
        config.auto_create_topics = self.auto_create_topics;
        config.topic_creation = TopicCreation {
            partitions: self.topic_partitions,
            replication_factor: self.topic_replication_factor,
            configs: self.topic_configs,
        };
        Ok(config)
    }
}

impl Sasl {
    fn login(self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<SaslConfig, ConfigError> {
        let choices = "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
        let Some(mechanism) = SaslMechanism::from_name(&self.mechanism) else {
            let (field, value) = ("sasl.mechanism", self.mechanism);
            return Err(ConfigError::UnknownChoice { field, value, choices });
        };
        let username = secret("username", self.username, lookup)?;
        let password = secret("password", self.password, lookup)?;
        let login = SaslConfig::new(mechanism, username, password);
        login.map_err(|cause| ConfigError::InvalidSasl { cause })
    }
}

fn secret(
    field: &'static str,
    given: Option<SecretText>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Secret, ConfigError> {
    let Some(SecretText(given)) = given.filter(|SecretText(given)| !given.is_empty()) else {
        let field = if field == "username" { "sasl.username" } else { "sasl.password" };
        return Err(ConfigError::Missing { field, remedy: SECRET_REMEDY });
    };
    Secret::resolve(given.expose(), lookup).map_err(|VariableError { variable, empty }| {
        ConfigError::Variable { field, variable, empty }
    })
}

fn compression(value: String) -> Result<Codec, ConfigError> {
    value.parse().map_err(|_| ConfigError::UnknownChoice {
        field: "compression_type",
        value,
        choices: "none, gzip, snappy, lz4 or zstd",
    })
}

fn security_protocol(value: String) -> Result<SecurityProtocol, ConfigError> {
    let name = value.replace('-', "_");
    let mut all = SecurityProtocol::ALL.into_iter();
    all.find(|protocol| protocol.name().eq_ignore_ascii_case(&name)).ok_or_else(|| {
        let choices = "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
        ConfigError::UnknownChoice { field: "security_protocol", value, choices }
    })
}

/// The parser's own display would repeat the line, which may hold a password.
fn malformed(text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start.min(text.len()));
    let (line, column) = position(text.as_bytes(), offset);
    ConfigError::Malformed { line, column, reason: error.message().to_owned() }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;

    /// TensorZero's documentation, word for word.
    pub(super) const DOCUMENTED: &str = include_str!("../../../../tests/golden/tensorzero.toml");

    pub(super) const MINIMAL: &str = "[gateway.observability.kafka]\nenabled = true\n\
                           brokers = \"a:1\"\ntopic_prefix = \"t\"\n";

    pub(super) fn read(text: &str) -> Result<Option<TensorZeroConfig>, ConfigError> {
        TensorZeroConfig::from_toml(text, &|name| match name {
            "PASSWORD" => Some("hunter2".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    fn refused(more: &str) -> String {
        let error = read(&format!("{MINIMAL}{more}")).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        error
    }

    #[test]
    fn the_documented_file_is_read() {
        let config = read(DOCUMENTED).unwrap().unwrap();
        assert!(config.async_writes);
        assert_eq!(config.brokers, ["localhost:9092"]);
        assert_eq!(config.topic_prefix, "tensorzero");
        assert_eq!(config.compression, Codec::Lz4);
        assert_eq!(config.security_protocol, SecurityProtocol::SaslSsl);
        assert!(config.sasl.is_some() && config.tls_ca_file.is_none());
        let producer = config.producer().unwrap();
        assert!(producer.tls.is_some() && producer.sasl.is_some() && producer.idempotence);
        assert_eq!(producer.batch_records_max, 1000);
        assert_eq!(producer.linger.as_millis(), 10);
        assert_eq!(producer.request_timeout.as_millis(), 5000);
        let shown = format!("{config:?}");
        assert!(!shown.contains("your-"), "{shown}");
    }

    #[test]
    fn what_is_left_out_has_the_defaults() {
        let config = read(MINIMAL).unwrap().unwrap();
        let new = TensorZeroConfig::new(["a:1"], "t");
        assert_eq!(format!("{config:?}"), format!("{new:?}"));
        assert_eq!((config.key, config.probe), (KeyField::Id, Probe::Require));
        assert_eq!((config.batch_size, config.async_writes), (1000, false));
        assert_eq!(config.compression, Codec::None);
        let producer = config.producer().unwrap();
        assert!(producer.tls.is_none() && producer.sasl.is_none());
    }

    #[test]
    fn ours_are_read_beside_theirs() {
        let text = format!(
            "[gateway]\nbind_address = \"0.0.0.0:3000\"\n[models.m]\nrouting = []\n{MINIMAL}\
             key = \"episode_id\"\nprobe = \"warn\"\nwhen_full = \"drop_newest\"\n\
             auto_create_topics = true\n\
             topic_partitions = 12\ntopic_replication_factor = 3\n\
             topic_configs = {{ \"retention.ms\" = \"1000\" }}\nsecurity_protocol = \"sasl-plaintext\"\n\
             [gateway.observability.kafka.sasl]\nmechanism = \"scram_sha_256\"\n\
             username = \"u\"\npassword = \"env.PASSWORD\"\n"
        )
        .replace("\"a:1\"", "\" a:1, b:2 ,\"");
        let config = read(&text).unwrap().unwrap();
        assert_eq!(config.brokers, ["a:1", "b:2"]);
        assert_eq!((config.key, config.probe), (KeyField::EpisodeId, Probe::Warn));
        assert_eq!(config.producer().unwrap().when_full, WhenFull::DropNewest);
        assert_eq!(config.security_protocol, SecurityProtocol::SaslPlaintext);
        assert!(config.auto_create_topics);
        let told = "12 partitions, 3 replicas, retention.ms=1000";
        assert_eq!(config.topic_creation.to_string(), told);
        assert_eq!(config.sasl.unwrap().mechanism, SaslMechanism::ScramSha256);
    }

    #[test]
    fn a_program_has_the_table_among_its_own_settings() {
        let read = |text: &str| serde_json::from_str::<TensorZeroConfig>(text);
        let config = read(r#"{"brokers": "a:1", "topic_prefix": "t", "linger_ms": 7}"#).unwrap();
        assert_eq!(config.linger.as_millis(), 7);
        let error = read(r#"{"brokers": "a:1", "topic_prefix": "t", "batch_size": 0}"#);
        assert!(error.unwrap_err().to_string().starts_with("kafka.batch_size: 0 is out of range"));
    }

    #[test]
    fn what_is_off_is_none() {
        for text in [
            "",
            "[models.m]\nrouting = []",
            "[gateway]\nbind_address = \"0.0.0.0:3000\"",
            "[gateway.observability]\nenabled = true\nasync_writes = true",
            "[gateway.observability.kafka]\nbrokers = \"a:1\"",
            "[gateway.observability.kafka]\nenabled = false",
            &format!("[gateway.observability]\nenabled = false\n{MINIMAL}"),
        ] {
            assert!(read(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_named_with_the_known_ones() {
        assert_eq!(
            refused("linger = 5"),
            "line 5 column 1: unknown field `linger`, expected one of `enabled`, `brokers`, \
             `topic_prefix`, `compression_type`, `batch_size`, `linger_ms`, `request_timeout_ms`, \
             `sasl`, `key`, `probe`, `when_full`, `security_protocol`, `tls_ca_file`, \
             `auto_create_topics`, `topic_partitions`, `topic_replication_factor`, `topic_configs`"
        );
        assert_eq!(
            refused("[gateway.observability.kafka.sasl]\nuser = \"u\""),
            "line 6 column 1: unknown field `user`, expected one of `mechanism`, `username`, \
             `password`"
        );
        assert_eq!(
            refused("key = \"target_id\""),
            "line 5 column 7: unknown variant `target_id`, expected one of `id`, `inference_id`, \
             `episode_id`"
        );
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_one_sentence() {
        let sasl = "[gateway.observability.kafka.sasl]\nmechanism = \"PLAIN\"\nusername = \"u\"\n";
        for (more, error) in [
            ("batch_size = 0", "kafka.batch_size: 0 is out of range; use a whole number from 1 to"),
            ("batch_size = 9999999999", "kafka.batch_size: 9999999999 is out of range"),
            ("linger_ms = 3600001", "kafka.linger_ms: 3600001 is out of range"),
            ("request_timeout_ms = 0", "kafka.request_timeout_ms: 0 is out of range"),
            (
                "topic_partitions = 0",
                "kafka.topic_partitions: 0 is out of range; use a whole number",
            ),
            (
                "topic_replication_factor = 40000",
                "kafka.topic_replication_factor: 40000 is out of range; use a whole number from 1 to 32767",
            ),
            (
                "topic_configs = { a = 1 }",
                "line 5 column 23: invalid type: integer `1`, expected a",
            ),
            ("linger_ms = -1", "line 5 column 13: invalid value: integer `-1`, expected u64"),
            ("compression_type = \"br\"", "kafka.compression_type: \"br\" is unknown; use none,"),
            ("security_protocol = \"TLS\"", "kafka.security_protocol: \"TLS\" is unknown; use"),
            (
                "security_protocol = \"SASL_SSL\"",
                "kafka.security_protocol: SASL_SSL: sasl is missing; add it",
            ),
            (
                "tls_ca_file = \"/ca.pem\"",
                "kafka.security_protocol: PLAINTEXT: it has no use for tls_ca_file",
            ),
            (
                &format!("security_protocol = \"SSL\"\n{sasl}password = \"hunter2\""),
                "kafka.security_protocol: SSL: it has no login, but sasl is given",
            ),
            (sasl, "kafka.sasl.password: missing or empty; give it as text or as \"env.NAME\""),
            (
                &format!("{sasl}password = 17"),
                "line 8 column 12: invalid type: integer, expected a string",
            ),
            (
                &format!("{sasl}password = \"env.NOT\""),
                "kafka.sasl.password: the environment variable \"NOT\" is not set",
            ),
            (
                &format!("{sasl}password = \"env.EMPTY\""),
                "kafka.sasl.password: the environment variable \"EMPTY\" is empty",
            ),
            (&format!("{sasl}password = \"hunter2"), "line 8 column 20: invalid basic string"),
            (&format!("{sasl}password = \"a\\u0000\""), "kafka.sasl: the password holds a NUL"),
            (
                &sasl.replace("PLAIN", "GSSAPI"),
                "kafka.sasl.mechanism: \"GSSAPI\" is unknown; use PLAIN,",
            ),
        ] {
            let found = refused(more);
            assert!(found.starts_with(error) && !found.contains('\n'), "{found}\n{error}");
        }
    }

    #[test]
    fn brokers_and_topics_must_be_such() {
        let with = |from: &str, to: &str| read(&MINIMAL.replace(from, to)).unwrap_err().to_string();
        assert!(with("a:1", "").starts_with("kafka.brokers: missing or empty; name at least one"));
        assert!(with("a:1", "a").starts_with("kafka.brokers: \"a\" is not a broker's address"));
        assert!(with("\"t\"", "\"\"").starts_with("kafka.topic_prefix: missing or empty"));
        assert!(with("\"t\"", "\"a b\"").starts_with("kafka.topic_prefix: \"a b\" makes no topic"));
    }
}
