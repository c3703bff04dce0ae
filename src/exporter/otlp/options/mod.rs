//! The exporter's options: rotel's names, and ours beside them.
//!
//! One table says what there is. From it come the flags (`--kafka-exporter-linger-ms`), their twins
//! in the environment (`OTTLA_KAFKA_EXPORTER_LINGER_MS`, or rotel's own `ROTEL_...`), the names in a
//! TOML file (`linger_ms`) and the text of `--help`. Values are read alike wherever they come from:
//! letters of either case, `-` or `_`, durations as `30s` or as milliseconds.
//!
//! Most options are properties of librdkafka by another name. Defaults give way where an explicit
//! property needs another value, and the custom configuration is applied last, so that it overrides.
//!
//! Options: <https://rotel.dev/docs/exporters/kafka>.

mod effective;
pub use effective::Effective;

mod file;
#[cfg(feature = "cli")]
pub(crate) use file::FlagText;

mod table;
pub use table::{OPTIONS, OptionRow};

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests;

use super::config::{DeadLetters, Format, Grouping, OtlpConfig, Oversize};
use super::schema::Signal;
use crate::exporter::{Probe, TopicCreation, WhenFull};
use crate::producer::{Properties, PropertyError, PropertyNote};
use crate::sasl::Secret;
use std::collections::BTreeMap;
use std::fmt;
use table::Kind::{Property, Switch, Text, Time, Word};

/// Values of options, on their way to an [`OtlpConfig`].
///
/// ```
/// use ottla::exporter::otlp::{Format, OtlpOptions, Origin};
/// use ottla::producer::Acks;
///
/// let mut options = OtlpOptions::new();
/// options.set("format", "json", Origin::Flag)?;
/// options.set("custom-config", "enable.idempotence=true,linger.ms=50", Origin::Flag)?;
/// let (config, notes) = options.into_config(&|_| None)?;
/// assert_eq!(config.format, Format::Json);
/// assert_eq!(config.producer.acks, Acks::All); // raised, since `one` was only the default
/// assert_eq!(config.topics.traces, "otlp_traces");
/// assert_eq!(notes.len(), 1);
/// # Ok::<(), ottla::exporter::otlp::OptionError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct OtlpOptions {
    given: BTreeMap<&'static str, Given>,
    properties: Vec<(String, String, Origin)>,
}

/// Where a value was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a configuration file.
    File,
    /// In the environment.
    Environment,
    /// On the command line.
    Flag,
}

#[derive(Clone)]
struct Given {
    text: String,
    origin: Origin,
}

