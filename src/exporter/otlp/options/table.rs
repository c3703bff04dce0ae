//! Which options there are: data.
//!
//! rotel's come first, in the order of its documentation; behind them are those that it does not have.

use crate::exporter::TopicCreation;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionRow {
    /// Its name behind `--kafka-exporter-`.
    pub name: &'static str,
    /// What it is without being given; empty if nothing.
    pub default: &'static str,
    /// One line for `--help`.
    pub help: &'static str,
    pub(super) kind: Kind,
    form: Form,
}

impl OptionRow {
    /// It takes these words alone.
    const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.form = Form::Words(words);
        self
    }

    /// It takes several, separated by commas.
    const fn list(mut self) -> Self {
        self.form = Form::List;
        self
    }

    /// It takes a whole number from 1 to this.
    const fn up_to(mut self, max: u32) -> Self {
        self.form = Form::Count { max };
        self
    }

    /// The words that it takes, in either case and with `-` or `_`; none, if it takes any text.
    pub(super) const fn choices(&self) -> &'static [&'static str] {
        match self.form {
            Form::Words(words) => words,
            _ if self.is_switch() => &["true", "false"],
            _ => &[],
        }
    }

    /// The largest number that it takes, if it is one of ours that counts from 1.
    pub(super) const fn count_max(&self) -> Option<u32> {
        match self.form {
            Form::Count { max } => Some(max),
            _ => None,
        }
    }

    /// Whether it takes several texts, separated by commas.
    pub const fn is_list(&self) -> bool {
        matches!(self.form, Form::List)
    }

    /// Whether it is one that is on when it is named, and takes no value then.
    pub const fn is_switch(&self) -> bool {
        matches!(self.kind, Switch)
    }

    /// Whether what it says must not be shown.
    pub fn is_secret(&self) -> bool {
        self.name.ends_with("password")
    }
}

/// What an option's value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The value of a property.
    Property(&'static str),
    /// Milliseconds, or a duration, of a property.
    Time(&'static str),
    /// A word in rotel's spelling, of a property that spells it with `_` and small letters.
    Word(&'static str),
    /// One of ours.
    Text,
    /// `true` or `false`.
    Switch,
}

/// How the text of a value is built.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// In any way that its kind takes.
    Any,
    /// As one of these words.
    Words(&'static [&'static str]),
    /// Of parts, separated by commas.
    List,
    /// As a whole number from 1 to this.
    Count { max: u32 },
}

