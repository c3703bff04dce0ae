//! The three signals, and the little of their messages that cutting needs to know.
//!
//! Decides which field of which message holds the next one, down to items and data points. What the
//! other fields mean is no matter here: they are carried as they came.
//!
//! Spec: <https://github.com/open-telemetry/opentelemetry-proto/tree/v1.10.0>.

use crate::exporter::otlp::schema::{Kind, Message, Signal};

/// The data of a metric, by what its points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointKind {
    /// `Gauge` of `NumberDataPoint`s.
    Gauge,
    /// `Sum` of `NumberDataPoint`s.
    Sum,
    /// `Histogram` of `HistogramDataPoint`s.
    Histogram,
    /// `ExponentialHistogram` of `ExponentialHistogramDataPoint`s.
    ExponentialHistogram,
    /// `Summary` of `SummaryDataPoint`s.
    Summary,
}

/// A message on the way from a request to its smallest parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// The whole request.
    Request(Signal),
    /// `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
    Resource(Signal),
    /// `ScopeSpans`, `ScopeMetrics` or `ScopeLogs`.
    Scope(Signal),
    /// `Span`, `Metric` or `LogRecord`.
    Item(Signal),
    /// A `Metric` of this kind that is cut into its data points.
    Metric(PointKind),
    /// `Gauge`, `Sum` and so on.
    Data(PointKind),
    /// A data point.
    Point(PointKind),
}

impl Signal {
    /// The field of an item that holds its trace id.
    pub(super) const fn trace_id_field(self) -> Option<u32> {
        match self {
            Self::Traces => Some(1),
            Self::Logs => Some(9),
            Self::Metrics => None,
        }
    }
}

impl PointKind {
    /// The kind that a metric's field holds.
    pub(super) const fn of_field(number: u32) -> Option<Self> {
        Some(match number {
            5 => Self::Gauge,
            7 => Self::Sum,
            9 => Self::Histogram,
            10 => Self::ExponentialHistogram,
            11 => Self::Summary,
            _ => return None,
        })
    }

    /// The field of a metric that holds this kind.
    pub(super) const fn field(self) -> u32 {
        match self {
            Self::Gauge => 5,
            Self::Sum => 7,
            Self::Histogram => 9,
            Self::ExponentialHistogram => 10,
            Self::Summary => 11,
        }
    }

    /// The field of a data point that holds its attributes.
    const fn attributes_field(self) -> u32 {
        match self {
            Self::Gauge | Self::Sum | Self::Summary => 7,
            Self::Histogram => 9,
            Self::ExponentialHistogram => 1,
        }
    }
}

impl Level {
    /// The field that holds what this message is cut into, and what that is.
    pub(super) const fn child(self) -> Option<(u32, Self)> {
        Some(match self {
            Self::Request(signal) => (1, Self::Resource(signal)),
            Self::Resource(signal) => (2, Self::Scope(signal)),
            Self::Scope(signal) => (2, Self::Item(signal)),
            Self::Metric(kind) => (kind.field(), Self::Data(kind)),
            Self::Data(kind) => (1, Self::Point(kind)),
            Self::Item(_) | Self::Point(_) => return None,
        })
    }

