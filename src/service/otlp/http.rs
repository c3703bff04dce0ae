//! OTLP over HTTP: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`.
//!
//! Decides media types, encodings and statuses. An answer is in the encoding of its request, errors
//! too: they are `google.rpc.Status` messages.
//!
//! | status | meaning |
//! |---|---|
//! | 200 | taken, but for what a partial success names |
//! | 400 | malformed: never send it again |
//! | 408, 413, 415 | too slow, too large, or not in a form that is read |
//! | 429 | no room: send it again after `Retry-After` |
//! | 503 | not delivered, or stopping: send it again |
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use super::{COME_BACK, OtlpIntake, Refusal, RefusalKind};
use crate::exporter::otlp::{Encoding, Format, Signal, status};
use crate::service::body;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::sync::Arc;

/// Adds the three paths.
pub(in crate::service) fn routes(mut router: Router, intake: &Arc<OtlpIntake>) -> Router {
    for signal in Signal::ALL {
        let intake = Arc::clone(intake);
        let take = move |request: Request| async move { take(&intake, signal, request).await };
        router = router.route(&format!("/v1/{}", signal.name()), post(take));
    }
    router
}

async fn take(intake: &OtlpIntake, signal: Signal, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(encoding) = encoding(&head.headers) else {
        let told = "content type is not read: use application/x-protobuf or application/json";
        return problem(Encoding::Json, StatusCode::UNSUPPORTED_MEDIA_TYPE, told);
    };
    let arrival = intake.arrive();
    let max = intake.message_size_max;
    let content_encoding = head.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let announced = body::content_length(&body);
    let held = body::read(body, max, &intake.room, |_| announced).await;
    let held = match held.and_then(|held| held.decoded(content_encoding, max, &intake.room)) {
        Ok(held) => held,
        Err(error) => return problem(encoding, error.status(), &error.to_string()),
    };
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    match arrival.take(held, signal, encoding, headers.collect()).await {
        Ok(response) => {
            let body = match encoding {
                Encoding::Protobuf => response.to_protobuf(),
                Encoding::Json => response.to_json(),
            };
            answer(encoding, StatusCode::OK, body)
        }
        Err(Refusal { kind, message }) => {
            let status = match kind {
                RefusalKind::Invalid => StatusCode::BAD_REQUEST,
                RefusalKind::Full => StatusCode::TOO_MANY_REQUESTS,
                RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            };
            problem(encoding, status, &message)
        }
    }
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let is = |other: &str| media_type.eq_ignore_ascii_case(other);
    if is("application/x-protobuf") || is("application/protobuf") {
        Some(Encoding::Protobuf)
    } else if is("application/json") {
        Some(Encoding::Json)
    } else {
        None
    }
}

fn problem(encoding: Encoding, status: StatusCode, message: &str) -> Response {
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS => status::RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => status::UNAVAILABLE,
        _ => status::INVALID_ARGUMENT,
    };
    let body = match encoding {
        Encoding::Protobuf => status::to_protobuf(code, message, None),
        Encoding::Json => status::to_json(code, message),
    };
    let mut response = answer(encoding, status, body);
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_BACK.as_secs()));
    }
    response
}

fn answer(encoding: Encoding, status: StatusCode, body: Vec<u8>) -> Response {
    let format = match encoding {
        Encoding::Protobuf => Format::Protobuf,
        Encoding::Json => Format::Json,
    };
    (status, [(CONTENT_TYPE, format.content_type())], body).into_response()
}