const fn row(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> OptionRow {
    OptionRow { name, default, help, kind, form: Form::Any }
}

use Kind::{Property, Switch, Text, Time, Word};

/// All of them, in the order of rotel's documentation; then those that rotel does not have.
pub const OPTIONS: &[OptionRow] = &[
    row("brokers", "localhost:9092", Property("bootstrap.servers"), "Brokers, separated by commas")
        .list(),
    row("traces-topic", "otlp_traces", Text, "Topic of traces"),
    row("metrics-topic", "otlp_metrics", Text, "Topic of metrics"),
    row("logs-topic", "otlp_logs", Text, "Topic of logs"),
    row("format", "protobuf", Text, "What records hold: protobuf or json")
        .words(&["protobuf", "json"]),
    row("compression", "none", Word("compression.codec"), "none, gzip, snappy, lz4 or zstd")
        .words(&["none", "gzip", "snappy", "lz4", "zstd"]),
    row(
        "request-timeout",
        "30s",
        Time("request.timeout.ms"),
        "Longest wait for an answer: 30s, 500ms",
    ),
    row("acks", "one", Word("acks"), "Who must have a record: none, one (the leader) or all")
        .words(&["none", "one", "all", "0", "1", "-1"]),
    row("client-id", "rotel", Property("client.id"), "Name under which brokers see this client"),
    row(
        "max-message-bytes",
        "1000000",
        Property("message.max.bytes"),
        "Largest record; requests are cut to it",
    ),
    row("linger-ms", "5", Time("linger.ms"), "How long a record waits for others"),
    row("retries", "2147483647", Property("retries"), "How often a record is sent again"),
    row("retry-backoff-ms", "100", Time("retry.backoff.ms"), "Wait before the first retry"),
    row(
        "retry-backoff-max-ms",
        "1000",
        Time("retry.backoff.max.ms"),
        "Longest wait before a retry",
    ),
    row("message-timeout-ms", "300000", Time("message.timeout.ms"), "When a record is given up"),
    row("request-timeout-ms", "30000", Time("request.timeout.ms"), "As request-timeout"),
    row("batch-size", "1000000", Property("batch.size"), "Most bytes of a batch"),
    row(
        "partitioner",
        "consistent-random",
        Word("partitioner"),
        "consistent, consistent-random, murmur2, murmur2-random, fnv1a, fnv1a-random, random or round-robin",
    ).words(&[
            "consistent",
            "consistent-random",
            "murmur2",
            "murmur2-random",
            "fnv1a",
            "fnv1a-random",
            "random",
            "round-robin",
        ]),
    row(
        "partition-metrics-by-resource-attributes",
        "false",
        Switch,
        "A record for each resource of metrics, keyed by its attributes",
    ),
    row(
        "partition-logs-by-resource-attributes",
        "false",
        Switch,
        "A record for each resource of logs, keyed by its attributes",
    ),
    row(
        "custom-config",
        "",
        Text,
        "Properties of librdkafka, name=value, separated by commas; applied last",
    )
    .list(),
    row("sasl-username", "", Property("sasl.username"), "Name to log in with, or env.NAME"),
    row(
        "sasl-password",
        "",
        Property("sasl.password"),
        "Password, or env.NAME for one in the environment, or file.PATH",
    ),
    row("sasl-mechanism", "", Property("sasl.mechanisms"), "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        // The last two are rotel's.
        .words(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA256", "SCRAM-SHA512"]),
    row(
        "security-protocol",
        "PLAINTEXT",
        Word("security.protocol"),
        "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    ).words(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    row(
        "tls-ca-file",
        "",
        Property("ssl.ca.location"),
        "PEM file of authorities to believe, instead of the system's",
    ),
    row("tls-cert-file", "", Property("ssl.certificate.location"), "PEM file of our certificate"),
    row("tls-key-file", "", Property("ssl.key.location"), "PEM file of our key"),
    row(
        "tls-key-password",
        "",
        Property("ssl.key.password"),
        "Password of our key, or env.NAME, or file.PATH",
    ),
    row(
        "tls-verify",
        "",
        Property("enable.ssl.certificate.verification"),
        "false believes any broker; warns at every start",
    ).words(&["true", "false"]),
    row("topic-preset", "rotel", Text, "Names of topics: rotel, or otelcol for the Collector's")
        .words(&["rotel", "otelcol"]),
    row("partition-traces-by-id", "false", Switch, "A record for each trace, keyed by its id"),
    row(
        "partition-traces-by-resource-attributes",
        "false",
        Switch,
        "A record for each resource of traces, keyed by its attributes",
    ),
    row(
        "partition-logs-by-trace-id",
        "false",
        Switch,
        "A record for each trace's logs, keyed by its id",
    ),
    row(
        "partition-traces-by-attributes",
        "",
        Text,
        "A record for each combination of these attributes, keyed by it: name,name",
    )
    .list(),
    row("partition-metrics-by-attributes", "", Text, "The same for metrics").list(),
    row("partition-logs-by-attributes", "", Text, "The same for logs").list(),
    row(
        "topic-from-attribute",
        "",
        Text,
        "Resource attribute that names the topic, if allowed-topics has it",
    ),
    row(
        "topic-from-header",
        "",
        Text,
        "Request header that names the topic, if allowed-topics has it",
    ),
    row("allowed-topics", "", Text, "Topics that senders may name: a,b").list(),
    row("create-topics", "false", Switch, "Create the topics at start that are missing"),
    row("topic-partitions", "", Text, "Partitions of a topic that is created; else the brokers'")
        .up_to(TopicCreation::PARTITIONS_MAX),
    row(
        "topic-replication-factor",
        "",
        Text,
        "Replicas of a topic that is created; else the brokers'",
    )
    .up_to(TopicCreation::REPLICATION_FACTOR_MAX as u32),
    row(
        "topic-configs",
        "",
        Text,
        "Configuration of a topic that is created: retention.ms=86400000,cleanup.policy=delete",
    )
    .list(),
    row("record-headers", "", Text, "Headers of every record: name=value,name=value").list(),
    row("headers-from-metadata", "", Text, "Request headers that become record headers: a,b")
        .list(),
    row("content-type-header", "false", Switch, "A content-type header on every record"),
    row("oversize", "truncate", Text, "An item that is too large: truncate, dead-letter or drop")
        .words(&["truncate", "dead-letter", "drop"]),
    row("dead-letter-topic", "", Text, "Where items go that are too large even then"),
    row("dead-letter-file", "", Text, "The same as a file, OTLP/JSON, a request a line"),
    row("probe", "require", Text, "Whether Kafka must answer at start: require, warn or off")
        .words(&["require", "warn", "off"]),
    row(
        "when-full",
        "block",
        Text,
        "What finds the buffer full: block (it waits), drop-newest or drop-oldest",
    )
    .words(&["block", "drop-newest", "drop-oldest"]),
];
