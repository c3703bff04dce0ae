//! Every option as it will be, and where it was given.
//!
//! Decides what is shown: a custom property stands in the place of the option that it overrides, and
//! a secret is told to be set, not what it is.

use super::table::Kind::{Property, Switch, Text, Time, Word};
use super::{OPTIONS, OptionRow, Origin, OtlpOptions};
use crate::exporter::otlp::schema::Signal;
use crate::producer::Properties;

/// What stands for a secret.
const SECRET: &str = "(set)";

/// An option as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its name, or that of a custom property.
    pub name: String,
    /// Its value as it was given; `(set)` for a secret, empty for nothing.
    pub value: String,
    /// Where it was given; `None` for a default.
    pub origin: Option<Origin>,
}

impl OtlpOptions {
    /// Every option as it will be, and behind them the custom properties. What settings do to each
    /// other is in the notes of [`into_config`](Self::into_config).
    pub fn effective(&self) -> Vec<Effective> {
        let custom = self.custom().unwrap_or_default();
        let options = OPTIONS.iter().filter(|row| self.counts(row));
        let options = options.map(|row| self.option(row, &custom));
        let properties = self.properties.iter().map(|(name, value, origin)| Effective {
            name: name.clone(),
            value: shown(Properties::is_secret(name), value),
            origin: Some(*origin),
        });
        options.chain(properties).collect()
    }

    /// Of the two names of one option only that which was given counts.
    fn counts(&self, row: &OptionRow) -> bool {
        let given = |name| self.given(name).is_some();
        match row.name {
            "request-timeout" => given("request-timeout") || !given("request-timeout-ms"),
            "request-timeout-ms" => given("request-timeout-ms") && !given("request-timeout"),
            _ => true,
        }
    }

    fn option(&self, row: &OptionRow, custom: &[(String, String, Origin)]) -> Effective {
        let overriding = match row.kind {
            Property(property) | Time(property) | Word(property) => {
                custom.iter().rfind(|(name, _, _)| Properties::are_one(name, property))
            }
            Text | Switch => None,
        };
        let (value, origin) = match (overriding, self.given(row.name)) {
            (Some((_, value, origin)), _) => (value.as_str(), Some(*origin)),
            (None, Some(given)) => (given.text.as_str(), Some(given.origin)),
            (None, None) => (self.default(row), None),
        };
        let value = match row.name {
            "custom-config" => without_secrets(value),
            _ => shown(row.is_secret(), value),
        };
        Effective { name: row.name.to_owned(), value, origin }
    }

    fn default(&self, row: &OptionRow) -> &'static str {
        let signal = match row.name {
            "traces-topic" => Signal::Traces,
            "metrics-topic" => Signal::Metrics,
            "logs-topic" => Signal::Logs,
            _ => return row.default,
        };
        self.preset_topic(signal).unwrap_or(row.default)
    }
}

fn shown(is_secret: bool, value: &str) -> String {
    if is_secret && !value.is_empty() { SECRET.to_owned() } else { value.to_owned() }
}

/// `name=value,name=value` without the values that are secrets. A part that is no pair may be the
/// rest of one.
fn without_secrets(pairs: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some((name, _)) if Properties::is_secret(name.trim()) => format!("{name}={SECRET}"),
        Some(_) => part.to_owned(),
        None if part.trim().is_empty() => String::new(),
        None => SECRET.to_owned(),
    };
    pairs.split(',').map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(given: &[(&str, &str, Origin)]) -> OtlpOptions {
        let mut options = OtlpOptions::new();
        for (name, text, origin) in given {
            options.set(name, text, *origin).unwrap();
        }
        options
    }

    fn found(options: &OtlpOptions, name: &str) -> (String, Option<Origin>) {
        let all = options.effective();
        let mut named = all.into_iter().filter(|option| option.name == name);
        let option = named.next().unwrap();
        assert_eq!(named.next(), None);
        (option.value, option.origin)
    }

    #[test]
    fn every_option_is_there_once_with_its_value_and_origin() {
        let options = options(&[
            ("brokers", "a:1", Origin::File),
            ("brokers", "b:1", Origin::Flag),
            ("format", "json", Origin::Environment),
            ("topic-preset", "otelcol", Origin::File),
            ("request-timeout-ms", "7000", Origin::File),
        ]);
        assert_eq!(found(&options, "brokers"), ("b:1".into(), Some(Origin::Flag)));
        assert_eq!(found(&options, "format"), ("json".into(), Some(Origin::Environment)));
        assert_eq!(found(&options, "traces-topic"), ("otlp_spans".into(), None));
        assert_eq!(found(&options, "linger-ms"), ("5".into(), None));
        assert_eq!(found(&options, "request-timeout-ms"), ("7000".into(), Some(Origin::File)));
        let names: Vec<_> = options.effective().into_iter().map(|option| option.name).collect();
        assert!(!names.iter().any(|name| name == "request-timeout"), "it is the same option");
        assert_eq!(names.len(), OPTIONS.len() - 1);
    }

    #[test]
    fn what_overrides_an_option_is_shown_in_its_place() {
        let mut options = options(&[
            ("linger-ms", "3", Origin::Flag),
            ("custom-config", "queue.buffering.max.ms=50,acks=all", Origin::File),
        ]);
        assert_eq!(found(&options, "linger-ms"), ("50".into(), Some(Origin::File)));
        assert_eq!(found(&options, "acks"), ("all".into(), Some(Origin::File)));
        options.set_property("linger.ms", "70", Origin::Flag);
        options.set_property("linger.ms", "60", Origin::File);
        assert_eq!(found(&options, "linger-ms"), ("70".into(), Some(Origin::Flag)));
    }

    #[test]
    fn no_secret_is_shown() {
        let mut options = options(&[
            ("sasl-password", "hunter2", Origin::Flag),
            ("tls-key-password", "hunter2", Origin::Flag),
            ("custom-config", "sasl.password=hunter2,hunter2,linger.ms=1", Origin::Flag),
        ]);
        options.set_property("ssl.key.password", "hunter2", Origin::Flag);
        options.set_property("no.such.property", "hunter2", Origin::Flag);
        let shown = format!("{:?}", options.effective());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(found(&options, "sasl-password").0, "(set)");
        let custom = found(&options, "custom-config").0;
        assert_eq!(custom, "sasl.password=(set),(set),linger.ms=1");
    }
}
