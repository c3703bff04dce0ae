//! OTLP over gRPC: the three `Export` methods.
//!
//! A unary call is one message behind five bytes (whether it is compressed, and its size) and a
//! status behind the answer; that is all of gRPC that there is here, over HTTP/2 as everybody else
//! speaks it. Written here so that a message stays the memory that it came in, and so that zstd is
//! read without C.
//!
//! Spec: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>,
//! <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use super::{COME_BACK, OtlpIntake, Refusal, RefusalKind};
use crate::exporter::otlp::{Encoding, Signal, status};
use crate::protocol::compression::DecompressError;
use crate::service::body::{self, BodyError, Held, Room};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use std::fmt::Write;
use std::sync::Arc;

/// What stands in front of a message.
const PREFIX_SIZE: usize = 5;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What we read.
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

/// The three methods, and an answer for all others.
pub(in crate::service) fn routes(intake: &Arc<OtlpIntake>) -> Router {
    let mut router = Router::new().fallback(async || {
        failure(&Failure::new(status::UNIMPLEMENTED, "no such method: this is an OTLP receiver"))
    });
    for signal in Signal::ALL {
        let intake = Arc::clone(intake);
        let call = move |request: Request| async move { call(&intake, signal, request).await };
        router = router.route(method(signal), post(call));
    }
    router
}

const fn method(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

async fn call(intake: &OtlpIntake, signal: Signal, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_grpc = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let told = "this is gRPC: send application/grpc, or OTLP/HTTP to its own port\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, told).into_response();
    }
    let arrival = intake.arrive();
    let taken = async {
        let message = message(&head.headers, body, intake.message_size_max, &intake.room).await?;
        let pairs = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let taken = arrival.take(message, signal, Encoding::Protobuf, pairs.collect()).await;
        taken.map_err(Failure::from)
    };
    match taken.await {
        Ok(response) => success(&response.to_protobuf()),
        Err(error) => failure(&error),
    }
}

/// The one message of a unary call, of at most `max` bytes.
async fn message(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    room: &Room,
) -> Result<Held, Failure> {
    let held = body::read(body, PREFIX_SIZE + max, room, announced).await?;
    let Some((prefix, rest)) = held.bytes.split_first_chunk::<PREFIX_SIZE>() else {
        return Err(Failure::new(status::INVALID_ARGUMENT, "the call has no message"));
    };
    let [compressed, size @ ..] = *prefix;
    if usize::try_from(u32::from_be_bytes(size)) != Ok(rest.len()) {
        let told = "the call has not exactly one message of the size that it says";
        return Err(Failure::new(status::INVALID_ARGUMENT, told));
    }
    let message = held.without(PREFIX_SIZE);
    match (compressed, headers.get(GRPC_ENCODING)) {
        (0, _) => Ok(message),
        (1, Some(encoding)) => Ok(message.decoded(Some(encoding.as_bytes()), max, room)?),
        _ => {
            let told = "a compressed message names its encoding in grpc-encoding";
            Err(Failure::new(status::INVALID_ARGUMENT, told))
        }
    }
}

/// Bytes of a call's body, by its first piece.
fn announced(piece: &[u8]) -> usize {
    let prefix = piece.first_chunk::<PREFIX_SIZE>();
    let size = prefix.map_or(0, |[_, size @ ..]| u32::from_be_bytes(*size));
    usize::try_from(size).unwrap_or(usize::MAX).saturating_add(PREFIX_SIZE)
}

/// How a call fails.
#[derive(Debug)]
struct Failure {
    code: u32,
    message: String,
    /// Whether the sender should try again; it would not after this code, unless it is told to.
    comes_back: bool,
}

impl Failure {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), comes_back: false }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let comes_back = matches!(error, BodyError::NoRoom);
        let code = match &error {
            BodyError::NoRoom
            | BodyError::TooLarge { .. }
            | BodyError::Inflate(DecompressError::TooLarge { .. }) => status::RESOURCE_EXHAUSTED,
            BodyError::Late | BodyError::Broken(_) => status::UNAVAILABLE,
            BodyError::Encoding(_) => status::UNIMPLEMENTED,
            BodyError::Inflate(_) => status::INVALID_ARGUMENT,
        };
        Self { code, message: error.to_string(), comes_back }
    }
}