/// Where it was given alone: it may be a secret.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.origin)
    }
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has this name.
    #[error("no such option: {name:?}{}", nearest(.name))]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// A value is none that the option takes.
    #[error("{option}: {fault}")]
    Invalid {
        /// As its user spells it.
        option: String,
        /// What is wrong, and what would be right.
        fault: String,
    },
    /// Two options exclude each other.
    #[error("{first} does not go with {second}: {remedy}")]
    Conflict {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The properties that options and custom configuration come to do not go together.
    #[error("{0}")]
    Property(#[from] PropertyError),
}

fn nearest(name: &str) -> String {
    let words = |text: &str| text.split(['-', '_']).map(str::to_owned).collect::<Vec<_>>();
    let of_name = words(name);
    let common = |row: &&OptionRow| words(row.name).iter().filter(|w| of_name.contains(w)).count();
    match OPTIONS.iter().max_by_key(common).filter(|row| common(row) > 0) {
        Some(row) => format!(": did you mean {:?}?", row.name),
        None => String::new(),
    }
}

/// Resolves `env.NAME`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl OtlpOptions {
    /// None given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an option, named as in the table, with `-` or `_`. Flags win over the environment, the
    /// environment over files; among equals the later wins.
    ///
    /// # Errors
    ///
    /// `Unknown`.
    pub fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), OptionError> {
        let spelled = name.replace('_', "-");
        let Some(row) = OPTIONS.iter().find(|row| row.name == spelled) else {
            return Err(OptionError::Unknown { name: name.to_owned() });
        };
        if self.given.get(row.name).is_none_or(|before| before.origin <= origin) {
            self.given.insert(row.name, Given { text: text.to_owned(), origin });
        }
        Ok(())
    }

    /// Sets a property of librdkafka, whose value may hold commas. Applied after everything else, in
    /// the order of their being set, files before the environment before flags.
    pub fn set_property(&mut self, name: &str, value: &str, origin: Origin) {
        self.properties.push((name.to_owned(), value.to_owned(), origin));
    }

    /// The settings that they come to, and what should be logged about them.
    ///
    /// # Errors
    ///
    /// `Invalid`, `Conflict` or `Property`.
    pub fn into_config(
        self,
        environment: Environment<'_>,
    ) -> Result<(OtlpConfig, Vec<PropertyNote>), OptionError> {
        let properties = self.properties(environment)?;
        let (producer, notes) = properties.into_config()?;
        let mut config = OtlpConfig::new(producer);
        self.topics(&mut config)?;
        config.format = match &*self.word("format") {
            "protobuf" => Format::Protobuf,
            "json" => Format::Json,
            _ => return Err(self.unknown_word("format")),
        };
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            *config.grouping.of_mut(signal) = self.grouping(signal)?;
        }
        config.record_headers = self.pairs("record-headers")?;
        config.headers_from_metadata =
            self.list("headers-from-metadata").map(|name| name.to_ascii_lowercase()).collect();
        config.content_type_header = self.switch("content-type-header")?;
        config.oversize = self.oversize()?;
        let probe = self.word("probe");
        config.probe = Probe::ALL
            .into_iter()
            .find(|known| known.name() == probe)
            .ok_or_else(|| self.unknown_word("probe"))?;
        let when_full = self.word("when-full").replace('-', "_");
        config.producer.when_full = WhenFull::ALL
            .into_iter()
            .find(|known| known.name() == when_full)
            .ok_or_else(|| self.unknown_word("when-full"))?;
        config.create_topics = self.switch("create-topics")?;
        config.topic_creation = self.topic_creation()?;
        Ok((config, notes))
    }

    fn properties(&self, environment: Environment<'_>) -> Result<Properties, OptionError> {
        self.check_login()?;
        self.check_request_timeout()?;
        let mut properties = Properties::new();
        for row in OPTIONS {
            let name = match row.kind {
                Property(name) | Time(name) | Word(name) => name,
                Text | Switch => continue,
            };
            let refuse = |fault: &dyn fmt::Display| self.invalid(row.name, &fault.to_string());
            if let Some(given) = self.given(row.name) {
                let value = resolved(row, &given.text, environment).map_err(|f| refuse(&f))?;
                properties.set(name, &value).map_err(|fault| refuse(&fault))?;
            } else if !row.default.is_empty() && !self.gives(name) {
                let value = resolved(row, row.default, environment).map_err(|f| refuse(&f))?;
                properties.set_default(name, &value).map_err(|fault| refuse(&fault))?;
            }
        }
        for (name, value, _) in self.custom()? {
            let refuse = |fault| OptionError::Invalid { option: name.clone(), fault };
            // One that is a secret may be named rather than written.
            let value = match Properties::is_secret(&name) {
                true => secret(&value, environment).map_err(refuse)?,
                false => value,
            };
            properties.set(&name, &value)?;
        }
        Ok(properties)
    }

    /// The properties that override options, in the order of their being applied.
    fn custom(&self) -> Result<Vec<(String, String, Origin)>, OptionError> {
        let origin = self.origin("custom-config").unwrap_or(Origin::File);
        let pairs = self.pairs("custom-config")?;
        let mut later = self.properties.clone();
        later.sort_by_key(|(_, _, origin)| *origin);
        Ok(pairs.into_iter().map(|(name, value)| (name, value, origin)).chain(later).collect())
    }

    /// Whether an option that was given sets this property.
    fn gives(&self, property: &str) -> bool {
        OPTIONS.iter().any(|row| {
            matches!(row.kind, Property(name) | Time(name) | Word(name) if name == property)
                && self.given(row.name).is_some()
        })
    }

    /// A login is all three or none; with less the broker would refuse it much later, or nobody
    /// would log in at all.
    fn check_login(&self) -> Result<(), OptionError> {
        const OF_LOGIN: [(&str, &str); 3] = [
            ("sasl-username", "sasl.username"),
            ("sasl-password", "sasl.password"),
            ("sasl-mechanism", "sasl.mechanisms"),
        ];
        let custom = self.custom()?;
        let is_custom =
            |property: &str| custom.iter().any(|(name, _, _)| Properties::are_one(name, property));
        let Some((first, _)) = OF_LOGIN.into_iter().find(|(name, _)| self.given(name).is_some())
        else {
            return Ok(());
        };
        let is_missing =
            |(name, property): &(&str, &str)| self.given(name).is_none() && !is_custom(property);
        if let Some((missing, _)) = OF_LOGIN.into_iter().find(is_missing) {
            let fault = format!("a login needs {} too", self.spelled(missing, self.origin(first)));
            return Err(self.invalid(first, &fault));
        }
        if is_custom("security.protocol") || self.word("security-protocol").starts_with("sasl") {
            return Ok(());
        }
        Err(OptionError::Conflict {
            first: self.shown(first),
            second: self.shown("security-protocol"),
            remedy: "set it to SASL_SSL, or to SASL_PLAINTEXT where there is no TLS",
        })
    }

    /// rotel documents two names for one thing.
    fn check_request_timeout(&self) -> Result<(), OptionError> {
        let [first, second] = ["request-timeout", "request-timeout-ms"];
        let (Some(one), Some(other)) = (self.given(first), self.given(second)) else {
            return Ok(());
        };
        if milliseconds(&one.text) == milliseconds(&other.text) {
            return Ok(());
        }
        Err(OptionError::Conflict {
            first: self.shown(first),
            second: self.shown(second),
            remedy: "they name one setting: give one of them",
        })
    }

    fn topics(&self, config: &mut OtlpConfig) -> Result<(), OptionError> {
        let names = [
            (Signal::Traces, "traces-topic"),
            (Signal::Metrics, "metrics-topic"),
            (Signal::Logs, "logs-topic"),
        ];
        for (signal, name) in names {
            let default =
                self.preset_topic(signal).ok_or_else(|| self.unknown_word("topic-preset"))?;
            let topic = self.given(name).map_or(default, |given| &given.text);
            if topic.is_empty() {
                return Err(self.invalid(name, "a topic has a name"));
            }
            topic.clone_into(config.topics.of_mut(signal));
        }
        config.topic_from_attribute = self.some("topic-from-attribute");
        config.topic_from_header =
            self.some("topic-from-header").map(|name| name.to_ascii_lowercase());
        config.allowed_topics = self.list("allowed-topics").map(str::to_owned).collect();
        for name in ["topic-from-attribute", "topic-from-header"] {
            if self.some(name).is_some() && config.allowed_topics.is_empty() {
                let fault = "name the topics that it may choose with allowed-topics";
                return Err(self.invalid(name, fault));
            }
        }
        Ok(())
    }

    fn topic_creation(&self) -> Result<TopicCreation, OptionError> {
        let replicas = self.count("topic-replication-factor")?;
        Ok(TopicCreation {
            partitions: self.count("topic-partitions")?,
            replication_factor: replicas.and_then(|count| count.try_into().ok()),
            configs: self.topic_configs()?,
        })
    }

    fn count(&self, name: &'static str) -> Result<Option<u32>, OptionError> {
        let Some(text) = self.some(name) else { return Ok(None) };
        let max = row(name).count_max().expect("an option that counts");
        let count = text.parse().ok().filter(|count| (1..=max).contains(count));
        let fault = || self.invalid(name, &format!("write a whole number from 1 to {max}"));
        count.map(Some).ok_or_else(fault)
    }

    /// Unlike other pairs these may hold commas, as `cleanup.policy=compact,delete`: what has no `=`
    /// belongs to the value before it.
    fn topic_configs(&self) -> Result<BTreeMap<String, String>, OptionError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in self.list("topic-configs") {
            match (part.split_once('='), pairs.last_mut()) {
                (Some((name, value)), _) if !name.trim().is_empty() => {
                    pairs.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                (None, Some((_, value))) => *value = format!("{value},{part}"),
                _ => {
                    let fault = "write name=value, separated by commas";
                    return Err(self.invalid("topic-configs", fault));
                }
            }
        }
        Ok(pairs.into_iter().collect())
    }

    /// A signal's topic unless one was given; none, if there is no such preset.
    fn preset_topic(&self, signal: Signal) -> Option<&'static str> {
        match (&*self.word("topic-preset"), signal) {
            ("rotel", Signal::Traces) => Some("otlp_traces"),
            ("otelcol", Signal::Traces) => Some("otlp_spans"),
            ("rotel" | "otelcol", Signal::Metrics) => Some("otlp_metrics"),
            ("rotel" | "otelcol", Signal::Logs) => Some("otlp_logs"),
            _ => None,
        }
    }

    fn grouping(&self, signal: Signal) -> Result<Grouping, OptionError> {
        let (by_id, by_resource, by_attributes) = match signal {
            Signal::Traces => (
                Some("partition-traces-by-id"),
                "partition-traces-by-resource-attributes",
                "partition-traces-by-attributes",
            ),
            Signal::Metrics => (
                None,
                "partition-metrics-by-resource-attributes",
                "partition-metrics-by-attributes",
            ),
            Signal::Logs => (
                Some("partition-logs-by-trace-id"),
                "partition-logs-by-resource-attributes",
                "partition-logs-by-attributes",
            ),
        };
        let mut chosen: Option<(&str, Grouping)> = None;
        let mut choose = |name, grouping| match &chosen {
            Some((before, _)) => Err(OptionError::Conflict {
                first: self.shown(before),
                second: self.shown(name),
                remedy: "a record has one key: choose one of them",
            }),
            None => {
                chosen = Some((name, grouping));
                Ok(())
            }
        };
        if let Some(name) = by_id
            && self.switch(name)?
        {
            choose(name, Grouping::TraceId)?;
        }
        if self.switch(by_resource)? {
            choose(by_resource, Grouping::Resource)?;
        }
        let names: Vec<_> = self.list(by_attributes).map(str::to_owned).collect();
        if !names.is_empty() {
            choose(by_attributes, Grouping::Attributes(names))?;
        }
        Ok(chosen.map_or(Grouping::Request, |(_, grouping)| grouping))
    }

    fn oversize(&self) -> Result<Oversize, OptionError> {
        let topic = self.some("dead-letter-topic").map(DeadLetters::Topic);
        let file = self.some("dead-letter-file").map(|path| DeadLetters::File(path.into()));
        if topic.is_some() && file.is_some() {
            return Err(OptionError::Conflict {
                first: self.shown("dead-letter-topic"),
                second: self.shown("dead-letter-file"),
                remedy: "choose one of them",
            });
        }
        let dead_letters = topic.or(file);
        match (&*self.word("oversize"), &dead_letters) {
            ("truncate", _) => Ok(Oversize { truncate: true, dead_letters }),
            ("dead-letter", Some(_)) => Ok(Oversize { truncate: false, dead_letters }),
            ("dead-letter", None) => {
                Err(self
                    .invalid("oversize", "say where with dead-letter-topic or dead-letter-file"))
            }
            ("drop", None) => Ok(Oversize { truncate: false, dead_letters }),
            ("drop", Some(_)) => {
                Err(self
                    .invalid("oversize", "what is dropped is no dead letter: write dead-letter"))
            }
            _ => Err(self.unknown_word("oversize")),
        }
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    fn origin(&self, name: &str) -> Option<Origin> {
        self.given(name).map(|given| given.origin)
    }

    /// The value, or the default.
    fn text(&self, name: &str) -> &str {
        self.given(name).map_or_else(|| row(name).default, |given| &given.text)
    }

    /// The value in small letters, `_` as `-`.
    fn word(&self, name: &str) -> String {
        self.text(name).trim().to_ascii_lowercase().replace('_', "-")
    }

    fn some(&self, name: &str) -> Option<String> {
        let text = self.text(name).trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.text(name).split(',').map(str::trim).filter(|part| !part.is_empty())
    }

    fn pairs(&self, name: &'static str) -> Result<Vec<(String, String)>, OptionError> {
        let split = |part: &str| match part.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            // The part may be a secret's second half.
            None => Err(self.invalid(
                name,
                "write name=value, separated by commas; for a value that holds a comma use \
                 --kafka-property",
            )),
        };
        self.list(name).map(split).collect()
    }

    fn switch(&self, name: &'static str) -> Result<bool, OptionError> {
        match &*self.word(name) {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.unknown_word(name)),
        }
    }

    /// What is said of a value that is none of the option's words.
    fn unknown_word(&self, name: &str) -> OptionError {
        let choices = row(name).choices();
        let (last, others) = choices.split_last().expect("an option of words");
        self.invalid(name, &format!("write {} or {last}", others.join(", ")))
    }

    fn invalid(&self, name: &str, fault: &str) -> OptionError {
        let option = match self.given(name) {
            Some(given) if !name.ends_with("password") && !name.ends_with("config") => {
                format!("{} {:?}", self.spelled(name, Some(given.origin)), given.text)
            }
            _ => self.spelled(name, self.origin(name)),
        };
        OptionError::Invalid { option, fault: fault.to_owned() }
    }

    /// The option as its user spells it, and its value.
    fn shown(&self, name: &str) -> String {
        let spelled = self.spelled(name, self.origin(name));
        if name.ends_with("password") { spelled } else { format!("{spelled} {}", self.text(name)) }
    }

    fn spelled(&self, name: &str, origin: Option<Origin>) -> String {
        match origin {
            Some(Origin::Flag) | None => format!("--kafka-exporter-{name}"),
            Some(Origin::Environment) => variable(name),
            Some(Origin::File) => format!("kafka_exporter.{}", name.replace('-', "_")),
        }
    }
}

