//! Spans and the messages around them.
//!
//! Schema: `trace/v1/trace.proto` and `collector/trace/v1/trace_service.proto`.

use super::common::{INSTRUMENTATION_SCOPE, KEY_VALUE, RESOURCE};
use super::{Field, Kind, Label, Message, Role, SPAN_ID, TRACE_ID};

/// `opentelemetry.proto.trace.v1.Span.SpanKind`.
const SPAN_KIND: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// `opentelemetry.proto.trace.v1.Status.StatusCode`.
const STATUS_CODE: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

messages! {
    /// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`.
    EXPORT_TRACE_SERVICE_REQUEST = "ExportTraceServiceRequest" Path {
        1 "resource_spans" "resourceSpans" Repeated Kind::Message(&RESOURCE_SPANS);
    }

    /// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse`.
    EXPORT_TRACE_SERVICE_RESPONSE = "ExportTraceServiceResponse" Part {
        1 "partial_success" "partialSuccess" Implicit Kind::Message(&EXPORT_TRACE_PARTIAL_SUCCESS);
    }

    /// `opentelemetry.proto.collector.trace.v1.ExportTracePartialSuccess`.
    EXPORT_TRACE_PARTIAL_SUCCESS = "ExportTracePartialSuccess" Part {
        1 "rejected_spans" "rejectedSpans" Implicit Kind::Int64;
        2 "error_message" "errorMessage" Implicit Kind::String;
    }

    /// `opentelemetry.proto.trace.v1.ResourceSpans`.
    RESOURCE_SPANS = "ResourceSpans" Path {
        1 "resource" "resource" Implicit Kind::Message(&RESOURCE);
        2 "scope_spans" "scopeSpans" Repeated Kind::Message(&SCOPE_SPANS);
        3 "schema_url" "schemaUrl" Implicit Kind::String;
    }

    /// `opentelemetry.proto.trace.v1.ScopeSpans`.
    SCOPE_SPANS = "ScopeSpans" Path {
        1 "scope" "scope" Implicit Kind::Message(&INSTRUMENTATION_SCOPE);
        2 "spans" "spans" Repeated Kind::Message(&SPAN);
        3 "schema_url" "schemaUrl" Implicit Kind::String;
    }

    /// `opentelemetry.proto.trace.v1.Span`.
    SPAN = "Span" Item {
        1 "trace_id" "traceId" Implicit Kind::Id(TRACE_ID);
        2 "span_id" "spanId" Implicit Kind::Id(SPAN_ID);
        3 "trace_state" "traceState" Implicit Kind::String;
        4 "parent_span_id" "parentSpanId" Implicit Kind::Id(SPAN_ID);
        16 "flags" "flags" Implicit Kind::Fixed32;
        5 "name" "name" Implicit Kind::String;
        6 "kind" "kind" Implicit Kind::Enum(SPAN_KIND);
        7 "start_time_unix_nano" "startTimeUnixNano" Implicit Kind::Fixed64;
        8 "end_time_unix_nano" "endTimeUnixNano" Implicit Kind::Fixed64;
        9 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        10 "dropped_attributes_count" "droppedAttributesCount" Implicit Kind::Uint32;
        11 "events" "events" Repeated Kind::Message(&EVENT);
        12 "dropped_events_count" "droppedEventsCount" Implicit Kind::Uint32;
        13 "links" "links" Repeated Kind::Message(&LINK);
        14 "dropped_links_count" "droppedLinksCount" Implicit Kind::Uint32;
        15 "status" "status" Implicit Kind::Message(&STATUS);
    }

    /// `opentelemetry.proto.trace.v1.Span.Event`.
    EVENT = "Event" Part {
        1 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        2 "name" "name" Implicit Kind::String;
        3 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        4 "dropped_attributes_count" "droppedAttributesCount" Implicit Kind::Uint32;
    }

    /// `opentelemetry.proto.trace.v1.Span.Link`.
    LINK = "Link" Part {
        1 "trace_id" "traceId" Implicit Kind::Id(TRACE_ID);
        2 "span_id" "spanId" Implicit Kind::Id(SPAN_ID);
        3 "trace_state" "traceState" Implicit Kind::String;
        4 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        5 "dropped_attributes_count" "droppedAttributesCount" Implicit Kind::Uint32;
        6 "flags" "flags" Implicit Kind::Fixed32;
    }

    /// `opentelemetry.proto.trace.v1.Status`.
    STATUS = "Status" Part {
        2 "message" "message" Implicit Kind::String;
        3 "code" "code" Implicit Kind::Enum(STATUS_CODE);
    }
}
