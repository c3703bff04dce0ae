//! Bifrost's `config.json`.
//!
//! Decides how the entry named `kafka` is found among the plugins and how its fields are read. The
//! rest of the file is Bifrost's own and only has to be JSON. Whether the settings make sense is
//! decided by [`BifrostConfig::check`].
//!
//! `null` is the same as leaving a field out, and of a field given twice the last counts, as in Go.
//! What a switch turns off is not read: `ca_cert` without `tls_enabled` and `sasl` without
//! `sasl_enabled` may name variables that are not set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;

use super::typed::{Fields, Typed, is_object};
use super::{
    BifrostConfig, ConfigError, ContentLogging, FLUSH_INTERVAL_MAX, FilterMode, PluginSpanFilter,
    SaslConfig, SaslMechanism, Secret,
};
use crate::exporter::bifrost::json::clip;
use crate::exporter::startup::{PARTITIONS_MAX, REPLICAS_MAX};
use crate::exporter::{Probe, WhenFull};
use crate::protocol::Codec;

const FIELDS: &[&str] = &[
    "brokers",
    "topic",
    "tls_enabled",
    "ca_cert",
    "sasl_enabled",
    "sasl",
    "compression",
    "batch_size",
    "flush_interval_ms",
    "auto_create_topic",
    "topic_partitions",
    "topic_replication_factor",
    "topic_configs",
    "disable_content_logging",
    "content_logging",
    "request_headers",
    "plugin_span_filter",
    "probe",
    "when_full",
];
const SASL_FIELDS: &[&str] = &["mechanism", "username", "password"];
const FILTER_FIELDS: &[&str] = &["mode", "plugins"];
const SECRET_FIELDS: &[&str] =
    &["value", "env_var", "from_env", "secret_ref", "from_secret", "vault_var", "from_vault"];

/// What a `config.json` says about Kafka.
#[derive(Debug, Clone)]
pub enum KafkaEntry {
    /// There is no entry named `kafka`.
    Missing,
    /// There is one, and its `enabled` is false or left out. Its settings were not read.
    Disabled,
    /// There is one, and its settings are good.
    Enabled(Box<BifrostConfig>),
}

impl KafkaEntry {
    /// Reads a `config.json`. Secrets written as `env.NAME` are asked of `lookup`, which answers
    /// with the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Any [`ConfigError`]: the first mistake in the file's order, then the first
    /// by [`BifrostConfig::check`].
    pub fn from_json(
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let file = File { json: Typed::new(text), lookup };
        let Some(entry) = file.find_entry()? else { return Ok(Self::Missing) };
        let (mut enabled, mut config) = (false, None);
        for (name, value) in entry {
            match &*name {
                "enabled" => enabled = file.json.boolean("enabled", value)?,
                "config" => config = Some(value),
                _ => {}
            }
        }
        if !enabled {
            return Ok(Self::Disabled);
        }
        let fields = match config {
            Some(config) => file.json.object("config", config)?,
            None => Vec::new(),
        };
        file.settings(fields).map(|config| Self::Enabled(Box::new(config)))
    }

    /// The settings that a `config.json` gives, by the names of their fields.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json), as far as the fields' values do not matter.
    pub fn given_fields(text: &str) -> Result<Vec<String>, ConfigError> {
        let file = File { json: Typed::new(text), lookup: &|_| None };
        let entry = file.find_entry()?.unwrap_or_default();
        let Some((_, config)) = entry.into_iter().rfind(|(name, _)| name == "config") else {
            return Ok(Vec::new());
        };
        let fields = file.json.object("config", config)?;
        Ok(fields.into_iter().map(|(name, _)| name.to_string()).collect())
    }
}

impl BifrostConfig {
    /// Reads the `config` of the entry alone, an object of JSON, with secrets as
    /// [`KafkaEntry::from_json`] has them.
    ///
    /// # Errors
    ///
    /// Any [`ConfigError`].
    pub fn from_json(
        config: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let file = File { json: Typed::new(config), lookup };
        file.settings(file.json.object("config", file.json.whole()?)?)
    }
}

