//! Configuration files: Bifrost's `config.json`, TensorZero's TOML, or ottla's own.
//!
//! Decides which of them a file is (by its name; TensorZero's has a table `gateway`), and the names in our TOML: those of the flags with
//! `_`, options of the Kafka exporter in a table of their own.
//!
//! ```toml
//! otlp_grpc_endpoint = "0.0.0.0:4317"
//! ack = "broker"
//!
//! [kafka_exporter]
//! brokers = ["kafka-1:9092", "kafka-2:9092"]
//! linger_ms = 5
//! sasl_password = "env.KAFKA_PASSWORD"
//!
//! [kafka_exporter.properties]
//! "enable.idempotence" = true
//! ```

use super::Exit;
use crate::exporter::bifrost::{BifrostConfig, KafkaEntry};
use crate::exporter::otlp::OtlpOptions;
use crate::exporter::otlp::options::FlagText;
use crate::exporter::tensorzero::TensorZeroConfig;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// What a file may say of the service, by its flag's name.
pub(super) const OF_SERVICE: [&str; 7] = [
    "exporter",
    "otlp_grpc_endpoint",
    "otlp_http_endpoint",
    "otlp_max_message_mib",
    "admin_endpoint",
    "ack",
    "shutdown_timeout",
];

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) bifrost: Option<BifrostConfig>,
    pub(super) tensorzero: Option<TensorZeroConfig>,
    /// The fields of the gateway's that it gives.
    gateway_given: Vec<String>,
    pub(super) otlp: Option<OtlpOptions>,
    service: BTreeMap<String, String>,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, Exit> {
        let shown = path.display();
        let refuse = |reason: String| Exit::new(Exit::USAGE, format!("{shown}: {reason}"));
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let file = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::from_toml(&text),
            _ => Self::from_bifrost(&text),
        };
        file.map_err(refuse)
    }

    fn from_bifrost(text: &str) -> Result<Self, String> {
        let entry = KafkaEntry::from_json(text, &|name| std::env::var(name).ok());
        match entry.map_err(|error| error.to_string())? {
            KafkaEntry::Enabled(config) => {
                let given = KafkaEntry::given_fields(text).map_err(|error| error.to_string())?;
                Ok(Self { bifrost: Some(*config), gateway_given: given, ..Self::default() })
            }
            KafkaEntry::Disabled => {
                Err("the plugin entry \"kafka\" is off; set its \"enabled\" to true".into())
            }
            KafkaEntry::Missing => {
                Err("\"plugins\" has no entry with \"name\": \"kafka\"; add one".into())
            }
        }
    }

    fn from_tensorzero(text: &str, table: &Table) -> Result<Self, String> {
        let read = TensorZeroConfig::from_toml(text, &|name| std::env::var(name).ok());
        match read.map_err(|error| error.to_string())? {
            Some(config) => {
                let observability = table.get("gateway").and_then(|it| it.get("observability"));
                let kafka = observability.and_then(|it| it.get("kafka"));
                let tables = observability.into_iter().chain(kafka).filter_map(Value::as_table);
                let gateway_given = tables.flat_map(Table::keys).cloned().collect();
                Ok(Self { tensorzero: Some(config), gateway_given, ..Self::default() })
            }
            None => Err("Kafka is off; set enabled = true in [gateway.observability] and \
                         [gateway.observability.kafka]"
                .into()),
        }
    }

    pub(super) fn from_toml(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error| not_toml(text, &error))?;
        if table.contains_key("gateway") {
            return Self::from_tensorzero(text, &table);
        }
        let mut file = Self::default();
        for (name, value) in table {
            match value {
                table @ Value::Table(_) if name == "kafka_exporter" => {
                    file.otlp = Some(read(&name, table)?);
                }
                value if OF_SERVICE.contains(&&*name) => {
                    let FlagText(text) = read(&name, value)?;
                    file.service.insert(name, text);
                }
                _ => {
                    let known = OF_SERVICE.join(", ");
                    return Err(format!("{name}: not known: use {known} or [kafka_exporter]"));
                }
            }
        }
        Ok(file)
    }

    /// Whether it says anything of the service under this name.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.service.contains_key(name)
    }

    /// Whether it has this field of the gateway's, or the one that it is in.
    pub(super) fn gives_of_gateway(&self, field: &str) -> bool {
        let outer = field.split('.').next().unwrap_or_default();
        self.gateway_given.iter().any(|given| given == outer)
    }

    /// What it says under this name, as `read` reads it.
    pub(super) fn service<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Exit> {
        let text = self.service.get(name);
        text.map(|text| read(text))
            .transpose()
            .map_err(|fault| Exit::new(Exit::USAGE, format!("{name} in the file: {fault}")))
    }
}

/// The parser's own display would repeat the line, which may hold a password.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("not TOML: line {line}: {}", error.message())
}

/// A value of this name, as it is to be.
fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, String> {
    value.try_into().map_err(|error: toml::de::Error| format!("{name}: {}", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_options_as_flags_do_with_underscores() {
        let file = ConfigFile::from_toml(
            r#"
            otlp_grpc_endpoint = "127.0.0.1:0"
            [kafka_exporter]
            brokers = ["a:1", "b:2"]
            linger_ms = 25
            partition_logs_by_trace_id = true
            request_timeout = "20s"
            [kafka_exporter.properties]
            "enable.idempotence" = true
            "#,
        )
        .unwrap();
        assert_eq!(file.service["otlp_grpc_endpoint"], "127.0.0.1:0");
        let (config, _) = file.otlp.unwrap().into_config(&|_| None).unwrap();
        assert_eq!(config.producer.bootstrap.len(), 2);
        assert_eq!(config.producer.linger.as_millis(), 25);
        assert_eq!(config.producer.request_timeout.as_secs(), 20);
        assert!(config.producer.idempotence);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        let error = |text| ConfigFile::from_toml(text).unwrap_err();
        assert_eq!(
            error("[kafka_exporter]\nlinger = 5"),
            "kafka_exporter: no such option: \"linger\": did you mean \"linger-ms\"?"
        );
        assert!(
            error("otlp = 1").starts_with("otlp: not known: use exporter, otlp_grpc_endpoint,")
        );
        assert!(
            error("[kafka_exporter]\nlinger_ms = 1.5").contains("kafka_exporter: linger_ms: write")
        );
        assert!(error("a = ").contains("line 1"));
    }
}
