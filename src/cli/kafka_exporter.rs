//! rotel's flags for its Kafka exporter, made from the exporter's own table of options.
//!
//! Decides how an option is spelled on the command line and in the environment; what a value means
//! is the exporter's.

use crate::exporter::otlp::options::{OPTIONS, OptionRow, variable};
use crate::exporter::otlp::{OptionError, Origin, OtlpOptions};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

const PREFIX: &str = "kafka-exporter-";
const PROPERTY: &str = "kafka-property";
const HEADING: &str = "Kafka exporter, for OpenTelemetry's signals";

/// What the command line and the environment say.
#[derive(Debug, Clone, Default)]
pub(super) struct KafkaExporter {
    given: Vec<(&'static str, String, Origin)>,
    properties: Vec<(String, String)>,
}

impl KafkaExporter {
    /// Whether anything is said.
    pub(super) fn is_given(&self) -> bool {
        !self.given.is_empty() || !self.properties.is_empty()
    }

    /// An option or a property as it is given on a command line.
    pub(super) fn spelled(name: &str) -> String {
        match OPTIONS.iter().any(|row| row.name == name) {
            true => format!("{PREFIX}{name}"),
            false => format!("{PROPERTY} {name}"),
        }
    }

    /// Adds what is said to what a file says.
    pub(super) fn apply(&self, options: &mut OtlpOptions) -> Result<(), OptionError> {
        for (name, text, origin) in &self.given {
            options.set(name, text, *origin)?;
        }
        for (name, value) in &self.properties {
            options.set_property(name, value, Origin::Flag);
        }
        Ok(())
    }
}

impl Args for KafkaExporter {
    fn augment_args(command: Command) -> Command {
        let property = Arg::new(PROPERTY)
            .long(PROPERTY)
            .value_name("NAME=VALUE")
            .action(ArgAction::Append)
            .value_parser(pair)
            .help_heading(HEADING)
            .hide_short_help(true)
            .help("A property of librdkafka, whose value may hold commas; applied last. May be given often");
        command.args(OPTIONS.iter().map(arg)).arg(property)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KafkaExporter {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given = Vec::new();
        for row in OPTIONS {
            let id = format!("{PREFIX}{}", row.name);
            let text = matches.get_one::<String>(&id);
            // rotel's own variables, where ours say nothing.
            let of_rotel = || std::env::var(variable(row.name).replace("OTTLA_", "ROTEL_")).ok();
            match (text, matches.value_source(&id)) {
                (Some(text), Some(ValueSource::CommandLine)) => {
                    given.push((row.name, text.clone(), Origin::Flag));
                }
                (Some(text), _) => given.push((row.name, text.clone(), Origin::Environment)),
                (None, _) => {
                    given.extend(of_rotel().map(|text| (row.name, text, Origin::Environment)))
                }
            }
        }
        let properties = matches.get_many::<(String, String)>(PROPERTY).unwrap_or_default();
        Ok(Self { given, properties: properties.cloned().collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(row: &OptionRow) -> Arg {
    let id = format!("{PREFIX}{}", row.name);
    let help = if row.default.is_empty() {
        row.help.to_owned()
    } else {
        format!("{} [default: {}]", row.help, row.default)
    };
    let arg = Arg::new(id.clone())
        .long(id)
        .env(variable(row.name))
        .hide_env_values(true)
        .allow_negative_numbers(true)
        .help_heading(HEADING)
        .hide_short_help(true)
        .help(help);
    let arg = if row.name == "topic-preset" { arg.visible_alias("topic-preset") } else { arg };
    if row.is_switch() {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
    } else {
        arg.value_name(if row.is_list() { "VALUES" } else { "VALUE" })
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> OtlpOptions {
        let command = KafkaExporter::augment_args(Command::new("ottla"));
        let matches = command.try_get_matches_from(arguments).unwrap();
        let mut options = OtlpOptions::new();
        KafkaExporter::from_arg_matches(&matches).unwrap().apply(&mut options).unwrap();
        options
    }

    #[test]
    fn switches_need_no_value_and_properties_may_hold_commas() {
        let options = options(&[
            "ottla",
            "--kafka-exporter-partition-logs-by-resource-attributes",
            "--kafka-exporter-content-type-header=true",
            "--kafka-exporter-acks",
            "-1",
            "--topic-preset",
            "otelcol",
            "--kafka-property",
            "ssl.cipher.suites=a,b",
            "--kafka-property",
            "linger.ms=7",
        ]);
        let (config, _) = options.into_config(&|_| None).unwrap();
        assert_eq!(config.producer.linger.as_millis(), 7);
        assert_eq!(config.topics.traces, "otlp_spans");
        assert!(config.content_type_header);
    }
}
