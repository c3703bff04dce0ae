//! What an exporter of OpenTelemetry signals is told.
//!
//! Decides nothing but the defaults of what rotel does not have; [`options`](super::options) reads
//! all of it from text.

use super::cut::By;
use super::schema::Signal;
use crate::exporter::{Probe, TopicCreation};
use crate::producer::{IfMissing, ProbeTopic, ProducerConfig};
use std::path::PathBuf;

/// Settings of an [`OtlpExporter`](super::OtlpExporter).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// Where the brokers are, and how records are sent. `record_size_max` is also what requests are
    /// cut to.
    pub producer: ProducerConfig,
    /// The topic of each signal.
    pub topics: PerSignal<String>,
    /// What records hold.
    pub format: Format,
    /// What goes into a record together, and so by what it is keyed.
    pub grouping: PerSignal<Grouping>,
    /// The resource attribute that names the topic, where a resource has it.
    pub topic_from_attribute: Option<String>,
    /// The request header, or gRPC metadata key, that names the topic, where a request has it. It
    /// goes before the attribute.
    pub topic_from_header: Option<String>,
    /// The topics that an attribute or a header may name. Senders are not ours: without a list of
    /// names neither is heard.
    pub allowed_topics: Vec<String>,
    /// Headers of every record.
    pub record_headers: Vec<(String, String)>,
    /// Request headers, or gRPC metadata keys, that become headers of the request's records.
    pub headers_from_metadata: Vec<String>,
    /// Whether every record has a `content-type` header.
    pub content_type_header: bool,
    /// What becomes of an item that no record can hold.
    pub oversize: Oversize,
    /// Whether the exporter starts without an answer from Kafka, or the right to write.
    pub probe: Probe,
    /// Whether topics that are missing are created at start, which needs the right to: the signals'
    /// and the dead letters', not those that senders name. Default: false, so that a topic's first
    /// record creates it if the brokers are set to and the producer allows it.
    pub create_topics: bool,
    /// How they are created then. One that is there already is not altered. Default: as the broker
    /// does.
    pub topic_creation: TopicCreation,
}

impl OtlpConfig {
    /// rotel's topics, format and grouping, over a producer's settings.
    pub fn new(producer: ProducerConfig) -> Self {
        Self {
            producer,
            topics: PerSignal {
                traces: "otlp_traces".into(),
                metrics: "otlp_metrics".into(),
                logs: "otlp_logs".into(),
            },
            format: Format::Protobuf,
            grouping: PerSignal::default(),
            topic_from_attribute: None,
            topic_from_header: None,
            allowed_topics: Vec::new(),
            record_headers: Vec::new(),
            headers_from_metadata: Vec::new(),
            content_type_header: false,
            oversize: Oversize::default(),
            probe: Probe::Require,
            create_topics: false,
            topic_creation: TopicCreation::default(),
        }
    }

    /// The topics of signals and dead letters, and what happens at start if one is not there: what
    /// [`OtlpExporter::start`](super::OtlpExporter::start) looks at.
    pub fn probe_topics(&self) -> Vec<ProbeTopic> {
        let of_signals = [&self.topics.traces, &self.topics.metrics, &self.topics.logs];
        let of_dead_letters = self.oversize.dead_letters.iter().filter_map(|to| match to {
            DeadLetters::Topic(topic) => Some(topic),
            DeadLetters::File(_) => None,
        });
        let if_missing = match self.create_topics && self.probe != Probe::Off {
            true => IfMissing::IsCreated(self.topic_creation.clone()),
            false => self.if_not_created(),
        };
        let mut topics = Vec::<ProbeTopic>::new();
        for name in of_signals.into_iter().chain(of_dead_letters) {
            if topics.iter().all(|topic| topic.name != *name) {
                topics.push(ProbeTopic { name: name.clone(), if_missing: if_missing.clone() });
            }
        }
        topics
    }

    /// The topics that senders may name, as far as they are others. Nothing depends on them at start.
    pub fn probe_topics_of_senders(&self) -> Vec<ProbeTopic> {
        let ours = self.probe_topics();
        let others = self.allowed_topics.iter();
        let others = others.filter(|name| ours.iter().all(|topic| topic.name != **name));
        let topic =
            |name: &String| ProbeTopic { name: name.clone(), if_missing: self.if_not_created() };
        others.map(topic).collect()
    }

    /// What happens when a topic is not there that we do not create.
    const fn if_not_created(&self) -> IfMissing {
        match self.producer.allow_auto_create_topics {
            true => IfMissing::BrokerDecides,
            false => IfMissing::Fails,
        }
    }
}

/// One for each signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerSignal<T> {
    /// Of spans.
    pub traces: T,
    /// Of data points.
    pub metrics: T,
    /// Of log records.
    pub logs: T,
}

impl<T> PerSignal<T> {
    /// The one of this signal.
    pub const fn of(&self, signal: Signal) -> &T {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }

    /// The one of this signal, to change it.
    pub const fn of_mut(&mut self, signal: Signal) -> &mut T {
        match signal {
            Signal::Traces => &mut self.traces,
            Signal::Metrics => &mut self.metrics,
            Signal::Logs => &mut self.logs,
        }
    }

    /// What `make` makes of each signal.
    pub(super) fn from_fn(make: impl Fn(Signal) -> T) -> Self {
        Self {
            traces: make(Signal::Traces),
            metrics: make(Signal::Metrics),
            logs: make(Signal::Logs),
        }
    }
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// An export request in protobuf: `otlp_proto` for the Collector.
    #[default]
    Protobuf,
    /// An export request in JSON: `otlp_json` for the Collector.
    Json,
}

impl Format {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What goes into a record together; the owned form of [`By`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Grouping {
    /// The request as it is, with a null key.
    #[default]
    Request,
    /// Each resource, keyed by all of its attributes.
    Resource,
    /// Each trace id, keyed by it.
    TraceId,
    /// Each combination of values of these attributes, keyed by them.
    Attributes(Vec<String>),
}

impl Grouping {
    /// As [`cut`](super::cut::cut()) takes it.
    pub(super) fn by(&self) -> By<'_> {
        match self {
            Self::Request => By::Request,
            Self::Resource => By::Resource,
            Self::TraceId => By::TraceId,
            Self::Attributes(names) => By::Attributes(names),
        }
    }
}

/// What becomes of a span, data point or log record that is too large for a record of its own. It is
/// counted and named in each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversize {
    /// Its largest strings are shortened until it fits, which an attribute of it tells.
    pub truncate: bool,
    /// Where it goes if it is not shortened, or cannot be enough; nowhere, if `None`.
    pub dead_letters: Option<DeadLetters>,
}

impl Default for Oversize {
    /// Shortened, and dropped if that does not do.
    fn default() -> Self {
        Self { truncate: true, dead_letters: None }
    }
}

/// Where items go that are too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    /// To this topic, which must take larger records than the others (`max.message.bytes`).
    Topic(String),
    /// To the end of this file, as OTLP/JSON, a request a line.
    File(PathBuf),
}
