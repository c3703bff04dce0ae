//! How a command reaches a cluster: `--brokers`, and librdkafka's properties for the rest.
//!
//! Decides how properties are written on a command line. What they do is the producer's to say.

use super::broker::DEFAULT_LISTEN;
use super::{Exit, resolved};
use crate::producer::{ProducerConfig, Properties};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Brokers to find the cluster by, as host:port, separated by commas.
    #[arg(long, short, env = "OTTLA_BROKERS", default_value = DEFAULT_LISTEN, value_name = "ADDR")]
    brokers: String,
    /// A property of librdkafka, such as security.protocol=sasl_ssl or sasl.password=env.NAME, which
    /// takes the value from the environment. May be given often.
    #[arg(long = "property", short = 'X', value_name = "NAME=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), resolved(value)?))
}

impl Connection {
    /// The settings that all of it comes to. What is to be known about them is logged.
    pub(super) fn config(&self) -> Result<ProducerConfig, Exit> {
        let refuse = |flag: &str, error: &dyn std::fmt::Display| {
            Exit::new(Exit::USAGE, format!("{flag}: {error}"))
        };
        let mut properties = Properties::new();
        let brokers = properties.set("bootstrap.servers", &self.brokers);
        brokers.map_err(|error| refuse("--brokers", &error))?;
        for (name, value) in &self.properties {
            properties.set(name, value).map_err(|error| refuse("--property", &error))?;
        }
        let settled = properties.into_config();
        let (config, notes) = settled.map_err(|error| refuse("--property", &error))?;
        for note in notes {
            tracing::warn!("{note}");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_written_with_an_equals_sign_and_may_hold_more_of_them() {
        let split = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(pair("sasl.password=a=b,c"), split("sasl.password", "a=b,c"));
        assert_eq!(pair("linger.ms="), split("linger.ms", ""));
        assert_eq!(pair("linger.ms").unwrap_err(), "write NAME=VALUE");
        let error = pair("sasl.password=env.OTTLA_IS_NOT_SET").unwrap_err();
        assert_eq!(error, "the environment variable \"OTTLA_IS_NOT_SET\" is not set");
    }
}