/// As the entry's `config`, in any format that has objects, with secrets from the environment.
impl<'de> Deserialize<'de> for BifrostConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let config = serde_json::Value::deserialize(deserializer)?.to_string();
        Self::from_json(&config, &|name| std::env::var(name).ok()).map_err(D::Error::custom)
    }
}

struct File<'a> {
    json: Typed<'a>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> File<'a> {
    fn find_entry(&self) -> Result<Option<Fields<'a>>, ConfigError> {
        let mut found: Option<(usize, Fields<'a>)> = None;
        let top = self.json.object("config.json", self.json.whole()?)?;
        let Some((_, plugins)) = top.into_iter().rfind(|(name, _)| name == "plugins") else {
            return Ok(None);
        };
        for (second, plugin) in self.json.array("plugins", plugins)?.into_iter().enumerate() {
            let path = format!("plugins[{second}]");
            let entry = self.json.object(&path, plugin)?;
            let name = entry.iter().rfind(|(name, _)| name == "name");
            let is_kafka = match name {
                Some((_, name)) => self.json.string(&format!("{path}.name"), name)? == "kafka",
                None => false,
            };
            match found {
                Some((first, _)) if is_kafka => {
                    return Err(ConfigError::DuplicateEntry { first, second });
                }
                None if is_kafka => found = Some((second, entry)),
                _ => {}
            }
        }
        Ok(found.map(|(_, entry)| entry))
    }

    fn settings(&self, fields: Fields<'a>) -> Result<BifrostConfig, ConfigError> {
        let mut config = BifrostConfig::new(Vec::<String>::new(), "");
        let (mut ca_cert, mut sasl) = (None, None);
        let (mut content_disabled, mut content) = (None, None);
        let json = &self.json;
        for (name, value) in fields {
            let field = &*name;
            match field {
                "brokers" => config.brokers = json.strings(field, value)?,
                "topic" => config.topic = json.string(field, value)?,
                "tls_enabled" => config.tls_enabled = json.boolean(field, value)?,
                "ca_cert" => ca_cert = Some(value),
                "sasl_enabled" => config.sasl_enabled = json.boolean(field, value)?,
                "sasl" => sasl = Some(value),
                "compression" => config.compression = self.compression(value)?,
                "batch_size" => config.batch_size = self.batch_size(value)?,
                "flush_interval_ms" => config.flush_interval = self.flush_interval(value)?,
                "auto_create_topic" => config.auto_create_topic = json.boolean(field, value)?,
                "topic_partitions" => {
                    config.topic_creation.partitions =
                        Some(self.count("topic_partitions", value, PARTITIONS_MAX)?);
                }
                "topic_replication_factor" => {
                    config.topic_creation.replication_factor =
                        Some(self.count("topic_replication_factor", value, REPLICAS_MAX)?);
                }
                "topic_configs" => config.topic_creation.configs = self.topic_configs(value)?,
                "disable_content_logging" => content_disabled = Some(json.boolean(field, value)?),
                "content_logging" => content = Some(self.content(value)?),
                "request_headers" => config.request_headers = json.strings(field, value)?,
                "plugin_span_filter" => config.plugin_span_filter = Some(self.filter(value)?),
                "probe" => config.probe = self.probe(value)?,
                "when_full" => config.when_full = self.when_full(value)?,
                _ => return Err(ConfigError::unknown_field("", field, FIELDS)),
            }
        }
        config.content_logging = settle_content(content_disabled, content)?;
        if let (true, Some(value)) = (config.tls_enabled, ca_cert) {
            config.ca_cert = Some(self.secret("ca_cert", value)?).filter(|cert| !cert.is_empty());
        }
        if let (true, Some(value)) = (config.sasl_enabled, sasl) {
            config.sasl = Some(self.sasl(value)?);
        }
        config.check()?;
        Ok(config)
    }

    fn sasl(&self, raw: &'a RawValue) -> Result<SaslConfig, ConfigError> {
        let (mut mechanism, mut username, mut password) = (None, None, None);
        for (name, value) in self.json.object("sasl", raw)? {
            match &*name {
                "mechanism" => mechanism = Some(self.json.string("sasl.mechanism", value)?),
                "username" => username = Some(self.secret("sasl.username", value)?),
                "password" => password = Some(self.secret("sasl.password", value)?),
                _ => return Err(ConfigError::unknown_field("sasl.", &name, SASL_FIELDS)),
            }
        }
        let given = mechanism
            .filter(|name| !name.is_empty())
            .ok_or(ConfigError::Missing { field: "sasl.mechanism" })?;
        let mechanism = SaslMechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == given)
            .ok_or(ConfigError::UnknownChoice {
                field: "sasl.mechanism",
                value: given,
                choices: "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            })?;
        Ok(SaslConfig {
            mechanism,
            username: username.ok_or(ConfigError::Missing { field: "sasl.username" })?,
            password: password.ok_or(ConfigError::Missing { field: "sasl.password" })?,
        })
    }

    fn filter(&self, raw: &'a RawValue) -> Result<PluginSpanFilter, ConfigError> {
        let (mut mode, mut plugins) = (None, Vec::new());
        for (name, value) in self.json.object("plugin_span_filter", raw)? {
            match &*name {
                "mode" => mode = Some(self.json.string("plugin_span_filter.mode", value)?),
                "plugins" => plugins = self.json.strings("plugin_span_filter.plugins", value)?,
                _ => {
                    let parent = "plugin_span_filter.";
                    return Err(ConfigError::unknown_field(parent, &name, FILTER_FIELDS));
                }
            }
        }
        let field = "plugin_span_filter.mode";
        let mode = match mode.as_deref() {
            Some("include") => FilterMode::Include,
            Some("exclude") => FilterMode::Exclude,
            None | Some("") => return Err(ConfigError::Missing { field }),
            Some(value) => {
                let (value, choices) = (value.to_owned(), "include or exclude");
                return Err(ConfigError::UnknownChoice { field, value, choices });
            }
        };
        Ok(PluginSpanFilter { mode, plugins })
    }

    /// A secret as text, as `env.NAME`, or as the object that Bifrost's interface stores:
    /// `{"value", "env_var", "from_env"}`, newer `{"value", "secret_ref", "from_secret"}`.
    fn secret(&self, field: &'static str, raw: &'a RawValue) -> Result<Secret, ConfigError> {
        if !is_object(raw) {
            return self.resolve(field, self.json.string(field, raw)?);
        }
        let (mut value, mut env_var, mut secret_ref) = Default::default();
        let mut from_env = false;
        for (name, member) in self.json.object(field, raw)? {
            let path = format!("{field}.{name}");
            match &*name {
                "value" => value = self.json.string(&path, member)?,
                "env_var" => env_var = self.json.string(&path, member)?,
                "secret_ref" | "vault_var" => secret_ref = self.json.string(&path, member)?,
                "from_env" => from_env = self.json.boolean(&path, member)?,
                "from_secret" | "from_vault" => _ = self.json.boolean(&path, member)?,
                _ => {
                    let parent = format!("{field}.");
                    return Err(ConfigError::unknown_field(&parent, &name, SECRET_FIELDS));
                }
            }
        }
        if !secret_ref.is_empty() {
            return self.resolve(field, secret_ref);
        }
        // Bifrost stores the value that it saw last beside the variable's name.
        if !env_var.is_empty() && (from_env || value.is_empty()) {
            let variable = env_var.strip_prefix("env.").unwrap_or(&env_var);
            let found = Secret::of_variable(variable, self.lookup);
            return found.map_err(|error| ConfigError::variable(field, error));
        }
        self.resolve(field, value)
    }

    fn resolve(&self, field: &'static str, text: String) -> Result<Secret, ConfigError> {
        if text.starts_with("vault.") {
            return Err(ConfigError::VaultReference { field });
        }
        Secret::resolve(&text, self.lookup).map_err(|error| ConfigError::variable(field, error))
    }

    fn compression(&self, raw: &'a RawValue) -> Result<Codec, ConfigError> {
        let value = self.json.string("compression", raw)?;
        let choices = "none, gzip, snappy, lz4 or zstd";
        value.parse().map_err(|_| ConfigError::UnknownChoice {
            field: "compression",
            value,
            choices,
        })
    }

    fn content(&self, raw: &'a RawValue) -> Result<ContentLogging, ConfigError> {
        let value = self.json.string("content_logging", raw)?;
        let found = ContentLogging::ALL.into_iter().find(|content| content.name() == value);
        let choices = "keep, seed, strict or hash";
        found.ok_or(ConfigError::UnknownChoice { field: "content_logging", value, choices })
    }

    fn probe(&self, raw: &'a RawValue) -> Result<Probe, ConfigError> {
        let value = self.json.string("probe", raw)?;
        let found = Probe::ALL.into_iter().find(|probe| probe.name() == value);
        let choices = "require, warn or off";
        found.ok_or(ConfigError::UnknownChoice { field: "probe", value, choices })
    }

    fn when_full(&self, raw: &'a RawValue) -> Result<WhenFull, ConfigError> {
        let value = self.json.string("when_full", raw)?;
        let found = WhenFull::ALL.into_iter().find(|when_full| when_full.name() == value);
        let choices = "block, drop_newest or drop_oldest";
        found.ok_or(ConfigError::UnknownChoice { field: "when_full", value, choices })
    }

    fn topic_configs(&self, raw: &'a RawValue) -> Result<BTreeMap<String, String>, ConfigError> {
        let configs = self.json.object("topic_configs", raw)?.into_iter();
        let read = |(name, value): (Cow<'a, str>, &'a RawValue)| {
            let text = self.json.string(&format!("topic_configs.{}", clip(&name)), value)?;
            Ok((name.into_owned(), text))
        };
        configs.map(read).collect()
    }

    fn count<T: FromStr>(
        &self,
        field: &'static str,
        raw: &'a RawValue,
        max: u64,
    ) -> Result<T, ConfigError> {
        let value = self.json.number(field, raw)?;
        let refuse = |_| ConfigError::OutOfRange { field, value: value.to_owned(), min: 1, max };
        value.parse().map_err(refuse)
    }

    fn batch_size(&self, raw: &'a RawValue) -> Result<usize, ConfigError> {
        let number = self.json.number("batch_size", raw)?;
        number.parse().map_err(|_| ConfigError::batch_size(number.to_owned()))
    }

    fn flush_interval(&self, raw: &'a RawValue) -> Result<Duration, ConfigError> {
        let number = self.json.number("flush_interval_ms", raw)?;
        number
            .parse()
            .ok()
            .map(Duration::from_millis)
            .filter(|interval| *interval <= FLUSH_INTERVAL_MAX)
            .ok_or_else(|| ConfigError::flush_interval(number.to_owned()))
    }
}

/// `disable_content_logging` is Bifrost's, `content_logging` says how; either may be left out.
fn settle_content(
    disabled: Option<bool>,
    content: Option<ContentLogging>,
) -> Result<ContentLogging, ConfigError> {
    match (disabled, content) {
        (Some(disabled), Some(content)) if disabled == (content == ContentLogging::Keep) => {
            Err(ConfigError::ContentContradiction { disabled, content })
        }
        (_, Some(content)) => Ok(content),
        (Some(true), None) => Ok(ContentLogging::Seed),
        (Some(false) | None, None) => Ok(ContentLogging::Keep),
    }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests;