    /// Its message in the schema.
    pub(in crate::exporter::otlp) fn schema(self) -> &'static Message {
        let (container, number) = match self {
            Self::Request(signal) => return signal.request(),
            Self::Resource(signal) => (Self::Request(signal), 1),
            Self::Scope(signal) => (Self::Resource(signal), 2),
            Self::Item(signal) => (Self::Scope(signal), 2),
            Self::Metric(_) => return Self::Item(Signal::Metrics).schema(),
            Self::Data(kind) => (Self::Metric(kind), kind.field()),
            Self::Point(kind) => (Self::Data(kind), 1),
        };
        match container.schema().field(number).map(|field| field.kind) {
            Some(Kind::Message(message)) => message,
            _ => unreachable!("what a level is cut into is a message"),
        }
    }

    /// The field that holds an item's or a data point's attributes.
    pub(super) const fn attributes_field(self) -> Option<u32> {
        match self {
            Self::Item(Signal::Traces) => Some(9),
            Self::Item(Signal::Logs) => Some(6),
            Self::Point(kind) => Some(kind.attributes_field()),
            _ => None,
        }
    }

    /// The field that names an item.
    pub(super) const fn name_field(self) -> Option<u32> {
        match self {
            Self::Item(Signal::Traces) => Some(5),
            Self::Item(Signal::Metrics) | Self::Metric(_) => Some(1),
            Self::Item(Signal::Logs) => Some(12),
            _ => None,
        }
    }

    /// The name that OTLP/JSON gives to the field of [`Self::child`].
    pub(super) const fn child_name(self) -> &'static str {
        match self {
            Self::Request(Signal::Traces) => "resourceSpans",
            Self::Request(Signal::Metrics) => "resourceMetrics",
            Self::Request(Signal::Logs) => "resourceLogs",
            Self::Resource(Signal::Traces) => "scopeSpans",
            Self::Resource(Signal::Metrics) => "scopeMetrics",
            Self::Resource(Signal::Logs) => "scopeLogs",
            Self::Scope(Signal::Traces) => "spans",
            Self::Scope(Signal::Metrics) => "metrics",
            Self::Scope(Signal::Logs) => "logRecords",
            Self::Metric(PointKind::Gauge) => "gauge",
            Self::Metric(PointKind::Sum) => "sum",
            Self::Metric(PointKind::Histogram) => "histogram",
            Self::Metric(PointKind::ExponentialHistogram) => "exponentialHistogram",
            Self::Metric(PointKind::Summary) => "summary",
            Self::Data(_) => "dataPoints",
            Self::Item(_) | Self::Point(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::*;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message as _;

    use super::*;
    use crate::exporter::otlp::cut::truncate::removable;
    use crate::exporter::otlp::protobuf::well_formed;

    /// The content of the first field with this number.
    fn inner(bytes: &[u8], number: u32) -> &[u8] {
        well_formed(bytes).find_map(|field| field.bytes_of(number)).unwrap()
    }

    fn attributes(text: &str) -> Vec<KeyValue> {
        let value = Some(AnyValue { value: Some(Value::StringValue(text.into())) });
        vec![KeyValue { key: "key".into(), value, ..Default::default() }]
    }

    fn exemplars() -> Vec<Exemplar> {
        vec![Exemplar { filtered_attributes: attributes("1234567"), ..Default::default() }]
    }

    /// A metric of each kind, with one point that has 10 bytes of text, and 7 in an exemplar.
    fn metrics() -> [(PointKind, Data); 5] {
        let (attributes, exemplars) = (attributes("0123456789"), exemplars());
        let number = NumberDataPoint {
            attributes: attributes.clone(),
            exemplars: exemplars.clone(),
            ..Default::default()
        };
        let histogram = HistogramDataPoint {
            attributes: attributes.clone(),
            exemplars: exemplars.clone(),
            ..Default::default()
        };
        let exponential = ExponentialHistogramDataPoint {
            attributes: attributes.clone(),
            exemplars,
            ..Default::default()
        };
        let summary = SummaryDataPoint { attributes, ..Default::default() };
        let data_points = vec![number];
        let sum = Sum { data_points: data_points.clone(), ..Default::default() };
        let histogram = Histogram { data_points: vec![histogram], ..Default::default() };
        let exponential =
            ExponentialHistogram { data_points: vec![exponential], ..Default::default() };
        [
            (PointKind::Gauge, Data::Gauge(Gauge { data_points })),
            (PointKind::Sum, Data::Sum(sum)),
            (PointKind::Histogram, Data::Histogram(histogram)),
            (PointKind::ExponentialHistogram, Data::ExponentialHistogram(exponential)),
            (PointKind::Summary, Data::Summary(Summary { data_points: vec![summary] })),
        ]
    }

    #[test]
    fn every_kind_of_data_point_is_where_it_is_looked_for() {
        for (kind, data) in metrics() {
            let metric = Metric { name: "name".into(), data: Some(data), ..Default::default() };
            let metric = metric.encode_to_vec();
            assert_eq!(PointKind::of_field(kind.field()), Some(kind));
            let (number, data) = Level::Metric(kind).child().unwrap();
            let (point_number, point) = data.child().unwrap();
            let bytes = inner(inner(&metric, number), point_number);
            let pair = inner(bytes, point.attributes_field().unwrap());
            assert_eq!(inner(pair, 1), b"key", "{kind:?}");
            let text = if kind == PointKind::Summary { 10 } else { 17 };
            assert_eq!(removable(Level::Item(Signal::Metrics), &metric), text, "{kind:?}");
            let name = Level::Metric(kind).name_field().unwrap();
            assert_eq!(inner(&metric, name), b"name");
        }
    }

    #[test]
    fn ids_names_and_attributes_of_items_are_where_they_are_looked_for() {
        let (trace_id, name) = (vec![7; 16], "name".to_owned());
        let attributes = attributes("text");
        let (id, at) = (trace_id.clone(), attributes.clone());
        let span = Span { trace_id: id, name: name.clone(), attributes: at, ..Default::default() };
        let log = LogRecord { trace_id, event_name: name, attributes, ..Default::default() };
        let items = [(Signal::Traces, span.encode_to_vec()), (Signal::Logs, log.encode_to_vec())];
        for (signal, bytes) in items {
            let item = Level::Item(signal);
            assert_eq!(inner(&bytes, signal.trace_id_field().unwrap()), [7; 16]);
            assert_eq!(inner(&bytes, item.name_field().unwrap()), b"name");
            assert_eq!(inner(inner(&bytes, item.attributes_field().unwrap()), 1), b"key");
        }
    }
}
