//! Answers to export requests.
//!
//! Decides how an answer is written, in either encoding. Whether a request is answered so, and with
//! which status, is left to the receiver.
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#partial-success>.

use super::fault::Refused;
use super::json::write_message;
use super::protobuf::{Value, close, open, put_tag, put_value};
use super::schema::{Signal, Wire};

/// The answer to a request that was accepted, in full or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The signal of the request.
    pub signal: Signal,
    /// Spans, data points or log records that were not accepted.
    pub rejected: u64,
    /// Why not; a warning if none was rejected. Empty if there is nothing to say.
    pub message: String,
}

impl Response {
    /// The answer to a request of which these items were refused.
    pub fn new(signal: Signal, refused: Option<&Refused>) -> Self {
        match refused {
            None => Self { signal, rejected: 0, message: String::new() },
            Some(refused) => {
                Self { signal, rejected: refused.items as u64, message: refused.to_string() }
            }
        }
    }

    /// As protobuf. Empty if all was accepted and there is nothing to say.
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.rejected == 0 && self.message.is_empty() {
            return out;
        }
        // The three signals name these fields differently and number them alike.
        let partial_success = open(&mut out, 1);
        if self.rejected != 0 {
            put_tag(&mut out, 1, Wire::Varint);
            put_value(&mut out, Value::Varint(self.rejected));
        }
        if !self.message.is_empty() {
            put_tag(&mut out, 2, Wire::Length);
            put_value(&mut out, Value::Bytes(self.message.as_bytes()));
        }
        close(&mut out, partial_success);
        out
    }

    /// As JSON. `{}` if all was accepted and there is nothing to say.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_message(self.signal.response(), &self.to_protobuf(), &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    use prost::Message as _;

    use super::*;

    #[test]
    fn an_answer_without_rejections_is_empty() {
        for signal in Signal::ALL {
            let response = Response::new(signal, None);
            assert_eq!(response.to_protobuf(), b"");
            assert_eq!(response.to_json(), b"{}");
        }
    }

    #[test]
    fn rejections_are_told_in_the_signals_own_words() {
        let response =
            |signal| Response { signal, rejected: 300, message: "why \"so\"".repeat(20) };
        let (traces, metrics, logs) =
            (response(Signal::Traces), response(Signal::Metrics), response(Signal::Logs));

        let read = ExportTraceServiceResponse::decode(&traces.to_protobuf()[..]).unwrap();
        assert_eq!(read.encode_to_vec(), traces.to_protobuf());
        let read = read.partial_success.unwrap();
        assert_eq!((read.rejected_spans, read.error_message), (300, traces.message.clone()));

        let read = ExportMetricsServiceResponse::decode(&metrics.to_protobuf()[..]).unwrap();
        assert_eq!(read.partial_success.unwrap().rejected_data_points, 300);
        let read = ExportLogsServiceResponse::decode(&logs.to_protobuf()[..]).unwrap();
        assert_eq!(read.partial_success.unwrap().rejected_log_records, 300);

        for (response, name) in [
            (traces, "rejectedSpans"),
            (metrics, "rejectedDataPoints"),
            (logs, "rejectedLogRecords"),
        ] {
            let json = String::from_utf8(response.to_json()).unwrap();
            assert!(json.starts_with(&format!(
                r#"{{"partialSuccess":{{"{name}":"300","errorMessage":"why \"so\""#
            )));
        }
    }
}
