//! Bifrost's `config.json`.
//!
//! Decides how the entry named `kafka` is found among the plugins and how its fields are read. The
//! rest of the file is Bifrost's own and only has to be JSON. Whether the settings make sense is
//! decided by [`BifrostConfig::check`].
//!
//! `null` is the same as leaving a field out, and of a field given twice the last counts, as in Go.
//! What a switch turns off is not read: `ca_cert` without `tls_enabled` and `sasl` without
//! `sasl_enabled` may name variables that are not set.

use std::time::Duration;

use serde_json::value::RawValue;

use super::typed::{Fields, Typed, is_object};
use super::{
    BifrostConfig, ConfigError, ContentLogging, FLUSH_INTERVAL_MAX, FilterMode, PluginSpanFilter,
    SaslConfig, SaslMechanism, Secret,
};
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
    "disable_content_logging",
    "content_logging",
    "request_headers",
    "plugin_span_filter",
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
                "disable_content_logging" => content_disabled = Some(json.boolean(field, value)?),
                "content_logging" => content = Some(self.content(value)?),
                "request_headers" => config.request_headers = json.strings(field, value)?,
                "plugin_span_filter" => config.plugin_span_filter = Some(self.filter(value)?),
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
            return self.variable(field, env_var.strip_prefix("env.").unwrap_or(&env_var));
        }
        self.resolve(field, value)
    }

    fn resolve(&self, field: &'static str, text: String) -> Result<Secret, ConfigError> {
        if text.starts_with("vault.") {
            return Err(ConfigError::VaultReference { field });
        }
        match text.strip_prefix("env.") {
            Some(name) => self.variable(field, name),
            None => Ok(Secret::new(text)),
        }
    }

    fn variable(&self, field: &'static str, name: &str) -> Result<Secret, ConfigError> {
        let missing = |empty| ConfigError::Variable { field, variable: name.to_owned(), empty };
        match (self.lookup)(name) {
            Some(value) if value.is_empty() => Err(missing(true)),
            Some(value) => Ok(Secret::new(value)),
            None => Err(missing(false)),
        }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) const MINIMAL: &str = r#"
    {
      "plugins": [
        {
          "enabled": true,
          "name": "kafka",
          "config": {
            "brokers": ["localhost:9092"],
            "topic": "bifrost-traces"
          }
        }
      ]
    }
    "#;

    pub(super) const FULL: &str = r#"
    {
      "plugins": [
        {
          "enabled": true,
          "name": "kafka",
          "config": {
            "brokers": ["kafka.internal:9093"],
            "topic": "bifrost-traces",
            "tls_enabled": true,
            "ca_cert": "env.KAFKA_CA_CERT",
            "sasl_enabled": true,
            "sasl": {
              "mechanism": "SCRAM-SHA-256",
              "username": "env.KAFKA_USERNAME",
              "password": "env.KAFKA_PASSWORD"
            },
            "compression": "zstd",
            "batch_size": 100,
            "flush_interval_ms": 1000,
            "auto_create_topic": false,
            "disable_content_logging": false,
            "request_headers": ["x-tenant-id", "x-request-source"]
          }
        }
      ]
    }
    "#;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

    pub(super) fn environment(name: &str) -> Option<String> {
        let value = match name {
            "KAFKA_CA_CERT" => CERTIFICATE,
            "KAFKA_USERNAME" => "alice",
            "KAFKA_PASSWORD" => "hunter2",
            "EMPTY" => "",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn enabled(text: &str) -> BifrostConfig {
        match KafkaEntry::from_json(text, &environment).unwrap() {
            KafkaEntry::Enabled(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn refused(text: &str) -> String {
        KafkaEntry::from_json(text, &environment).unwrap_err().to_string()
    }

    /// A file whose Kafka entry has these fields beside brokers and topic.
    pub(super) fn with(fields: &str) -> String {
        format!(
            "{{\"plugins\":[{{\"enabled\":true,\"name\":\"kafka\",\"config\":\n\
             {{\"brokers\":[\"localhost:9092\"],\"topic\":\"t\",\n{fields}}}}}]}}"
        )
    }

    /// A file whose Kafka entry has these fields only.
    fn only(fields: &str) -> String {
        format!(r#"{{"plugins":[{{"enabled":true,"name":"kafka","config":{{{fields}}}}}]}}"#)
    }

    fn with_password(password: &str) -> String {
        with(&format!(
            r#""sasl_enabled":true,
               "sasl":{{"mechanism":"PLAIN","username":"u","password":{password}}}"#
        ))
    }

    #[test]
    fn the_minimal_example_has_the_defaults() {
        let config = enabled(MINIMAL);
        let built = BifrostConfig::new(["localhost:9092"], "bifrost-traces");
        assert_eq!(format!("{config:?}"), format!("{built:?}"));
    }

    #[test]
    fn the_full_example_is_read() {
        let config = enabled(FULL);
        assert_eq!(config.brokers, ["kafka.internal:9093"]);
        assert_eq!(config.topic, "bifrost-traces");
        assert!(config.tls_enabled && config.sasl_enabled);
        assert_eq!(config.ca_cert.as_ref().unwrap().expose(), CERTIFICATE);
        let sasl = config.sasl.as_ref().unwrap();
        assert_eq!(sasl.mechanism, SaslMechanism::ScramSha256);
        assert_eq!(sasl.username.expose(), "alice");
        assert_eq!(sasl.password.expose(), "hunter2");
        assert_eq!(config.compression, Codec::Zstd);
        assert_eq!(config.batch_size, 100);
        assert_eq!(config.flush_interval, Duration::from_secs(1));
        assert!(!config.auto_create_topic);
        assert_eq!(config.content_logging, ContentLogging::Keep);
        assert_eq!(config.request_headers, ["x-tenant-id", "x-request-source"]);
        assert!(config.tls().is_some() && config.login().unwrap().is_some());
    }

    #[test]
    fn what_a_file_gives_is_told_from_defaults() {
        assert_eq!(KafkaEntry::given_fields(MINIMAL).unwrap(), ["brokers", "topic"]);
        assert!(KafkaEntry::given_fields("{}").unwrap().is_empty());
    }

    #[test]
    fn every_field_has_its_effect() {
        let config = enabled(&with(
            r#""compression":"lz4","batch_size":7,"flush_interval_ms":0,"auto_create_topic":true,
               "disable_content_logging":true,
               "plugin_span_filter":{"mode":"exclude","plugins":["logging","kafka"]}"#,
        ));
        assert_eq!(config.compression, Codec::Lz4);
        assert_eq!(config.batch_size, 7);
        assert_eq!(config.flush_interval, Duration::ZERO);
        assert!(config.auto_create_topic);
        assert_eq!(config.content_logging, ContentLogging::Seed);
        let filter = config.plugin_span_filter.unwrap();
        assert_eq!(filter.mode, FilterMode::Exclude);
        assert_eq!(filter.plugins, ["logging", "kafka"]);
        let include = enabled(&with(r#""plugin_span_filter":{"mode":"include"}"#));
        assert_eq!(include.plugin_span_filter.unwrap().mode, FilterMode::Include);
    }

    #[test]
    fn null_is_the_default() {
        let nulls = FIELDS[2..].iter().map(|field| format!("\"{field}\":null"));
        let config = enabled(&with(&nulls.collect::<Vec<_>>().join(",")));
        let built = BifrostConfig::new(["localhost:9092"], "t");
        assert_eq!(format!("{config:?}"), format!("{built:?}"));
    }

    #[test]
    fn what_is_bifrosts_own_is_not_looked_at() {
        let config = enabled(
            r#"{"providers":{"openai":{"keys":[1e400]}},"plugins":[{"name":"otel","config":7},
               {"path":"x","name":"kafka","enabled":true,"placement":3,
                "config":{"brokers":["a:1"],"topic":"t"}},{}]}"#,
        );
        assert_eq!(config.topic, "t");
    }

    #[test]
    fn a_missing_entry_and_a_disabled_one_are_told_apart() {
        for text in ["{}", r#"{"plugins":null}"#, r#"{"plugins":[{"name":"otel"}]}"#] {
            assert!(matches!(KafkaEntry::from_json(text, &environment), Ok(KafkaEntry::Missing)));
        }
        for text in [
            r#"{"plugins":[{"name":"kafka","enabled":false,"config":{"topic":7}}]}"#,
            r#"{"plugins":[{"name":"kafka"}]}"#,
        ] {
            assert!(matches!(KafkaEntry::from_json(text, &environment), Ok(KafkaEntry::Disabled)));
        }
    }

    #[test]
    fn malformed_json_is_located() {
        assert_eq!(
            refused("{\n  \"plugins\": [}\n"),
            "not valid JSON at line 2 column 15: expected value",
        );
        assert_eq!(refused(""), "not valid JSON at line 1 column 0: EOF while parsing a value");
        assert_eq!(
            refused(&with(r#""compression":"\ud800""#)),
            "not valid JSON at line 3 column 15: a string holds half of a surrogate pair",
        );
    }

    #[test]
    fn wrong_types_are_located() {
        for (text, error) in [
            (
                "\n7".to_owned(),
                "config.json: expected an object and found a number at line 2 column 1",
            ),
            (
                r#"{"plugins":{}}"#.to_owned(),
                "plugins: expected an array and found an object at line 1 column 12",
            ),
            (
                r#"{"plugins":["kafka"]}"#.to_owned(),
                "plugins[0]: expected an object and found a string at line 1 column 13",
            ),
            (
                only(r#""brokers":"localhost:9092""#),
                "brokers: expected an array and found a string at line 1 column 64",
            ),
            (
                only(r#""brokers":["a:1",9092]"#),
                "brokers[1]: expected a string and found a number at line 1 column 71",
            ),
            (
                with(r#""tls_enabled":"true""#),
                "tls_enabled: expected true or false and found a string at line 3 column 15",
            ),
            (
                with(r#""batch_size":"100""#),
                "batch_size: expected a number and found a string at line 3 column 14",
            ),
            (
                with(r#""plugin_span_filter":[]"#),
                "plugin_span_filter: expected an object and found an array at line 3 column 22",
            ),
            (
                with_password("true"),
                "sasl.password: expected a string and found true or false at line 4 column 70",
            ),
        ] {
            assert_eq!(refused(&text), error);
        }
    }

    #[test]
    fn unknown_fields_are_named_with_the_nearest_known() {
        for (text, error) in [
            (
                with(r#""flush_interval":5"#),
                "flush_interval: unknown field; did you mean flush_interval_ms?",
            ),
            (with(r#""Topic":"x""#), "Topic: unknown field; did you mean topic?"),
            (with(r#""to\npic":"x""#), "to?pic: unknown field; did you mean topic?"),
            (
                with(r#""plugin_span_filter":{"mod":"include"}"#),
                "plugin_span_filter.mod: unknown field; did you mean mode?",
            ),
            (
                with(r#""sasl_enabled":true,"sasl":{"user":"x"}"#),
                "sasl.user: unknown field; remove it, or use one of mechanism, username, password",
            ),
            (
                with_password(r#"{"values":"secret"}"#),
                "sasl.password.values: unknown field; did you mean value?",
            ),
        ] {
            assert_eq!(refused(&text), error);
        }
        assert!(refused(&with(r#""acks":"all""#)).starts_with(
            "acks: unknown field; remove it, or use one of brokers, topic, tls_enabled, ca_cert,"
        ));
    }

    #[test]
    fn values_that_cannot_work_are_named_with_a_remedy() {
        for (text, error) in [
            (
                only(""),
                "brokers: missing or empty; name at least one broker, such as [\"localhost:9092\"]",
            ),
            (only(r#""brokers":["a:1"]"#), "topic: missing or empty; name the topic to publish to"),
            (
                with(r#""compression":"brotli""#),
                "compression: \"brotli\" is unknown; use none, gzip, snappy, lz4 or zstd",
            ),
            (
                with(r#""batch_size":0"#),
                "batch_size: 0 is out of range; use a whole number from 1 to 1000000",
            ),
            (
                with(r#""batch_size":-5"#),
                "batch_size: -5 is out of range; use a whole number from 1 to 1000000",
            ),
            (
                with(r#""batch_size":1.5"#),
                "batch_size: 1.5 is out of range; use a whole number from 1 to 1000000",
            ),
            (
                with(r#""flush_interval_ms":-1"#),
                "flush_interval_ms: -1 is out of range; use a whole number from 0 to 3600000",
            ),
            (
                with(r#""flush_interval_ms":18446744073709551615"#),
                "flush_interval_ms: 18446744073709551615 is out of range; use a whole number from \
                 0 to 3600000",
            ),
            (
                with(r#""sasl_enabled":true"#),
                "sasl_enabled: true but sasl is missing; add sasl with mechanism, username and \
                 password, or set sasl_enabled to false",
            ),
            (
                with(r#""sasl_enabled":true,"sasl":{}"#),
                "sasl.mechanism: missing or empty; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            ),
            (
                with(r#""sasl_enabled":true,"sasl":{"mechanism":"GSSAPI"}"#),
                "sasl.mechanism: \"GSSAPI\" is unknown; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            ),
            (
                with(r#""sasl_enabled":true,"sasl":{"mechanism":"PLAIN"}"#),
                "sasl.username: missing or empty; give it as text or as \"env.NAME\"",
            ),
            (
                with(r#""plugin_span_filter":{"mode":"only"}"#),
                "plugin_span_filter.mode: \"only\" is unknown; use include or exclude",
            ),
            (
                with(r#""plugin_span_filter":{"plugins":[]}"#),
                "plugin_span_filter.mode: missing or empty; use include or exclude",
            ),
            (
                r#"{"plugins":[{"name":"kafka"},{"name":"otel"},{"name":"kafka"}]}"#.to_owned(),
                "plugins[0] and plugins[2] are both named \"kafka\"; keep the one that is meant",
            ),
        ] {
            assert_eq!(refused(&text), error);
        }
    }

    #[test]
    fn content_logging_and_bifrosts_own_switch_agree_or_are_refused() {
        use ContentLogging::{Hash, Keep, Seed, Strict};
        for (settings, content) in [
            (r#""topic":"t""#, Keep),
            (r#""disable_content_logging":false"#, Keep),
            (r#""disable_content_logging":true"#, Seed),
            (r#""content_logging":"keep""#, Keep),
            (r#""content_logging":"seed""#, Seed),
            (r#""content_logging":"strict""#, Strict),
            (r#""content_logging":"hash""#, Hash),
            (r#""disable_content_logging":true,"content_logging":null"#, Seed),
            (r#""disable_content_logging":null,"content_logging":"hash""#, Hash),
            (r#""disable_content_logging":false,"content_logging":"keep""#, Keep),
            (r#""content_logging":"strict","disable_content_logging":true"#, Strict),
        ] {
            assert_eq!(enabled(&with(settings)).content_logging, content, "{settings}");
        }
        for (settings, error) in [
            (
                r#""content_logging":"keep","disable_content_logging":true"#,
                "disable_content_logging: true and content_logging: \"keep\" contradict each \
                 other; remove one of the two",
            ),
            (
                r#""disable_content_logging":false,"content_logging":"strict""#,
                "disable_content_logging: false and content_logging: \"strict\" contradict each \
                 other; remove one of the two",
            ),
            (
                r#""content_logging":"none""#,
                "content_logging: \"none\" is unknown; use keep, seed, strict or hash",
            ),
            (
                r#""content_logging":true"#,
                "content_logging: expected a string and found true or false at line 3 column 19",
            ),
        ] {
            assert_eq!(refused(&with(settings)), error);
        }
    }

    #[test]
    fn other_plugins_and_what_they_hold_are_bifrosts() {
        let kafka = r#"{"enabled":true,"name":"kafka","config":{"brokers":["a:1"],"topic":"t"}}"#;
        let others = r#"{"name":"otel","enabled":false,"config":{"topic":7}},
            {"name":"Kafka","enabled":true,"config":[]},{"config":null},
            {"name":"kafka-2","path":"./k.so","enabled":"yes"}"#;
        for text in [
            format!(r#"{{"plugins":[{others},{kafka}]}}"#),
            format!(r#"{{"providers":{{"kafka":1}},"plugins":[{kafka},{others}]}}"#),
        ] {
            assert_eq!(enabled(&text).topic, "t");
            let entry = KafkaEntry::from_json(&text.replace(kafka, "{}"), &environment);
            assert!(matches!(entry, Ok(KafkaEntry::Missing)));
            let off = kafka.replace("true", "false");
            let entry = KafkaEntry::from_json(&text.replace(kafka, &off), &environment);
            assert!(matches!(entry, Ok(KafkaEntry::Disabled)));
        }
    }

    #[test]
    fn secrets_come_as_text_variable_or_object() {
        for (password, secret) in [
            (r#""plain""#, "plain"),
            (r#""env.KAFKA_PASSWORD""#, "hunter2"),
            (r#"{"value":"plain"}"#, "plain"),
            (r#"{"value":"plain","env_var":"","from_env":false}"#, "plain"),
            (r#"{"value":"plain","env_var":"env.UNSET","from_env":false}"#, "plain"),
            (r#"{"value":"env.KAFKA_PASSWORD"}"#, "hunter2"),
            (r#"{"value":"hun****","env_var":"env.KAFKA_PASSWORD","from_env":true}"#, "hunter2"),
            (r#"{"value":null,"env_var":"KAFKA_PASSWORD","from_env":true}"#, "hunter2"),
            (r#"{"env_var":"env.KAFKA_PASSWORD"}"#, "hunter2"),
            (r#"{"value":"","secret_ref":"env.KAFKA_PASSWORD","from_secret":true}"#, "hunter2"),
        ] {
            let config = enabled(&with_password(password));
            assert_eq!(config.sasl.unwrap().password.expose(), secret, "{password}");
        }
    }

    #[test]
    fn variables_without_a_value_are_named() {
        for (text, error) in [
            (
                with_password(r#""env.UNSET""#),
                "sasl.password: the environment variable \"UNSET\" is not set; set it, or give \
                 another",
            ),
            (
                with_password(r#"{"env_var":"env.EMPTY","from_env":true}"#),
                "sasl.password: the environment variable \"EMPTY\" is empty; set it, or give \
                 another",
            ),
            (
                with(r#""tls_enabled":true,"ca_cert":"env.UNSET""#),
                "ca_cert: the environment variable \"UNSET\" is not set; set it, or give another",
            ),
            (
                with_password(r#""""#),
                "sasl.password: missing or empty; give it as text or as \"env.NAME\"",
            ),
            (
                with_password(r#""vault.kafka/password""#),
                "sasl.password: references to a vault are not supported; put the secret into an \
                 environment variable and write \"env.NAME\"",
            ),
            (
                with_password(r#"{"value":"","vault_var":"vault.a","from_vault":true}"#),
                "sasl.password: references to a vault are not supported; put the secret into an \
                 environment variable and write \"env.NAME\"",
            ),
        ] {
            assert_eq!(refused(&text), error);
        }
    }

    #[test]
    fn an_empty_certificate_means_the_systems() {
        for ca_cert in [r#""""#, r#"{"value":"","env_var":"","from_env":false}"#] {
            let config = enabled(&with(&format!(r#""tls_enabled":true,"ca_cert":{ca_cert}"#)));
            assert!(config.ca_cert.is_none());
        }
    }

    #[test]
    fn what_is_switched_off_is_not_read() {
        let config = enabled(&with(
            r#""ca_cert":"env.UNSET","sasl":{"mechanism":"","username":"env.UNSET"}"#,
        ));
        assert!(config.ca_cert.is_none() && config.sasl.is_none());
    }

    #[test]
    fn no_error_and_no_debug_shows_a_secret() {
        for password in [
            r#"{"value":"hunter2","from_env":"hunter2"}"#,
            r#"{"value":["hunter2"]}"#,
            r#"["hunter2"]"#,
            r#""vault.hunter2""#,
        ] {
            let error = KafkaEntry::from_json(&with_password(password), &environment).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(!format!("{:?}", enabled(FULL)).contains("hunter2"));
    }

    #[test]
    fn a_deep_file_costs_no_stack() {
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
        assert!(matches!(KafkaEntry::from_json(&deep, &environment), Ok(KafkaEntry::Missing)));
        assert!(refused(&"[".repeat(500_000)).starts_with("not valid JSON at line 1"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = KafkaEntry::from_json(&text, &environment);
        }

        #[test]
        fn arbitrary_settings_never_panic(
            field in prop::sample::select(FIELDS),
            value in "(\\[|\\]|\\{|\\}|,|:|\"[a-z:.0-9]{0,6}\"|-?[0-9]{1,25}|null|true){0,6}",
        ) {
            let _ = KafkaEntry::from_json(&with(&format!("\"{field}\":{value}")), &environment);
        }
    }
}
