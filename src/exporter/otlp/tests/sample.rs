//! Requests in which every field of every message is set.
//!
//! No struct is completed by its default, so that a newer schema does not compile until its fields
//! are here.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::*;
use opentelemetry_proto::tonic::logs::v1::*;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::*;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::*;
use prost::Message as _;

use crate::exporter::otlp::schema::Signal;

const NOW: u64 = 1_544_712_660_000_000_000;

/// The request of a signal that has every field.
pub(super) fn full(signal: Signal) -> Vec<u8> {
    match signal {
        Signal::Traces => {
            ExportTraceServiceRequest { resource_spans: vec![resource_spans()] }.encode_to_vec()
        }
        Signal::Metrics => {
            ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics()] }
                .encode_to_vec()
        }
        Signal::Logs => {
            ExportLogsServiceRequest { resource_logs: vec![resource_logs()] }.encode_to_vec()
        }
    }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), key_strindex: 4 }
}

fn attributes() -> Vec<KeyValue> {
    let text = || any(Value::StringValue("a \"quoted\" \u{e9}\n".to_owned()));
    let list = ArrayValue { values: vec![text(), AnyValue { value: None }] };
    let map = KeyValueList { values: vec![pair("in", Value::IntValue(0))] };
    vec![
        pair("text", Value::StringValue(String::new())),
        pair("bool", Value::BoolValue(false)),
        pair("int", Value::IntValue(i64::MIN)),
        pair("double", Value::DoubleValue(-0.5)),
        pair("list", Value::ArrayValue(list)),
        pair("map", Value::KvlistValue(map)),
        pair("bytes", Value::BytesValue(vec![1, 2, 255])),
        pair("index", Value::StringValueStrindex(-1)),
        KeyValue { key: "nothing".to_owned(), value: None, key_strindex: 0 },
    ]
}

fn resource() -> Resource {
    let entity = EntityRef {
        schema_url: "https://s".to_owned(),
        r#type: "service".to_owned(),
        id_keys: vec!["service.name".to_owned(), String::new()],
        description_keys: vec!["service.version".to_owned()],
    };
    Resource {
        attributes: attributes(),
        dropped_attributes_count: u32::MAX,
        entity_refs: vec![entity],
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "lib".to_owned(),
        version: "1".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 2,
    }
}

fn resource_spans() -> ResourceSpans {
    let scope_spans = ScopeSpans {
        scope: Some(scope()),
        spans: vec![span()],
        schema_url: "https://t".to_owned(),
    };
    ResourceSpans {
        resource: Some(resource()),
        scope_spans: vec![scope_spans],
        schema_url: "https://r".to_owned(),
    }
}

fn span() -> Span {
    let event = Event {
        time_unix_nano: NOW,
        name: "event".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 3,
    };
    let link = Link {
        trace_id: vec![0xa1; 16],
        span_id: vec![0xb2; 8],
        trace_state: "k=v".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 4,
        flags: 0x301,
    };
    Span {
        trace_id: vec![0x0a; 16],
        span_id: vec![0x0b; 8],
        trace_state: "a=b".to_owned(),
        parent_span_id: vec![0x0c; 8],
        flags: 0x101,
        name: "span".to_owned(),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: NOW,
        end_time_unix_nano: u64::MAX,
        attributes: attributes(),
        dropped_attributes_count: 5,
        events: vec![event],
        dropped_events_count: 6,
        links: vec![link],
        dropped_links_count: 7,
        status: Some(Status { message: "why".to_owned(), code: status::StatusCode::Error as i32 }),
    }
}

fn resource_logs() -> ResourceLogs {
    let record = LogRecord {
        time_unix_nano: NOW,
        observed_time_unix_nano: NOW + 1,
        severity_number: SeverityNumber::Fatal4 as i32,
        severity_text: "FATAL".to_owned(),
        body: Some(any(Value::StringValue("body".to_owned()))),
        attributes: attributes(),
        dropped_attributes_count: 8,
        flags: 1,
        trace_id: vec![0x0d; 16],
        span_id: vec![0x0e; 8],
        event_name: "event".to_owned(),
    };
    let scope_logs = ScopeLogs {
        scope: Some(scope()),
        log_records: vec![record],
        schema_url: "https://t".to_owned(),
    };
    ResourceLogs {
        resource: Some(resource()),
        scope_logs: vec![scope_logs],
        schema_url: "https://r".to_owned(),
    }
}

fn resource_metrics() -> ResourceMetrics {
    let temporality = AggregationTemporality::Cumulative as i32;
    let metrics = [
        Data::Gauge(Gauge { data_points: numbers() }),
        Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Data::Histogram(Histogram {
            data_points: vec![histogram_point()],
            aggregation_temporality: temporality,
        }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential_point()],
            aggregation_temporality: temporality,
        }),
        Data::Summary(Summary { data_points: vec![summary_point()] }),
    ];
    let metric = |data| Metric {
        name: "m".to_owned(),
        description: "what".to_owned(),
        unit: "By".to_owned(),
        metadata: attributes(),
        data: Some(data),
    };
    let scope_metrics = ScopeMetrics {
        scope: Some(scope()),
        metrics: metrics.map(metric).to_vec(),
        schema_url: "https://t".to_owned(),
    };
    ResourceMetrics {
        resource: Some(resource()),
        scope_metrics: vec![scope_metrics],
        schema_url: "https://r".to_owned(),
    }
}

fn exemplars() -> Vec<Exemplar> {
    [exemplar::Value::AsDouble(2.5), exemplar::Value::AsInt(-3)]
        .map(|value| Exemplar {
            filtered_attributes: attributes(),
            time_unix_nano: NOW,
            span_id: vec![0x1a; 8],
            trace_id: vec![0x1b; 16],
            value: Some(value),
        })
        .to_vec()
}

fn numbers() -> Vec<NumberDataPoint> {
    [number_data_point::Value::AsDouble(0.0), number_data_point::Value::AsInt(0)]
        .map(|value| NumberDataPoint {
            attributes: attributes(),
            start_time_unix_nano: NOW,
            time_unix_nano: NOW + 1,
            exemplars: exemplars(),
            flags: 1,
            value: Some(value),
        })
        .to_vec()
}

fn histogram_point() -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: NOW,
        time_unix_nano: NOW + 1,
        count: u64::MAX,
        sum: Some(0.0),
        bucket_counts: vec![0, 1, u64::MAX],
        explicit_bounds: vec![0.0, f64::INFINITY],
        exemplars: exemplars(),
        flags: 1,
        min: Some(f64::NEG_INFINITY),
        max: Some(f64::NAN),
    }
}

fn exponential_point() -> ExponentialHistogramDataPoint {
    let buckets = |offset| Some(Buckets { offset, bucket_counts: vec![0, 1, u64::MAX] });
    ExponentialHistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: NOW,
        time_unix_nano: NOW + 1,
        count: 5,
        sum: Some(1e300),
        scale: -1,
        zero_count: 2,
        positive: buckets(i32::MAX),
        negative: buckets(i32::MIN),
        flags: 1,
        exemplars: exemplars(),
        min: Some(0.0),
        max: Some(1.0),
        zero_threshold: 1e-9,
    }
}

fn summary_point() -> SummaryDataPoint {
    SummaryDataPoint {
        attributes: attributes(),
        start_time_unix_nano: NOW,
        time_unix_nano: NOW + 1,
        count: 6,
        sum: 7.5,
        quantile_values: vec![ValueAtQuantile { quantile: 0.99, value: f64::NAN }],
        flags: 1,
    }
}