fn row(name: &str) -> &'static OptionRow {
    OPTIONS.iter().find(|row| row.name == name).expect("a name of the table")
}

/// The environment variable of an option.
pub fn variable(name: &str) -> String {
    format!("OTTLA_KAFKA_EXPORTER_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// What the property is set to.
fn resolved(row: &OptionRow, text: &str, environment: Environment<'_>) -> Result<String, String> {
    match row.kind {
        Time(_) => milliseconds(text)
            .map(|milliseconds| milliseconds.to_string())
            .ok_or_else(|| "write milliseconds, or a duration such as 250ms, 30s or 5m".to_owned()),
        Word("acks") => Ok(match &*text.trim().to_ascii_lowercase() {
            "none" => "0".to_owned(),
            "one" => "1".to_owned(),
            all @ ("all" | "0" | "1" | "-1") => all.to_owned(),
            _ => return Err("write none, one or all".to_owned()),
        }),
        Word(_) => Ok(text.trim().to_ascii_lowercase().replace('-', "_")),
        Property("sasl.mechanisms") => Ok(mechanism(text)),
        Property(_) if row.is_secret() || row.name == "sasl-username" => secret(text, environment),
        Property(_) | Text | Switch => Ok(text.to_owned()),
    }
}

/// The text itself, or what `env.NAME` or `file.PATH` names.
fn secret(text: &str, environment: Environment<'_>) -> Result<String, String> {
    match text.strip_prefix("file.") {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("cannot read {path:?}: {error}")),
        None => Secret::resolve(text, environment)
            .map(|secret| secret.expose().to_owned())
            .map_err(|error| error.to_string()),
    }
}

/// A duration as people write it, `250ms`, `10s`, `2m` or `1h`; a bare number counts milliseconds.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A mechanism by its registered name; rotel writes `scram-sha256`.
fn mechanism(text: &str) -> String {
    let name = text.trim().to_ascii_uppercase().replace('_', "-");
    match &*name {
        "SCRAM-SHA256" => "SCRAM-SHA-256".to_owned(),
        "SCRAM-SHA512" => "SCRAM-SHA-512".to_owned(),
        _ => name,
    }
}
