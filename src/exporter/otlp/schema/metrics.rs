//! Metrics, their data points, and the messages around them.
//!
//! Schema: `metrics/v1/metrics.proto` and `collector/metrics/v1/metrics_service.proto`.

use super::common::{INSTRUMENTATION_SCOPE, KEY_VALUE, RESOURCE};
use super::{Field, Kind, Label, Message, Role, SPAN_ID, TRACE_ID};

/// `opentelemetry.proto.metrics.v1.AggregationTemporality`.
const AGGREGATION_TEMPORALITY: &[&str] = &[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
];

/// The kind of every `aggregation_temporality`.
const TEMPORALITY: Kind = Kind::Enum(AGGREGATION_TEMPORALITY);

messages! {
    /// `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest`.
    EXPORT_METRICS_SERVICE_REQUEST = "ExportMetricsServiceRequest" Path {
        1 "resource_metrics" "resourceMetrics" Repeated Kind::Message(&RESOURCE_METRICS);
    }

    /// `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse`.
    EXPORT_METRICS_SERVICE_RESPONSE = "ExportMetricsServiceResponse" Part {
        1 "partial_success" "partialSuccess" Implicit Kind::Message(&EXPORT_METRICS_PARTIAL_SUCCESS);
    }

    /// `opentelemetry.proto.collector.metrics.v1.ExportMetricsPartialSuccess`.
    EXPORT_METRICS_PARTIAL_SUCCESS = "ExportMetricsPartialSuccess" Part {
        1 "rejected_data_points" "rejectedDataPoints" Implicit Kind::Int64;
        2 "error_message" "errorMessage" Implicit Kind::String;
    }

    /// `opentelemetry.proto.metrics.v1.ResourceMetrics`.
    RESOURCE_METRICS = "ResourceMetrics" Path {
        1 "resource" "resource" Implicit Kind::Message(&RESOURCE);
        2 "scope_metrics" "scopeMetrics" Repeated Kind::Message(&SCOPE_METRICS);
        3 "schema_url" "schemaUrl" Implicit Kind::String;
    }

    /// `opentelemetry.proto.metrics.v1.ScopeMetrics`.
    SCOPE_METRICS = "ScopeMetrics" Path {
        1 "scope" "scope" Implicit Kind::Message(&INSTRUMENTATION_SCOPE);
        2 "metrics" "metrics" Repeated Kind::Message(&METRIC);
        3 "schema_url" "schemaUrl" Implicit Kind::String;
    }

    /// `opentelemetry.proto.metrics.v1.Metric`.
    METRIC = "Metric" Path {
        1 "name" "name" Implicit Kind::String;
        2 "description" "description" Implicit Kind::String;
        3 "unit" "unit" Implicit Kind::String;
        5 "gauge" "gauge" Oneof Kind::Message(&GAUGE);
        7 "sum" "sum" Oneof Kind::Message(&SUM);
        9 "histogram" "histogram" Oneof Kind::Message(&HISTOGRAM);
        10 "exponential_histogram" "exponentialHistogram" Oneof
            Kind::Message(&EXPONENTIAL_HISTOGRAM);
        11 "summary" "summary" Oneof Kind::Message(&SUMMARY);
        12 "metadata" "metadata" Repeated Kind::Message(&KEY_VALUE);
    }

    /// `opentelemetry.proto.metrics.v1.Gauge`.
    GAUGE = "Gauge" Path {
        1 "data_points" "dataPoints" Repeated Kind::Message(&NUMBER_DATA_POINT);
    }

    /// `opentelemetry.proto.metrics.v1.Sum`.
    SUM = "Sum" Path {
        1 "data_points" "dataPoints" Repeated Kind::Message(&NUMBER_DATA_POINT);
        2 "aggregation_temporality" "aggregationTemporality" Implicit TEMPORALITY;
        3 "is_monotonic" "isMonotonic" Implicit Kind::Bool;
    }

    /// `opentelemetry.proto.metrics.v1.Histogram`.
    HISTOGRAM = "Histogram" Path {
        1 "data_points" "dataPoints" Repeated Kind::Message(&HISTOGRAM_DATA_POINT);
        2 "aggregation_temporality" "aggregationTemporality" Implicit TEMPORALITY;
    }

    /// `opentelemetry.proto.metrics.v1.ExponentialHistogram`.
    EXPONENTIAL_HISTOGRAM = "ExponentialHistogram" Path {
        1 "data_points" "dataPoints" Repeated Kind::Message(&EXPONENTIAL_HISTOGRAM_DATA_POINT);
        2 "aggregation_temporality" "aggregationTemporality" Implicit TEMPORALITY;
    }

    /// `opentelemetry.proto.metrics.v1.Summary`.
    SUMMARY = "Summary" Path {
        1 "data_points" "dataPoints" Repeated Kind::Message(&SUMMARY_DATA_POINT);
    }

    /// `opentelemetry.proto.metrics.v1.NumberDataPoint`.
    NUMBER_DATA_POINT = "NumberDataPoint" Item {
        7 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        2 "start_time_unix_nano" "startTimeUnixNano" Implicit Kind::Fixed64;
        3 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        4 "as_double" "asDouble" Oneof Kind::Double;
        6 "as_int" "asInt" Oneof Kind::Sfixed64;
        5 "exemplars" "exemplars" Repeated Kind::Message(&EXEMPLAR);
        8 "flags" "flags" Implicit Kind::Uint32;
    }

    /// `opentelemetry.proto.metrics.v1.HistogramDataPoint`.
    HISTOGRAM_DATA_POINT = "HistogramDataPoint" Item {
        9 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        2 "start_time_unix_nano" "startTimeUnixNano" Implicit Kind::Fixed64;
        3 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        4 "count" "count" Implicit Kind::Fixed64;
        5 "sum" "sum" Optional Kind::Double;
        6 "bucket_counts" "bucketCounts" Repeated Kind::Fixed64;
        7 "explicit_bounds" "explicitBounds" Repeated Kind::Double;
        8 "exemplars" "exemplars" Repeated Kind::Message(&EXEMPLAR);
        10 "flags" "flags" Implicit Kind::Uint32;
        11 "min" "min" Optional Kind::Double;
        12 "max" "max" Optional Kind::Double;
    }

    /// `opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint`.
    EXPONENTIAL_HISTOGRAM_DATA_POINT = "ExponentialHistogramDataPoint" Item {
        1 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        2 "start_time_unix_nano" "startTimeUnixNano" Implicit Kind::Fixed64;
        3 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        4 "count" "count" Implicit Kind::Fixed64;
        5 "sum" "sum" Optional Kind::Double;
        6 "scale" "scale" Implicit Kind::Sint32;
        7 "zero_count" "zeroCount" Implicit Kind::Fixed64;
        8 "positive" "positive" Implicit Kind::Message(&BUCKETS);
        9 "negative" "negative" Implicit Kind::Message(&BUCKETS);
        10 "flags" "flags" Implicit Kind::Uint32;
        11 "exemplars" "exemplars" Repeated Kind::Message(&EXEMPLAR);
        12 "min" "min" Optional Kind::Double;
        13 "max" "max" Optional Kind::Double;
        14 "zero_threshold" "zeroThreshold" Implicit Kind::Double;
    }

    /// `opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint.Buckets`.
    BUCKETS = "Buckets" Part {
        1 "offset" "offset" Implicit Kind::Sint32;
        2 "bucket_counts" "bucketCounts" Repeated Kind::Uint64;
    }

    /// `opentelemetry.proto.metrics.v1.SummaryDataPoint`.
    SUMMARY_DATA_POINT = "SummaryDataPoint" Item {
        7 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        2 "start_time_unix_nano" "startTimeUnixNano" Implicit Kind::Fixed64;
        3 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        4 "count" "count" Implicit Kind::Fixed64;
        5 "sum" "sum" Implicit Kind::Double;
        6 "quantile_values" "quantileValues" Repeated Kind::Message(&VALUE_AT_QUANTILE);
        8 "flags" "flags" Implicit Kind::Uint32;
    }

    /// `opentelemetry.proto.metrics.v1.SummaryDataPoint.ValueAtQuantile`.
    VALUE_AT_QUANTILE = "ValueAtQuantile" Part {
        1 "quantile" "quantile" Implicit Kind::Double;
        2 "value" "value" Implicit Kind::Double;
    }

    /// `opentelemetry.proto.metrics.v1.Exemplar`.
    EXEMPLAR = "Exemplar" Part {
        7 "filtered_attributes" "filteredAttributes" Repeated Kind::Message(&KEY_VALUE);
        2 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        3 "as_double" "asDouble" Oneof Kind::Double;
        6 "as_int" "asInt" Oneof Kind::Sfixed64;
        5 "trace_id" "traceId" Implicit Kind::Id(TRACE_ID);
        4 "span_id" "spanId" Implicit Kind::Id(SPAN_ID);
    }
}
