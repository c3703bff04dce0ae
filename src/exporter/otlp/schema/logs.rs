//! Log records and the messages around them.
//!
//! Schema: `logs/v1/logs.proto` and `collector/logs/v1/logs_service.proto`.

use super::common::{ANY_VALUE, INSTRUMENTATION_SCOPE, KEY_VALUE, RESOURCE};
use super::{Field, Kind, Label, Message, Role, SPAN_ID, TRACE_ID};

/// `opentelemetry.proto.logs.v1.SeverityNumber`.
const SEVERITY_NUMBER: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];

messages! {
    /// `opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest`.
    EXPORT_LOGS_SERVICE_REQUEST = "ExportLogsServiceRequest" Path {
        1 "resource_logs" "resourceLogs" Repeated Kind::Message(&RESOURCE_LOGS);
    }

    /// `opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse`.
    EXPORT_LOGS_SERVICE_RESPONSE = "ExportLogsServiceResponse" Part {
        1 "partial_success" "partialSuccess" Implicit Kind::Message(&EXPORT_LOGS_PARTIAL_SUCCESS);
    }

    /// `opentelemetry.proto.collector.logs.v1.ExportLogsPartialSuccess`.
    EXPORT_LOGS_PARTIAL_SUCCESS = "ExportLogsPartialSuccess" Part {
        1 "rejected_log_records" "rejectedLogRecords" Implicit Kind::Int64;
        2 "error_message" "errorMessage" Implicit Kind::String;
    }

    /// `opentelemetry.proto.logs.v1.ResourceLogs`.
    RESOURCE_LOGS = "ResourceLogs" Path {
        1 "resource" "resource" Implicit Kind::Message(&RESOURCE);
        2 "scope_logs" "scopeLogs" Repeated Kind::Message(&SCOPE_LOGS);
        3 "schema_url" "schemaUrl" Implicit Kind::String;
    }

    /// `opentelemetry.proto.logs.v1.ScopeLogs`.
    SCOPE_LOGS = "ScopeLogs" Path {
        1 "scope" "scope" Implicit Kind::Message(&INSTRUMENTATION_SCOPE);
        2 "log_records" "logRecords" Repeated Kind::Message(&LOG_RECORD);
        3 "schema_url" "schemaUrl" Implicit Kind::String;
    }

    /// `opentelemetry.proto.logs.v1.LogRecord`.
    LOG_RECORD = "LogRecord" Item {
        1 "time_unix_nano" "timeUnixNano" Implicit Kind::Fixed64;
        11 "observed_time_unix_nano" "observedTimeUnixNano" Implicit Kind::Fixed64;
        2 "severity_number" "severityNumber" Implicit Kind::Enum(SEVERITY_NUMBER);
        3 "severity_text" "severityText" Implicit Kind::String;
        5 "body" "body" Implicit Kind::Message(&ANY_VALUE);
        6 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        7 "dropped_attributes_count" "droppedAttributesCount" Implicit Kind::Uint32;
        8 "flags" "flags" Implicit Kind::Fixed32;
        9 "trace_id" "traceId" Implicit Kind::Id(TRACE_ID);
        10 "span_id" "spanId" Implicit Kind::Id(SPAN_ID);
        12 "event_name" "eventName" Implicit Kind::String;
    }
}
