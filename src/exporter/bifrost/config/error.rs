//! What can be wrong with the connector's settings.
//!
//! Decides the sentence for each mistake: the field, the value, the remedy. Secrets are never
//! among the values, and long values are cut.

use super::{BATCH_SIZE_MAX, ContentLogging, FLUSH_INTERVAL_MAX};
use crate::exporter::bifrost::json::clip;
use crate::sasl::{SaslError, VariableError};

/// Why a configuration cannot be used. All are the operator's to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not JSON.
    #[error("not valid JSON at line {line} column {column}: {reason}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1.
        column: usize,
        /// What the parser stumbled on.
        reason: String,
    },
    /// A value is of another type than its field.
    #[error("{field}: expected {expected} and found {found} at line {line} column {column}")]
    WrongType {
        /// The field.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
        /// The line of the value, from 1.
        line: usize,
        /// The column of the value in bytes, from 1.
        column: usize,
    },
    /// A field of the entry that the connector does not have.
    #[error("{}: unknown field; {}", clip(.field), remedy(.suggestion, .known))]
    UnknownField {
        /// The field.
        field: String,
        /// The known field that is spelled most alike.
        suggestion: Option<&'static str>,
        /// Every field that could stand there.
        known: &'static [&'static str],
    },
    /// Two entries for Kafka, of which only one could be meant.
    #[error(
        "plugins[{first}] and plugins[{second}] are both named \"kafka\"; keep the one that is \
         meant"
    )]
    DuplicateEntry {
        /// The index of the first.
        first: usize,
        /// The index of the next.
        second: usize,
    },
    /// A field without which nothing can be published is missing or empty.
    #[error("{field}: missing or empty; {}", how_to_give(.field))]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A broker's address that cannot be one.
    #[error("brokers[{index}]: {cause}")]
    InvalidBroker {
        /// Which broker, from 0.
        index: usize,
        /// What is wrong with it.
        cause: crate::producer::ConfigError,
    },
    /// A topic that no broker would accept.
    #[error("topic: {:?} is not a topic name: {fault}", clip(.topic))]
    InvalidTopic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// One of a few words was expected.
    #[error("{field}: {:?} is unknown; use {choices}", clip(.value))]
    UnknownChoice {
        /// The field.
        field: &'static str,
        /// The word.
        value: String,
        /// The words that are known.
        choices: &'static str,
    },
    /// Two settings for message content, of which only one could be meant.
    #[error(
        "disable_content_logging: {disabled} and content_logging: {:?} contradict each other; \
         remove one of the two", .content.name()
    )]
    ContentContradiction {
        /// What `disable_content_logging` says.
        disabled: bool,
        /// What `content_logging` says.
        content: ContentLogging,
    },
    /// A number that its field does not take.
    #[error(
        "{field}: {} is out of range; use a whole number from {min} to {max}",
        clip(.value)
    )]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The number as it was given.
        value: String,
        /// The least that it takes.
        min: u64,
        /// The most that it takes.
        max: u64,
    },
    /// Logging in is switched on without credentials.
    #[error(
        "sasl_enabled: true but sasl is missing; add sasl with mechanism, username and password, \
         or set sasl_enabled to false"
    )]
    SaslMissing,
    /// The credentials are none that could be sent.
    #[error("sasl: {cause}")]
    InvalidSasl {
        /// What is wrong with them.
        cause: SaslError,
    },
    /// `ca_cert` is something else.
    #[error(
        "ca_cert: holds no PEM certificate; give the text from \"-----BEGIN CERTIFICATE-----\" on, \
         or the path of a file with it"
    )]
    InvalidCertificate,
    /// A secret names an environment variable that has no value.
    #[error(
        "{field}: the environment variable {:?} is {}; set it, or give another",
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
    /// A secret is in a vault that only Bifrost can read.
    #[error(
        "{field}: references to a vault are not supported; put the secret into an environment \
         variable and write \"env.NAME\""
    )]
    VaultReference {
        /// The field.
        field: &'static str,
    },
}

impl ConfigError {
    /// `batch_size` is out of range.
    pub(super) fn batch_size(value: String) -> Self {
        Self::OutOfRange { field: "batch_size", value, min: 1, max: BATCH_SIZE_MAX as u64 }
    }

    /// `flush_interval_ms` is out of range.
    pub(super) fn flush_interval(value: String) -> Self {
        let max = FLUSH_INTERVAL_MAX.as_secs() * 1000;
        Self::OutOfRange { field: "flush_interval_ms", value, min: 0, max }
    }

    pub(super) fn variable(field: &'static str, error: VariableError) -> Self {
        let VariableError { variable, empty } = error;
        Self::Variable { field, variable, empty }
    }

    /// `field` below `parent` is none of `known`.
    pub(super) fn unknown_field(parent: &str, field: &str, known: &'static [&'static str]) -> Self {
        let suggestion = most_alike(field, known);
        Self::UnknownField { field: format!("{parent}{field}"), suggestion, known }
    }
}

fn how_to_give(field: &str) -> &'static str {
    match field {
        "brokers" => "name at least one broker, such as [\"localhost:9092\"]",
        "topic" => "name the topic to publish to",
        "sasl.mechanism" => "use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        "plugin_span_filter.mode" => "use include or exclude",
        _ => "give it as text or as \"env.NAME\"",
    }
}

fn remedy(suggestion: &Option<&'static str>, known: &[&str]) -> String {
    match suggestion {
        Some(name) => format!("did you mean {name}?"),
        None => format!("remove it, or use one of {}", known.join(", ")),
    }
}

/// The known name that a slip of the finger would turn into `field`, if there is one.
fn most_alike(field: &str, known: &'static [&'static str]) -> Option<&'static str> {
    // No slip makes a name this long, and the distance costs the product of both lengths.
    const BYTES_MAX: usize = 64;
    if field.len() > BYTES_MAX {
        return None;
    }
    let field = field.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|name| (edit_distance(&field, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row = (0..=right.len()).collect::<Vec<_>>();
    for (above, a) in left.bytes().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_insertions_deletions_and_substitutions() {
        for (left, right, distance) in [
            ("", "abc", 3),
            ("topic", "topic", 0),
            ("topics", "topic", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(left, right), distance);
        }
    }

    #[test]
    fn only_a_slip_is_corrected() {
        const KNOWN: &[&str] = &["brokers", "topic", "batch_size"];
        assert_eq!(most_alike("broker", KNOWN), Some("brokers"));
        assert_eq!(most_alike("Batch-Size", KNOWN), Some("batch_size"));
        assert_eq!(most_alike("acks", KNOWN), None);
        assert_eq!(most_alike(&"topic".repeat(1_000_000), KNOWN), None);
    }
}
