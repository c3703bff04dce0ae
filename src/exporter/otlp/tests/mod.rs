//! OTLP against an independent side: the generated types of `opentelemetry-proto`.
//!
//! What those types encode is the canonical form, and what they decode is what bytes mean. Ours must
//! agree with both, on one request that has every field and on many that are made up.

mod conformance;
mod generate;
mod hostile;
mod oracle;
mod round_trips;
mod sample;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::schema::Signal;
use super::{json, validate};

/// The same request as the generated types encode it. Unknown fields are lost.
fn canonical(signal: Signal, bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes)?.encode_to_vec(),
    })
}

/// A valid request as JSON.
fn json_of(signal: Signal, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    json::from_protobuf(&validate(signal, bytes).unwrap(), &mut out);
    String::from_utf8(out).unwrap()
}

/// JSON as protobuf, all of it accepted.
fn read(signal: Signal, json: &str) -> Vec<u8> {
    let read = json::to_protobuf(signal, json.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(read.refused, None);
    read.protobuf
}