impl From<Refusal> for Failure {
    fn from(Refusal { kind, message }: Refusal) -> Self {
        let code = match kind {
            RefusalKind::Invalid => status::INVALID_ARGUMENT,
            RefusalKind::Full => status::RESOURCE_EXHAUSTED,
            RefusalKind::Unavailable => status::UNAVAILABLE,
        };
        Self { code, message, comes_back: kind == RefusalKind::Full }
    }
}

fn success(message: &[u8]) -> Response {
    let mut framed = BytesMut::with_capacity(PREFIX_SIZE + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("an answer is short"));
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::<Bytes>::new(framed.freeze()).with_trailers(async { Some(Ok(trailers)) });
    ([(CONTENT_TYPE, GRPC), (GRPC_ACCEPT_ENCODING, ENCODINGS)], Body::new(body)).into_response()
}

/// An answer of headers alone.
fn failure(failure: &Failure) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(failure.code));
    headers.insert(GRPC_ACCEPT_ENCODING, ENCODINGS);
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&failure.message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if failure.comes_back {
        let details = status::to_protobuf(failure.code, &failure.message, Some(COME_BACK));
        let details = HeaderValue::from_str(&STANDARD_NO_PAD.encode(details));
        headers.extend(details.ok().map(|details| (GRPC_DETAILS, details)));
    }
    (headers, Body::empty()).into_response()
}

/// A message as `grpc-message` holds it: printable ASCII but for the percent sign.
fn percent_encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Codec;
    use crate::protocol::compression::Compressor;

    #[test]
    fn messages_are_printable_ascii() {
        assert_eq!(percent_encoded("100 % of \u{fc}\n"), "100 %25 of %C3%BC%0A");
    }

    async fn read(encoding: Option<&'static str>, framed: &[u8]) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static(encoding));
        }
        let body = Body::from(framed.to_vec());
        message(&headers, body, 1000, &Room::new(1 << 20)).await.map(|held| held.bytes.clone())
    }

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let size = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag], &size[..], message].concat()
    }

    #[tokio::test]
    async fn a_message_is_read_plain_or_in_the_encoding_that_it_names() {
        let text = "a message, ".repeat(50);
        let text = text.as_bytes();
        assert_eq!(read(None, &framed(0, text)).await.unwrap(), text);
        assert_eq!(read(Some("gzip"), &framed(0, text)).await.unwrap(), text);
        for (name, codec) in [("gzip", Codec::Gzip), ("zstd", Codec::Zstd)] {
            let compressed = Compressor::new(codec.into()).compress(text).unwrap();
            let message = framed(1, &compressed);
            assert_eq!(read(Some(name), &message).await.unwrap(), text, "{name}");
            assert_eq!(read(None, &message).await.unwrap_err().code, status::INVALID_ARGUMENT);
            let bomb = Compressor::new(codec.into()).compress(&[0; 2000]).unwrap();
            let error = read(Some(name), &framed(1, &bomb)).await.unwrap_err();
            assert_eq!(error.code, status::RESOURCE_EXHAUSTED, "{name}");
        }
        let error = read(Some("br"), &framed(1, text)).await.unwrap_err();
        assert_eq!(error.code, status::UNIMPLEMENTED);
    }

    #[tokio::test]
    async fn a_call_has_one_message_of_the_size_that_it_says() {
        for wrong in [&b""[..], &[0, 0, 0], &framed(0, b"text")[..7], &framed(2, b"text")] {
            assert_eq!(read(None, wrong).await.unwrap_err().code, status::INVALID_ARGUMENT);
        }
        let two = [framed(0, b"one"), framed(0, b"two")].concat();
        assert_eq!(read(None, &two).await.unwrap_err().code, status::INVALID_ARGUMENT);
        let large = read(None, &framed(0, &[0; 1001])).await.unwrap_err();
        assert_eq!((large.code, large.comes_back), (status::RESOURCE_EXHAUSTED, false));
    }

    #[test]
    fn a_sender_that_should_come_back_is_told_when() {
        let full = Failure { code: 8, message: "full".into(), comes_back: true };
        let response = failure(&full);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[GRPC_STATUS], "8");
        let details = STANDARD_NO_PAD.decode(&response.headers()[GRPC_DETAILS]).unwrap();
        let contains = |part: &[u8]| details.windows(part.len()).any(|window| window == part);
        assert!(contains(b"type.googleapis.com/google.rpc.RetryInfo"));
        assert!(failure(&Failure::new(3, "no")).headers().get(GRPC_DETAILS).is_none());
    }
}
