//! `google.rpc.Status`: how OTLP tells errors, over gRPC and over HTTP.
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#failures-1>.

use super::protobuf::{Value, close, open, put_tag, put_value};
use super::schema::Wire;
use std::time::Duration;

/// The request is malformed.
pub const INVALID_ARGUMENT: u32 = 3;

/// There is no room.
pub const RESOURCE_EXHAUSTED: u32 = 8;

/// Nobody does that here.
pub const UNIMPLEMENTED: u32 = 12;

/// Not now.
pub const UNAVAILABLE: u32 = 14;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// As protobuf, with the time after which to try again.
pub fn to_protobuf(code: u32, message: &str, retry_after: Option<Duration>) -> Vec<u8> {
    let mut out = Vec::new();
    put_tag(&mut out, 1, Wire::Varint);
    put_value(&mut out, Value::Varint(u64::from(code)));
    put_tag(&mut out, 2, Wire::Length);
    put_value(&mut out, Value::Bytes(message.as_bytes()));
    if let Some(delay) = retry_after {
        let detail = open(&mut out, 3);
        put_tag(&mut out, 1, Wire::Length);
        put_value(&mut out, Value::Bytes(RETRY_INFO.as_bytes()));
        let retry_info = open(&mut out, 2);
        let duration = open(&mut out, 1);
        put_tag(&mut out, 1, Wire::Varint);
        put_value(&mut out, Value::Varint(delay.as_secs()));
        close(&mut out, duration);
        close(&mut out, retry_info);
        close(&mut out, detail);
    }
    out
}

/// As JSON.
pub fn to_json(code: u32, message: &str) -> Vec<u8> {
    serde_json::json!({ "code": code, "message": message }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[derive(Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }

    #[derive(Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes, tag = "2")]
        value: Vec<u8>,
    }

    #[test]
    fn a_status_is_read_by_others() {
        let bytes = to_protobuf(RESOURCE_EXHAUSTED, "full", Some(Duration::from_secs(3)));
        let status = Status::decode(&bytes[..]).unwrap();
        assert_eq!((status.code, &*status.message), (8, "full"));
        assert_eq!(status.details[0].type_url, RETRY_INFO);
        assert_eq!(status.details[0].value, [0x0a, 0x02, 0x08, 3]);
        let read: serde_json::Value = serde_json::from_slice(&to_json(3, "a \"b\"")).unwrap();
        assert_eq!(read, serde_json::json!({ "code": 3, "message": "a \"b\"" }));
    }
}
